/* SPDX-License-Identifier: Apache-2.0
 * What the words of a provider's registration are made of. Pure; for provider_rules.c and provider_params.c. */
#ifndef SERVICE_CORE_PROVIDER_WORDS_H
#define SERVICE_CORE_PROVIDER_WORDS_H

#include "base/span.h"

#define LOWER  "abcdefghijklmnopqrstuvwxyz"
#define UPPER  "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
#define DIGITS "0123456789"

/* How many of its characters, none of them a NUL, are among these. */
size_t words_count(struct str s, const char *characters);
bool words_hold_only(struct str s, const char *characters);
/* ASCII from the space (or, visible, from '!') to '~'; visible text has at least one. */
bool words_printable(struct str s);
bool words_visible(struct str s);

/* Whether it can name a credential field: 1 to 64 letters, digits, '_' and '-'. */
bool words_is_field(struct str s);

/* What is wrong with the name of a header that carries a credential; NULL: nothing. */
const char *words_header_fault(struct str s);

/* The parameter of authorization requests that the broker sets by itself and that s would override, in any case of
 * its letters, since servers differ; NULL: none. */
const char *words_reserved(struct str s);

#endif
