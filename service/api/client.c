/* SPDX-License-Identifier: Apache-2.0 */
#include "service/api/client.h"

#include "service/api/view.h"

#include "service/core/agent_rules.h"
#include "service/core/assertion.h"

static struct err check_assertion_type(struct str type, struct str assertion)
{
    if (assertion.p == NULL || type.p == NULL)
        return FAIL(ERR_INVALID_CLIENT, "no client_assertion or client_assertion_type was sent");
    if (!str_is(type, ASSERTION_TYPE))
        return FAIL(ERR_INVALID_CLIENT, "client_assertion_type is not " ASSERTION_TYPE);
    return OK;
}

struct err client_of_body(struct api *api, const struct http_request *req, struct session_body *b, struct issuing *i)
{
    if (b->agent_id.p == NULL || str_trim(b->agent_id).n == 0)
        return FAIL(ERR_MISSING_AGENT_ID, "agent_id is empty");
    TRY(agent_id_check(b->agent_id, &i->agent_id));
    if (b->provider_name.p != NULL || b->connection_id.p != NULL || b->workspace_id.p != NULL)
        return FAIL(ERR_UNSUPPORTED_PROVIDER_SESSION, "not yet");
    TRY(check_assertion_type(b->assertion_type, b->assertion));
    i->call = call_of(api, req);
    i->req = req;
    i->assertion = b->assertion;
    i->bad_user = ERR_USER_TOKEN;
    i->ask = (struct session_ask){
        .scopes = b->scopes, .ttl_s = b->ttl.v, .audiences = {&b->audience, b->audience.p != NULL ? 1 : 0}};
    return OK;
}

struct err client_reply_opened(const struct issuing *i, const struct http_request *req, struct http_reply *out)
{
    struct buf b = http_body(req);
    struct json_writer w = json_writer(&b);
    json_begin_object(&w, NULL);
    view_opened_members(&w, &i->session, i->token, clock_now_us(&i->call.api->app->clock));
    json_end_object(&w);
    return http_reply_json(201, &b, out);
}

struct err client_of_form(const struct call *c, const struct http_request *req, const struct client_form *f,
                          struct str *agent_id)
{
    if (req->authorization.p != NULL || req->api_key.p != NULL) {
        if (f->assertion.p != NULL)
            return FAIL(ERR_INVALID_REQUEST, "authenticate by client_assertion or by a header, not by both");
        return FAIL(ERR_INVALID_CLIENT, "agents authenticate by private_key_jwt alone");
    }
    TRY(check_assertion_type(f->assertion_type, f->assertion));
    TRY(auth_assertion_issuer(c, f->assertion, agent_id));
    /* RFC 7521 section 4.2: client_id is unnecessary, and must name the same client. */
    if (f->client_id.p != NULL && !str_eq(f->client_id, *agent_id))
        return FAIL(ERR_INVALID_CLIENT, "client_id is not the assertion's");
    return OK;
}

struct err client_authenticate(const struct call *c, const struct http_request *req, const struct client_form *f,
                               struct agent_auth *out)
{
    struct str agent_id;
    TRY(client_of_form(c, req, f, &agent_id));
    TRY(auth_admit(c, agent_id));
    TRY(auth_assertion(c, agent_id, f->assertion, true, out));
    if (out->who->agent.active)
        return auth_consume(c, out);
    const struct leaf_fields who = {.op = "client.authenticate", .client = agent_id, .target = req->path};
    return record_refusal_once(c, &who, (struct id_list){&out->id, 1},
                               FAIL(ERR_AGENT_INACTIVE, "agent %.*s", STR_FMT(agent_id)));
}
