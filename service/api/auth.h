/* SPDX-License-Identifier: Apache-2.0
 * Who asks: an agent by its assertion, the bearer of a session token, or an API key. */
#ifndef SERVICE_API_AUTH_H
#define SERVICE_API_AUTH_H

#include "service/api/agent_cache.h"

/* An agent that proved itself, and the one-time id that its assertion must still give up. */
struct agent_auth {
    const struct cached_agent *who;
    struct one_time id;
};

/* Once for each request that names an agent, before any of its signatures is checked. ERR_RATE_LIMITED. */
struct err auth_admit(const struct call *c, struct str agent_id);

/* Verifies a client assertion (RFC 7523 section 3, rfc7523bis). Any failure is ERR_INVALID_CLIENT, with the reason in
 * the detail for the log. Does not consume the one-time id. */
struct err auth_assertion(const struct call *c, struct str agent_id, struct str assertion, bool must_be_fresh,
                          struct agent_auth *out);

/* Consumes the one-time id by itself, for requests that end without an issuing statement. A second use is
 * ERR_INVALID_CLIENT. */
struct err auth_consume(const struct call *c, const struct agent_auth *a);

/* Verifies a session token of ours and its session's state. ERR_INVALID_TOKEN. */
struct err auth_session_token(const struct call *c, struct str token, struct session *out);

/* The kinds of credential that a request carries. */
enum credential {
    CREDENTIAL_NONE,
    CREDENTIAL_API_KEY,
    CREDENTIAL_SESSION_TOKEN,
    CREDENTIAL_BOUND_TOKEN, /* a session token by the DPoP scheme */
    CREDENTIAL_ASSERTION
};
/* Tells by the form alone, without verifying; *token is the bearer token. Two credentials at once are refused. */
struct err auth_credential(const struct http_request *req, enum credential *kind, struct str *token);

/* The agent that an unverified assertion names (its iss), for auth_assertion to verify. */
struct err auth_assertion_issuer(const struct call *c, struct str assertion, struct str *agent_id);

#endif
