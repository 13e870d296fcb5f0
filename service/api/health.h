/* SPDX-License-Identifier: Apache-2.0
 * What the broker knows of its parts, for GET /ready and for metrics. Workers report what they saw; a background
 * thread looks by itself when nobody did. Reading never waits. Any thread. */
#ifndef SERVICE_API_HEALTH_H
#define SERVICE_API_HEALTH_H

#include "service/api/api.h"

enum health_part { PART_DATABASE, PART_HSM, PART_KEY, PART_CLOCK, PART_COUNT };

struct err health_new(struct health **out);
void health_free(struct health **h);

/* Reports that a part worked (e is OK) or failed just now. */
void health_report(struct health *h, enum health_part part, const struct err *e);
/* Reports by what an error tells: database errors to PART_DATABASE, HSM errors to PART_HSM, others to none. */
void health_report_error(struct health *h, const struct err *e);

bool health_is_ok(const struct health *h, enum health_part part);
/* Microseconds (monotonic) of the last success; 0 before the first. */
int64_t health_last_ok_us(const struct health *h, enum health_part part);

/* Wall time less monotonic time, at the last good comparison with the database's clock (api/time_guard.h). */
void health_set_clock_offset(struct health *h, int64_t us);
int64_t health_clock_offset(const struct health *h);

/* A broker that drains is not ready, so that a load balancer looks elsewhere. */
void health_set_draining(struct health *h);

#endif
