/* SPDX-License-Identifier: Apache-2.0
 * POST /oauth/introspect (RFC 7662) and POST /oauth/revoke (RFC 7009): what becomes of a token after it was issued. */
#include "service/api/client.h"

#include "base/rand.h"
#include "service/core/assertion.h"
#include "service/core/scope.h"
#include "service/core/token.h"

#include <strings.h>

/* Room for a token's claims, and for who says so to whom; a JWT of it is as long as a JWT may be. */
enum { ANSWER_MAX = TOKEN_CLAIMS_MAX + 1280, HEADER_ROOM = 160 };
_Static_assert((HEADER_ROOM + ANSWER_MAX + JOSE_SIG_MAX) * 4 / 3 <= JWS_MAX, "every answer can be signed");

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

static bool is_caseless(struct str a, const char *b)
{
    return a.n == strlen(b) && strncasecmp(a.p, b, a.n) == 0;
}

/* Takes what stands before the next mark, or before the end, off the front. A mark in a quoted string (RFC 9110 section
 * 5.6.4) is none. */
static struct str take_until(struct str *rest, char mark)
{
    bool quoted = false;
    size_t n = 0;
    for (; n < rest->n && (quoted || rest->p[n] != mark); n++) {
        if (rest->p[n] == '"')
            quoted = !quoted;
        else if (quoted && rest->p[n] == '\\' && n + 1 < rest->n)
            n++;
    }
    struct str taken = {rest->p, n};
    size_t used = n < rest->n ? n + 1 : n;
    *rest = (struct str){rest->p + used, rest->n - used};
    return str_trim(taken);
}

/* RFC 9110 section 12.4.2: a weight of 0, with up to three decimals, is "not acceptable". */
static bool is_zero_weight(struct str parameter)
{
    struct str value = parameter, name = take_until(&value, '=');
    if (!is_caseless(name, "q") || value.n == 0 || value.p[0] != '0')
        return false;
    for (size_t i = 1; i < value.n; i++) {
        if (value.p[i] != '0' && value.p[i] != '.')
            return false;
    }
    return true;
}

/* RFC 9110 section 12.5.1: media ranges with commas between, each with its parameters. The signed form is for those who
 * name it; a range that merely includes it asks for nothing in particular. */
static bool wants_signed(struct str accept)
{
    while (accept.n > 0) {
        struct str range = take_until(&accept, ',');
        bool wanted = is_caseless(take_until(&range, ';'), "application/" INTROSPECTION_TYP);
        while (wanted && range.n > 0)
            wanted = !is_zero_weight(take_until(&range, ';'));
        if (wanted)
            return true;
    }
    return false;
}

/* Each signature costs the HSM as much as a session does. An agent has paid with its assertion, whose rate is limited;
 * a key pays here. No agent's id begins like that. */
static struct err take_rate_token(const struct call *c)
{
    struct str key = c->api->caller.name, bucket = arena_printf(c->arena, "@key/%.*s", STR_FMT(key));
    if (bucket.p == NULL)
        return FAIL(ERR_NO_MEMORY, "the name of a bucket");
    int64_t retry = 0;
    return buckets_take(c->api->app->agents, bucket, clock_mono_us(), &retry)
               ? OK
               : FAIL(ERR_RATE_LIMITED, "API key \"%.*s\" asks for more signed answers than its rate allows",
                      STR_FMT(key));
}

/* Who the answer is for. Keys and agents are named by different registers, so a key's name says that it is one. */
static struct err name_asker(const struct call *c, const struct asker *who, struct str *out)
{
    if (!who->by_key) {
        *out = who->agent.who->agent.id;
        return OK;
    }
    *out = arena_printf(c->arena, "@key/%.*s", STR_FMT(c->api->caller.name));
    return out->p != NULL ? OK : FAIL(ERR_NO_MEMORY, "the key's name");
}

/* RFC 9701 section 5: the answer as a JWT for this caller, which can be shown to others later. It has no sub and no
 * exp, so that it passes for no other kind of token. */
static struct err sign_answer(const struct call *c, const struct asker *who, const struct session *s,
                              struct http_reply *out)
{
    const struct app *app = c->api->app;
    if (who->by_key)
        TRY(take_rate_token(c));
    struct str caller;
    TRY(name_asker(c, who, &caller));
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
    if (wants_signed(req->accept))
        return sign_answer(&c, &who, shown, out);
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
