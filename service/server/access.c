/* SPDX-License-Identifier: Apache-2.0 */
#include "base/log.h"
#include "service/server/internal.h"

/* A client's mistake is no concern of the operator's; a fault of ours is. Snapshots that are asked for every few
 * seconds by probes would drown the rest. */
static enum log_level level_of(const struct exchange *x, const struct http_reply *r)
{
    enum { FAULT = 500 };
    if (r->status >= FAULT)
        return LOG_WARN;
    bool snapshot = x->route != NULL && x->route->inline_handler != NULL;
    return snapshot ? LOG_DEBUG : LOG_INFO;
}

void access_log(const struct app *app, const struct exchange *x, const struct http_reply *r, const struct err *e)
{
    /* Labels come from tables: a path of a caller's choice is never one. */
    const char *route = x->route != NULL ? x->route->pattern : "other";
    int64_t us = x->received_us > 0 ? clock_mono_us() - x->received_us : 0;
    metric_add(app->metrics, M_REQUESTS, 1, route, r->outcome, NULL);
    metric_observe_us(app->metrics, M_REQUEST_TIME, us, route, r->outcome, NULL);
    const struct log_field fields[] = {
        LOG_CSTR("method", http_method_name(x->req.method)),
        LOG_CSTR("route", route),
        LOG_INT("status", r->status),
        LOG_CSTR("outcome", r->outcome),
        LOG_CSTR("request_id", x->request_id),
        LOG_CSTR("peer", x->peer),
        LOG_INT("us", us),
        LOG_STR("traceparent", x->req.traceparent),
    };
    size_t n = COUNT(fields) - (x->req.traceparent.p == NULL ? 1 : 0);
    if (e != NULL && err_is(e))
        log_err(level_of(x, r), "request", e, fields, n);
    else
        log_write(level_of(x, r), "request", fields, n);
}
