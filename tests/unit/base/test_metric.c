/* SPDX-License-Identifier: Apache-2.0 */
#include "base/metric.h"

#include "tests/unit/base/check.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

enum { ARENA_BYTES = 8 << 20, TEXT_MAX = 2 << 20 };
enum { TAKEN, OPEN, TIME };

static const struct metric_def defs[] = {
    {"taken_total", METRIC_COUNTER, "Things taken", {"kind", "outcome"}},
    {"open", METRIC_GAUGE, "Open things", {NULL}},
    {"time_seconds", METRIC_HISTOGRAM, "Time", {"kind"}},
};

static struct metrics *make(void)
{
    struct metrics *m = NULL;
    assert_ok(metrics_new(defs, COUNT(defs), &m));
    return m;
}

/* The exposition as a C string in the arena. */
static const char *text_of(struct metrics *m, struct arena *a)
{
    struct buf out = buf_in(a, TEXT_MAX);
    metrics_write(m, &out);
    assert_ok(buf_status(&out));
    struct str text = arena_str(a, buf_view(&out));
    assert_non_null(text.p);
    return text.p;
}

static void assert_has(const char *text, const char *line)
{
    if (strstr(text, line) == NULL)
        fail_msg("no \"%s\" in:\n%s", line, text);
}

static void test_counters_gauges_and_their_headers(void **state)
{
    (void)state;
    struct arena *a CLEANUP(arena_free) = NULL;
    assert_ok(arena_new(ARENA_BYTES, &a));
    struct metrics *m CLEANUP(metrics_free) = make();
    assert_has(text_of(m, a), "\nopen 0\n");
    metric_add(m, TAKEN, 2, "a", "ok", NULL);
    metric_add(m, TAKEN, 3, "a", "ok", NULL);
    metric_add(m, TAKEN, 1, "a", "bad", NULL);
    metric_set(m, OPEN, 7, NULL, NULL, NULL);
    metric_add(m, OPEN, -2, NULL, NULL, NULL);
    const char *text = text_of(m, a);
    assert_has(text, "# HELP taken_total Things taken\n# TYPE taken_total counter\n");
    assert_has(text, "\ntaken_total{kind=\"a\",outcome=\"ok\"} 5\n");
    assert_has(text, "\ntaken_total{kind=\"a\",outcome=\"bad\"} 1\n");
    assert_has(text, "# TYPE open gauge\nopen 5\n");
    assert_has(text, "# TYPE time_seconds histogram\n");
}

static void test_histogram_is_cumulative_and_in_seconds(void **state)
{
    (void)state;
    struct arena *a CLEANUP(arena_free) = NULL;
    assert_ok(arena_new(ARENA_BYTES, &a));
    struct metrics *m CLEANUP(metrics_free) = make();
    metric_observe_us(m, TIME, 500, "x", NULL, NULL);
    metric_observe_us(m, TIME, 501, "x", NULL, NULL);
    metric_observe_us(m, TIME, 1500000, "x", NULL, NULL);
    metric_observe_us(m, TIME, 60000000, "x", NULL, NULL);
    const char *text = text_of(m, a);
    assert_has(text, "time_seconds_bucket{kind=\"x\",le=\"0.0005\"} 1\n");
    assert_has(text, "time_seconds_bucket{kind=\"x\",le=\"0.001\"} 2\n");
    assert_has(text, "time_seconds_bucket{kind=\"x\",le=\"1\"} 2\n");
    assert_has(text, "time_seconds_bucket{kind=\"x\",le=\"2.5\"} 3\n");
    assert_has(text, "time_seconds_bucket{kind=\"x\",le=\"10\"} 3\n");
    assert_has(text, "time_seconds_bucket{kind=\"x\",le=\"+Inf\"} 4\n");
    assert_has(text, "time_seconds_sum{kind=\"x\"} 61.501001\n");
    assert_has(text, "time_seconds_count{kind=\"x\"} 4\n");
}

static void test_label_values_are_escaped(void **state)
{
    (void)state;
    struct arena *a CLEANUP(arena_free) = NULL;
    assert_ok(arena_new(ARENA_BYTES, &a));
    struct metrics *m CLEANUP(metrics_free) = make();
    metric_add(m, TAKEN, 1, "a\"b\\c\nd", NULL, NULL);
    assert_has(text_of(m, a), "taken_total{kind=\"a\\\"b\\\\c\\nd\",outcome=\"\"} 1\n");
}

static void test_unknown_metrics_are_ignored(void **state)
{
    (void)state;
    struct metrics *m CLEANUP(metrics_free) = make();
    metric_add(m, -1, 1, NULL, NULL, NULL);
    metric_add(m, (int)COUNT(defs), 1, NULL, NULL, NULL);
}

static void test_too_many_series_are_counted_together(void **state)
{
    (void)state;
    enum { MANY = METRIC_SERIES_MAX + 500 };
    struct arena *a CLEANUP(arena_free) = NULL;
    assert_ok(arena_new(ARENA_BYTES, &a));
    struct metrics *m CLEANUP(metrics_free) = make();
    for (int i = 0; i < MANY; i++) {
        char kind[16];
        (void)snprintf(kind, sizeof kind, "k%d", i);
        metric_add(m, TAKEN, 1, kind, "ok", NULL);
    }
    metric_observe_us(m, TIME, 1, "late", NULL, NULL);
    const char *text = text_of(m, a);
    size_t lines = 0;
    int64_t sum = 0;
    for (const char *p = strstr(text, "\ntaken_total{"); p != NULL; p = strstr(p + 1, "\ntaken_total{")) {
        lines++;
        sum += strtoll(strstr(p, "} ") + 2, NULL, 10);
    }
    assert_int_equal(MANY, sum);
    assert_in_range(lines, METRIC_SERIES_MAX - 2, METRIC_SERIES_MAX + 1);
    assert_has(text, "taken_total{kind=\"other\",outcome=\"other\"} ");
    assert_has(text, "time_seconds_count{kind=\"other\"} 1\n");
}

enum { THREADS = 4, ROUNDS = 20000, KINDS = 16 };

static void *hammer(void *arg)
{
    struct metrics *m = arg;
    for (int i = 0; i < ROUNDS; i++) {
        char kind[8];
        (void)snprintf(kind, sizeof kind, "k%d", i % KINDS);
        metric_add(m, TAKEN, 1, kind, "ok", NULL);
        metric_observe_us(m, TIME, 10, kind, NULL, NULL);
    }
    return NULL;
}

static void test_no_update_is_lost_between_threads(void **state)
{
    (void)state;
    struct arena *a CLEANUP(arena_free) = NULL;
    assert_ok(arena_new(ARENA_BYTES, &a));
    struct metrics *m CLEANUP(metrics_free) = make();
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(0, pthread_create(&threads[i], NULL, hammer, m));
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    const char *text = text_of(m, a);
    for (int i = 0; i < KINDS; i++) {
        char line[64];
        (void)snprintf(line, sizeof line, "taken_total{kind=\"k%d\",outcome=\"ok\"} %d\n", i, THREADS * ROUNDS / KINDS);
        assert_has(text, line);
        (void)snprintf(line, sizeof line, "time_seconds_count{kind=\"k%d\"} %d\n", i, THREADS * ROUNDS / KINDS);
        assert_has(text, line);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_counters_gauges_and_their_headers),
        cmocka_unit_test(test_histogram_is_cumulative_and_in_seconds),
        cmocka_unit_test(test_label_values_are_escaped),
        cmocka_unit_test(test_unknown_metrics_are_ignored),
        cmocka_unit_test(test_too_many_series_are_counted_together),
        cmocka_unit_test(test_no_update_is_lost_between_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
