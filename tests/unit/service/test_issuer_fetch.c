/* SPDX-License-Identifier: Apache-2.0
 * The keys of issuers as they are fetched: from where, what is believed, and how long it may take. */
#include "service/api/issuer_fetch.h"

#include "tests/unit/service/issuer_support.h"

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

/* Nor than its caller has. */
static void test_a_fetch_takes_no_longer_than_its_caller(void **state)
{
    struct world *w = *state;
    const struct issuer i = by_uri(w);
    serve(w, "/jwks", w->key[0]);
    struct call c = call_of_test(w);
    c.deadline_us = clock_mono_us();
    const struct issuer_keyset *s = NULL;
    assert_fails(ERR_ISSUER_KEYS, issuer_keys_get(w->app.issuer_keys, &c, &i, STR("k0"), &s));
    assert_null(s);
    assert_int_equal(fetches(w), 0);
    pass_s(RETRY_S);
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

#define TEST(name) cmocka_unit_test_setup_teardown(name, world_begin, world_end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_what_is_no_key_set),
        TEST(test_keys_of_unknown_kinds_are_left_out),
        TEST(test_a_fetch_takes_no_longer_than_configured),
        TEST(test_a_fetch_takes_no_longer_than_its_caller),
        TEST(test_discovery_finds_the_metadata),
        TEST(test_metadata_that_is_not_believed),
        TEST(test_fetches_are_counted),
    };
    return cmocka_run_group_tests(tests, world_open, world_close);
}
