/* SPDX-License-Identifier: Apache-2.0
 * What a registered provider may look like. Pure: whether its URLs may be called is for net_url_check to say. Refusals
 * are ERR_INVALID_REQUEST naming the field, but for the name (ERR_INVALID_PROVIDER_NAME) and scopes
 * (ERR_INVALID_SCOPE). */
#ifndef SERVICE_CORE_PROVIDER_RULES_H
#define SERVICE_CORE_PROVIDER_RULES_H

#include "base/arena.h"
#include "crypto/json.h"
#include "service/core/provider.h"

const char *provider_auth_name(enum provider_auth a);
/* An empty text is oauth2. Says of saml that it is not served. */
struct err provider_auth_parse(struct str text, enum provider_auth *out);
const char *downscope_name(enum downscope d);
/* An empty text is none. */
struct err downscope_parse(struct str text, enum downscope *out);

/* A client secret as it was sent (RFC 6749 appendix A.2). */
struct err provider_secret_check(struct str secret);

/* Checks all fields of a provider but params, alone and together, with has_secret for its secret. Brings scopes to
 * their kept form, and drops auth_url and token_url when discovery tells them. */
struct err provider_check(struct arena *a, bool has_secret, struct provider *p);

/* The path form of user_info_endpoint, which is no URL. */
static inline bool provider_user_info_is_path(const struct provider *p)
{
    return p->user_info_endpoint.n > 0 && p->user_info_endpoint.p[0] == '/';
}

/* The params of a provider, taken apart. */
struct provider_params {
    bool skip_scope_on_auth, skip_scope_on_exchange;
    bool json_token_request;
    struct str revocation_endpoint;       /* p == NULL: none */
    const struct json *auth_strategy;     /* {type, config?}; NULL: the auth type's own. Likewise below */
    const struct json *credential_schema; /* of the form that takes static credentials */
    const struct json *validation;        /* how they are tried: {skip?, failure_status?, ..} */
    /* Further parameters of the authorization request: a name and a value each. */
    struct str_list extra_names, extra_values;
};
struct err provider_params_read(struct arena *a, const struct json *params, struct provider_params *out);

#endif
