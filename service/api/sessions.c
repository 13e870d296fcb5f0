/* SPDX-License-Identifier: Apache-2.0
 * /v1/agent-sessions: an agent opens, reads and closes its sessions; /admin/v1/sessions lists them. */
#include "service/api/auth.h"
#include "service/api/health.h"
#include "service/api/keyring.h"
#include "service/api/view.h"

#include "base/log.h"
#include "base/rand.h"
#include "service/core/agent_rules.h"
#include "service/core/assertion.h"
#include "service/core/policy.h"
#include "service/core/token.h"

#include <stdlib.h>

/* CLOSE_US: for closing a session whose signature did not come in time; the request's own time is over by then. */
enum { SESSION_ID_MAX = 64, RETRIES = 3, CLOSE_US = 2000000 };

struct create_body {
    struct str agent_id, audience, assertion_type, assertion;
    struct str_list scopes;
    struct json_int ttl;
    struct str provider_name, connection_id, workspace_id;
};

static const struct json_field create_fields[] = {
    {"agent_id", BIND_STR, offsetof(struct create_body, agent_id), false, 0, 4096, 0},
    {"scopes", BIND_STR_LIST, offsetof(struct create_body, scopes), false, 0, 1024, 1024},
    {"ttl_seconds", BIND_INT, offsetof(struct create_body, ttl), false, -JSON_INT_MAX, JSON_INT_MAX, 0},
    {"audience", BIND_STR, offsetof(struct create_body, audience), false, 1, AUDIENCE_MAX, 0},
    {"client_assertion_type", BIND_STR, offsetof(struct create_body, assertion_type), false, 0, 256, 0},
    {"client_assertion", BIND_STR, offsetof(struct create_body, assertion), false, 0, JWS_MAX, 0},
    {"provider_name", BIND_STR, offsetof(struct create_body, provider_name), false, 0, 256, 0},
    {"connection_id", BIND_STR, offsetof(struct create_body, connection_id), false, 0, 256, 0},
    {"workspace_id", BIND_STR, offsetof(struct create_body, workspace_id), false, 0, 256, 0},
};

/* A request on its way to a session. */
struct issue {
    struct call call;
    const struct create_body *body;
    struct agent_auth auth;
    struct session session;
    const struct keyset *keys;
    struct str signing_input;
    char id[ID_TEXT], jti[ID_TEXT];
    struct str token;
};

static struct err check_request(const struct create_body *b, struct str *agent_id)
{
    if (b->agent_id.p == NULL || str_trim(b->agent_id).n == 0)
        return FAIL(ERR_MISSING_AGENT_ID, "agent_id is empty");
    TRY(agent_id_check(b->agent_id, agent_id));
    if (b->provider_name.p != NULL || b->connection_id.p != NULL || b->workspace_id.p != NULL)
        return FAIL(ERR_UNSUPPORTED_PROVIDER_SESSION, "not yet");
    if (b->assertion.p == NULL || b->assertion_type.p == NULL)
        return FAIL(ERR_INVALID_CLIENT, "no client_assertion or client_assertion_type was sent");
    if (!str_is(b->assertion_type, ASSERTION_TYPE))
        return FAIL(ERR_INVALID_CLIENT, "client_assertion_type is not " ASSERTION_TYPE);
    return OK;
}

static struct err prepare(struct issue *i)
{
    const struct app *app = i->call.api->app;
    if (i->keys->active == NULL)
        return FAIL(ERR_NO_ACTIVE_KEY, "no active session key");
    TRY(rand_id("sess_", i->id));
    TRY(rand_id("", i->jti));
    i->session.id = str_of(i->id);
    i->session.jti = str_of(i->jti);
    i->session.kid = jwk_kid(i->keys->active);
    struct bytes payload;
    TRY(token_session_claims(i->call.arena, &i->session, app->config->base_url, &payload));
    return jws_signing_input(i->call.arena, jwk_alg(i->keys->active), i->session.kid, STR(TOKEN_TYP), payload,
                             &i->signing_input);
}

/* The one statement: replay id, agent check, session and intent. */
static struct err record_intent(struct issue *i, struct recording *r, enum issue_result *result)
{
    const struct call *c = &i->call;
    uint8_t hash[SHA256_LEN];
    TRY(crypto_sha256(c->api->app->crypto, str_bytes(i->signing_input), hash));
    const struct leaf_fields f = {.kind = LEAF_INTENT,
                                  .op = "sign",
                                  .kid = i->session.kid,
                                  .mech = jose_alg_name(jwk_alg(i->keys->active)),
                                  .in_sha256 = hash,
                                  .jti = i->session.jti,
                                  .session = i->session.id,
                                  .iss = c->api->app->config->base_url,
                                  .aud = i->session.audience,
                                  .client = i->session.agent_id,
                                  .scope = i->session.scopes,
                                  .exp = i->session.expires_us / 1000000,
                                  .policy = "granted"};
    TRY(record_begin(c, &f, r));
    const struct issue_request q = {.session = &i->session,
                                    .agent_version = i->auth.who->agent.version,
                                    .jti_sha256 = i->auth.jti_sha256,
                                    .assertion_exp_us = i->auth.exp_us};
    struct store s = call_store(c);
    struct err stored = store_session_issue(&s, &q, &r->batch, result);
    return record_end(c, r, stored, *result == ISSUE_DONE);
}

/* A session whose token could not be signed is of no use to anyone: it is closed, on record. */
static void close_unsigned(const struct issue *i, const struct err *why)
{
    const struct leaf_fields f = {.kind = LEAF_CLOSE,
                                  .op = "session.close",
                                  .session = i->session.id,
                                  .client = i->session.agent_id,
                                  .actor = STR("self"),
                                  .reason = err_name(why->code),
                                  .exp = -1};
    struct call c = i->call;
    c.deadline_us = clock_mono_us() + CLOSE_US;
    struct recording r;
    struct err e = record_begin(&c, &f, &r);
    if (!err_is(&e)) {
        struct store s = call_store(&c);
        bool closed = false;
        e = store_session_close(&s, i->session.id, &r.batch, &closed);
        e = record_end(&c, &r, e, closed);
    }
    if (err_is(&e))
        LOG_ERR(LOG_WARN, "unsigned session stays open until it expires", &e, LOG_STR("session_id", i->session.id));
}

static struct err sign(struct issue *i, const struct recording *r)
{
    const struct sign_order o = {.intent = r,
                                 .key = &i->keys->active_id,
                                 .jwk = i->keys->active,
                                 .jti = i->session.jti,
                                 .signing_input = i->signing_input};
    struct bytes signature;
    struct err e = record_sign(&i->call, &o, &signature);
    if (err_is(&e)) {
        close_unsigned(i, &e);
        return e;
    }
    return jws_join(i->call.arena, i->signing_input, signature, &i->token);
}

/* An authenticated agent asked for more than it may have: its one-time id is used up, and the refusal is on record. */
static struct err refuse(struct issue *i, struct err why)
{
    TRY(auth_consume(&i->call, &i->auth));
    const struct leaf_fields f = {.op = "session.open", .client = i->auth.who->agent.id};
    return record_refusal(&i->call, &f, why);
}

/* Authenticates and decides, on a cached or a fresh row. *again: the cached row may have been out of date. */
static struct err decide(struct issue *i, struct str agent_id, bool must_be_fresh, bool *again)
{
    const struct app *app = i->call.api->app;
    *again = false;
    TRY(auth_assertion(&i->call, agent_id, i->body->assertion, must_be_fresh, &i->auth));
    const struct session_ask ask = {.scopes = i->body->scopes, .ttl_s = i->body->ttl.v, .audience = i->body->audience};
    struct err e = policy_autonomous_session(&i->auth.who->agent, &ask, app->config->base_url,
                                             clock_now_us(&app->clock), i->call.arena, &i->session);
    if (!err_is(&e))
        return OK;
    *again = !i->auth.who->fresh;
    return *again ? e : refuse(i, e);
}

static struct err issue_session(struct issue *i, struct str agent_id)
{
    bool must_be_fresh = false;
    for (int attempt = 0; attempt < RETRIES; attempt++) {
        bool again = false;
        struct err e = decide(i, agent_id, must_be_fresh, &again);
        must_be_fresh = true;
        if (again)
            continue;
        TRY(e);
        TRY(prepare(i));
        struct recording r;
        enum issue_result result = ISSUE_AGENT_CHANGED;
        TRY(record_intent(i, &r, &result));
        if (result == ISSUE_REPLAYED)
            return FAIL(ERR_INVALID_CLIENT, "the assertion's jti was used before");
        if (result == ISSUE_DONE)
            return sign(i, &r);
    }
    return FAIL(ERR_DB_CONFLICT, "agent %.*s changed during every one of %d attempts", STR_FMT(agent_id), RETRIES);
}

static struct err write_created(const struct issue *i, const struct http_request *req, struct http_reply *out)
{
    struct buf b = http_body(req);
    struct json_writer w = json_writer(&b);
    json_begin_object(&w, NULL);
    json_put_str(&w, "access_token", i->token);
    view_session_members(&w, &i->session, clock_now_us(&i->call.api->app->clock));
    json_put_str(&w, "session_token", i->token);
    json_put_str(&w, "token_type", STR("session"));
    json_end_object(&w);
    return http_reply_json(201, &b, out);
}

struct err api_session_create(struct api *api, const struct http_request *req, struct http_reply *out)
{
    struct create_body body = {.ttl.v = 0};
    TRY(http_bind_json(req, create_fields, COUNT(create_fields), JSON_UNKNOWN_REFUSED, &body));
    struct str agent_id;
    TRY(check_request(&body, &agent_id));
    CLEANUP(keyset_release) const struct keyset *keys = keyring_take(api->app->keyring);
    struct issue i = {.call = call_of(api, req), .body = &body, .keys = keys};
    struct err e = issue_session(&i, agent_id);
    if (err_is(&e)) {
        metric_add(api->app->metrics, M_SESSIONS_REFUSED, 1, err_public(e.code)->code, NULL, NULL);
        return e;
    }
    metric_add(api->app->metrics, M_SESSIONS_ISSUED, 1, NULL, NULL, NULL);
    return write_created(&i, req, out);
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
    /* Here a key is one credential among others: one that is not in force is answered like a dead token. */
    TRY(e.code == ERR_INVALID_API_KEY ? err_as(e, ERR_INVALID_TOKEN) : e);
    TRY(name_actor(c, "key", who.name, v));
    struct store s = call_store(c);
    return store_session_get(&s, session_id, &v->session);
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
        TRY(auth_session_token(c, token, &v->session));
        v->actor = STR("session");
        return str_eq(v->session.id, session_id) ? OK : FAIL(ERR_SESSION_NOT_FOUND, "another session's token");
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
