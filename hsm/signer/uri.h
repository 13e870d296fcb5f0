/* SPDX-License-Identifier: Apache-2.0
 * The RFC 7512 URI that names the token. A token is named by what it is (label, serial, manufacturer, model), never by
 * its slot alone: slot numbers move. */
#ifndef HSM_SIGNER_URI_H
#define HSM_SIGNER_URI_H

#include "base/arena.h"

#include <p11-kit/pkcs11.h>

struct token_uri;

/* ERR_CONFIG says what is wrong with the URI; a PIN or a module path in it is refused. */
struct err token_uri_parse(const char *text, struct token_uri **out);
void token_uri_free(struct token_uri **u);

/* The path of pin-source=file:, or NULL when the URI has none. */
const char *token_uri_pin_path(const struct token_uri *u);

bool token_uri_matches(const struct token_uri *u, CK_TOKEN_INFO *info);

#endif
