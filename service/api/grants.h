/* SPDX-License-Identifier: Apache-2.0
 * The grants of the token endpoint: how each checks its own parameters, and what the session then rests on. */
#ifndef SERVICE_API_GRANTS_H
#define SERVICE_API_GRANTS_H

#include "service/api/client.h"

/* Token type identifiers of RFC 8693 section 3. */
#define TOKEN_TYPE        "urn:ietf:params:oauth:token-type:"
#define TOKEN_TYPE_ACCESS TOKEN_TYPE "access_token"
#define TOKEN_TYPE_JWT    TOKEN_TYPE "jwt"
#define TOKEN_TYPE_ID     TOKEN_TYPE "id_token"

/* The parameters of the token endpoint. p == NULL, v == NULL: not sent, or sent without a value. */
struct token_form {
    struct str grant_type, scope;
    struct str_list resource, audience;
    struct str assertion; /* RFC 7523 section 2.1 */
    struct str subject_token, subject_token_type, actor_token, actor_token_type, requested_token_type;
    struct client_form client;
};

struct grant {
    const char *type; /* grant_type */
    const char *name; /* kept with the session */
    const char *op;   /* names a refusal */
    struct err (*check)(const struct token_form *f);
    subject_fn *look;       /* its arg is the struct token_form; NULL: the agent acts for itself */
    enum err_code bad_user; /* what ERR_USER_TOKEN is called here, also when only the issuing statement finds out */
    bool says_issued_type;
};

/* NULL-ended. */
extern const struct grant *const grants[];

/* exchange.c */
struct err exchange_check(const struct token_form *f);
subject_fn exchange_look;

#endif
