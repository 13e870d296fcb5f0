/* SPDX-License-Identifier: Apache-2.0
 * POST /oauth/introspect (RFC 7662) and POST /oauth/revoke (RFC 7009): what becomes of a token after it was issued. */
#include "service/api/client.h"

#include "base/rand.h"
#include "service/core/assertion.h"
#include "service/core/scope.h"
#include "service/core/token.h"

enum { ANSWER_MAX = 12000 };

struct token_query {
    struct str token, token_type_hint;
    struct client_form client;
};

#define AT(member) offsetof(struct token_query, member)
/* token_type_hint only speeds a search up (RFC 7009 section 2.1, attack I04): there is one kind of token, and no
 * search.
 */
static const struct json_field query_fields[] = {{"token", BIND_STR, AT(token), false, 0, 65536, 0},
                                                 {"token_type_hint", BIND_STR, AT(token_type_hint), false, 0, 256, 0},
                                                 CLIENT_FIELDS(struct token_query, client.)};
#undef AT

static const char *const none_repeats[] = {NULL};

static struct err read_query(const struct http_request *req, struct token_query *q)
{
    TRY(http_bind_form(req, query_fields, COUNT(query_fields), none_repeats, q));
    return OK;
}

static struct err need_token(const struct token_query *q)
{
    return q->token.p != NULL ? OK : FAIL(ERR_INVALID_REQUEST, "token is missing");
}

/* The session of a token that is in force; false for every token that is not, whatever the reason. */
static struct err find(const struct call *c, struct str token, struct session *out, bool *found)
{
    struct err e = auth_session_token(c, token, out);
    *found = !err_is(&e);
    return e.code == ERR_INVALID_TOKEN ? OK : e;
}

/* A caller by API key sees every token; an agent those that are for it (RFC 7662 section 2.1: the endpoint decides who
 * may ask what). */
struct asker {
    bool by_key;
    struct agent_auth agent;
};

static struct err who_asks(const struct call *c, const struct http_request *req, const struct token_query *q,
                           struct asker *out)
{
    out->by_key = q->client.assertion.p == NULL && (req->api_key.p != NULL || req->authorization.p != NULL);
    if (!out->by_key)
        return client_authenticate(c, req, &q->client, &out->agent);
    struct err e = api_require_role(c->api, req, ROLE_GATEWAY, NULL);
    return err_refused_as(e, ERR_INVALID_CLIENT);
}

static bool may_see(const struct asker *a, const struct session *s)
{
    if (a->by_key)
        return true;
    for (size_t i = 0; i < s->audiences.n; i++) {
        if (str_list_has(a->agent.who->agent.allowed_audiences, s->audiences.v[i]))
            return true;
    }
    return false;
}

/* RFC 7662 section 2.2: of a token that is not active, nothing more is said. */
static struct err put_answer(struct json_writer *w, const char *name, const struct session *s, const struct call *c)
{
    json_begin_object(w, name);
    json_put_bool(w, "active", s != NULL);
    if (s != NULL) {
        TRY(token_members(w, s, c->api->app->config->base_url, c->arena));
        json_put_str(w, "token_type", s->cnf_jkt.p != NULL ? STR("DPoP") : STR("Bearer"));
    }
    json_end_object(w);
    return OK;
}

/* RFC 9701 section 5: the answer as a JWT for this caller, which can be shown to others later. It has no sub and no
 * exp, so that it passes for no other kind of token. */
static struct err sign_answer(const struct call *c, struct str caller, const struct session *s, struct http_reply *out)
{
    const struct app *app = c->api->app;
    char jti[ID_TEXT];
    TRY(rand_id("", jti));
    struct buf b = buf_in(c->arena, ANSWER_MAX);
    struct json_writer w = json_writer(&b);
    json_begin_object(&w, NULL);
    json_put_str(&w, "iss", app->config->base_url);
    json_put_str(&w, "aud", caller);
    json_put_int(&w, "iat", clock_now_s(&app->clock));
    json_put_str(&w, "jti", str_of(jti));
    TRY(put_answer(&w, "token_introspection", s, c));
    json_end_object(&w);
    TRY(buf_status(&b));
    const struct own_jwt o = {.purpose = HSM_CALL,
                              .typ = STR(INTROSPECTION_TYP),
                              .payload = buf_bytes(&b),
                              .op = "sign",
                              .jti = str_of(jti),
                              .aud = caller,
                              .detail = STR("introspection")};
    TRY(record_jwt(c, &o, &out->body));
    out->status = 200;
    out->content_type = "application/" INTROSPECTION_TYP;
    out->outcome = "ok";
    http_set_header(out, "Cache-Control", STR("no-store"));
    return OK;
}

struct err api_oauth_introspect(struct api *api, const struct http_request *req, struct http_reply *out)
{
    struct token_query q = {.token = {NULL, 0}};
    TRY(read_query(req, &q));
    struct call c = call_of(api, req);
    struct asker who;
    /* Nothing is said of a token to somebody unknown, not even that it is missing (attack I02). */
    TRY(who_asks(&c, req, &q, &who));
    TRY(need_token(&q));
    struct session s;
    bool found = false;
    TRY(find(&c, q.token, &s, &found));
    const struct session *shown = found && may_see(&who, &s) ? &s : NULL;
    if (req->accept.p != NULL && str_is(req->accept, "application/" INTROSPECTION_TYP))
        return sign_answer(&c, who.by_key ? api->caller.name : who.agent.who->agent.id, shown, out);
    struct buf b = http_body(req);
    struct json_writer w = json_writer(&b);
    TRY(put_answer(&w, NULL, shown, &c));
    return http_reply_json(200, &b, out);
}

static struct err close_session(const struct call *c, const struct session *s, struct str actor)
{
    const struct leaf_fields f = {.kind = LEAF_CLOSE,
                                  .op = "token.revoke",
                                  .session = s->id,
                                  .jti = s->jti,
                                  .client = s->agent_id,
                                  .actor = actor,
                                  .exp = -1};
    struct recording r;
    TRY(record_begin(c, &f, &r));
    struct store st = call_store(c);
    bool closed_now = false;
    struct err stored = store_session_close(&st, s->id, &r.batch, &closed_now);
    return record_end(c, &r, stored, closed_now);
}

/* RFC 7009 section 2.2: 200 for a token that is unknown, ended or another client's; only the caller's own ends. */
struct err api_oauth_revoke(struct api *api, const struct http_request *req, struct http_reply *out)
{
    struct token_query q = {.token = {NULL, 0}};
    TRY(read_query(req, &q));
    struct call c = call_of(api, req);
    struct agent_auth who;
    TRY(client_authenticate(&c, req, &q.client, &who));
    TRY(need_token(&q));
    struct session s;
    bool found = false;
    TRY(find(&c, q.token, &s, &found));
    if (found && str_eq(s.agent_id, who.who->agent.id)) {
        struct str actor = arena_printf(req->arena, "agent:%.*s", STR_FMT(s.agent_id));
        if (actor.p == NULL)
            return FAIL(ERR_NO_MEMORY, "the actor's name");
        TRY(close_session(&c, &s, actor));
    }
    struct buf b = http_body(req);
    struct json_writer w = json_writer(&b);
    json_begin_object(&w, NULL);
    json_end_object(&w);
    return http_reply_json(200, &b, out);
}
