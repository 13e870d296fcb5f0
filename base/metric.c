/* SPDX-License-Identifier: Apache-2.0 */
#include "base/metric.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

/* A power of two, and at least twice what it can ever hold, so that probing ends. */
enum { SLOTS = 4 * METRIC_SERIES_MAX, BUCKETS = 14 };

/* Upper bounds of the histogram buckets: in microseconds, and as the exposition spells them. */
static const int64_t bound_us[BUCKETS] = {500,    1000,   2500,   5000,    10000,   25000,   50000,
                                          100000, 250000, 500000, 1000000, 2500000, 5000000, 10000000};
static const char *const bound_text[BUCKETS] = {"0.0005", "0.001", "0.0025", "0.005", "0.01", "0.025", "0.05",
                                                "0.1",    "0.25",  "0.5",    "1",     "2.5",  "5",     "10"};

/* Label values of a series that had to be merged, because there were too many. */
static const char other[] = "other";

struct series {
    int which;
    char *labels[METRIC_LABELS]; /* NULL: the family has fewer */
    _Atomic int64_t value;       /* counter, gauge; of a histogram: the sum */
    _Atomic int64_t counts[BUCKETS + 1];
};

struct metrics {
    const struct metric_def *defs;
    size_t n_defs;
    pthread_mutex_t adding;
    size_t n_series;
    struct series *_Atomic slots[SLOTS];
};

static size_t label_count(const struct metric_def *d)
{
    size_t n = 0;
    while (n < METRIC_LABELS && d->labels[n] != NULL)
        n++;
    return n;
}

/* FNV-1a: label values come from our own tables, so nobody can craft collisions. */
static size_t hash_of(int which, const char *const *labels, size_t n)
{
    uint64_t h = UINT64_C(14695981039346656037) ^ (uint64_t)which;
    for (size_t i = 0; i < n; i++) {
        for (const char *p = labels[i]; *p != '\0'; p++)
            h = (h ^ (unsigned char)*p) * UINT64_C(1099511628211);
        h = (h ^ 0xff) * UINT64_C(1099511628211);
    }
    return (size_t)(h ^ (h >> 32));
}

static bool is_same(const struct series *s, int which, const char *const *labels, size_t n)
{
    if (s->which != which)
        return false;
    for (size_t i = 0; i < n; i++) {
        if (strcmp(s->labels[i], labels[i]) != 0)
            return false;
    }
    return true;
}

/* The series, or NULL with *slot where it belongs. Slots are only ever filled, so no lock is needed. */
static struct series *find(struct metrics *m, int which, const char *const *labels, size_t n, size_t *slot)
{
    for (size_t i = hash_of(which, labels, n);; i++) {
        *slot = i % SLOTS;
        struct series *s = atomic_load_explicit(&m->slots[*slot], memory_order_acquire);
        if (s == NULL || is_same(s, which, labels, n))
            return s;
    }
}

static void series_free(struct series *s)
{
    for (size_t i = 0; s != NULL && i < METRIC_LABELS; i++)
        free(s->labels[i]);
    free(s);
}

static struct series *series_new(int which, const char *const *labels, size_t n)
{
    struct series *s = calloc(1, sizeof *s);
    if (s == NULL)
        return NULL;
    s->which = which;
    for (size_t i = 0; i < n; i++) {
        s->labels[i] = strdup(labels[i]);
        if (s->labels[i] == NULL) {
            series_free(s);
            return NULL;
        }
    }
    return s;
}

/* The series, made if it is new. NULL only when memory is short: then the update is lost, not the request. */
static struct series *find_or_add(struct metrics *m, int which, const char *const *labels, size_t n)
{
    size_t slot = 0;
    struct series *s = find(m, which, labels, n, &slot);
    if (s != NULL)
        return s;
    static const char *const merged[METRIC_LABELS] = {other, other, other};
    pthread_mutex_lock(&m->adding);
    /* The merged series of each family are made beyond the maximum, so that there is always one to count under. */
    if (m->n_series >= METRIC_SERIES_MAX)
        labels = merged;
    s = find(m, which, labels, n, &slot);
    if (s == NULL) {
        s = series_new(which, labels, n);
        if (s != NULL) {
            m->n_series++;
            atomic_store_explicit(&m->slots[slot], s, memory_order_release);
        }
    }
    pthread_mutex_unlock(&m->adding);
    return s;
}

static struct series *lookup(struct metrics *m, int which, const char *l0, const char *l1, const char *l2)
{
    if (which < 0 || (size_t)which >= m->n_defs)
        return NULL;
    const char *labels[METRIC_LABELS] = {l0, l1, l2};
    size_t n = label_count(&m->defs[which]);
    for (size_t i = 0; i < n; i++)
        labels[i] = labels[i] != NULL ? labels[i] : "";
    return find_or_add(m, which, labels, n);
}

struct err metrics_new(const struct metric_def *defs, size_t n, struct metrics **out)
{
    if (n > METRIC_SERIES_MAX)
        return FAIL(ERR_INTERNAL, "%zu metric families", n);
    struct metrics *m = calloc(1, sizeof *m);
    if (m == NULL)
        return FAIL(ERR_NO_MEMORY, "metrics");
    m->defs = defs;
    m->n_defs = n;
    pthread_mutex_init(&m->adding, NULL);
    /* A family without labels is shown from the start: a counter that is missing cannot be told from one at zero. */
    for (size_t i = 0; i < n; i++) {
        if (label_count(&defs[i]) == 0 && find_or_add(m, (int)i, NULL, 0) == NULL) {
            metrics_free(&m);
            return FAIL(ERR_NO_MEMORY, "metrics");
        }
    }
    *out = m;
    return OK;
}

void metrics_free(struct metrics **m)
{
    if (*m == NULL)
        return;
    for (size_t i = 0; i < SLOTS; i++)
        series_free(atomic_load(&(*m)->slots[i]));
    pthread_mutex_destroy(&(*m)->adding);
    free(*m);
    *m = NULL;
}

void metric_add(struct metrics *m, int which, int64_t delta, const char *l0, const char *l1, const char *l2)
{
    struct series *s = lookup(m, which, l0, l1, l2);
    if (s != NULL)
        atomic_fetch_add_explicit(&s->value, delta, memory_order_relaxed);
}

void metric_set(struct metrics *m, int which, int64_t value, const char *l0, const char *l1, const char *l2)
{
    struct series *s = lookup(m, which, l0, l1, l2);
    if (s != NULL)
        atomic_store_explicit(&s->value, value, memory_order_relaxed);
}

void metric_observe_us(struct metrics *m, int which, int64_t us, const char *l0, const char *l1, const char *l2)
{
    struct series *s = lookup(m, which, l0, l1, l2);
    if (s == NULL)
        return;
    size_t i = 0;
    while (i < BUCKETS && us > bound_us[i])
        i++;
    atomic_fetch_add_explicit(&s->counts[i], 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&s->value, us, memory_order_relaxed);
}

/* A label value escaped as the text format asks: backslash, double quote, line feed. */
static void write_value(struct buf *out, const char *v)
{
    for (; *v != '\0'; v++) {
        if (*v == '\n') {
            buf_cstr(out, "\\n");
            continue;
        }
        if (*v == '\\' || *v == '"')
            buf_char(out, '\\');
        buf_char(out, *v);
    }
}

/* name + suffix, and the labels in braces; le is the bound of a histogram bucket, or NULL. */
static void write_name(struct buf *out, const struct metric_def *d, const struct series *s, const char *suffix,
                       const char *le)
{
    buf_cstr(out, d->name);
    buf_cstr(out, suffix);
    size_t n = label_count(d);
    if (n == 0 && le == NULL)
        return;
    char sep = '{';
    for (size_t i = 0; i < n; i++) {
        buf_char(out, sep);
        buf_cstr(out, d->labels[i]);
        buf_cstr(out, "=\"");
        write_value(out, s->labels[i]);
        buf_char(out, '"');
        sep = ',';
    }
    if (le != NULL)
        buf_printf(out, "%cle=\"%s\"", sep, le);
    buf_char(out, '}');
}

static void write_histogram(struct buf *out, const struct metric_def *d, struct series *s)
{
    int64_t total = 0;
    for (size_t i = 0; i <= BUCKETS; i++) {
        total += atomic_load_explicit(&s->counts[i], memory_order_relaxed);
        write_name(out, d, s, "_bucket", i < BUCKETS ? bound_text[i] : "+Inf");
        buf_printf(out, " %lld\n", (long long)total);
    }
    int64_t us = atomic_load_explicit(&s->value, memory_order_relaxed);
    write_name(out, d, s, "_sum", NULL);
    buf_printf(out, " %lld.%06lld\n", (long long)(us / 1000000), (long long)(us % 1000000));
    write_name(out, d, s, "_count", NULL);
    buf_printf(out, " %lld\n", (long long)total);
}

static void write_series(struct buf *out, const struct metric_def *d, struct series *s)
{
    if (d->type == METRIC_HISTOGRAM) {
        write_histogram(out, d, s);
        return;
    }
    write_name(out, d, s, "", NULL);
    buf_printf(out, " %lld\n", (long long)atomic_load_explicit(&s->value, memory_order_relaxed));
}

void metrics_write(struct metrics *m, struct buf *out)
{
    static const char *const types[] = {
        [METRIC_COUNTER] = "counter", [METRIC_GAUGE] = "gauge", [METRIC_HISTOGRAM] = "histogram"};
    for (size_t f = 0; f < m->n_defs; f++) {
        const struct metric_def *d = &m->defs[f];
        buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", d->name, d->help, d->name, types[d->type]);
        for (size_t i = 0; i < SLOTS; i++) {
            struct series *s = atomic_load_explicit(&m->slots[i], memory_order_acquire);
            if (s != NULL && (size_t)s->which == f)
                write_series(out, d, s);
        }
    }
}
