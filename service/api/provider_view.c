/* SPDX-License-Identifier: Apache-2.0 */
#include "service/api/provider_view.h"

#include "base/rand.h"
#include "service/core/provider_rules.h"

enum { DETAIL_MAX = 8192, SETTINGS_MAX = 65536 };

static struct err add_hash(const struct call *c, const char *name, struct str text, struct buf *b)
{
    uint8_t hash[SHA256_LEN];
    TRY(crypto_sha256(c->api->app->crypto, str_bytes(text), hash));
    char hex[2 * SHA256_LEN + 1];
    hex_encode(hash, sizeof hash, hex);
    buf_printf(b, " %s_sha256=%s", name, hex);
    return OK;
}

static struct str text_or_empty(struct str s)
{
    return s.p != NULL ? s : STR("");
}

/* The settings that stand in the record by their hash alone, as the bytes of RFC 8785. */
static struct err settings_text(const struct call *c, const struct provider *p, struct str *out)
{
    struct buf b = buf_in(c->arena, SETTINGS_MAX);
    struct json_writer w = json_writer_canonical(&b);
    json_begin_object(&w, NULL);
    json_put_str(&w, "auth_header", text_or_empty(p->auth_header));
    json_put_str(&w, "category", text_or_empty(p->category));
    json_put_str(&w, "client_id", text_or_empty(p->client_id));
    json_put_str(&w, "description", text_or_empty(p->description));
    json_put_list(&w, "scopes", p->scopes);
    json_end_object(&w);
    *out = buf_view(&b);
    return buf_status(&b);
}

static const char *yes_no(bool b)
{
    return b ? "true" : "false";
}

/* The URLs that codes, secrets and tokens are sent to; no rule lets a blank into one. */
static struct err add_urls(const struct call *c, const struct provider *p, struct buf *b)
{
    const struct json *params = NULL;
    struct provider_params taken;
    TRY(json_parse(c->arena, str_bytes(p->params), &params));
    TRY(provider_params_read(c->arena, params, &taken));
    const struct {
        const char *name;
        struct str url;
    } urls[] = {{"issuer", p->issuer},
                {"auth_url", p->auth_url},
                {"token_url", p->token_url},
                {"revocation_endpoint", taken.revocation_endpoint},
                {"api_base_url", p->api_base_url},
                {"user_info_endpoint", p->user_info_endpoint}};
    for (size_t i = 0; i < COUNT(urls); i++) {
        if (urls[i].url.n > 0)
            buf_printf(b, " %s=%.*s", urls[i].name, STR_FMT(urls[i].url));
    }
    return OK;
}

struct err provider_view_detail(const struct call *c, const struct provider *p, struct str *out)
{
    struct buf b = buf_in(c->arena, DETAIL_MAX);
    buf_printf(&b, "name=%.*s auth_type=%s enable_discovery=%s", STR_FMT(p->name), provider_auth_name(p->auth),
               yes_no(p->enable_discovery));
    TRY(add_urls(c, p, &b));
    buf_printf(&b, " downscope=%s allow_full_token=%s", downscope_name(p->downscope), yes_no(p->allow_full_token));
    if (p->secret.sealed.p != NULL)
        buf_printf(&b, " client_secret_version=%lld client_secret_fingerprint=%.*s", (long long)p->secret.version,
                   STR_FMT(p->secret.fingerprint));
    struct str settings;
    TRY(settings_text(c, p, &settings));
    TRY(add_hash(c, "params", p->params, &b));
    TRY(add_hash(c, "settings", settings, &b));
    *out = buf_view(&b);
    return buf_status(&b);
}

struct err provider_view_reply(const struct http_request *req, const struct provider *p, struct http_reply *out)
{
    char time[CLOCK_TEXT];
    struct buf b = http_body(req);
    struct json_writer w = json_writer(&b);
    json_begin_object(&w, NULL);
    json_put_bool(&w, "allow_full_token", p->allow_full_token);
    json_put_str(&w, "api_base_url", text_or_empty(p->api_base_url));
    json_put_str(&w, "auth_header", text_or_empty(p->auth_header));
    json_put_str(&w, "auth_type", str_of(provider_auth_name(p->auth)));
    json_put_str(&w, "auth_url", text_or_empty(p->auth_url));
    json_put_str(&w, "category", text_or_empty(p->category));
    json_put_str(&w, "client_id", text_or_empty(p->client_id));
    if (p->secret.fingerprint.p != NULL)
        json_put_str(&w, "client_secret_fingerprint", p->secret.fingerprint);
    json_put_str(&w, "created_at", clock_rfc3339(p->created_us, time));
    json_put_str(&w, "description", text_or_empty(p->description));
    json_put_str(&w, "downscope", str_of(downscope_name(p->downscope)));
    json_put_bool(&w, "enable_discovery", p->enable_discovery);
    json_put_str(&w, "id", p->id);
    json_put_str(&w, "issuer", text_or_empty(p->issuer));
    json_put_str(&w, "name", p->name);
    json_put_raw(&w, "params", p->params);
    json_put_list(&w, "scopes", p->scopes);
    json_put_str(&w, "token_url", text_or_empty(p->token_url));
    json_put_str(&w, "updated_at", clock_rfc3339(p->updated_us, time));
    json_put_str(&w, "user_info_endpoint", text_or_empty(p->user_info_endpoint));
    json_end_object(&w);
    return http_reply_json(200, &b, out);
}

/* NUL-terminated, since the writer wants member names so. */
struct err provider_view_metadata(const struct call *c, const struct provider *p, struct json_writer *w)
{
    struct str name = arena_str(c->arena, p->name);
    if (name.p == NULL)
        return FAIL(ERR_NO_MEMORY, "name");
    json_begin_object(w, name.p);
    json_put_str(w, "api_base_url", text_or_empty(p->api_base_url));
    json_put_str(w, "category", text_or_empty(p->category));
    json_put_str(w, "description", text_or_empty(p->description));
    json_put_str(w, "id", p->id);
    json_put_list(w, "scopes", p->scopes);
    json_put_str(w, "user_info_endpoint", text_or_empty(p->user_info_endpoint));
    json_end_object(w);
    return OK;
}
