/* SPDX-License-Identifier: Apache-2.0 */
#include "base/queue.h"

#include "base/clock.h"
#include "tests/unit/base/check.h"

#include <pthread.h>
#include <stdatomic.h>

static void test_first_in_first_out_and_full(void **state)
{
    (void)state;
    struct queue *q = NULL;
    int items[5];
    assert_ok(queue_new(3, &q));
    for (int round = 0; round < 4; round++) {
        for (int i = 0; i < 3; i++)
            assert_true(queue_push(q, &items[i]));
        assert_false(queue_push(q, &items[3]));
        assert_int_equal(3, queue_depth(q));
        for (int i = 0; i < 2; i++)
            assert_ptr_equal(&items[i], queue_pop(q, INT64_MAX));
        assert_true(queue_push(q, &items[4]));
        assert_ptr_equal(&items[2], queue_pop(q, 0));
        assert_ptr_equal(&items[4], queue_pop(q, 0));
        assert_int_equal(0, queue_depth(q));
    }
    queue_free(&q);
    assert_null(q);
    queue_free(&q);
}

static void test_an_empty_queue_answers_at_its_deadline(void **state)
{
    (void)state;
    struct queue *q = NULL;
    assert_ok(queue_new(1, &q));
    assert_null(queue_pop(q, 0));
    int64_t deadline = clock_mono_us() + 20000;
    assert_null(queue_pop(q, deadline));
    assert_true(clock_mono_us() >= deadline);
    queue_free(&q);
}

static void test_close_refuses_and_drains(void **state)
{
    (void)state;
    struct queue *q = NULL;
    int item;
    assert_ok(queue_new(2, &q));
    assert_true(queue_push(q, &item));
    assert_false(queue_is_closed(q));
    queue_close(q);
    assert_true(queue_is_closed(q));
    assert_false(queue_push(q, &item));
    assert_ptr_equal(&item, queue_pop(q, INT64_MAX));
    assert_null(queue_pop(q, INT64_MAX));
    queue_free(&q);
}

enum { THREADS = 4, PER_THREAD = 20000 };

struct counting {
    struct queue *q;
    atomic_int taken;
};

static void *consume(void *arg)
{
    struct counting *c = arg;
    while (queue_pop(c->q, INT64_MAX) != NULL)
        atomic_fetch_add(&c->taken, 1);
    return NULL;
}

static void *produce(void *arg)
{
    struct counting *c = arg;
    for (int i = 0; i < PER_THREAD; i++) {
        while (!queue_push(c->q, c))
            sched_yield();
    }
    return NULL;
}

static void test_many_threads_lose_nothing(void **state)
{
    (void)state;
    struct counting c = {0};
    pthread_t consumers[THREADS];
    pthread_t producers[THREADS];
    assert_ok(queue_new(16, &c.q));
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(0, pthread_create(&consumers[i], NULL, consume, &c));
        assert_int_equal(0, pthread_create(&producers[i], NULL, produce, &c));
    }
    for (int i = 0; i < THREADS; i++)
        pthread_join(producers[i], NULL);
    queue_close(c.q);
    for (int i = 0; i < THREADS; i++)
        pthread_join(consumers[i], NULL);
    assert_int_equal(THREADS * PER_THREAD, atomic_load(&c.taken));
    queue_free(&c.q);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_first_in_first_out_and_full),
        cmocka_unit_test(test_an_empty_queue_answers_at_its_deadline),
        cmocka_unit_test(test_close_refuses_and_drains),
        cmocka_unit_test(test_many_threads_lose_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
