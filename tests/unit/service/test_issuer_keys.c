/* SPDX-License-Identifier: Apache-2.0
 * The keys of issuers as they are shared: when they are fetched, by whom, and who waits. */
#include "service/api/issuer_keys.h"

#include "tests/unit/service/issuer_support.h"

#include <pthread.h>

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

static void take_places(struct world *w, struct bulkhead *places[static OUTSIDE], size_t n)
{
    for (size_t k = 0; k < n; k++) {
        places[k] = bulkhead_enter(w->app.outbound);
        assert_non_null(places[k]);
    }
}

static void give_back(struct bulkhead *places[static OUTSIDE], size_t n)
{
    for (size_t k = 0; k < n; k++)
        bulkhead_leave(&places[k]);
}

/* Others hang outside, in every place that there is. */
static void test_no_place_no_fetch(void **state)
{
    struct world *w = *state;
    const struct issuer i = by_uri(w), own = by_jwks(w, w->key[2]);
    struct bulkhead *places[OUTSIDE];
    serve(w, "/jwks", w->key[0]);
    take_places(w, places, OUTSIDE);
    bool found = true;
    assert_fails_with(ERR_ISSUER_KEYS, "NEXUS_WORKERS", look_for(w, &i, "k0", &found));
    assert_has(w, &own, "k2");
    assert_int_equal(fetches(w), 0);
    /* That was no failure of the issuer. */
    give_back(places, OUTSIDE);
    assert_has(w, &i, "k0");
    take_places(w, places, OUTSIDE);
    assert_has(w, &i, "k0");
    /* Keys that are old are better than none, until they are too old. */
    pass_s(CACHE_S);
    assert_has(w, &i, "k0");
    assert_fails_with(ERR_ISSUER_KEYS, "NEXUS_WORKERS", look_for(w, &i, "k1", &found));
    pass_s(STALE_S);
    assert_fails_with(ERR_ISSUER_KEYS, "NEXUS_WORKERS", look_for(w, &i, "k0", &found));
    assert_int_equal(fetches(w), 1);
    give_back(places, OUTSIDE);
}

static void test_who_waits_for_a_fetch_takes_a_place(void **state)
{
    struct world *w = *state;
    const struct issuer i = by_uri(w);
    struct bulkhead *places[OUTSIDE];
    serve(w, "/jwks", w->key[0]);
    page_server_hold(w->server);
    take_places(w, places, OUTSIDE - 1);
    struct other o;
    other_start(w, &o);
    page_server_wait(w->server);
    /* The one that fetches has the last one: here is nobody who could wait, however long. */
    assert_null(bulkhead_enter(w->app.outbound));
    bool found = true;
    assert_fails_with(ERR_ISSUER_KEYS, "NEXUS_WORKERS", look_for(w, &i, "k0", &found));
    bulkhead_leave(&places[0]);
    assert_would_wait(w, &i, "k0");
    page_server_release(w->server);
    other_join(&o);
    assert_ok(o.e);
    assert_true(o.found);
    give_back(places, OUTSIDE - 1);
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

#define TEST(name) cmocka_unit_test_setup_teardown(name, world_begin, world_end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_keys_of_a_registration),
        TEST(test_fetched_once_and_again_when_old),
        TEST(test_unknown_kids_fetch_once_a_minute),
        TEST(test_an_outage_is_bridged),
        TEST(test_a_failure_stands_for_a_while),
        TEST(test_a_failed_refetch_leaves_what_is_there),
        TEST(test_a_changed_registration_has_keys_of_its_own),
        TEST(test_issuers_do_not_share_keys),
        TEST(test_more_issuers_than_there_is_room_for),
        TEST(test_a_reader_keeps_what_it_holds),
        TEST(test_one_fetches_and_the_others_wait),
        TEST(test_the_old_set_serves_during_a_fetch),
        TEST(test_no_place_no_fetch),
        TEST(test_who_waits_for_a_fetch_takes_a_place),
        TEST(test_a_fetch_keeps_its_place),
        TEST(test_others_share_a_failure),
    };
    return cmocka_run_group_tests(tests, world_open, world_close);
}
