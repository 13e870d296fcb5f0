/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/service/issuer_support.h"

#include <stdlib.h>

static const struct metric_def metric_defs[] = {
#define M(id, name, type, help, ...) {name, type, help, {__VA_ARGS__}},
#include "service/metrics.def"
#undef M
};

static int64_t later_us;

int64_t __wrap_clock_mono_us(void);
int64_t __wrap_clock_mono_us(void)
{
    return __real_clock_mono_us() + later_us;
}

void pass_s(int64_t seconds)
{
    later_us += seconds * 1000000;
}

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

int world_open(void **state)
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

int world_close(void **state)
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

int world_begin(void **state)
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
    assert_ok(bulkhead_new(INT64_C(2) * OUTSIDE, w->app.metrics, &w->app.outbound));
    return 0;
}

int world_end(void **state)
{
    struct world *w = *state;
    for (int n = 0; n < OUTSIDE; n++)
        assert_non_null(bulkhead_enter(w->app.outbound));
    bulkhead_free(&w->app.outbound);
    issuer_keys_free(&w->app.issuer_keys);
    metrics_free(&w->app.metrics);
    return 0;
}

struct call call_of_test(struct world *w)
{
    return (struct call){
        .api = &w->api, .arena = w->f->arena, .deadline_us = clock_mono_us() + LONG_MS * INT64_C(1000)};
}

void assert_would_wait(struct world *w, const struct issuer *i, const char *kid)
{
    struct call c = call_of_test(w);
    /* The C library waits by the true clock. */
    c.deadline_us = __real_clock_mono_us();
    const struct issuer_keyset *s = NULL;
    assert_fails_with(ERR_ISSUER_KEYS, "still being fetched",
                      issuer_keys_get(w->app.issuer_keys, &c, i, str_of(kid), &s));
    assert_null(s);
}

struct str text_of(struct world *w, const char *path)
{
    return arena_printf(w->f->arena, "%s%s", w->url, path);
}

struct str set_of(struct world *w, const char *key)
{
    return arena_printf(w->f->arena, "{\"keys\":[%s]}", key);
}

void serve(struct world *w, const char *path, const char *key)
{
    page_server_put(w->server, path, 200, "application/json", set_of(w, key).p);
}

struct issuer by_uri(struct world *w)
{
    return (struct issuer){
        .id = STR("iss_uri"), .issuer = STR("https://idp.example"), .jwks_uri = text_of(w, "/jwks"), .version = 1};
}

struct issuer by_jwks(struct world *w, const char *key)
{
    return (struct issuer){
        .id = STR("iss_inline"), .issuer = STR("https://idp.example"), .jwks = set_of(w, key), .version = 1};
}

struct issuer by_discovery(struct world *w, const char *path)
{
    return (struct issuer){.id = STR("iss_found"), .issuer = text_of(w, path), .discovery = true, .version = 1};
}

struct err look_for(struct world *w, const struct issuer *i, const char *kid, bool *found)
{
    const struct call c = call_of_test(w);
    CLEANUP(issuer_keyset_release) const struct issuer_keyset *s = NULL;
    *found = false;
    TRY(issuer_keys_get(w->app.issuer_keys, &c, i, str_of(kid), &s));
    *found = jwks_find(&s->keys, str_of(kid)) != NULL;
    return OK;
}

void assert_has(struct world *w, const struct issuer *i, const char *kid)
{
    bool found = false;
    assert_ok(look_for(w, i, kid, &found));
    assert_true(found);
}

void assert_lacks(struct world *w, const struct issuer *i, const char *kid)
{
    bool found = true;
    assert_ok(look_for(w, i, kid, &found));
    assert_false(found);
}

void assert_unavailable(struct world *w, const struct issuer *i, const char *kid)
{
    bool found = true;
    assert_fails(ERR_ISSUER_KEYS, look_for(w, i, kid, &found));
}

int fetches(struct world *w)
{
    return page_server_hits(w->server, "/jwks");
}
