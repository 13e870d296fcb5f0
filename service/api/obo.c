/* SPDX-License-Identifier: Apache-2.0
 * POST /v1/agent-sessions/obo: a session of an agent on behalf of a user (upstream reference D). */
#include "service/api/client.h"
#include "service/api/user_context.h"

struct obo_body {
    struct session_body common;
    struct str user_context_token;
};

static const struct json_field obo_fields[] = {
    SESSION_FIELDS(struct obo_body, common.),
    {"user_context_token", BIND_STR, offsetof(struct obo_body, user_context_token), false, 0, JWS_MAX, 0}};

static struct err look_at_user(struct issuing *i, void *arg, struct subject *out)
{
    const struct obo_body *body = arg;
    if (body->user_context_token.n == 0)
        return FAIL(ERR_MISSING_USER_TOKEN, "field \"user_context_token\": is missing");
    return user_context_check(i, body->user_context_token, out);
}

struct err api_session_create_obo(struct api *api, const struct http_request *req, struct http_reply *out)
{
    struct obo_body body = {.user_context_token = {NULL, 0}};
    TRY(http_bind_json(req, obo_fields, COUNT(obo_fields), JSON_UNKNOWN_REFUSED, &body));
    struct issuing i = {.op = "session.obo", .grant_type = "session", .look = look_at_user, .arg = &body};
    TRY(client_of_body(api, req, &body.common, &i));
    TRY(issue(&i));
    return client_reply_opened(&i, req, out);
}
