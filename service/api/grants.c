/* SPDX-License-Identifier: Apache-2.0 */
#include "service/api/grants.h"

#include "service/api/user_context.h"

/* RFC 6749 section 4.4. Scopes are named: a default would hand out more than the agent needs. */
static struct err credentials_check(const struct token_form *f)
{
    return f->scope.p != NULL ? OK : FAIL(ERR_MISSING_SCOPES, "scope is missing");
}

static struct err bearer_check(const struct token_form *f)
{
    return f->assertion.p != NULL ? OK : FAIL(ERR_INVALID_REQUEST, "assertion is missing");
}

static struct err bearer_look(struct issuing *i, void *arg, struct subject *out)
{
    const struct token_form *f = arg;
    return assertion_check(i, f->assertion, out);
}

static const struct grant client_credentials = {.type = "client_credentials",
                                                .name = "client_credentials",
                                                .op = "token.client_credentials",
                                                .check = credentials_check,
                                                .bad_user = ERR_GRANT};

static const struct grant token_exchange = {.type = "urn:ietf:params:oauth:grant-type:token-exchange",
                                            .name = "token-exchange",
                                            .op = "token.exchange",
                                            .check = exchange_check,
                                            .look = exchange_look,
                                            .bad_user = ERR_SUBJECT_TOKEN,
                                            .says_issued_type = true};

static const struct grant jwt_bearer = {.type = "urn:ietf:params:oauth:grant-type:jwt-bearer",
                                        .name = "jwt-bearer",
                                        .op = "token.jwt_bearer",
                                        .check = bearer_check,
                                        .look = bearer_look,
                                        .bad_user = ERR_GRANT};

const struct grant *const grants[] = {&client_credentials, &token_exchange, &jwt_bearer, NULL};
