/* SPDX-License-Identifier: Apache-2.0 */
#include "service/api/issuer_fetch.h"

#include "base/log.h"
#include "service/net/net.h"

#include <strings.h>

/* The largest bodies that are read, and room for what JSON they make. */
enum { JWKS_BODY_MAX = 65536, METADATA_BODY_MAX = 131072, FETCH_ARENA = 16777216 };
enum { STATUS_OK = 200, STATUS_NOT_FOUND = 404 };

struct fetch {
    struct net *net;
    struct arena *arena;
    int64_t deadline_us;
};

static struct err get(const struct fetch *f, struct str url, size_t max, struct net_reply *out)
{
    const struct net_request q = {.reach = NET_GUARDED,
                                  .method = NET_GET,
                                  .url = url,
                                  .accept = "application/jwk-set+json, application/json",
                                  .body_max = max,
                                  .deadline_us = f->deadline_us};
    return net_call(f->net, &q, f->arena, out);
}

/* RFC 8414 section 3.2, RFC 7517 section 8.5.1. */
static bool is_json(struct str type)
{
    static const char *const types[] = {"application/json", "application/jwk-set+json"};
    const char *semicolon = type.n > 0 ? memchr(type.p, ';', type.n) : NULL;
    if (semicolon != NULL)
        type.n = (size_t)(semicolon - type.p);
    type = str_trim(type);
    for (size_t i = 0; i < COUNT(types); i++) {
        if (type.n == strlen(types[i]) && strncasecmp(type.p, types[i], type.n) == 0)
            return true;
    }
    return false;
}

static struct err read_reply(const struct fetch *f, const char *what, const struct net_reply *r,
                             const struct json **out)
{
    if (r->status != STATUS_OK)
        return FAIL(ERR_ISSUER_KEYS, "%s: status %d", what, r->status);
    if (!is_json(r->content_type))
        return FAIL(ERR_ISSUER_KEYS, "%s: its Content-Type is not application/json", what);
    struct err e = json_parse(f->arena, r->body, out);
    return e.code == ERR_INVALID_JSON ? FAIL(ERR_ISSUER_KEYS, "%s: %s", what, e.detail) : e;
}

/* "https://host:port" of a URL. */
static struct str origin_of(struct str url)
{
    const char *slashes = url.n > 2 ? memmem(url.p, url.n, "//", 2) : NULL;
    size_t n = slashes != NULL ? (size_t)(slashes - url.p) + 2 : 0;
    while (n < url.n && url.p[n] != '/' && url.p[n] != '?')
        n++;
    return (struct str){url.p, n};
}

/* Where the metadata of an issuer stands: OpenID Connect Discovery 1.0 section 4 appends to the path, RFC 8414 section
 * 3.1 inserts before it. Both take a slash at its end off. */
struct places {
    struct str openid, oauth;
};

static struct err places_of(struct arena *a, struct str issuer, struct places *out)
{
    if (memchr(issuer.p, '?', issuer.n) != NULL)
        return FAIL(ERR_ISSUER_KEYS, "an issuer with a query has no metadata");
    if (issuer.p[issuer.n - 1] == '/')
        issuer.n--;
    struct str origin = origin_of(issuer);
    struct str path = {issuer.p + origin.n, issuer.n - origin.n};
    out->openid = arena_printf(a, "%.*s/.well-known/openid-configuration", STR_FMT(issuer));
    out->oauth = arena_printf(a, "%.*s/.well-known/oauth-authorization-server%.*s", STR_FMT(origin), STR_FMT(path));
    return out->openid.p != NULL && out->oauth.p != NULL ? OK : FAIL(ERR_NO_MEMORY, "URL of metadata");
}

/* Attack S10: providers do keep their keys at another origin than their own. That is told, not refused: the metadata,
 * which says so, came from the issuer itself. */
static void note_origin(struct str issuer, struct str url)
{
    struct str ours = origin_of(issuer), theirs = origin_of(url);
    if (ours.n != theirs.n || strncasecmp(ours.p, theirs.p, ours.n) != 0)
        LOG(LOG_INFO, "the keys of an issuer are at another origin than its own", LOG_STR("issuer", issuer),
            LOG_STR("origin", theirs));
}

static struct err discover(const struct fetch *f, struct str issuer, struct str *jwks_uri)
{
    struct places places;
    TRY(places_of(f->arena, issuer, &places));
    struct net_reply reply;
    TRY(get(f, places.openid, METADATA_BODY_MAX, &reply));
    if (reply.status == STATUS_NOT_FOUND)
        TRY(get(f, places.oauth, METADATA_BODY_MAX, &reply));
    const struct json *metadata = NULL;
    TRY(read_reply(f, "metadata", &reply, &metadata));
    /* RFC 8414 section 3.3, attack S09: or whoever can answer in the issuer's place could speak for another one. */
    const struct json *who = json_get(metadata, "issuer"), *url = json_get(metadata, "jwks_uri");
    if (who == NULL || who->type != JSON_STR || !str_eq(who->s, issuer))
        return FAIL(ERR_ISSUER_KEYS, "metadata: its issuer is not the registered one");
    if (url == NULL || url->type != JSON_STR)
        return FAIL(ERR_ISSUER_KEYS, "metadata: it has no jwks_uri");
    TRY(net_url_check(f->net, NET_GUARDED, url->s));
    note_origin(issuer, url->s);
    *jwks_uri = url->s;
    return OK;
}

static struct err fetch_jwks(const struct fetch *f, const struct issuer *i, const struct json **out)
{
    struct str url = i->jwks_uri;
    if (i->discovery)
        TRY(discover(f, i->issuer, &url));
    struct net_reply reply;
    TRY(get(f, url, JWKS_BODY_MAX, &reply));
    return read_reply(f, "JWKS", &reply, out);
}

static int64_t deadline_of(const struct call *c)
{
    int64_t patience = clock_mono_us() + c->api->app->config->fetch_timeout_ms * 1000;
    return patience < c->deadline_us ? patience : c->deadline_us;
}

static struct err keys_of(const struct call *c, const struct issuer *i, struct jwks *out)
{
    const struct app *app = c->api->app;
    CLEANUP(arena_free) struct arena *a = NULL;
    TRY(arena_new(FETCH_ARENA, &a));
    const struct json *set = NULL;
    if (i->jwks.p != NULL) {
        TRY(json_parse(a, str_bytes(i->jwks), &set));
    } else {
        const struct fetch f = {.net = c->api->net, .arena = a, .deadline_us = deadline_of(c)};
        TRY(fetch_jwks(&f, i, &set));
    }
    return jwks_parse(app->crypto, set, 1, JWKS_MAX, false, out);
}

struct err issuer_fetch(const struct call *c, const struct issuer *i, struct jwks *out)
{
    struct err e = keys_of(c, i, out);
    if (i->jwks.p == NULL)
        metric_add(c->api->app->metrics, M_ISSUER_KEY_FETCHES, 1, err_is(&e) ? "failed" : "ok", NULL, NULL);
    return e.code == ERR_NO_MEMORY ? e : err_as(e, ERR_ISSUER_KEYS);
}
