/* SPDX-License-Identifier: Apache-2.0
 * Who asks for a session and what it asks for, as JSON bodies and as OAuth forms say it. */
#ifndef SERVICE_API_CLIENT_H
#define SERVICE_API_CLIENT_H

#include "crypto/jws.h"
#include "service/api/issue.h"

/* What the bodies of both session endpoints share. */
struct session_body {
    struct str agent_id, audience, assertion_type, assertion;
    struct str_list scopes;
    struct json_int ttl;
    struct str provider_name, connection_id, workspace_id;
};

/* For a struct `type` where these members are named with `m` before them, such as "common." (may be empty). */
#define SESSION_FIELDS(type, m)                                                                                        \
    {"agent_id", BIND_STR, offsetof(type, m agent_id), false, 0, 4096, 0},                                             \
        {"scopes", BIND_STR_LIST, offsetof(type, m scopes), false, 0, 1024, 1024},                                     \
        {"ttl_seconds", BIND_INT, offsetof(type, m ttl), false, -JSON_INT_MAX, JSON_INT_MAX, 0},                       \
        {"audience", BIND_STR, offsetof(type, m audience), false, 1, AUDIENCE_MAX, 0},                                 \
        {"client_assertion_type", BIND_STR, offsetof(type, m assertion_type), false, 0, 256, 0},                       \
        {"client_assertion", BIND_STR, offsetof(type, m assertion), false, 0, JWS_MAX, 0},                             \
        {"provider_name", BIND_STR, offsetof(type, m provider_name), false, 0, 256, 0},                                \
        {"connection_id", BIND_STR, offsetof(type, m connection_id), false, 0, 256, 0},                                \
    {                                                                                                                  \
        "workspace_id", BIND_STR, offsetof(type, m workspace_id), false, 0, 256, 0                                     \
    }

/* Fills the call, who asks and what for. */
struct err client_of_body(struct api *api, const struct http_request *req, struct session_body *b, struct issuing *i);

/* 201 with the session and its token. */
struct err client_reply_opened(const struct issuing *i, const struct http_request *req, struct http_reply *out);

/* How a client names and proves itself in a form (RFC 7521 section 4.2). */
struct client_form {
    struct str client_id, assertion_type, assertion;
};

#define CLIENT_FIELDS(type, m)                                                                                         \
    {"client_id", BIND_STR, offsetof(type, m client_id), false, 0, AGENT_ID_MAX, 0},                                   \
        {"client_assertion_type", BIND_STR, offsetof(type, m assertion_type), false, 0, 256, 0},                       \
    {                                                                                                                  \
        "client_assertion", BIND_STR, offsetof(type, m assertion), false, 0, JWS_MAX, 0                                \
    }

/* The agent that a form's assertion names, not verified yet. ERR_INVALID_CLIENT: no assertion, or client_id is another;
 * ERR_INVALID_REQUEST: two ways of authentication at once (RFC 6749 section 2.3). */
struct err client_of_form(const struct call *c, const struct http_request *req, const struct client_form *f,
                          struct str *agent_id);

/* Verifies the client of a form that asks for no token, and uses up its assertion. An agent that is not active is
 * ERR_AGENT_INACTIVE, on record. */
struct err client_authenticate(const struct call *c, const struct http_request *req, const struct client_form *f,
                               struct agent_auth *out);

#endif
