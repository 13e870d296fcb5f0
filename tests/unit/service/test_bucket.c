/* SPDX-License-Identifier: Apache-2.0 */
#include "service/core/bucket.h"

#include "tests/unit/base/check.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

enum { SECOND = 1000000 };

static struct buckets *make(size_t capacity, int64_t rate, int64_t burst)
{
    struct buckets *b = NULL;
    assert_ok(buckets_new(capacity, rate, burst, &b));
    return b;
}

/* How many tokens a name gets at that time, up to a hundred. */
static int drain(struct buckets *b, const char *name, int64_t now_us)
{
    enum { MOST = 100 };
    int64_t wait = 0;
    int n = 0;
    while (n < MOST && buckets_take(b, str_of(name), now_us, &wait))
        n++;
    return n;
}

static void test_burst_then_rate(void **state)
{
    (void)state;
    struct buckets *b CLEANUP(buckets_free) = make(64, 10, 5);
    assert_int_equal(5, drain(b, "a", 0));
    assert_int_equal(0, drain(b, "a", SECOND / 10 - 1));
    assert_int_equal(1, drain(b, "a", SECOND / 10));
    assert_int_equal(3, drain(b, "a", SECOND / 10 + 3 * SECOND / 10));
    assert_int_equal(5, drain(b, "a", 1000 * (int64_t)SECOND));
}

static void test_names_do_not_share(void **state)
{
    (void)state;
    struct buckets *b CLEANUP(buckets_free) = make(64, 1, 3);
    assert_int_equal(3, drain(b, "a", 0));
    assert_int_equal(3, drain(b, "b", 0));
    assert_int_equal(3, drain(b, "", 0));
    assert_int_equal(3, drain(b, "abcdefgh", 0));
    assert_int_equal(3, drain(b, "abcdefghi", 0));
    assert_int_equal(0, drain(b, "a", 0));
}

static void test_retry_after_is_when_a_token_is_there(void **state)
{
    (void)state;
    struct buckets *b CLEANUP(buckets_free) = make(64, 1, 1);
    int64_t wait = 0;
    assert_true(buckets_take(b, STR("a"), 0, &wait));
    assert_false(buckets_take(b, STR("a"), 0, &wait));
    assert_int_equal(1, wait);
    assert_false(buckets_take(b, STR("a"), SECOND - 1, &wait));
    assert_int_equal(1, wait);
    assert_true(buckets_take(b, STR("a"), SECOND, &wait));
}

static void test_refused_takes_do_not_push_the_next_token_away(void **state)
{
    (void)state;
    struct buckets *b CLEANUP(buckets_free) = make(64, 1, 1);
    int got = 0;
    for (int64_t t = 0; t <= 10 * SECOND; t += SECOND / 100)
        got += drain(b, "a", t);
    assert_int_equal(11, got);
}

static void test_a_clock_that_jumps_gives_and_takes_nothing(void **state)
{
    (void)state;
    struct buckets *b CLEANUP(buckets_free) = make(64, 1, 2);
    assert_int_equal(2, drain(b, "a", 1000 * (int64_t)SECOND));
    assert_int_equal(0, drain(b, "a", 0));
    assert_int_equal(0, drain(b, "a", 1000 * (int64_t)SECOND));
    assert_int_equal(2, drain(b, "a", INT64_MAX));
    int64_t wait = 0;
    assert_true(buckets_take(b, STR("b"), 1000 * (int64_t)SECOND, &wait));
    assert_int_equal(1, drain(b, "b", 0));
}

static void test_largest_settings_do_not_overflow(void **state)
{
    (void)state;
    enum { LARGEST = 10000000, MOST = 100 };
    struct buckets *b CLEANUP(buckets_free) = make(64, LARGEST, LARGEST);
    assert_int_equal(MOST, drain(b, "a", 0));
    assert_int_equal(MOST, drain(b, "a", INT64_MAX / 2));
    struct buckets *none = NULL;
    assert_fails(ERR_CONFIG, buckets_new(1, 0, 1, &none));
    assert_fails(ERR_CONFIG, buckets_new(1, 1, 0, &none));
    assert_fails(ERR_CONFIG, buckets_new(1, INT64_MAX, 1, &none));
    assert_fails(ERR_CONFIG, buckets_new(1, 1, INT64_MAX, &none));
}

/* With one set of eight, newcomers replace full buckets first: the one that was emptied must not be forgotten, though
 * nobody was away longer. */
static void test_full_buckets_are_forgotten_first(void **state)
{
    (void)state;
    enum { OTHERS = 20, GAP_S = 2, BURST_OF = 60 };
    struct buckets *b CLEANUP(buckets_free) = make(8, 1, BURST_OF);
    assert_int_equal(BURST_OF, drain(b, "empty", 0));
    for (int i = 1; i <= OTHERS; i++) {
        char name[16];
        int64_t wait = 0;
        (void)snprintf(name, sizeof name, "n%d", i);
        assert_true(buckets_take(b, str_of(name), (int64_t)i * GAP_S * SECOND, &wait));
    }
    assert_int_equal(OTHERS * GAP_S, drain(b, "empty", (int64_t)OTHERS * GAP_S * SECOND));
}

enum { THREADS = 4, TRIES = 20000, BURST = 5000 };

struct crowd {
    struct buckets *b;
    atomic_int taken;
};

static void *crowd_main(void *arg)
{
    struct crowd *c = arg;
    for (int i = 0; i < TRIES; i++) {
        int64_t wait = 0;
        if (buckets_take(c->b, STR("shared"), 0, &wait))
            atomic_fetch_add(&c->taken, 1);
    }
    return NULL;
}

static void test_threads_share_one_budget(void **state)
{
    (void)state;
    struct buckets *b CLEANUP(buckets_free) = make(64, 1, BURST);
    struct crowd c = {.b = b};
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(0, pthread_create(&threads[i], NULL, crowd_main, &c));
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(BURST, atomic_load(&c.taken));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_burst_then_rate),
        cmocka_unit_test(test_names_do_not_share),
        cmocka_unit_test(test_retry_after_is_when_a_token_is_there),
        cmocka_unit_test(test_refused_takes_do_not_push_the_next_token_away),
        cmocka_unit_test(test_a_clock_that_jumps_gives_and_takes_nothing),
        cmocka_unit_test(test_largest_settings_do_not_overflow),
        cmocka_unit_test(test_full_buckets_are_forgotten_first),
        cmocka_unit_test(test_threads_share_one_budget),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
