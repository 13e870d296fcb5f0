/* SPDX-License-Identifier: Apache-2.0
 * The rule sets of the JWTs that the broker takes and makes. They are disjoint: typ and aud tell one kind from another
 * (RFC 8725 section 3.12). Pure. */
#ifndef SERVICE_CORE_ASSERTION_H
#define SERVICE_CORE_ASSERTION_H

#include "crypto/jwt.h"

enum { ASSERTION_LIFETIME_S = 300, SKEW_S = 30, JTI_MAX = 256 };

/* The only client_assertion_type there is (RFC 7523 section 2.2). */
#define ASSERTION_TYPE "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

/* The typ of a session token (RFC 9068 section 2.1), of the broker's own trial signatures, and of what it shows to the
 * back end. */
#define TOKEN_TYP    "at+jwt"
#define SELFTEST_TYP "nexus-selftest+jwt"
#define CALL_TYP     "nexus-call+jwt"
/* The typ of a signed answer to an introspection (RFC 9701 section 5). */
#define INTROSPECTION_TYP "token-introspection+jwt"

/* An agent's client assertion: RFC 7523 section 3 with rfc7523bis: iss = sub = the agent, aud solely the issuer. */
struct jwt_rules assertion_rules(struct str agent_id, struct str issuer);

/* A session token of ours, presented to ourselves: its audience is somebody else's to check. */
struct jwt_rules session_token_rules(struct str issuer);

#endif
