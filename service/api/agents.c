/* SPDX-License-Identifier: Apache-2.0
 * /admin/v1/agents: the register of agents. Every change is one transaction with its leaf, and takes effect on the
 * very next request of any broker. */
#include "service/api/public_keys.h"
#include "service/api/view.h"

#include "base/rand.h"

#include "service/core/agent_rules.h"

enum { DETAIL_MAX = 4096, JWKS_TEXT_MAX = 65536, RETRIES = 3 };

struct agent_body {
    struct str agent_id, description;
    struct str_list allowed_scopes, workspaces, allowed_audiences, delegates_to;
    const struct json *jwks;
    struct json_int max_ttl;
    struct json_bool active, require_dpop;
};

#define AGENT_FIELDS                                                                                                   \
    {"description", BIND_STR, offsetof(struct agent_body, description), false, 0, DESCRIPTION_MAX, 0},                 \
        {"allowed_scopes", BIND_STR_LIST, offsetof(struct agent_body, allowed_scopes), false, 0, 1024, 1024},          \
        {"jwks", BIND_OBJECT, offsetof(struct agent_body, jwks), false, 0, 16, 0},                                     \
        {"workspaces", BIND_STR_LIST, offsetof(struct agent_body, workspaces), false, 0, 1024, 1024},                  \
        {"allowed_audiences", BIND_STR_LIST, offsetof(struct agent_body, allowed_audiences), false, 0, 1024, 1024},    \
        {"delegates_to", BIND_STR_LIST, offsetof(struct agent_body, delegates_to), false, 0, 1024, 1024},              \
        {"require_dpop", BIND_BOOL, offsetof(struct agent_body, require_dpop), false, 0, 0, 0},                        \
    {                                                                                                                  \
        "max_ttl_seconds", BIND_INT, offsetof(struct agent_body, max_ttl), false, 1, TTL_MAX_S, 0                      \
    }

static const struct json_field create_fields[] = {
    {"agent_id", BIND_STR, offsetof(struct agent_body, agent_id), true, 0, 1024, 0}, AGENT_FIELDS};

static const struct json_field update_fields[] = {
    AGENT_FIELDS, {"active", BIND_BOOL, offsetof(struct agent_body, active), false, 0, 0, 0}};

/* Lays the members that were sent over the agent, and checks the whole. */
static struct err apply(const struct call *c, const struct agent_body *b, struct agent *agent)
{
    if (b->description.p != NULL)
        agent->description = b->description;
    if (b->allowed_scopes.v != NULL)
        agent->allowed_scopes = b->allowed_scopes;
    if (b->workspaces.v != NULL)
        agent->workspaces = b->workspaces;
    if (b->allowed_audiences.v != NULL)
        agent->allowed_audiences = b->allowed_audiences;
    if (b->delegates_to.v != NULL)
        agent->delegates_to = b->delegates_to;
    if (b->require_dpop.set)
        agent->require_dpop = b->require_dpop.v;
    if (b->max_ttl.set)
        agent->max_ttl_s = b->max_ttl.v;
    if (b->active.set)
        agent->active = b->active.v;
    if (b->jwks != NULL)
        TRY(public_keys_text(c, b->jwks, AGENT_KEYS_MAX, &agent->jwks));
    return agent_check(c->arena, agent);
}

static struct err hash_into(const struct call *c, const char *name, struct str text, struct buf *b)
{
    uint8_t hash[SHA256_LEN];
    TRY(crypto_sha256(c->api->app->crypto, str_bytes(text), hash));
    char hex[2 * SHA256_LEN + 1];
    hex_encode(hash, sizeof hash, hex);
    buf_printf(b, " %s_sha256=%s", name, hex);
    return OK;
}

/* What an auditor wants to know of an agent's state after the change: its ceiling is in the leaf's scope, the rest
 * here; longer lists by the hash of their entries, a line each. */
static struct err describe(const struct call *c, const struct agent *a, struct str *out)
{
    struct buf lists = buf_in(c->arena, JWKS_TEXT_MAX);
    for (size_t i = 0; i < a->allowed_audiences.n; i++)
        buf_printf(&lists, "audience %.*s\n", STR_FMT(a->allowed_audiences.v[i]));
    for (size_t i = 0; i < a->workspaces.n; i++)
        buf_printf(&lists, "workspace %.*s\n", STR_FMT(a->workspaces.v[i]));
    for (size_t i = 0; i < a->delegates_to.n; i++)
        buf_printf(&lists, "delegates_to %.*s\n", STR_FMT(a->delegates_to.v[i]));
    TRY(buf_status(&lists));
    struct buf b = buf_in(c->arena, DETAIL_MAX);
    buf_printf(&b, "active=%s max_ttl_seconds=%lld audiences=%zu workspaces=%zu delegates_to=%zu require_dpop=%s",
               a->active ? "true" : "false", (long long)a->max_ttl_s, a->allowed_audiences.n, a->workspaces.n,
               a->delegates_to.n, a->require_dpop ? "true" : "false");
    TRY(hash_into(c, "lists", buf_view(&lists), &b));
    TRY(hash_into(c, "jwks", a->jwks, &b));
    TRY(buf_status(&b));
    *out = buf_view(&b);
    return OK;
}

struct change {
    struct call call;
    struct api_key who;
    struct recording recording;
};

/* The router has checked the caller's role; here we take the name for the record. */
static struct change change_begin(struct api *api, const struct http_request *req)
{
    return (struct change){.call = call_of(api, req), .who = api->caller};
}

static struct err change_record(struct change *ch, const char *op, const struct agent *a)
{
    struct leaf_fields f = {.kind = LEAF_ADMIN, .op = op, .actor = ch->who.name, .target = a->id, .exp = -1};
    if (a->jwks.p != NULL) {
        f.scope = a->allowed_scopes;
        TRY(describe(&ch->call, a, &f.detail));
    }
    return record_begin(&ch->call, &f, &ch->recording);
}

/* closed: how many sessions its deactivation ended; NULL: it was not deactivated. */
static struct err reply_agent(const struct http_request *req, int status, const struct agent *a, const int64_t *closed,
                              struct http_reply *out)
{
    struct buf b = http_body(req);
    struct json_writer w = json_writer(&b);
    json_begin_object(&w, NULL);
    view_agent_members(&w, a);
    if (closed != NULL)
        json_put_int(&w, "sessions_closed", *closed);
    json_end_object(&w);
    return http_reply_json(status, &b, out);
}

struct err api_agent_create(struct api *api, const struct http_request *req, struct http_reply *out)
{
    struct agent_body body = {.jwks = NULL};
    TRY(http_bind_json(req, create_fields, COUNT(create_fields), JSON_UNKNOWN_REFUSED, &body));
    struct change ch = change_begin(api, req);
    struct agent a = {.description = STR(""), .max_ttl_s = TTL_MAX_S, .active = true, .version = 1};
    TRY(agent_id_check(body.agent_id, &a.id));
    if (body.jwks == NULL)
        return FAIL(ERR_INVALID_JWKS, "field \"jwks\": is missing");
    TRY(apply(&ch.call, &body, &a));
    TRY(change_record(&ch, "agent.register", &a));
    struct store s = call_store(&ch.call);
    struct err stored = store_agent_insert(&s, &a, &ch.recording.batch, &a.created_us);
    TRY(record_end(&ch.call, &ch.recording, stored, true));
    a.updated_us = a.created_us;
    return reply_agent(req, 201, &a, NULL, out);
}

struct err api_agent_list(struct api *api, const struct http_request *req, struct http_reply *out)
{
    static const char *const known[] = {"active", "cursor", "limit"};
    TRY(http_query_only(req, known, COUNT(known)));
    struct agent_filter f = {.limit = 0};
    TRY(view_query_bool(req, "active", &f.by_active, &f.active));
    TRY(view_query_page(req, &f.cursor, &f.limit));
    struct call c = call_of(api, req);
    struct store s = call_store(&c);
    struct agent *agents = NULL;
    size_t n = 0;
    struct str next = {NULL, 0};
    TRY(store_agent_list(&s, &f, &agents, &n, &next));
    struct buf b = http_body(req);
    struct json_writer w = json_writer(&b);
    json_begin_object(&w, NULL);
    json_begin_array(&w, "agents");
    for (size_t i = 0; i < n; i++) {
        json_begin_object(&w, NULL);
        view_agent_members(&w, &agents[i]);
        json_end_object(&w);
    }
    json_end_array(&w);
    if (next.p != NULL)
        json_put_str(&w, "next_cursor", next);
    json_end_object(&w);
    return http_reply_json(200, &b, out);
}

struct err api_agent_get(struct api *api, const struct http_request *req, struct http_reply *out)
{
    struct call c = call_of(api, req);
    struct store s = call_store(&c);
    struct agent a;
    TRY(store_agent_get(&s, req->args[0], &a));
    return reply_agent(req, 200, &a, NULL, out);
}

static bool is_empty(const struct agent_body *b)
{
    return b->description.p == NULL && b->allowed_scopes.v == NULL && b->workspaces.v == NULL &&
           b->allowed_audiences.v == NULL && b->delegates_to.v == NULL && b->jwks == NULL && !b->max_ttl.set &&
           !b->active.set && !b->require_dpop.set;
}

/* Reads, changes and writes under the version that was read; ERR_CONFLICT when another change came between. */
static struct err update_once(struct change *ch, const struct agent_body *body, struct str id, struct agent *out,
                              int64_t *closed)
{
    struct store s = call_store(&ch->call);
    struct agent a;
    TRY(store_agent_get(&s, id, &a));
    TRY(apply(&ch->call, body, &a));
    TRY(change_record(ch, "agent.update", &a));
    struct err stored = store_agent_update(&s, &a, &ch->recording.batch, out, closed);
    return record_end(&ch->call, &ch->recording, stored, true);
}

struct err api_agent_update(struct api *api, const struct http_request *req, struct http_reply *out)
{
    struct agent_body body = {.jwks = NULL};
    TRY(http_bind_json(req, update_fields, COUNT(update_fields), JSON_UNKNOWN_REFUSED, &body));
    if (is_empty(&body))
        return FAIL(ERR_INVALID_REQUEST, "the body names nothing to change");
    struct change ch = change_begin(api, req);
    /* What is wrong by itself is refused whether the agent exists or not. */
    struct agent a = {.description = STR(""), .max_ttl_s = TTL_MAX_S};
    TRY(apply(&ch.call, &body, &a));
    int64_t closed = 0;
    struct err e = update_once(&ch, &body, req->args[0], &a, &closed);
    for (int i = 1; i < RETRIES && e.code == ERR_CONFLICT; i++)
        e = update_once(&ch, &body, req->args[0], &a, &closed);
    TRY(e);
    return reply_agent(req, 200, &a, body.active.set && !body.active.v ? &closed : NULL, out);
}

struct err api_agent_delete(struct api *api, const struct http_request *req, struct http_reply *out)
{
    struct change ch = change_begin(api, req);
    const struct agent a = {.id = req->args[0]};
    TRY(change_record(&ch, "agent.delete", &a));
    struct store s = call_store(&ch.call);
    int64_t closed = 0;
    struct err stored = store_agent_delete(&s, a.id, &ch.recording.batch, &closed);
    TRY(record_end(&ch.call, &ch.recording, stored, true));
    struct buf b = http_body(req);
    struct json_writer w = json_writer(&b);
    json_begin_object(&w, NULL);
    json_put_str(&w, "agent_id", a.id);
    json_put_int(&w, "sessions_closed", closed);
    json_put_str(&w, "status", STR("deleted"));
    json_end_object(&w);
    return http_reply_json(200, &b, out);
}
