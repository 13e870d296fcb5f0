/* SPDX-License-Identifier: Apache-2.0
 * Tokens of registered issuers that vouch for a user: what they must look like, and the user that they name. The
 * signature is the caller's to verify, before it believes anything of what is read here. Pure. */
#ifndef SERVICE_CORE_USER_TOKEN_H
#define SERVICE_CORE_USER_TOKEN_H

#include "crypto/jwt.h"
#include "service/core/domain.h"

/* An identity assertion authorization grant (draft-ietf-oauth-identity-assertion-authz-grant), as jws.typ has it. */
#define ID_JAG_TYP "oauth-id-jag+jwt"

/* Who asks, and whom. */
struct user_token_terms {
    struct str agent_id; /* the agent that authenticated itself */
    struct str issuer;   /* our own */
    bool as_grant;       /* the assertion of a JWT bearer grant; an ID-JAG always is */
    int64_t now_s;
};

/* What a token says. Its text lies in the arena, or in that of the claims. */
struct user_token {
    struct user user;
    struct str must_bind;      /* cnf.jkt: only the holder of that key may use the token; p == NULL: anybody */
    struct str_list resources; /* of an ID-JAG: all that it is good for; n == 0: it does not say */
};

/* A token that was made for the user and is shown by the agent: a user context token, a subject token, or an assertion
 * (RFC 7523 section 3). ERR_USER_TOKEN with a detail for the log. A jti is there when one_time_jti asks for it; that
 * it is new is the caller's to see to. */
struct err user_token_read(const struct issuer *i, const struct jws *j, const struct jwt_claims *claims,
                           const struct user_token_terms *terms, struct arena *a, struct user_token *out);

/* An ID-JAG: for this agent and for us alone. The same errors. */
struct err id_jag_read(const struct issuer *i, const struct jws *j, const struct jwt_claims *claims,
                       const struct user_token_terms *terms, struct arena *a, struct user_token *out);

/* Whether a typ stands for another kind of JWT, which no registration can make a user's token (RFC 8725 section 3.12).
 */
bool user_token_typ_is_taken(struct str typ);

/* Until when, in seconds since 1970, an id of the token must be remembered so that it cannot pass again (attack J19).
 */
int64_t user_token_remember_s(const struct jwt_claims *claims);

#endif
