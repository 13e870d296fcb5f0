/* SPDX-License-Identifier: Apache-2.0 */
#include "service/core/assertion.h"

static const char *const assertion_typ[] = {"client-authentication+jwt", "jwt", NULL};
static const char *const token_typ[] = {TOKEN_TYP, NULL};

struct jwt_rules assertion_rules(struct str agent_id, struct str issuer)
{
    return (struct jwt_rules){
        /* rfc7523bis asks clients for the explicit typ, and servers not to reject those that lack it. */
        .typ = assertion_typ,
        .typ_may_be_absent = true,
        .iss = agent_id,
        .sub = agent_id,
        .aud = issuer,
        .aud_must_be_sole = true,
        .need_jti = true,
        .jti_max = JTI_MAX,
        .max_lifetime_s = ASSERTION_LIFETIME_S,
        .skew_s = SKEW_S,
    };
}

struct jwt_rules session_token_rules(struct str issuer)
{
    return (struct jwt_rules){
        .typ = token_typ,
        .iss = issuer,
        .need_jti = true,
        .need_iat = true,
        .jti_max = JTI_MAX,
        .skew_s = SKEW_S, /* of brokers among each other; the row says when a session ends */
    };
}
