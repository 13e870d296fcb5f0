/* SPDX-License-Identifier: Apache-2.0
 * The keys of issuers, from a server of this test's own. Time is moved on by the linker's hand: clock_mono_us leads
 * through here. */
#include "service/api/issuer_keys.h"

#include "service/net/net.h"
#include "tests/unit/crypto/support.h"
#include "tests/unit/service/page_server.h"

#include <pthread.h>
#include <stdlib.h>

enum { CACHE_S = 300, STALE_S = 3600, COOLDOWN_S = 60, RETRY_S = 5, LONG_MS = 60000 };

static const struct metric_def metric_defs[] = {
#define M(id, name, type, help, ...) {name, type, help, {__VA_ARGS__}},
#include "service/metrics.def"
#undef M
};

static int64_t later_us;

int64_t __real_clock_mono_us(void);
int64_t __wrap_clock_mono_us(void);
int64_t __wrap_clock_mono_us(void)
{
    return __real_clock_mono_us() + later_us;
}

static void pass_s(int64_t seconds)
{
    later_us += seconds * 1000000;
}

struct world {
    struct fixture *f;
    struct page_server *server;
    struct config config;
    struct app app;
    struct api api;
    char url[64]; /* http://127.0.0.1:port */
    char *key[3];
};

/* A public key of this kid, as JSON, for the caller to free. */
static char *make_key(struct fixture *f, const char *kid)
{
    struct test_key k = test_key_new(f, JOSE_ES256);
    struct buf b = buf_in(f->arena, 1024);
    struct json_writer w = json_writer(&b);
    jwk_write(k.jwk, &w, NULL);
    struct str all = buf_view(&b), own = jwk_kid(k.jwk);
    /* Another kid in place of the thumbprint. */
    const char *at = memmem(all.p, all.n, own.p, own.n);
    assert_non_null(at);
    struct str head = {all.p, (size_t)(at - all.p)}, tail = {at + own.n, all.n - head.n - own.n};
    struct str text = arena_printf(f->arena, "%.*s%s%.*s", STR_FMT(head), kid, STR_FMT(tail));
    test_key_free(&k);
    char *copy = strndup(text.p, text.n);
    assert_non_null(copy);
    return copy;
}

static int setup(void **state)
{
    static struct world w;
    void *f = NULL;
    (void)fixture_setup(&f);
    w.f = f;
    w.server = page_server_start();
    assert_non_null(w.server);
    (void)snprintf(w.url, sizeof w.url, "http://127.0.0.1:%d", page_server_port(w.server));
    assert_ok(net_global());
    const struct net_options o = {.allow_loopback = true};
    assert_ok(net_new(&o, &w.api.net));
    w.api.app = &w.app;
    static const char *const kids[] = {"k0", "k1", "k2"};
    for (size_t i = 0; i < COUNT(kids); i++)
        w.key[i] = make_key(w.f, kids[i]);
    *state = &w;
    return 0;
}

static int teardown(void **state)
{
    struct world *w = *state;
    net_free(&w->api.net);
    page_server_stop(&w->server);
    for (size_t i = 0; i < COUNT(w->key); i++)
        free(w->key[i]);
    void *f = w->f;
    (void)fixture_teardown(&f);
    return 0;
}

static int each(void **state)
{
    struct world *w = *state;
    arena_reset(w->f->arena);
    page_server_reset(w->server);
    w->config = (struct config){.base_url = STR("https://broker.example"),
                                .fetch_timeout_ms = LONG_MS,
                                .jwks_cache_s = CACHE_S,
                                .jwks_stale_s = STALE_S};
    w->app = (struct app){.config = &w->config, .crypto = w->f->crypto, .clock = clock_real()};
    assert_ok(metrics_new(metric_defs, COUNT(metric_defs), &w->app.metrics));
    assert_ok(issuer_keys_new(&w->app.issuer_keys));
    return 0;
}

static int after_each(void **state)
{
    struct world *w = *state;
    issuer_keys_free(&w->app.issuer_keys);
    metrics_free(&w->app.metrics);
    return 0;
}

static struct call call_of_test(struct world *w)
{
    return (struct call){
        .api = &w->api, .arena = w->f->arena, .deadline_us = clock_mono_us() + LONG_MS * INT64_C(1000)};
}

/* Looks for a kid with no time left to wait for somebody else's fetch, which is going on. */
static void assert_would_wait(struct world *w, const struct issuer *i, const char *kid)
{
    struct call c = call_of_test(w);
    /* The C library waits by the true clock. */
    c.deadline_us = __real_clock_mono_us();
    const struct issuer_keyset *s = NULL;
    assert_fails_with(ERR_ISSUER_KEYS, "still being fetched",
                      issuer_keys_get(w->app.issuer_keys, &c, i, str_of(kid), &s));
    assert_null(s);
}

static struct str text_of(struct world *w, const char *path)
{
    return arena_printf(w->f->arena, "%s%s", w->url, path);
}

static struct str set_of(struct world *w, const char *key)
{
    return arena_printf(w->f->arena, "{\"keys\":[%s]}", key);
}

static void serve(struct world *w, const char *path, const char *key)
{
    page_server_put(w->server, path, 200, "application/json", set_of(w, key).p);
}

static struct issuer by_uri(struct world *w)
{
    return (struct issuer){
        .id = STR("iss_uri"), .issuer = STR("https://idp.example"), .jwks_uri = text_of(w, "/jwks"), .version = 1};
}

static struct issuer by_jwks(struct world *w, const char *key)
{
    return (struct issuer){
        .id = STR("iss_inline"), .issuer = STR("https://idp.example"), .jwks = set_of(w, key), .version = 1};
}

static struct issuer by_discovery(struct world *w, const char *path)
{
    return (struct issuer){.id = STR("iss_found"), .issuer = text_of(w, path), .discovery = true, .version = 1};
}

/* Whether the issuer's keys can be had, and hold kid. */
static struct err look_for(struct world *w, const struct issuer *i, const char *kid, bool *found)
{
    const struct call c = call_of_test(w);
    CLEANUP(issuer_keyset_release) const struct issuer_keyset *s = NULL;
    *found = false;
    TRY(issuer_keys_get(w->app.issuer_keys, &c, i, str_of(kid), &s));
    *found = jwks_find(&s->keys, str_of(kid)) != NULL;
    return OK;
}

static void assert_has(struct world *w, const struct issuer *i, const char *kid)
{
    bool found = false;
    assert_ok(look_for(w, i, kid, &found));
    assert_true(found);
}

static void assert_lacks(struct world *w, const struct issuer *i, const char *kid)
{
    bool found = true;
    assert_ok(look_for(w, i, kid, &found));
    assert_false(found);
}

static void assert_unavailable(struct world *w, const struct issuer *i, const char *kid)
{
    bool found = true;
    assert_fails(ERR_ISSUER_KEYS, look_for(w, i, kid, &found));
}

static int fetches(struct world *w)
{
    return page_server_hits(w->server, "/jwks");
}

static void test_keys_of_a_registration(void **state)
{
    struct world *w = *state;
    struct issuer i = by_jwks(w, w->key[0]);
    assert_has(w, &i, "k0");
    assert_lacks(w, &i, "k1");
    pass_s(CACHE_S + STALE_S + 1);
    assert_has(w, &i, "k0");
    assert_lacks(w, &i, "k1");
    assert_int_equal(page_server_hits(w->server, NULL), 0);
    i = by_jwks(w, "");
    i.version = 2;
    assert_unavailable(w, &i, "k0");
}

static void test_fetched_once_and_again_when_old(void **state)
{
    struct world *w = *state;
    const struct issuer i = by_uri(w);
    serve(w, "/jwks", w->key[0]);
    for (int n = 0; n < 3; n++)
        assert_has(w, &i, "k0");
    bool found = true;
    assert_ok(look_for(w, &i, NULL, &found));
    assert_true(found); /* without a kid, the only key */
    assert_int_equal(fetches(w), 1);
    serve(w, "/jwks", w->key[1]);
    pass_s(CACHE_S - 1);
    assert_has(w, &i, "k0");
    assert_int_equal(fetches(w), 1);
    pass_s(1);
    assert_has(w, &i, "k1");
    assert_lacks(w, &i, "k0");
    assert_int_equal(fetches(w), 2);
}

/* Attack T06. */
static void test_unknown_kids_fetch_once_a_minute(void **state)
{
    struct world *w = *state;
    const struct issuer i = by_uri(w);
    serve(w, "/jwks", w->key[0]);
    assert_has(w, &i, "k0");
    for (int n = 0; n < 100; n++)
        assert_lacks(w, &i, "nobody");
    assert_int_equal(fetches(w), 1);
    pass_s(COOLDOWN_S);
    for (int n = 0; n < 100; n++)
        assert_lacks(w, &i, n % 2 == 0 ? "nobody" : "somebody");
    assert_int_equal(fetches(w), 2);
    /* A key that the issuer has begun to use since. */
    serve(w, "/jwks", w->key[1]);
    assert_lacks(w, &i, "k1");
    pass_s(COOLDOWN_S);
    assert_has(w, &i, "k1");
    assert_int_equal(fetches(w), 3);
}

static void test_an_outage_is_bridged(void **state)
{
    struct world *w = *state;
    const struct issuer i = by_uri(w);
    serve(w, "/jwks", w->key[0]);
    assert_has(w, &i, "k0");
    page_server_put(w->server, "/jwks", 500, "text/plain", "down");
    pass_s(CACHE_S);
    for (int n = 0; n < 3; n++)
        assert_has(w, &i, "k0");
    assert_int_equal(fetches(w), 2);
    assert_unavailable(w, &i, "k1"); /* may be a new one, for all that we know */
    assert_int_equal(fetches(w), 2);
    pass_s(RETRY_S);
    assert_has(w, &i, "k0");
    assert_int_equal(fetches(w), 3);
    pass_s(STALE_S - RETRY_S - 1);
    assert_has(w, &i, "k0");
    assert_int_equal(fetches(w), 4);
    pass_s(1);
    assert_unavailable(w, &i, "k0");
    /* Back again. */
    serve(w, "/jwks", w->key[1]);
    assert_unavailable(w, &i, "k1");
    pass_s(RETRY_S);
    assert_has(w, &i, "k1");
    assert_int_equal(fetches(w), 5);
}

static void test_a_failure_stands_for_a_while(void **state)
{
    struct world *w = *state;
    const struct issuer i = by_uri(w);
    for (int n = 0; n < 10; n++)
        assert_unavailable(w, &i, "k0");
    assert_int_equal(fetches(w), 1);
    serve(w, "/jwks", w->key[0]);
    pass_s(RETRY_S);
    assert_has(w, &i, "k0");
    assert_int_equal(fetches(w), 2);
}

static void test_a_failed_refetch_leaves_what_is_there(void **state)
{
    struct world *w = *state;
    const struct issuer i = by_uri(w);
    serve(w, "/jwks", w->key[0]);
    assert_has(w, &i, "k0");
    page_server_put(w->server, "/jwks", 200, "application/json", "{\"keys\":[]}");
    pass_s(COOLDOWN_S);
    assert_unavailable(w, &i, "k1");
    assert_has(w, &i, "k0");
    assert_int_equal(fetches(w), 2);
}

/* A set with the key k0, of that many bytes. */
static const char *padded(struct world *w, size_t n)
{
    struct str s = arena_printf(w->f->arena, "{\"keys\":[%*s%s]}", (int)(n - strlen(w->key[0]) - 11), "", w->key[0]);
    assert_int_equal(s.n, n);
    return s.p;
}

/* More keys than are read, whatever they are. */
static const char *crowd(struct world *w)
{
    struct buf b = buf_in(w->f->arena, 8192);
    buf_cstr(&b, "{\"keys\":[");
    for (int n = 0; n < JWKS_MAX; n++)
        buf_cstr(&b, "{\"kty\":\"oct\"},");
    buf_printf(&b, "%s]}", w->key[0]);
    buf_char(&b, '\0');
    assert_ok(buf_status(&b));
    return b.p;
}

/* Attack J23. */
static void test_what_is_no_key_set(void **state)
{
    struct world *w = *state;
    const char *good = set_of(w, w->key[0]).p;
    const struct {
        int status;
        const char *type, *body;
    } rows[] = {
        {404, "application/json", good},
        {302, "application/json", good},
        {201, "application/json", good},
        {200, "text/html", good},
        {200, "application/yaml", good},
        {200, "application/jsonp", good},
        {200, "", good},
        {200, "application/json", ""},
        {200, "application/json", "{\"keys\":["},
        {200, "application/json", "[]"},
        {200, "application/json", "{}"},
        {200, "application/json", "{\"keys\":{}}"},
        {200, "application/json", "{\"keys\":[]}"},
        {200, "application/json", "{\"keys\":[{\"kty\":\"oct\",\"kid\":\"k0\",\"k\":\"AAAA\"}]}"},
        {200, "application/json", "{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-521\",\"kid\":\"k0\"}]}"},
        {200, "application/json", crowd(w)},
        {200, "application/json", padded(w, 65537)},
    };
    const struct issuer i = by_uri(w);
    for (size_t n = 0; n < COUNT(rows); n++) {
        page_server_put(w->server, "/jwks", rows[n].status, rows[n].type, rows[n].body);
        pass_s(RETRY_S);
        bool found = false;
        struct err e = look_for(w, &i, "k0", &found);
        if (e.code != ERR_ISSUER_KEYS)
            fail_msg("row %zu: %s", n, err_name(e.code));
    }
    assert_int_equal(fetches(w), COUNT(rows));
    /* The same set by the same way, when nothing is wrong with it. */
    static const char *const types[] = {"application/json", "Application/JSON; charset=utf-8",
                                        "application/jwk-set+json ;x=y"};
    for (size_t n = 0; n < COUNT(types); n++) {
        page_server_put(w->server, "/jwks", 200, types[n], good);
        pass_s(CACHE_S);
        assert_has(w, &i, "k0");
    }
    assert_int_equal(fetches(w), COUNT(rows) + COUNT(types));
    page_server_put(w->server, "/jwks", 200, "application/json", padded(w, 65536));
    pass_s(CACHE_S);
    assert_has(w, &i, "k0");
}

static void test_keys_of_unknown_kinds_are_left_out(void **state)
{
    struct world *w = *state;
    const struct issuer i = by_uri(w);
    struct str keys = arena_printf(
        w->f->arena, "{\"kty\":\"oct\",\"kid\":\"k1\",\"k\":\"AAAA\"},%s,{\"kty\":\"new\",\"kid\":\"k2\"}", w->key[0]);
    serve(w, "/jwks", keys.p);
    assert_has(w, &i, "k0");
    assert_lacks(w, &i, "k1");
    assert_lacks(w, &i, "k2");
}

static void test_a_fetch_takes_no_longer_than_configured(void **state)
{
    struct world *w = *state;
    const struct issuer i = by_uri(w);
    serve(w, "/jwks", w->key[0]);
    page_server_hold(w->server);
    w->config.fetch_timeout_ms = 100;
    assert_unavailable(w, &i, "k0");
    assert_unavailable(w, &i, "k0");
    page_server_release(w->server);
    pass_s(RETRY_S);
    w->config.fetch_timeout_ms = LONG_MS;
    assert_has(w, &i, "k0");
}

static void put_metadata(struct world *w, const char *path, struct str issuer, struct str jwks_uri)
{
    struct str body =
        arena_printf(w->f->arena, "{\"issuer\":\"%.*s\",\"jwks_uri\":\"%.*s\"}", STR_FMT(issuer), STR_FMT(jwks_uri));
    page_server_put(w->server, path, 200, "application/json", body.p);
}

/* OpenID Connect Discovery 1.0 section 4.1, RFC 8414 section 3.1. */
static void test_discovery_finds_the_metadata(void **state)
{
    struct world *w = *state;
    static const struct {
        const char *issuer, *place, *also;
    } rows[] = {
        {"", "/.well-known/openid-configuration", NULL},
        {"/", "/.well-known/openid-configuration", NULL},
        {"/t/1", "/t/1/.well-known/openid-configuration", NULL},
        {"/t/1/", "/t/1/.well-known/openid-configuration", NULL},
        {"", "/.well-known/oauth-authorization-server", "/.well-known/openid-configuration"},
        {"/", "/.well-known/oauth-authorization-server", "/.well-known/openid-configuration"},
        {"/t/1", "/.well-known/oauth-authorization-server/t/1", "/t/1/.well-known/openid-configuration"},
        {"/t/1/", "/.well-known/oauth-authorization-server/t/1", "/t/1/.well-known/openid-configuration"},
    };
    for (size_t n = 0; n < COUNT(rows); n++) {
        page_server_reset(w->server);
        struct issuer i = by_discovery(w, rows[n].issuer);
        i.version = (int64_t)n + 1;
        serve(w, "/keys", w->key[0]);
        put_metadata(w, rows[n].place, i.issuer, text_of(w, "/keys"));
        assert_has(w, &i, "k0");
        assert_int_equal(page_server_hits(w->server, rows[n].place), 1);
        if (rows[n].also != NULL)
            assert_int_equal(page_server_hits(w->server, rows[n].also), 1);
        assert_int_equal(page_server_hits(w->server, NULL), rows[n].also != NULL ? 3 : 2);
    }
}

/* Attacks S09 and S01; RFC 8414 section 3.3. */
static void test_metadata_that_is_not_believed(void **state)
{
    struct world *w = *state;
    const struct issuer i = by_discovery(w, "/t");
    const char *self = arena_printf(w->f->arena, "\"issuer\":\"%s/t\"", w->url).p;
    const char *keys = arena_printf(w->f->arena, "\"jwks_uri\":\"%s/keys\"", w->url).p;
    const struct {
        int status;
        const char *issuer, *jwks_uri;
    } rows[] = {
        {500, self, keys},
        {302, self, keys},
        {200, "\"a\":1", keys},
        {200, "\"issuer\":7", keys},
        {200, "\"issuer\":\"https://idp.example\"", keys},
        {200, arena_printf(w->f->arena, "\"issuer\":\"%s/t/\"", w->url).p, keys},
        {200, arena_printf(w->f->arena, "\"issuer\":\"%s/T\"", w->url).p, keys},
        {200, self, "\"a\":1"},
        {200, self, "\"jwks_uri\":null"},
        {200, self, "\"jwks_uri\":\"\""},
        {200, self, "\"jwks_uri\":\"/keys\""},
        {200, self, "\"jwks_uri\":\"http://93.184.216.34/keys\""},
        {200, self, "\"jwks_uri\":\"https://10.0.0.1/keys\""},
        {200, self, "\"jwks_uri\":\"https://169.254.169.254/keys\""},
        {200, self, "\"jwks_uri\":\"file:///etc/passwd\""},
    };
    serve(w, "/keys", w->key[0]);
    for (size_t n = 0; n < COUNT(rows); n++) {
        struct str body = arena_printf(w->f->arena, "{%s,%s}", rows[n].issuer, rows[n].jwks_uri);
        page_server_put(w->server, "/t/.well-known/openid-configuration", rows[n].status, "application/json", body.p);
        pass_s(RETRY_S);
        bool found = false;
        struct err e = look_for(w, &i, "k0", &found);
        if (e.code != ERR_ISSUER_KEYS)
            fail_msg("row %zu: %s", n, err_name(e.code));
    }
    assert_int_equal(page_server_hits(w->server, "/keys"), 0);
    assert_int_equal(page_server_hits(w->server, "/.well-known/oauth-authorization-server/t"), 0);
    pass_s(RETRY_S);
    put_metadata(w, "/t/.well-known/openid-configuration", i.issuer, text_of(w, "/keys"));
    assert_has(w, &i, "k0");
    struct issuer query = by_discovery(w, "/t?x=1");
    query.version = 2;
    put_metadata(w, "/t?x=1/.well-known/openid-configuration", query.issuer, text_of(w, "/keys"));
    assert_unavailable(w, &query, "k0");
}

static void test_a_changed_registration_has_keys_of_its_own(void **state)
{
    struct world *w = *state;
    const struct issuer before = by_uri(w);
    struct issuer after = by_uri(w);
    after.version = 2;
    after.jwks_uri = text_of(w, "/other");
    serve(w, "/jwks", w->key[0]);
    serve(w, "/other", w->key[1]);
    assert_has(w, &before, "k0");
    assert_lacks(w, &after, "k0");
    assert_has(w, &after, "k1");
    /* Whoever still has the old row neither gets those keys nor brings the old ones back. */
    bool found = false;
    assert_fails(ERR_DB_CONFLICT, look_for(w, &before, "k0", &found));
    assert_has(w, &after, "k1");
    assert_int_equal(fetches(w), 1);
    assert_int_equal(page_server_hits(w->server, "/other"), 1);
}

/* Attack J17: equal kids of two issuers. */
static void test_issuers_do_not_share_keys(void **state)
{
    struct world *w = *state;
    struct issuer a = by_jwks(w, w->key[0]), b = by_jwks(w, w->key[1]);
    b.id = STR("iss_inline2");
    assert_has(w, &a, "k0");
    assert_lacks(w, &a, "k1");
    assert_has(w, &b, "k1");
    assert_lacks(w, &b, "k0");
}

static void test_more_issuers_than_there_is_room_for(void **state)
{
    struct world *w = *state;
    serve(w, "/jwks", w->key[0]);
    struct issuer first = by_uri(w);
    assert_has(w, &first, "k0");
    for (int n = 0; n < 2 * ISSUERS_MAX; n++) {
        struct issuer i = by_jwks(w, w->key[n % 2]);
        i.id = arena_printf(w->f->arena, "iss_%d", n);
        assert_has(w, &i, n % 2 == 0 ? "k0" : "k1");
        assert_lacks(w, &i, n % 2 == 0 ? "k1" : "k0");
    }
    assert_has(w, &first, "k0");
    assert_int_equal(fetches(w), 2);
    for (int n = 0; n < ISSUERS_MAX - 1; n++) {
        struct issuer i = by_jwks(w, w->key[0]);
        i.id = arena_printf(w->f->arena, "iss_b%d", n);
        assert_has(w, &i, "k0");
        assert_has(w, &first, "k0"); /* in use, so it stays */
    }
    assert_int_equal(fetches(w), 2);
}

static void test_a_reader_keeps_what_it_holds(void **state)
{
    struct world *w = *state;
    const struct issuer i = by_uri(w);
    serve(w, "/jwks", w->key[0]);
    const struct call c = call_of_test(w);
    const struct issuer_keyset *held = NULL;
    assert_ok(issuer_keys_get(w->app.issuer_keys, &c, &i, STR("k0"), &held));
    serve(w, "/jwks", w->key[1]);
    pass_s(CACHE_S);
    assert_has(w, &i, "k1");
    issuer_keys_free(&w->app.issuer_keys);
    assert_non_null(jwks_find(&held->keys, STR("k0")));
    issuer_keyset_release(&held);
    assert_null(held);
}

/* A caller on a thread of its own, with outbound HTTP of its own. */
struct other {
    struct world *w;
    struct issuer issuer;
    struct api api;
    struct arena *arena;
    pthread_t thread;
    struct err e;
    bool found;
};

static void *other_main(void *arg)
{
    struct other *o = arg;
    const struct call c = {.api = &o->api, .arena = o->arena, .deadline_us = clock_mono_us() + LONG_MS * INT64_C(1000)};
    CLEANUP(issuer_keyset_release) const struct issuer_keyset *s = NULL;
    o->e = issuer_keys_get(o->w->app.issuer_keys, &c, &o->issuer, STR("k0"), &s);
    o->found = s != NULL && jwks_find(&s->keys, STR("k0")) != NULL;
    return NULL;
}

static void other_start(struct world *w, struct other *o)
{
    const struct net_options options = {.allow_loopback = true};
    *o = (struct other){.w = w, .issuer = by_uri(w), .api = {.app = &w->app}};
    assert_ok(net_new(&options, &o->api.net));
    assert_ok(arena_new(1 << 20, &o->arena));
    assert_int_equal(pthread_create(&o->thread, NULL, other_main, o), 0);
}

static void other_join(struct other *o)
{
    assert_int_equal(pthread_join(o->thread, NULL), 0);
    net_free(&o->api.net);
    arena_free(&o->arena);
}

static void test_one_fetches_and_the_others_wait(void **state)
{
    struct world *w = *state;
    const struct issuer i = by_uri(w);
    serve(w, "/jwks", w->key[0]);
    page_server_hold(w->server);
    struct other others[8];
    for (size_t n = 0; n < COUNT(others); n++)
        other_start(w, &others[n]);
    page_server_wait(w->server);
    /* Who has no time left does not begin a fetch of its own. */
    assert_would_wait(w, &i, "k0");
    /* Nor does a changed registration take the place from under the fetch. */
    struct issuer changed = i;
    changed.version = 2;
    assert_would_wait(w, &changed, "k0");
    page_server_release(w->server);
    for (size_t n = 0; n < COUNT(others); n++) {
        other_join(&others[n]);
        assert_ok(others[n].e);
        assert_true(others[n].found);
    }
    assert_int_equal(fetches(w), 1);
}

static void test_the_old_set_serves_during_a_fetch(void **state)
{
    struct world *w = *state;
    const struct issuer i = by_uri(w);
    serve(w, "/jwks", w->key[0]);
    assert_has(w, &i, "k0");
    pass_s(CACHE_S);
    page_server_hold(w->server);
    struct other o;
    other_start(w, &o);
    page_server_wait(w->server);
    assert_has(w, &i, "k0");
    /* A kid that it lacks may come with the fetch. */
    assert_would_wait(w, &i, "k1");
    page_server_release(w->server);
    other_join(&o);
    assert_ok(o.e);
    assert_int_equal(fetches(w), 2);
}

/* What is fetched for one must not end up as another's. */
static void test_a_fetch_keeps_its_place(void **state)
{
    struct world *w = *state;
    serve(w, "/jwks", w->key[0]);
    page_server_hold(w->server);
    struct other o;
    other_start(w, &o);
    page_server_wait(w->server);
    struct issuer others[ISSUERS_MAX];
    for (int n = 0; n < ISSUERS_MAX; n++) {
        others[n] = by_jwks(w, w->key[1]);
        others[n].id = arena_printf(w->f->arena, "iss_%d", n);
        assert_has(w, &others[n], "k1");
    }
    page_server_release(w->server);
    other_join(&o);
    assert_ok(o.e);
    assert_true(o.found);
    for (int n = 0; n < ISSUERS_MAX; n++)
        assert_lacks(w, &others[n], "k0");
}

static void test_others_share_a_failure(void **state)
{
    struct world *w = *state;
    page_server_put(w->server, "/jwks", 500, "text/plain", "down");
    page_server_hold(w->server);
    struct other others[4];
    for (size_t n = 0; n < COUNT(others); n++)
        other_start(w, &others[n]);
    page_server_wait(w->server);
    page_server_release(w->server);
    for (size_t n = 0; n < COUNT(others); n++) {
        other_join(&others[n]);
        assert_int_equal(others[n].e.code, ERR_ISSUER_KEYS);
        assert_false(others[n].found);
    }
    assert_int_equal(fetches(w), 1);
}

static void test_fetches_are_counted(void **state)
{
    struct world *w = *state;
    const struct issuer i = by_uri(w);
    serve(w, "/jwks", w->key[0]);
    assert_has(w, &i, "k0");
    assert_has(w, &i, "k0");
    page_server_put(w->server, "/jwks", 200, "application/json", "{\"keys\":[]}");
    pass_s(CACHE_S);
    assert_has(w, &i, "k0");
    pass_s(RETRY_S);
    assert_has(w, &i, "k0");
    const struct issuer own = by_jwks(w, w->key[0]);
    assert_has(w, &own, "k0");
    struct buf b = buf_in(w->f->arena, 1 << 20);
    metrics_write(w->app.metrics, &b);
    struct str text = buf_view(&b);
    static const char ok[] = "nexus_issuer_key_fetches_total{outcome=\"ok\"} 1\n";
    static const char failed[] = "nexus_issuer_key_fetches_total{outcome=\"failed\"} 2\n";
    assert_non_null(memmem(text.p, text.n, ok, sizeof ok - 1));
    assert_non_null(memmem(text.p, text.n, failed, sizeof failed - 1));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, each, after_each)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_keys_of_a_registration),
        TEST(test_fetched_once_and_again_when_old),
        TEST(test_unknown_kids_fetch_once_a_minute),
        TEST(test_an_outage_is_bridged),
        TEST(test_a_failure_stands_for_a_while),
        TEST(test_a_failed_refetch_leaves_what_is_there),
        TEST(test_what_is_no_key_set),
        TEST(test_keys_of_unknown_kinds_are_left_out),
        TEST(test_a_fetch_takes_no_longer_than_configured),
        TEST(test_discovery_finds_the_metadata),
        TEST(test_metadata_that_is_not_believed),
        TEST(test_a_changed_registration_has_keys_of_its_own),
        TEST(test_issuers_do_not_share_keys),
        TEST(test_more_issuers_than_there_is_room_for),
        TEST(test_a_reader_keeps_what_it_holds),
        TEST(test_one_fetches_and_the_others_wait),
        TEST(test_the_old_set_serves_during_a_fetch),
        TEST(test_a_fetch_keeps_its_place),
        TEST(test_others_share_a_failure),
        TEST(test_fetches_are_counted),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
