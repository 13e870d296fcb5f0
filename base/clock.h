/* SPDX-License-Identifier: Apache-2.0
 * Time. Wall time is microseconds since 1970 UTC and is read through an injected clock, so that tests can set it.
 * Deadlines use the monotonic clock, which no one sets. */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include "base/span.h"

#include <stdint.h>

struct clock {
    int64_t (*now_us)(const struct clock *c);
    int64_t fixed_us; /* for clock_fixed */
};

/* The machine's clock; a clock that stands still at at_us. */
struct clock clock_real(void);
struct clock clock_fixed(int64_t at_us);

static inline int64_t clock_now_us(const struct clock *c)
{
    return c->now_us(c);
}

static inline int64_t clock_now_s(const struct clock *c)
{
    return c->now_us(c) / 1000000;
}

int64_t clock_mono_us(void);

/* Milliseconds until a monotonic deadline, for poll(2): rounded up, 0 when past, at most one minute. */
int clock_poll_ms(int64_t deadline_us);

/* RFC 3339 in UTC: "2026-01-02T03:04:05Z", or with six digits of microseconds. Years 1970 to 9999. */
enum { CLOCK_TEXT = 32 };
struct str clock_rfc3339(int64_t us, char out[static CLOCK_TEXT]);
struct str clock_rfc3339_us(int64_t us, char out[static CLOCK_TEXT]);

#endif
