/* SPDX-License-Identifier: Apache-2.0
 * /providers and /v1/providers: the register of third parties. Paths, fields and statuses are upstream's; what is
 * answered otherwise stands in docs/api.md. A client secret comes in and never goes out. */
#include "service/api/provider_secret.h"
#include "service/api/provider_view.h"

#include "service/core/provider_rules.h"
#include "service/core/uuid.h"
#include "service/net/net.h"
#include "service/store/providers.h"

enum { RETRIES = 3 };

struct provider_body {
    struct str name, description, category, auth_type, auth_header, client_id, client_secret;
    struct str auth_url, token_url, issuer, api_base_url, user_info_endpoint, downscope;
    struct str_list scopes;
    const struct json *params;
    struct json_bool enable_discovery, allow_full_token;
    struct str shown; /* not looked at */
};

/* The last ones are what GET shows beside the settings. A change understands them, so that what was read can be sent
 * back as it came, and takes nothing from them; a registration does not know them. */
#define AT(member) offsetof(struct provider_body, member)
static const struct json_field fields[] = {
    {"name", BIND_STR, AT(name), false, 0, 0, 0},
    {"description", BIND_STR, AT(description), false, 0, 0, 0},
    {"category", BIND_STR, AT(category), false, 0, 0, 0},
    {"auth_type", BIND_STR, AT(auth_type), false, 0, 0, 0},
    {"auth_header", BIND_STR, AT(auth_header), false, 0, 0, 0},
    {"client_id", BIND_STR, AT(client_id), false, 0, 0, 0},
    {"client_secret", BIND_STR, AT(client_secret), false, 0, 0, 0},
    {"auth_url", BIND_STR, AT(auth_url), false, 0, 0, 0},
    {"token_url", BIND_STR, AT(token_url), false, 0, 0, 0},
    {"issuer", BIND_STR, AT(issuer), false, 0, 0, 0},
    {"api_base_url", BIND_STR, AT(api_base_url), false, 0, 0, 0},
    {"user_info_endpoint", BIND_STR, AT(user_info_endpoint), false, 0, 0, 0},
    {"downscope", BIND_STR, AT(downscope), false, 0, 0, 0},
    {"enable_discovery", BIND_BOOL, AT(enable_discovery), false, 0, 0, 0},
    {"allow_full_token", BIND_BOOL, AT(allow_full_token), false, 0, 0, 0},
    {"scopes", BIND_STR_LIST, AT(scopes), false, 0, 0, 0},
    {"params", BIND_OBJECT, AT(params), false, 0, 0, 0},
    {"id", BIND_STR, AT(shown), false, 0, 0, 0},
    {"client_secret_fingerprint", BIND_STR, AT(shown), false, 0, 0, 0},
    {"created_at", BIND_STR, AT(shown), false, 0, 0, 0},
    {"updated_at", BIND_STR, AT(shown), false, 0, 0, 0},
};
#undef AT
enum { SHOWN_FIELDS = 4 };

/* --- what was sent */

static struct err check_reach(const struct call *c, const char *field, struct str url)
{
    struct err e = url.n > 0 ? net_url_check(c->api->net, NET_GUARDED, url) : OK;
    return e.code == ERR_NET_REFUSED ? FAIL(ERR_INVALID_REQUEST, "field \"%s\": %s", field, e.detail) : e;
}

/* Of what was sent. What a row holds already is not checked again: the networks that may be reached may have changed
 * since, and it must still be possible to change the rest. */
static struct err check_urls(const struct call *c, const struct provider_body *b)
{
    const bool is_path = b->user_info_endpoint.n > 0 && b->user_info_endpoint.p[0] == '/';
    TRY(check_reach(c, "auth_url", b->auth_url));
    TRY(check_reach(c, "token_url", b->token_url));
    TRY(check_reach(c, "issuer", b->issuer));
    TRY(check_reach(c, "api_base_url", b->api_base_url));
    return is_path ? OK : check_reach(c, "user_info_endpoint", b->user_info_endpoint);
}

static struct err take_params(const struct call *c, const struct json *params, struct str *out)
{
    struct provider_params p;
    TRY(provider_params_read(c->arena, params, &p));
    TRY(check_reach(c, "params.revocation_endpoint", p.revocation_endpoint));
    struct buf b = buf_in(c->arena, PROVIDER_PARAMS_MAX);
    struct json_writer w = json_writer(&b);
    json_put_json(&w, NULL, params);
    *out = buf_view(&b);
    struct err e = buf_status(&b);
    return e.code == ERR_TOO_LARGE
               ? FAIL(ERR_INVALID_REQUEST, "field \"params\": must be at most %d bytes long", PROVIDER_PARAMS_MAX)
               : e;
}

/* An empty text takes away what was there. */
static void lay_text(struct str sent, struct str *over)
{
    if (sent.p != NULL)
        *over = sent.n > 0 ? sent : (struct str){NULL, 0};
}

/* Lays what was sent over the provider, but for the secret. */
static struct err lay_over(const struct call *c, const struct provider_body *b, struct provider *p)
{
    lay_text(b->name, &p->name);
    lay_text(str_trim(b->description), &p->description);
    lay_text(str_trim(b->category), &p->category);
    lay_text(b->auth_header, &p->auth_header);
    lay_text(b->client_id, &p->client_id);
    lay_text(b->auth_url, &p->auth_url);
    lay_text(b->token_url, &p->token_url);
    lay_text(b->issuer, &p->issuer);
    lay_text(b->api_base_url, &p->api_base_url);
    lay_text(b->user_info_endpoint, &p->user_info_endpoint);
    if (b->auth_type.p != NULL)
        TRY(provider_auth_parse(b->auth_type, &p->auth));
    if (b->downscope.p != NULL)
        TRY(downscope_parse(b->downscope, &p->downscope));
    if (b->scopes.v != NULL)
        p->scopes = b->scopes;
    if (b->enable_discovery.set)
        p->enable_discovery = b->enable_discovery.v;
    if (b->allow_full_token.set)
        p->allow_full_token = b->allow_full_token.v;
    if (b->params != NULL)
        TRY(take_params(c, b->params, &p->params));
    return check_urls(c, b);
}

/* The provider after the change: laid over what was there, checked as a whole, its new secret sealed. Nothing is asked
 * of the HSM for what is refused, or has no secret. */
static struct err make_next(const struct call *c, const struct provider_body *b, struct provider *p)
{
    TRY(lay_over(c, b, p));
    if (b->client_secret.p != NULL) {
        TRY(provider_secret_check(b->client_secret));
        p->secret.sealed = (struct bytes){NULL, 0};
        p->secret.fingerprint = (struct str){NULL, 0};
    }
    TRY(provider_check(c->arena, b->client_secret.n > 0 || p->secret.sealed.p != NULL, p));
    return b->client_secret.n > 0 ? provider_secret_seal(c, b->client_secret, p) : OK;
}

static struct provider blank(struct str id)
{
    return (struct provider){.id = id, .params = STR("{}")};
}

/* p is the provider after the change; NULL: it is gone. The router has checked the caller's role; here we take the name
 * for the record. */
static struct err record_change(const struct call *c, const char *op, struct str id, const struct provider *p,
                                struct recording *out)
{
    struct leaf_fields f = {.kind = LEAF_ADMIN, .op = op, .actor = c->api->caller.name, .target = id, .exp = -1};
    if (p != NULL)
        TRY(provider_view_detail(c, p, &f.detail));
    return record_begin(c, &f, out);
}

/* id.p == NULL: without it. */
static struct err reply_message(const struct http_request *req, int status, struct str id, struct str message,
                                struct http_reply *out)
{
    struct buf b = http_body(req);
    struct json_writer w = json_writer(&b);
    json_begin_object(&w, NULL);
    if (id.p != NULL)
        json_put_str(&w, "id", id);
    json_put_str(&w, "message", message);
    json_end_object(&w);
    return http_reply_json(status, &b, out);
}

/* --- endpoints */

static struct err take_id(const struct http_request *req, char out[static UUID_TEXT])
{
    return uuid_parse(req->args[0], out) ? OK : FAIL(ERR_INVALID_PROVIDER_ID, "not of the form 8-4-4-4-12");
}

/* saml has fields of its own, which are not known here: that it is not served is told before them. */
static struct err bind_profile(const struct http_request *req, const struct json *profile, struct provider_body *out)
{
    const struct json *sent = json_get(profile, "auth_type");
    enum provider_auth auth;
    if (sent != NULL && sent->type == JSON_STR)
        TRY(provider_auth_parse(sent->s, &auth));
    return json_bind_object(profile, fields, COUNT(fields) - SHOWN_FIELDS, JSON_UNKNOWN_REFUSED, req->arena, out);
}

struct err api_provider_create(struct api *api, const struct http_request *req, struct http_reply *out)
{
    static const struct json_field outer[] = {{"profile", BIND_OBJECT, 0, false, 0, 0, 0}};
    const struct json *profile = NULL;
    TRY(http_bind_json(req, outer, COUNT(outer), JSON_UNKNOWN_REFUSED, &profile));
    if (profile == NULL)
        return FAIL(ERR_MISSING_PROFILE, "field \"profile\": is missing");
    struct provider_body body = {.params = NULL};
    TRY(bind_profile(req, profile, &body));
    const struct call c = call_of(api, req);
    char id[UUID_TEXT];
    TRY(uuid_make(id));
    struct provider p = blank(str_of(id));
    TRY(make_next(&c, &body, &p));
    struct recording r;
    TRY(record_change(&c, "provider.register", p.id, &p, &r));
    struct store s = call_store(&c);
    bool changed = false;
    struct err stored = store_provider_insert(&s, &p, &r.batch, &changed);
    TRY(record_end(&c, &r, stored, changed));
    if (!changed)
        return FAIL(ERR_INVALID_REQUEST, "there are %d providers already, the most that there can be", PROVIDERS_MAX);
    return reply_message(req, 201, p.id, STR("provider registered"), out);
}

static struct err load_all(const struct http_request *req, const struct call *c, struct provider **out, size_t *n)
{
    TRY(http_query_only(req, NULL, 0));
    struct store s = call_store(c);
    return store_provider_list(&s, out, n);
}

struct err api_provider_list(struct api *api, const struct http_request *req, struct http_reply *out)
{
    const struct call c = call_of(api, req);
    struct provider *all = NULL;
    size_t n = 0;
    TRY(load_all(req, &c, &all, &n));
    struct buf b = http_body(req);
    struct json_writer w = json_writer(&b);
    json_begin_array(&w, NULL);
    for (size_t i = 0; i < n; i++) {
        json_begin_object(&w, NULL);
        json_put_str(&w, "id", all[i].id);
        json_put_str(&w, "name", all[i].name);
        json_end_object(&w);
    }
    json_end_array(&w);
    return http_reply_json(200, &b, out);
}

/* {auth_type: {name: ..}}, for the types that have any. */
struct err api_provider_metadata(struct api *api, const struct http_request *req, struct http_reply *out)
{
    const struct call c = call_of(api, req);
    struct provider *all = NULL;
    size_t n = 0;
    TRY(load_all(req, &c, &all, &n));
    struct buf b = http_body(req);
    struct json_writer w = json_writer(&b);
    json_begin_object(&w, NULL);
    for (int type = 0; type < PROVIDER_AUTH_COUNT; type++) {
        bool begun = false;
        for (size_t i = 0; i < n; i++) {
            if ((int)all[i].auth != type)
                continue;
            if (!begun)
                json_begin_object(&w, provider_auth_name(all[i].auth));
            begun = true;
            TRY(provider_view_metadata(&c, &all[i], &w));
        }
        if (begun)
            json_end_object(&w);
    }
    json_end_object(&w);
    return http_reply_json(200, &b, out);
}

struct err api_provider_get(struct api *api, const struct http_request *req, struct http_reply *out)
{
    char id[UUID_TEXT];
    TRY(take_id(req, id));
    const struct call c = call_of(api, req);
    struct store s = call_store(&c);
    struct provider p;
    TRY(store_provider_get(&s, str_of(id), &p));
    return provider_view_reply(req, &p, out);
}

struct err api_provider_find(struct api *api, const struct http_request *req, struct http_reply *out)
{
    const struct call c = call_of(api, req);
    struct store s = call_store(&c);
    struct provider p;
    TRY(store_provider_find(&s, req->args[0], &p));
    struct buf b = http_body(req);
    struct json_writer w = json_writer(&b);
    json_begin_object(&w, NULL);
    json_put_str(&w, "id", p.id);
    json_end_object(&w);
    return http_reply_json(200, &b, out);
}

/* A change of a provider, as it was asked for. */
struct change {
    struct call call;
    char id[UUID_TEXT];
    struct provider_body body;
    bool whole; /* PUT: what was not sent has its default again */
};

/* A secret cannot be read, so whoever reads a provider and writes it back sends none: it stays. */
static struct provider replaced(const struct provider *was)
{
    struct provider p = blank(was->id);
    p.secret = was->secret;
    p.version = was->version;
    return p;
}

/* Reads, changes and writes under the version that was read; ERR_CONFLICT when another change came between. */
static struct err change_once(const struct change *ch, struct provider *out)
{
    const struct call *c = &ch->call;
    struct store s = call_store(c);
    struct provider p;
    TRY(store_provider_get(&s, str_of(ch->id), &p));
    if (ch->whole)
        p = replaced(&p);
    TRY(make_next(c, &ch->body, &p));
    struct recording r;
    TRY(record_change(c, "provider.update", p.id, &p, &r));
    bool changed = false;
    struct err stored = store_provider_update(&s, &p, &r.batch, &changed, out);
    TRY(record_end(c, &r, stored, changed));
    return changed ? OK : FAIL(ERR_CONFLICT, "the provider has another version");
}

static struct err change(struct api *api, const struct http_request *req, struct change *ch, struct http_reply *out)
{
    ch->call = call_of(api, req);
    struct provider p;
    struct err e = change_once(ch, &p);
    for (int tries = 1; tries < RETRIES && e.code == ERR_CONFLICT; tries++)
        e = change_once(ch, &p);
    TRY(e);
    return provider_view_reply(req, &p, out);
}

/* An empty secret is none: in a copy of what GET shows, clients leave that field empty. */
struct err api_provider_replace(struct api *api, const struct http_request *req, struct http_reply *out)
{
    struct change ch = {.whole = true};
    TRY(take_id(req, ch.id));
    TRY(http_bind_json(req, fields, COUNT(fields), JSON_UNKNOWN_REFUSED, &ch.body));
    if (ch.body.client_secret.n == 0)
        ch.body.client_secret = (struct str){NULL, 0};
    return change(api, req, &ch, out);
}

static bool is_empty(const struct provider_body *b)
{
    const struct str texts[] = {b->name,         b->description,        b->category, b->auth_type, b->auth_header,
                                b->client_id,    b->client_secret,      b->auth_url, b->token_url, b->issuer,
                                b->api_base_url, b->user_info_endpoint, b->downscope};
    bool any = b->scopes.v != NULL || b->params != NULL || b->enable_discovery.set || b->allow_full_token.set;
    for (size_t i = 0; i < COUNT(texts); i++)
        any = any || texts[i].p != NULL;
    return !any;
}

struct err api_provider_update(struct api *api, const struct http_request *req, struct http_reply *out)
{
    struct change ch = {.whole = false};
    TRY(take_id(req, ch.id));
    TRY(http_bind_json(req, fields, COUNT(fields), JSON_UNKNOWN_REFUSED, &ch.body));
    if (is_empty(&ch.body))
        return FAIL(ERR_INVALID_REQUEST, "the body names nothing to change");
    return change(api, req, &ch, out);
}

static struct err delete_one(const struct call *c, struct str id)
{
    struct recording r;
    TRY(record_change(c, "provider.delete", id, NULL, &r));
    struct store s = call_store(c);
    bool changed = false;
    struct err stored = store_provider_delete(&s, id, &r.batch, &changed);
    TRY(record_end(c, &r, stored, changed));
    return changed ? OK : FAIL(ERR_PROVIDER_NOT_FOUND, "%.*s", STR_FMT(id));
}

struct err api_provider_delete(struct api *api, const struct http_request *req, struct http_reply *out)
{
    char id[UUID_TEXT];
    TRY(take_id(req, id));
    const struct call c = call_of(api, req);
    TRY(delete_one(&c, str_of(id)));
    return reply_message(req, 200, str_of(id), STR("provider deleted"), out);
}

struct err api_provider_delete_named(struct api *api, const struct http_request *req, struct http_reply *out)
{
    const struct call c = call_of(api, req);
    struct store s = call_store(&c);
    struct provider p;
    TRY(store_provider_find(&s, req->args[0], &p));
    TRY(delete_one(&c, p.id));
    return reply_message(req, 200, (struct str){NULL, 0}, STR("Deleted 1 provider(s)"), out);
}
