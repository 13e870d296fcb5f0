/* SPDX-License-Identifier: Apache-2.0
 * Metrics in the Prometheus text format. Families come from one static table; series (a family with label values) are
 * made at first use, at most METRIC_SERIES_MAX of them (more are counted under "other": labels never come from a
 * caller's free text). Updating is lock-free once a series exists. Any thread. */
#ifndef BASE_METRIC_H
#define BASE_METRIC_H

#include "base/buf.h"
#include "base/err.h"

enum { METRIC_LABELS = 3, METRIC_SERIES_MAX = 1024 };

enum metric_type { METRIC_COUNTER, METRIC_GAUGE, METRIC_HISTOGRAM /* seconds, observed in microseconds */ };

struct metric_def {
    const char *name;
    enum metric_type type;
    const char *help;
    const char *labels[METRIC_LABELS]; /* NULL: fewer */
};

struct metrics;
struct err metrics_new(const struct metric_def *defs, size_t n, struct metrics **out);
void metrics_free(struct metrics **m);

/* which is an index into the table; l0.. are the label values in the table's order (NULL for those it lacks). */
void metric_add(struct metrics *m, int which, int64_t delta, const char *l0, const char *l1, const char *l2);
void metric_set(struct metrics *m, int which, int64_t value, const char *l0, const char *l1, const char *l2);
void metric_observe_us(struct metrics *m, int which, int64_t us, const char *l0, const char *l1, const char *l2);

/* The whole exposition. */
void metrics_write(struct metrics *m, struct buf *out);

#endif
