/* SPDX-License-Identifier: Apache-2.0
 * /admin/v1/issuers: who may vouch for users. Every change is one transaction with its leaf and the policy's next
 * revision. It waits for the sessions that are being issued on the revision before; after it, an issuing statement that
 * names that one grants nothing. */
#include "service/api/public_keys.h"
#include "service/api/record.h"

#include "base/rand.h"
#include "crypto/jwk.h"
#include "service/core/issuer_rules.h"
#include "service/net/net.h"
#include "service/store/policy.h"

enum { DETAIL_MAX = 4096, RETRIES = 3 };

struct issuer_body {
    struct str issuer, jwks_uri, audience, typ;
    const struct json *jwks, *claims;
    struct str_list algorithms;
    struct json_int max_age;
    struct json_bool discovery, one_time_jti, active;
};

#define AT(member) offsetof(struct issuer_body, member)
#define OPTIONAL_FIELDS                                                                                                \
    {"jwks", BIND_OBJECT, AT(jwks), false, 0, 0, 0}, {"jwks_uri", BIND_STR, AT(jwks_uri), false, 0, 0, 0},             \
        {"discovery", BIND_BOOL, AT(discovery), false, 0, 0, 0}, {"claims", BIND_OBJECT, AT(claims), false, 0, 0, 0},  \
        {"one_time_jti", BIND_BOOL, AT(one_time_jti), false, 0, 0, 0},                                                 \
    {                                                                                                                  \
        "active", BIND_BOOL, AT(active), false, 0, 0, 0                                                                \
    }

static const struct json_field create_fields[] = {
    {"issuer", BIND_STR, AT(issuer), true, 0, 0, 0},
    {"algorithms", BIND_STR_LIST, AT(algorithms), true, 1, JOSE_ALG_COUNT, 0},
    {"audience", BIND_STR, AT(audience), true, 0, 0, 0},
    {"typ", BIND_STR, AT(typ), false, 1, ISSUER_TYP_MAX, 0},
    {"max_age_seconds", BIND_INT, AT(max_age), false, 1, ISSUER_AGE_MAX_S, 0},
    OPTIONAL_FIELDS};

/* An empty typ and a max_age_seconds of 0 take away what was there. */
static const struct json_field update_fields[] = {
    {"algorithms", BIND_STR_LIST, AT(algorithms), false, 1, JOSE_ALG_COUNT, 0},
    {"audience", BIND_STR, AT(audience), false, 0, 0, 0},
    {"typ", BIND_STR, AT(typ), false, 0, ISSUER_TYP_MAX, 0},
    {"max_age_seconds", BIND_INT, AT(max_age), false, 0, ISSUER_AGE_MAX_S, 0},
    OPTIONAL_FIELDS};
#undef AT

#define AT(member) offsetof(struct issuer, member)
static const struct json_field claims_fields[] = {
    {"user_id", BIND_STR, AT(claim_user_id), false, 0, 0, 0},
    {"tenant_id", BIND_STR, AT(claim_tenant_id), false, 0, 0, 0},
    {"clearance_level", BIND_STR, AT(claim_clearance), false, 0, 0, 0},
    {"permissions", BIND_STR, AT(claim_permissions), false, 0, 0, 0},
};
#undef AT

static bool names_source(const struct issuer_body *b)
{
    return b->jwks != NULL || b->jwks_uri.p != NULL || b->discovery.set;
}

static struct err take_source(const struct call *c, const struct issuer_body *b, struct issuer *sent)
{
    sent->jwks_uri = b->jwks_uri;
    sent->discovery = b->discovery.set && b->discovery.v;
    if ((b->jwks != NULL) + (b->jwks_uri.p != NULL) + sent->discovery != 1)
        return FAIL(ERR_INVALID_REQUEST,
                    "keys come from one source: field \"jwks\", field \"jwks_uri\", or field \"discovery\" as true");
    return b->jwks != NULL ? public_keys_text(c, b->jwks, ISSUER_KEYS_MAX, &sent->jwks) : OK;
}

static struct err take_claims(const struct call *c, const struct json *claims, struct issuer *sent)
{
    struct err e = json_bind_object(claims, claims_fields, COUNT(claims_fields), JSON_UNKNOWN_REFUSED, c->arena, sent);
    return e.code == ERR_INVALID_REQUEST ? FAIL(ERR_INVALID_REQUEST, "field \"claims\": %s", e.detail) : e;
}

/* What was sent, checked by itself. What a row holds already is not checked again: settings may have changed since, and
 * it must still be possible to deactivate it. */
static struct err take(const struct call *c, const struct issuer_body *b, struct issuer *sent)
{
    *sent = (struct issuer){.issuer = b->issuer, .algorithms = b->algorithms, .audience = b->audience};
    if (b->typ.n > 0)
        sent->typ = b->typ;
    if (names_source(b))
        TRY(take_source(c, b, sent));
    if (b->claims != NULL)
        TRY(take_claims(c, b->claims, sent));
    const struct config *config = c->api->app->config;
    const struct issuer_site site = {.own = config->base_url, .http_loopback = config->insecure_loopback_fetches};
    return issuer_check(&site, c->arena, sent);
}

/* What can be known of the way to its keys before anybody asks for them. */
static struct err check_reach(const struct call *c, const struct issuer *i)
{
    if (i->jwks.p != NULL)
        return OK;
    struct err e = net_url_check(c->api->net, NET_GUARDED, i->discovery ? i->issuer : i->jwks_uri);
    if (e.code == ERR_NET_REFUSED)
        return FAIL(ERR_INVALID_REQUEST, "field \"%s\": %s", i->discovery ? "discovery" : "jwks_uri", e.detail);
    return e;
}

static void lay_text(struct str sent, struct str *over)
{
    if (sent.p != NULL)
        *over = sent;
}

/* Lays what was sent over the issuer. A source takes the place of the one that was there. */
static struct err lay_over(const struct call *c, const struct issuer_body *b, const struct issuer *sent,
                           struct issuer *i)
{
    if (sent->algorithms.v != NULL)
        i->algorithms = sent->algorithms;
    lay_text(sent->audience, &i->audience);
    lay_text(sent->claim_user_id, &i->claim_user_id);
    lay_text(sent->claim_tenant_id, &i->claim_tenant_id);
    lay_text(sent->claim_clearance, &i->claim_clearance);
    lay_text(sent->claim_permissions, &i->claim_permissions);
    if (b->typ.p != NULL)
        i->typ = sent->typ;
    if (b->max_age.set)
        i->max_age_s = b->max_age.v;
    if (b->one_time_jti.set)
        i->one_time_jti = b->one_time_jti.v;
    if (b->active.set)
        i->active = b->active.v;
    if (!names_source(b))
        return OK;
    i->jwks = sent->jwks;
    i->jwks_uri = sent->jwks_uri;
    i->discovery = sent->discovery;
    return check_reach(c, i);
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

static const char *key_source(const struct issuer *i)
{
    return i->jwks.p != NULL ? "jwks" : i->jwks_uri.p != NULL ? "jwks_uri" : "discovery";
}

/* What an auditor wants to know of an issuer after the change. No value but the pointers can hold a blank, so these
 * stand by their hash, a line each. */
static struct err describe(const struct call *c, const struct issuer *i, struct str *out)
{
    struct buf b = buf_in(c->arena, DETAIL_MAX);
    buf_printf(&b, "issuer=%.*s active=%s keys=%s", STR_FMT(i->issuer), i->active ? "true" : "false", key_source(i));
    if (i->jwks_uri.p != NULL)
        buf_printf(&b, " jwks_uri=%.*s", STR_FMT(i->jwks_uri));
    if (i->jwks.p != NULL)
        TRY(hash_into(c, "jwks", i->jwks, &b));
    for (size_t k = 0; k < i->algorithms.n; k++)
        buf_printf(&b, "%s%.*s", k == 0 ? " algorithms=" : ",", STR_FMT(i->algorithms.v[k]));
    buf_printf(&b, " audience=%.*s max_age_seconds=%lld one_time_jti=%s", STR_FMT(i->audience), (long long)i->max_age_s,
               i->one_time_jti ? "true" : "false");
    if (i->typ.p != NULL)
        buf_printf(&b, " typ=%.*s", STR_FMT(i->typ));
    struct str claims = arena_printf(c->arena, "user_id %.*s\ntenant_id %.*s\nclearance_level %.*s\npermissions %.*s\n",
                                     STR_FMT(i->claim_user_id), STR_FMT(i->claim_tenant_id),
                                     STR_FMT(i->claim_clearance), STR_FMT(i->claim_permissions));
    if (claims.p == NULL)
        return FAIL(ERR_NO_MEMORY, "claims");
    TRY(hash_into(c, "claims", claims, &b));
    *out = buf_view(&b);
    return buf_status(&b);
}

/* i is the issuer after the change; NULL: it is gone. The router has checked the caller's role; here we take the name
 * for the record. */
static struct err record_change(const struct call *c, const char *op, struct str id, const struct issuer *i,
                                struct recording *out)
{
    struct leaf_fields f = {.kind = LEAF_ADMIN, .op = op, .actor = c->api->caller.name, .target = id, .exp = -1};
    if (i != NULL)
        TRY(describe(c, i, &f.detail));
    return record_begin(c, &f, out);
}

/* with_keys: not in a list, whose key sets could be longer than a reply may be. */
static void put_issuer(struct json_writer *w, const struct issuer *i, bool with_keys)
{
    char time[CLOCK_TEXT];
    json_begin_object(w, NULL);
    json_put_bool(w, "active", i->active);
    json_put_list(w, "algorithms", i->algorithms);
    json_put_str(w, "audience", i->audience);
    json_begin_object(w, "claims");
    json_put_str(w, "clearance_level", i->claim_clearance);
    json_put_str(w, "permissions", i->claim_permissions);
    json_put_str(w, "tenant_id", i->claim_tenant_id);
    json_put_str(w, "user_id", i->claim_user_id);
    json_end_object(w);
    json_put_str(w, "created_at", clock_rfc3339(i->created_us, time));
    if (i->discovery)
        json_put_bool(w, "discovery", true);
    json_put_str(w, "id", i->id);
    json_put_str(w, "issuer", i->issuer);
    if (i->jwks.p != NULL && with_keys)
        json_put_raw(w, "jwks", i->jwks);
    if (i->jwks_uri.p != NULL)
        json_put_str(w, "jwks_uri", i->jwks_uri);
    json_put_str(w, "key_source", str_of(key_source(i)));
    if (i->max_age_s != 0)
        json_put_int(w, "max_age_seconds", i->max_age_s);
    json_put_bool(w, "one_time_jti", i->one_time_jti);
    if (i->typ.p != NULL)
        json_put_str(w, "typ", i->typ);
    json_put_str(w, "updated_at", clock_rfc3339(i->updated_us, time));
    json_end_object(w);
}

static struct err reply_issuer(const struct http_request *req, int status, const struct issuer *i,
                               struct http_reply *out)
{
    struct buf b = http_body(req);
    struct json_writer w = json_writer(&b);
    put_issuer(&w, i, true);
    return http_reply_json(status, &b, out);
}

struct err api_issuer_create(struct api *api, const struct http_request *req, struct http_reply *out)
{
    struct issuer_body body = {.jwks = NULL};
    TRY(http_bind_json(req, create_fields, COUNT(create_fields), JSON_UNKNOWN_REFUSED, &body));
    body.discovery.set = true; /* a registration names a source */
    const struct call c = call_of(api, req);
    struct issuer sent;
    TRY(take(&c, &body, &sent));
    char id[ID_TEXT];
    TRY(rand_id("iss_", id));
    struct issuer i = {.id = str_of(id),
                       .issuer = sent.issuer,
                       .claim_user_id = STR("/sub"),
                       .claim_tenant_id = STR("/tenant_id"),
                       .claim_clearance = STR("/clearance_level"),
                       .claim_permissions = STR("/permissions"),
                       .active = true};
    TRY(lay_over(&c, &body, &sent, &i));
    struct recording r;
    TRY(record_change(&c, "issuer.register", i.id, &i, &r));
    struct store s = call_store(&c);
    struct err stored = store_issuer_insert(&s, &i, &r.batch, &i.created_us);
    TRY(record_end(&c, &r, stored, true));
    i.updated_us = i.created_us;
    return reply_issuer(req, 201, &i, out);
}

struct err api_issuer_list(struct api *api, const struct http_request *req, struct http_reply *out)
{
    TRY(http_query_only(req, NULL, 0));
    const struct call c = call_of(api, req);
    struct store s = call_store(&c);
    struct issuer *issuers = NULL;
    size_t n = 0;
    TRY(store_issuer_list(&s, &issuers, &n));
    struct buf b = http_body(req);
    struct json_writer w = json_writer(&b);
    json_begin_object(&w, NULL);
    json_begin_array(&w, "issuers");
    for (size_t i = 0; i < n; i++)
        put_issuer(&w, &issuers[i], false);
    json_end_array(&w);
    json_end_object(&w);
    return http_reply_json(200, &b, out);
}

struct err api_issuer_get(struct api *api, const struct http_request *req, struct http_reply *out)
{
    const struct call c = call_of(api, req);
    struct store s = call_store(&c);
    struct issuer i;
    TRY(store_issuer_get(&s, req->args[0], &i));
    return reply_issuer(req, 200, &i, out);
}

static bool is_empty(const struct issuer_body *b)
{
    return !names_source(b) && b->claims == NULL && b->algorithms.v == NULL && b->audience.p == NULL &&
           b->typ.p == NULL && !b->max_age.set && !b->one_time_jti.set && !b->active.set;
}

/* Reads, changes and writes under the version that was read; ERR_CONFLICT when another change came between. */
static struct err update_once(const struct call *c, const struct issuer_body *body, const struct issuer *sent,
                              struct str id, struct issuer *out)
{
    struct store s = call_store(c);
    struct issuer i;
    TRY(store_issuer_get(&s, id, &i));
    TRY(lay_over(c, body, sent, &i));
    struct recording r;
    TRY(record_change(c, "issuer.update", i.id, &i, &r));
    struct err stored = store_issuer_update(&s, &i, &r.batch, out);
    return record_end(c, &r, stored, true);
}

struct err api_issuer_update(struct api *api, const struct http_request *req, struct http_reply *out)
{
    struct issuer_body body = {.jwks = NULL};
    TRY(http_bind_json(req, update_fields, COUNT(update_fields), JSON_UNKNOWN_REFUSED, &body));
    if (is_empty(&body))
        return FAIL(ERR_INVALID_REQUEST, "the body names nothing to change");
    const struct call c = call_of(api, req);
    struct issuer sent, changed;
    TRY(take(&c, &body, &sent));
    struct err e = update_once(&c, &body, &sent, req->args[0], &changed);
    for (int tries = 1; tries < RETRIES && e.code == ERR_CONFLICT; tries++)
        e = update_once(&c, &body, &sent, req->args[0], &changed);
    TRY(e);
    return reply_issuer(req, 200, &changed, out);
}

struct err api_issuer_delete(struct api *api, const struct http_request *req, struct http_reply *out)
{
    const struct call c = call_of(api, req);
    struct str id = req->args[0];
    struct recording r;
    TRY(record_change(&c, "issuer.delete", id, NULL, &r));
    struct store s = call_store(&c);
    struct err stored = store_issuer_delete(&s, id, &r.batch);
    TRY(record_end(&c, &r, stored, true));
    struct buf b = http_body(req);
    struct json_writer w = json_writer(&b);
    json_begin_object(&w, NULL);
    json_put_str(&w, "id", id);
    json_put_str(&w, "status", STR("deleted"));
    json_end_object(&w);
    return http_reply_json(200, &b, out);
}
