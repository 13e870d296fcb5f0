/* SPDX-License-Identifier: Apache-2.0
 * The claims of what the broker signs (RFC 9068 section 2.2). Pure. */
#ifndef SERVICE_CORE_TOKEN_H
#define SERVICE_CORE_TOKEN_H

#include "base/arena.h"
#include "service/core/domain.h"

/* {iss, sub, aud, client_id, scope, iat, nbf, exp, jti, sid} of a session. */
struct err token_session_claims(struct arena *a, const struct session *s, struct str issuer, struct bytes *payload);

/* {iss, iat, exp, jti}: the broker's trial signature, which no verifier accepts as a token (typ nexus-selftest+jwt). */
struct err token_selftest_claims(struct arena *a, struct str issuer, struct str jti, int64_t now_s,
                                 struct bytes *payload);

#endif
