/* SPDX-License-Identifier: Apache-2.0
 * Pseudonyms, with a real token and database: the same at every worker, meaningless without the HSM, on record. */
#include "tests/unit/service/api_support.h"

#include "base/rand.h"
#include "service/api/pseudonym.h"
#include "service/store/pseudonyms.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

enum { WORKERS = 4, RACE_ARENA = 4194304 };

#define ISSUER STR("https://idp.example")

/* Another worker, of another broker. Its clock may be another's too. */
struct worker {
    struct app app;
    struct api *api;
};

static void worker_open(struct bench *b, struct worker *w)
{
    w->app = b->app;
    assert_ok(api_new(&w->app, &w->api));
}

static void worker_at(struct bench *b, struct worker *w, int64_t now_s)
{
    w->app = b->app;
    w->app.clock = clock_fixed(now_s * 1000000);
    assert_ok(api_new(&w->app, &w->api));
}

static struct str pseudonym(struct bench *b, struct api *api, struct str issuer, const char *user)
{
    struct call c = bench_call_of(b, api);
    struct str p;
    assert_ok(pseudonym_of(&c, issuer, str_of(user), &p));
    assert_int_equal(p.n, 22);
    return p;
}

static struct err away(void *self, int64_t deadline_us, int *fd)
{
    (void)self;
    (void)deadline_us;
    (void)fd;
    return FAIL(ERR_HSM_UNAVAILABLE, "as planned");
}

static const struct sql rows = {"t_rows", "SELECT count(*) FROM nexus.pseudonym_keys"};
static const struct sql destroy = {"t_destroy", "DELETE FROM nexus.pseudonym_keys"};

/* Uses of a KEK that are on record as they must be: intent, then an outcome of the same operation. */
#define PAIRS(op, reason)                                                                                              \
    "WITH l AS (SELECT *, convert_from(leaf, 'UTF8')::json AS j FROM nexus.audit_leaves) "                             \
    "SELECT count(*) FROM l i JOIN l o ON o.corr_writer = i.writer AND o.corr_seq = i.seq "                            \
    "WHERE i.kind = 'intent' AND o.kind = 'outcome' AND i.j ->> 'op' = '" op "' AND o.j ->> 'op' = '" op "' "          \
    "AND o.j ->> 'reason' = '" reason "' AND i.j ->> 'key_id' = repeat('03', 16) "                                     \
    "AND i.j ->> 'detail' ~ '^[0-9]{4}-[0-9]{2}$'"
static const struct sql wraps = {"t_wraps", PAIRS("wrap", "ok")};
static const struct sql unwraps = {"t_unwraps", PAIRS("unwrap", "ok")};
static const struct sql failures = {"t_failures", PAIRS("unwrap", "ERR_HSM_UNAVAILABLE")};
static const struct sql open_intents = {
    "t_open", "SELECT count(*) FROM nexus.audit_leaves i WHERE kind = 'intent' AND NOT EXISTS "
              "(SELECT FROM nexus.audit_leaves o WHERE o.kind = 'outcome' AND o.corr_writer = "
              "i.writer AND o.corr_seq = i.seq)"};
/* How many numbers of the signer's sequence, from 1 to the last, are missing or there twice. */
static const struct sql counter_gaps = {
    "t_gaps", "SELECT max(n) - count(DISTINCT n) + count(*) - count(DISTINCT n) FROM (SELECT "
              "(convert_from(leaf, 'UTF8')::json ->> 'sgnr_ctr')::bigint AS n FROM nexus.audit_leaves "
              "WHERE kind = 'outcome') x WHERE n IS NOT NULL"};

static void test_without_a_kek_there_is_none(void **state)
{
    struct bench *b = *state;
    struct call c = bench_call(b);
    struct str p;
    assert_err(pseudonym_of(&c, ISSUER, STR("alice"), &p), ERR_NO_ACTIVE_KEY);
    assert_int_equal(bench_number(b, &rows), 0);
}

/* Workers that need the month's key at the same time make one. */
struct racer {
    struct bench *b;
    struct worker w;
    struct arena *arena;
    pthread_barrier_t *start;
    struct err e;
    char text[32];
};

static void *race(void *arg)
{
    struct racer *r = arg;
    struct call c = bench_call_of(r->b, r->w.api);
    c.arena = r->arena;
    struct str p = {NULL, 0};
    (void)pthread_barrier_wait(r->start);
    r->e = pseudonym_of(&c, ISSUER, STR("alice"), &p);
    (void)snprintf(r->text, sizeof r->text, "%.*s", STR_FMT(p));
    return NULL;
}

static void test_all_workers_agree_from_the_first_use_on(void **state)
{
    struct bench *b = *state;
    pthread_barrier_t start;
    struct racer r[WORKERS];
    pthread_t t[WORKERS];
    (void)bench_key(b, 3, HSM_KEK);
    assert_int_equal(pthread_barrier_init(&start, NULL, WORKERS), 0);
    for (size_t i = 0; i < WORKERS; i++) {
        r[i] = (struct racer){.b = b, .start = &start};
        worker_open(b, &r[i].w);
        assert_ok(arena_new(RACE_ARENA, &r[i].arena));
        assert_int_equal(pthread_create(&t[i], NULL, race, &r[i]), 0);
    }
    for (size_t i = 0; i < WORKERS; i++)
        assert_int_equal(pthread_join(t[i], NULL), 0);
    for (size_t i = 0; i < WORKERS; i++) {
        assert_ok(r[i].e);
        assert_string_equal(r[i].text, r[0].text);
        arena_free(&r[i].arena);
        api_free(&r[i].w.api);
    }
    (void)pthread_barrier_destroy(&start);
    assert_int_equal(bench_number(b, &rows), 1);
    assert_int_equal(bench_number(b, &unwraps), WORKERS);
    assert_in_range(bench_number(b, &wraps), 1, WORKERS);
    assert_true(str_is(pseudonym(b, b->api, ISSUER, "alice"), r[0].text));
}

static void test_a_worker_unwraps_once(void **state)
{
    struct bench *b = *state;
    (void)pseudonym(b, b->api, ISSUER, "alice");
    int64_t before = bench_number(b, &unwraps);
    (void)pseudonym(b, b->api, ISSUER, "bob");
    (void)pseudonym(b, b->api, ISSUER, "alice");
    assert_int_equal(bench_number(b, &unwraps), before);
}

/* By an implementation of HMAC that is not ours; and the column holds no plain key. */
static void test_it_is_the_hmac_that_it_is_said_to_be(void **state)
{
    struct bench *b = *state;
    static const struct sql hex = {"t_wrapped", "SELECT encode(wrapped, 'hex') FROM nexus.pseudonym_keys"};
    struct str p = pseudonym(b, b->api, ISSUER, "alice"),
               back_end = pseudonym(b, b->api, (struct str){NULL, 0}, "alice");
    struct call c = bench_call(b);
    struct store s = call_store(&c);
    char month[CLOCK_TEXT], key_hex[2 * HSM_DEK_LEN + 1];
    struct str period = {clock_rfc3339(clock_now_us(&b->app.clock), month).p, 7};
    struct dek k;
    bool found = false;
    CLEANUP(secret_free) struct secret *key = NULL;
    assert_ok(store_pseudonym_key_get(&s, period, &k, &found));
    assert_true(found);
    assert_ok(hsm_unwrap(b->fx->c, &k.kek, k.wrapped, fx_deadline(), &key));
    hex_encode(key->p, key->n, key_hex);
    struct str wrapped = bench_text(b, &hex);
    assert_null(memmem(wrapped.p, wrapped.n, key_hex, sizeof key_hex - 1));
    static const char command[] =
        "test \"$(printf 'sub\\0%.*s\\0alice' | openssl dgst -sha256 -mac HMAC -macopt hexkey:%s "
        "-binary | base64 | tr -- '+/' '-_' | cut -c1-22)\" = '%.*s'";
    fx_shell(b->fx, arena_printf(b->arena, command, STR_FMT(ISSUER), key_hex, STR_FMT(p)).p);
    fx_shell(b->fx, arena_printf(b->arena, command, 0, "", key_hex, STR_FMT(back_end)).p);
}

static void test_whose_it_is_counts(void **state)
{
    struct bench *b = *state;
    struct str all[] = {pseudonym(b, b->api, ISSUER, "alice"), pseudonym(b, b->api, ISSUER, "bob"),
                        pseudonym(b, b->api, STR("https://other.example"), "alice"),
                        pseudonym(b, b->api, (struct str){NULL, 0}, "alice")};
    for (size_t i = 0; i < COUNT(all); i++) {
        for (size_t k = 0; k < i; k++)
            assert_false(str_eq(all[i], all[k]));
    }
}

/* 2026-01-31T23:59:59Z and the second after it. */
static void test_each_month_has_its_key(void **state)
{
    struct bench *b = *state;
    static const struct sql months = {"t_months",
                                      "SELECT string_agg(period, ' ' ORDER BY period) FROM nexus.pseudonym_keys"};
    struct worker january, february;
    bench_exec(b, &destroy);
    worker_at(b, &january, INT64_C(1769903999));
    worker_at(b, &february, INT64_C(1769904000));
    struct str before = pseudonym(b, january.api, ISSUER, "alice"), after = pseudonym(b, february.api, ISSUER, "alice");
    assert_false(str_eq(before, after));
    assert_true(str_is(bench_text(b, &months), "2026-01 2026-02"));
    /* A worker goes on to the next month by itself. */
    january.app.clock = clock_fixed(INT64_C(1769904000000000));
    assert_true(str_eq(pseudonym(b, january.api, ISSUER, "alice"), after));
    january.app.clock = clock_fixed(INT64_C(1769903999000000));
    assert_true(str_eq(pseudonym(b, january.api, ISSUER, "alice"), before));
    api_free(&january.api);
    api_free(&february.api);
}

static void test_a_destroyed_key_is_gone(void **state)
{
    struct bench *b = *state;
    struct worker w;
    struct str before = pseudonym(b, b->api, ISSUER, "alice");
    bench_exec(b, &destroy);
    worker_open(b, &w);
    assert_false(str_eq(pseudonym(b, w.api, ISSUER, "alice"), before));
    api_free(&w.api);
}

static void test_without_the_hsm(void **state)
{
    struct bench *b = *state;
    struct worker w;
    struct str p;
    (void)pseudonym(b, b->api, ISSUER, "alice");
    w.app = b->app;
    w.app.hsm = (struct hsm_connector){.connect = away};
    assert_ok(api_new(&w.app, &w.api));
    struct call c = bench_call_of(b, w.api);
    int64_t failed = bench_number(b, &failures);
    assert_err(pseudonym_of(&c, ISSUER, STR("alice"), &p), ERR_HSM_UNAVAILABLE);
    assert_int_equal(bench_number(b, &failures), failed + 1);
    api_free(&w.api);
}

/* A byte changed, a KEK that is not on the token. */
static void test_a_row_that_was_tampered_with_is_refused(void **state)
{
    struct bench *b = *state;
    static const struct sql flip = {
        "t_flip", "UPDATE nexus.pseudonym_keys SET wrapped = set_byte(wrapped, 10, 255 - get_byte(wrapped, 10))"};
    static const struct sql move = {"t_move", "UPDATE nexus.pseudonym_keys SET kek = decode(repeat('07', 16), 'hex')"};
    static const struct sql *const changes[] = {&flip, &move};
    for (size_t i = 0; i < COUNT(changes); i++) {
        struct worker w;
        struct str p;
        bench_exec(b, &destroy);
        worker_open(b, &w);
        (void)pseudonym(b, w.api, ISSUER, "alice");
        api_free(&w.api);
        bench_exec(b, changes[i]);
        worker_open(b, &w);
        struct call c = bench_call_of(b, w.api);
        assert_err(pseudonym_of(&c, ISSUER, STR("alice"), &p), ERR_HSM_REFUSED);
        api_free(&w.api);
    }
    bench_exec(b, &destroy);
}

/* After all that: no intent without its outcome. No use of the KEK without its number; the one that a test made behind
 * the broker's back shows. */
static void test_the_record_is_whole(void **state)
{
    struct bench *b = *state;
    assert_int_equal(bench_number(b, &open_intents), 0);
    assert_int_equal(bench_number(b, &counter_gaps), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_without_a_kek_there_is_none, bench_reset),
        cmocka_unit_test_setup(test_all_workers_agree_from_the_first_use_on, bench_reset),
        cmocka_unit_test_setup(test_a_worker_unwraps_once, bench_reset),
        cmocka_unit_test_setup(test_it_is_the_hmac_that_it_is_said_to_be, bench_reset),
        cmocka_unit_test_setup(test_whose_it_is_counts, bench_reset),
        cmocka_unit_test_setup(test_each_month_has_its_key, bench_reset),
        cmocka_unit_test_setup(test_a_destroyed_key_is_gone, bench_reset),
        cmocka_unit_test_setup(test_without_the_hsm, bench_reset),
        cmocka_unit_test_setup(test_a_row_that_was_tampered_with_is_refused, bench_reset),
        cmocka_unit_test_setup(test_the_record_is_whole, bench_reset),
    };
    return cmocka_run_group_tests(tests, bench_open, bench_close);
}
