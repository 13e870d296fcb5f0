/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"

#include <stdio.h>
#include <time.h>

static int64_t read_clock(clockid_t id)
{
    struct timespec ts = {0};
    clock_gettime(id, &ts);
    return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

static int64_t real_now(const struct clock *c)
{
    (void)c;
    return read_clock(CLOCK_REALTIME);
}

static int64_t fixed_now(const struct clock *c)
{
    return c->fixed_us;
}

struct clock clock_real(void)
{
    return (struct clock){.now_us = real_now};
}

struct clock clock_fixed(int64_t at_us)
{
    return (struct clock){.now_us = fixed_now, .fixed_us = at_us};
}

int64_t clock_mono_us(void)
{
    return read_clock(CLOCK_MONOTONIC);
}

int clock_poll_ms(int64_t deadline_us)
{
    enum { MINUTE_MS = 60000 };
    int64_t now = clock_mono_us();
    if (deadline_us <= now)
        return 0;
    int64_t left = deadline_us - now;
    return left >= (int64_t)MINUTE_MS * 1000 ? MINUTE_MS : (int)((left + 999) / 1000);
}

static struct str format(int64_t us, bool micros, char out[static CLOCK_TEXT])
{
    const int64_t last = INT64_C(253402300799); /* 9999-12-31T23:59:59Z */
    int64_t s = us / 1000000;
    s = s < 0 ? 0 : s > last ? last : s;
    time_t t = (time_t)s;
    struct tm tm = {0};
    gmtime_r(&t, &tm);
    size_t n = strftime(out, CLOCK_TEXT, "%Y-%m-%dT%H:%M:%S", &tm);
    int m = micros ? snprintf(out + n, CLOCK_TEXT - n, ".%06dZ", (int)(us < 0 ? 0 : us % 1000000))
                   : snprintf(out + n, CLOCK_TEXT - n, "Z");
    return (struct str){out, n + (size_t)(m > 0 ? m : 0)};
}

struct str clock_rfc3339(int64_t us, char out[static CLOCK_TEXT])
{
    return format(us, false, out);
}

struct str clock_rfc3339_us(int64_t us, char out[static CLOCK_TEXT])
{
    return format(us, true, out);
}
