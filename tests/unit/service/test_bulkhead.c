/* SPDX-License-Identifier: Apache-2.0
 * Places for workers that wait for somebody outside: how many there are, and that each is had once. */
#include "service/api/bulkhead.h"

#include "service/api/api.h"
#include "tests/unit/base/check.h"

#include <pthread.h>
#include <stdatomic.h>

enum { ARENA_BYTES = 1 << 20, THREADS = 8, ROUNDS = 500 };

static struct metrics *new_metrics(void)
{
    struct metrics *m = NULL;
    assert_ok(api_metrics_new(&m));
    return m;
}

/* What the exposition says of nexus_outbound_calls. */
static void assert_shown(struct metrics *m, const char *line)
{
    CLEANUP(arena_free) struct arena *a = NULL;
    assert_ok(arena_new(ARENA_BYTES, &a));
    struct buf b = buf_in(a, ARENA_BYTES / 2);
    metrics_write(m, &b);
    struct str text = buf_view(&b);
    assert_non_null(memmem(text.p, text.n, line, strlen(line)));
}

static void test_half_of_the_workers_and_one_at_least(void **state)
{
    (void)state;
    static const struct {
        int64_t workers, places;
    } rows[] = {{1, 1}, {2, 1}, {3, 1}, {4, 2}, {16, 8}, {256, 128}};
    for (size_t i = 0; i < COUNT(rows); i++) {
        CLEANUP(metrics_free) struct metrics *m = new_metrics();
        CLEANUP(bulkhead_free) struct bulkhead *b = NULL;
        assert_ok(bulkhead_new(rows[i].workers, m, &b));
        struct bulkhead *places[128];
        for (int64_t n = 0; n < rows[i].places; n++) {
            places[n] = bulkhead_enter(b);
            assert_non_null(places[n]);
        }
        assert_null(bulkhead_enter(b));
        /* Each place that is given back is one for the next. */
        for (int64_t n = 0; n < rows[i].places; n++) {
            bulkhead_leave(&places[n]);
            assert_null(places[n]);
            bulkhead_leave(&places[n]);
            places[n] = bulkhead_enter(b);
            assert_non_null(places[n]);
        }
        assert_null(bulkhead_enter(b));
    }
}

static void test_the_gauge(void **state)
{
    (void)state;
    CLEANUP(metrics_free) struct metrics *m = new_metrics();
    CLEANUP(bulkhead_free) struct bulkhead *b = NULL;
    assert_ok(bulkhead_new(4, m, &b));
    assert_shown(m, "\nnexus_outbound_calls 0\n");
    struct bulkhead *one = bulkhead_enter(b), *two = bulkhead_enter(b);
    assert_null(bulkhead_enter(b));
    assert_shown(m, "\nnexus_outbound_calls 2\n");
    bulkhead_leave(&one);
    assert_shown(m, "\nnexus_outbound_calls 1\n");
    bulkhead_leave(&two);
    assert_shown(m, "\nnexus_outbound_calls 0\n");
}

struct race {
    struct bulkhead *b;
    atomic_int inside, most, entered;
};

static void *run(void *arg)
{
    struct race *r = arg;
    for (int n = 0; n < ROUNDS; n++) {
        CLEANUP(bulkhead_leave) struct bulkhead *place = bulkhead_enter(r->b);
        if (place == NULL)
            continue;
        atomic_fetch_add(&r->entered, 1);
        int now = atomic_fetch_add(&r->inside, 1) + 1, most = atomic_load(&r->most);
        while (now > most && !atomic_compare_exchange_weak(&r->most, &most, now))
            continue;
        atomic_fetch_sub(&r->inside, 1);
    }
    return NULL;
}

static void test_threads_share_the_places(void **state)
{
    (void)state;
    CLEANUP(metrics_free) struct metrics *m = new_metrics();
    struct race r = {.b = NULL};
    assert_ok(bulkhead_new(5, m, &r.b));
    pthread_t threads[THREADS];
    for (size_t n = 0; n < THREADS; n++)
        assert_int_equal(pthread_create(&threads[n], NULL, run, &r), 0);
    for (size_t n = 0; n < THREADS; n++)
        assert_int_equal(pthread_join(threads[n], NULL), 0);
    assert_in_range(atomic_load(&r.most), 1, 2);
    assert_true(atomic_load(&r.entered) >= ROUNDS);
    assert_shown(m, "\nnexus_outbound_calls 0\n");
    struct bulkhead *one = bulkhead_enter(r.b), *two = bulkhead_enter(r.b);
    assert_non_null(one);
    assert_non_null(two);
    assert_null(bulkhead_enter(r.b));
    bulkhead_free(&r.b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_half_of_the_workers_and_one_at_least),
        cmocka_unit_test(test_the_gauge),
        cmocka_unit_test(test_threads_share_the_places),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
