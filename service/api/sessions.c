/* SPDX-License-Identifier: Apache-2.0
 * /v1/agent-sessions: an agent opens, reads and closes its sessions; /admin/v1/sessions lists them. */
#include "service/api/client.h"
#include "service/api/view.h"

enum { SESSION_ID_MAX = 64, SERVER_ERROR = 500 };

static const struct json_field create_fields[] = {SESSION_FIELDS(struct session_body, )};

struct err api_session_create(struct api *api, const struct http_request *req, struct http_reply *out)
{
    struct session_body body = {.ttl.v = 0};
    TRY(http_bind_json(req, create_fields, COUNT(create_fields), JSON_UNKNOWN_REFUSED, &body));
    struct issuing i = {.op = "session.open", .grant_type = "session"};
    TRY(client_of_body(api, req, &body, &i));
    TRY(issue(&i));
    return client_reply_opened(&i, req, out);
}

/* Whoever may see this session: its own token, its agent, or an API key. Everyone else learns nothing of it. */
struct viewer {
    struct session session;
    struct str actor;
};

static struct err name_actor(const struct call *c, const char *kind, struct str name, struct viewer *v)
{
    v->actor = arena_printf(c->arena, "%s:%.*s", kind, STR_FMT(name));
    return v->actor.p != NULL ? OK : FAIL(ERR_NO_MEMORY, "the actor's name");
}

static struct err view_by_assertion(const struct call *c, struct str assertion, struct str session_id, struct viewer *v)
{
    struct str agent_id;
    TRY(auth_assertion_issuer(c, assertion, &agent_id));
    struct agent_auth auth;
    TRY(auth_admit(c, agent_id));
    TRY(auth_assertion(c, agent_id, assertion, true, &auth));
    TRY(auth_consume(c, &auth));
    const struct leaf_fields f = {.op = "session.access", .client = agent_id, .target = session_id};
    if (!auth.who->agent.active)
        return record_refusal(c, &f, FAIL(ERR_AGENT_INACTIVE, "agent %.*s", STR_FMT(agent_id)));
    TRY(name_actor(c, "agent", agent_id, v));
    struct store s = call_store(c);
    TRY(store_session_get(&s, session_id, &v->session));
    if (!str_eq(v->session.agent_id, agent_id))
        return record_refusal(c, &f, FAIL(ERR_SESSION_NOT_FOUND, "another agent's session"));
    return OK;
}

static struct err view_by_key(const struct call *c, const struct http_request *req, unsigned roles,
                              struct str session_id, struct viewer *v)
{
    struct api_key who;
    struct err e = api_require_role(c->api, req, roles, &who);
    /* Here a key is one credential among others: one that is not in force is answered like a dead token, and one whose
     * role does not fit as if it saw no session at all. */
    TRY(e.code == ERR_INVALID_API_KEY ? err_as(e, ERR_INVALID_TOKEN)
        : e.code == ERR_ROLE_REQUIRED ? err_as(e, ERR_SESSION_NOT_FOUND)
                                      : e);
    TRY(name_actor(c, "key", who.name, v));
    struct store s = call_store(c);
    return store_session_get(&s, session_id, &v->session);
}

/* A token that is good but used by somebody else, or for something else, is the sign of a theft: it is on record. */
static struct err view_by_token(const struct call *c, const struct http_request *req, bool bound, struct str token,
                                struct viewer *v)
{
    v->actor = STR("session");
    struct err e = dpop_check_bearer(c, req, bound, token, &v->session);
    if (!err_is(&e) && !str_eq(v->session.id, req->args[0]))
        e = FAIL(ERR_SESSION_NOT_FOUND, "another session's token");
    if (!err_is(&e) || err_public(e.code)->status >= SERVER_ERROR || e.code == ERR_DPOP_NONCE)
        return e;
    const struct leaf_fields f = {.op = "session.access",
                                  .client = v->session.agent_id,
                                  .session = v->session.id,
                                  .jti = v->session.jti,
                                  .target = req->args[0]};
    return record_refusal(c, &f, e);
}

static struct err view_session(const struct call *c, const struct http_request *req, unsigned roles, struct viewer *v)
{
    struct str session_id = req->args[0];
    enum credential kind = CREDENTIAL_NONE;
    struct str token = {NULL, 0};
    TRY(auth_credential(req, &kind, &token));
    if (session_id.n > SESSION_ID_MAX && kind != CREDENTIAL_NONE)
        return FAIL(ERR_SESSION_NOT_FOUND, "not of the form of a session id");
    switch (kind) {
    case CREDENTIAL_API_KEY:
        return view_by_key(c, req, roles, session_id, v);
    case CREDENTIAL_ASSERTION:
        return view_by_assertion(c, token, session_id, v);
    case CREDENTIAL_SESSION_TOKEN:
    case CREDENTIAL_BOUND_TOKEN:
        TRY(auth_session_token(c, token, &v->session));
        return view_by_token(c, req, kind == CREDENTIAL_BOUND_TOKEN, token, v);
    case CREDENTIAL_NONE:
        break;
    }
    return FAIL(ERR_MISSING_API_KEY, "or the session's own token, or the agent's assertion");
}

struct err api_session_get(struct api *api, const struct http_request *req, struct http_reply *out)
{
    struct call c = call_of(api, req);
    struct viewer v = {.actor = {NULL, 0}};
    TRY(view_session(&c, req, ROLE_ADMIN | ROLE_AUDITOR | ROLE_GATEWAY, &v));
    struct buf b = http_body(req);
    struct json_writer w = json_writer(&b);
    json_begin_object(&w, NULL);
    view_session_members(&w, &v.session, clock_now_us(&api->app->clock));
    json_end_object(&w);
    return http_reply_json(200, &b, out);
}

struct err api_session_close(struct api *api, const struct http_request *req, struct http_reply *out)
{
    struct call c = call_of(api, req);
    struct viewer v = {.actor = {NULL, 0}};
    TRY(view_session(&c, req, ROLE_ADMIN | ROLE_GATEWAY, &v));
    const struct leaf_fields f = {.kind = LEAF_CLOSE,
                                  .op = "session.close",
                                  .session = v.session.id,
                                  .jti = v.session.jti,
                                  .client = v.session.agent_id,
                                  .actor = v.actor,
                                  .exp = -1};
    struct recording r;
    TRY(record_begin(&c, &f, &r));
    struct store s = call_store(&c);
    bool closed_now = false;
    struct err stored = store_session_close(&s, v.session.id, &r.batch, &closed_now);
    TRY(record_end(&c, &r, stored, closed_now));
    struct buf b = http_body(req);
    struct json_writer w = json_writer(&b);
    json_begin_object(&w, NULL);
    json_put_bool(&w, "active", false);
    json_put_str(&w, "session_id", v.session.id);
    json_put_str(&w, "status", STR("closed"));
    json_end_object(&w);
    return http_reply_json(200, &b, out);
}

struct err api_session_list(struct api *api, const struct http_request *req, struct http_reply *out)
{
    static const char *const known[] = {"agent", "active", "acting_for", "since", "until", "cursor", "limit"};
    TRY(http_query_only(req, known, COUNT(known)));
    struct session_filter f = {.now_us = clock_now_us(&api->app->clock)};
    TRY(http_query(req, "agent", &f.agent_id));
    TRY(http_query(req, "acting_for", &f.acting_for));
    TRY(view_query_bool(req, "active", &f.by_active, &f.active));
    TRY(view_query_time(req, "since", &f.since_us));
    TRY(view_query_time(req, "until", &f.until_us));
    TRY(view_query_page(req, &f.cursor, &f.limit));
    struct call c = call_of(api, req);
    struct store s = call_store(&c);
    struct session *sessions = NULL;
    size_t n = 0;
    struct str next = {NULL, 0};
    TRY(store_session_list(&s, &f, &sessions, &n, &next));
    struct buf b = http_body(req);
    struct json_writer w = json_writer(&b);
    json_begin_object(&w, NULL);
    if (next.p != NULL)
        json_put_str(&w, "next_cursor", next);
    json_begin_array(&w, "sessions");
    for (size_t i = 0; i < n; i++) {
        json_begin_object(&w, NULL);
        view_session_members(&w, &sessions[i], f.now_us);
        json_end_object(&w);
    }
    json_end_array(&w);
    json_end_object(&w);
    return http_reply_json(200, &b, out);
}
