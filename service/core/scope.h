/* SPDX-License-Identifier: Apache-2.0
 * Scopes: exact strings of RFC 6749 section 3.3 syntax. No wildcard, no hierarchy. Pure. */
#ifndef SERVICE_CORE_SCOPE_H
#define SERVICE_CORE_SCOPE_H

#include "base/arena.h"
#include "base/err.h"

enum { SCOPE_MAX = 128, SCOPES_MAX = 64 };

/* Whether s is one scope-token of RFC 6749 section 3.3, at most SCOPE_MAX bytes long. */
bool scope_is_token(struct str s);

/* Trims each entry, refuses empty and ill-formed ones (ERR_INVALID_SCOPE names it), drops repeats keeping order. */
struct err scopes_normalise(struct arena *a, struct str_list in, struct str_list *out);

/* Takes a scope parameter apart (RFC 6749 section 3.3: tokens with one space between). ERR_INVALID_SCOPE when a token
 * is empty. Its tokens are checked by scopes_normalise. */
struct err scopes_split(struct arena *a, struct str text, struct str_list *out);

/* The first of wanted that is not in allowed; p == NULL when all are. */
struct str scopes_first_outside(struct str_list wanted, struct str_list allowed);

/* Joined by single spaces, as the scope claim of RFC 9068 section 2.2.3. */
struct err scopes_join(struct arena *a, struct str_list scopes, struct str *out);

bool str_list_has(struct str_list l, struct str s);

#endif
