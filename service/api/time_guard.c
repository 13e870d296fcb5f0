/* SPDX-License-Identifier: Apache-2.0 */
#include "service/api/time_guard.h"

#include "service/api/health.h"
#include "service/core/skew.h"
#include "service/store/clock.h"

#include <stdlib.h>

/* Stays the same for as long as nobody sets the clock. */
static int64_t wall_less_mono_us(const struct app *app)
{
    return clock_now_us(&app->clock) - clock_mono_us();
}

struct err time_guard_check(const struct call *c)
{
    const struct app *app = c->api->app;
    int64_t max_s = app->config->clock_skew_max_s, offset_us = wall_less_mono_us(app);
    struct skew_case k = {.before_us = clock_now_us(&app->clock), .max_us = max_s * 1000000};
    struct store s = call_store(c);
    struct err e = store_clock(&s, k.before_us, max_s, &k.database_us, &k.latest_us);
    health_report_error(app->health, &e);
    TRY(e);
    k.after_us = clock_now_us(&app->clock);
    e = skew_check(&k);
    if (!err_is(&e))
        health_set_clock_offset(app->health, offset_us);
    health_report(app->health, PART_CLOCK, &e);
    return e;
}

struct err time_guard_trust(const struct app *app)
{
    if (!health_is_ok(app->health, PART_CLOCK))
        return FAIL(ERR_CLOCK, "see the log line of the part clock");
    int64_t moved_us = wall_less_mono_us(app) - health_clock_offset(app->health);
    if (llabs((long long)moved_us) > app->config->clock_skew_max_s * 1000000)
        return FAIL(ERR_CLOCK, "this machine's clock was set by %lld s just now", (long long)(moved_us / 1000000));
    return OK;
}
