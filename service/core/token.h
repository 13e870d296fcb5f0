/* SPDX-License-Identifier: Apache-2.0
 * The claims of what the broker signs (RFC 9068 section 2.2). Pure. */
#ifndef SERVICE_CORE_TOKEN_H
#define SERVICE_CORE_TOKEN_H

#include "base/arena.h"
#include "crypto/json.h"
#include "service/core/domain.h"

/* The longest payload: an answer to an introspection can hold it and be signed, too (api/introspect.c). */
enum { TOKEN_CLAIMS_MAX = 10240 };

/* {iss, sub, aud, client_id, scope, iat, nbf, exp, jti, sid} of a session. On behalf of a user: sub is the user, act
 * the chain of agents (RFC 8693 section 4.1), sub_id who vouched (RFC 9493), with clearance_level and tenant_id. Bound
 * to a key: cnf (RFC 9449 section 6.1).
 */
struct err token_members(struct json_writer *w, const struct session *s, struct str issuer, struct arena *a);
/* The same as a whole payload. */
struct err token_session_claims(struct arena *a, const struct session *s, struct str issuer, struct bytes *payload);

/* {iss, iat, exp, jti}: the broker's trial signature, which no verifier accepts as a token (typ nexus-selftest+jwt). */
struct err token_selftest_claims(struct arena *a, struct str issuer, struct str jti, int64_t now_s,
                                 struct bytes *payload);

/* {iss, aud, iat, exp, jti, token_sha256}: tells the back end that this broker asks, and about which token. With
 * another token it is worth nothing (typ nexus-call+jwt). */
struct token_call {
    struct str issuer, audience, jti;
    const uint8_t *token_sha256; /* SHA256_LEN bytes: of the token that goes with it */
    int64_t now_s;
};
struct err token_call_claims(struct arena *a, const struct token_call *t, struct bytes *payload);

#endif
