/* SPDX-License-Identifier: Apache-2.0 */
#include "service/api/health.h"

#include "base/log.h"

#include <stdatomic.h>
#include <stdlib.h>

struct health {
    struct {
        atomic_bool ok;
        atomic_int code; /* enum err_code of the last failure */
        _Atomic int64_t last_ok_us;
    } part[PART_COUNT];
    _Atomic int64_t clock_offset_us;
    atomic_bool draining;
};

static const char *const part_names[PART_COUNT] = {
    [PART_DATABASE] = "database", [PART_HSM] = "hsm", [PART_KEY] = "signing_key", [PART_CLOCK] = "clock"};

struct err health_new(struct health **out)
{
    struct health *h = calloc(1, sizeof *h);
    if (h == NULL)
        return FAIL(ERR_NO_MEMORY, "health");
    *out = h;
    return OK;
}

void health_free(struct health **h)
{
    free(*h);
    *h = NULL;
}

void health_report(struct health *h, enum health_part part, const struct err *e)
{
    bool ok = !err_is(e);
    atomic_store(&h->part[part].code, (int)e->code);
    if (ok)
        atomic_store(&h->part[part].last_ok_us, clock_mono_us());
    if (atomic_exchange(&h->part[part].ok, ok) == ok)
        return;
    if (ok)
        LOG(LOG_INFO, "part is ready", LOG_CSTR("part", part_names[part]));
    else
        LOG_ERR(LOG_ERROR, "part is not ready", e, LOG_CSTR("part", part_names[part]));
}

void health_report_error(struct health *h, const struct err *e)
{
    /* Only what says that a part is away: a conflict or a refused statement is not an outage. */
    if (e->code == ERR_DB_UNAVAILABLE)
        health_report(h, PART_DATABASE, e);
    else if (e->code == ERR_HSM_UNAVAILABLE || e->code == ERR_HSM_PIN)
        health_report(h, PART_HSM, e);
}

bool health_is_ok(const struct health *h, enum health_part part)
{
    return atomic_load(&h->part[part].ok);
}

int64_t health_last_ok_us(const struct health *h, enum health_part part)
{
    return atomic_load(&h->part[part].last_ok_us);
}

void health_set_clock_offset(struct health *h, int64_t us)
{
    atomic_store(&h->clock_offset_us, us);
}

int64_t health_clock_offset(const struct health *h)
{
    return atomic_load(&h->clock_offset_us);
}

void health_set_draining(struct health *h)
{
    atomic_store(&h->draining, true);
}

/* GET /health: the process answers, whatever its parts do. */
struct err api_health_live(const struct app *app, const struct http_request *req, struct http_reply *out)
{
    (void)app;
    struct buf b = http_body(req);
    buf_cstr(&b, "{\"status\":\"healthy\"}");
    return http_reply_json(200, &b, out);
}

/* GET /ready: 200 when this broker can issue; 503 with the part that is not ready. */
struct err api_health_ready(const struct app *app, const struct http_request *req, struct http_reply *out)
{
    const struct health *h = app->health;
    bool ready = !atomic_load(&h->draining);
    struct buf b = http_body(req);
    struct json_writer w = json_writer(&b);
    json_begin_object(&w, NULL);
    json_begin_object(&w, "parts");
    for (int i = 0; i < PART_COUNT; i++) {
        bool ok = health_is_ok(h, (enum health_part)i);
        ready = ready && ok;
        enum err_code why = (enum err_code)atomic_load(&h->part[i].code);
        const char *text = ok ? "ok" : why == ERR_NONE ? "not checked yet" : err_public(why)->code;
        json_put_str(&w, part_names[i], str_of(text));
    }
    json_end_object(&w);
    json_put_str(&w, "status", atomic_load(&h->draining) ? STR("draining") : ready ? STR("ready") : STR("not_ready"));
    json_end_object(&w);
    TRY(http_reply_json(ready ? 200 : 503, &b, out));
    out->outcome = ready ? "ok" : "not_ready";
    return OK;
}
