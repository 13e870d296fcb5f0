/* SPDX-License-Identifier: Apache-2.0
 * Start and stop of the server's parts, in order. */
#include "service/server/server.h"

#include "base/clock.h"
#include "base/log.h"
#include "service/server/internal.h"
#include "service/server/listen.h"

#include <stdlib.h>

enum {
    ADDRESSES = 16384,         /* token buckets */
    ARENA_EXTRA = 24 << 20,    /* a reply of HTTP_BODY_MAX while it doubles, and what the endpoint reads for it */
    FLUSH_US = 2 * 1000 * 1000 /* for replies to leave at the end of a shutdown */
};

static struct err start_parts(struct server *s)
{
    const struct config *cfg = s->app->config;
    listen_raise_fd_limit(cfg->max_connections, cfg->workers);
    size_t most = (size_t)(cfg->max_connections + cfg->workers + cfg->queue_depth);
    TRY(exchange_pool_new(most, (size_t)cfg->max_body_bytes * 4 + ARENA_EXTRA, &s->exchanges));
    TRY(buckets_new(ADDRESSES, cfg->address_rate, cfg->address_burst, &s->addresses));
    TRY(queue_new((size_t)cfg->queue_depth, &s->queue));
    TRY(conn_table_new(cfg, http_overdue, &s->conns));
    TRY(workers_start(s, &s->workers));
    TRY(metrics_start(s));
    return http_start(s);
}

static void free_parts(struct server *s)
{
    if (s->queue != NULL)
        queue_close(s->queue);
    workers_stop(&s->workers);
    http_stop(s);
    metrics_stop(s);
    conn_table_free(&s->conns);
    exchange_pool_free(&s->exchanges);
    queue_free(&s->queue);
    buckets_free(&s->addresses);
}

struct err server_start(const struct app *app, struct server **out)
{
    struct server *s = calloc(1, sizeof *s);
    if (s == NULL)
        return FAIL(ERR_NO_MEMORY, "server");
    s->app = app;
    s->listener = -1;
    s->routes.v = server_routes(&s->routes.n);
    s->max_body = app->config->max_body_bytes;
    struct err e = start_parts(s);
    if (err_is(&e)) {
        free_parts(s);
        free(s);
        return e;
    }
    LOG(LOG_INFO, "listening", LOG_STR("address", app->config->listen), LOG_INT("port", app->config->port),
        LOG_INT("workers", app->config->workers));
    *out = s;
    return OK;
}

void server_stop(struct server **server)
{
    struct server *s = *server;
    if (s == NULL)
        return;
    atomic_store(&s->draining, true);
    http_stop_accepting(s);
    int64_t now = clock_mono_us();
    bool drained = exchange_pool_wait_idle(s->exchanges, now + s->app->config->drain_timeout_ms * 1000);
    atomic_store(&s->stopping, true);
    /* From here, nothing new is queued; who still waits for a worker is told to go elsewhere. */
    queue_close(s->queue);
    conn_abandon_all(s->conns, ERR_SHUTTING_DOWN);
    if (!drained && !exchange_pool_wait_idle(s->exchanges, clock_mono_us() + FLUSH_US))
        LOG0(LOG_WARN, "requests were cut off at shutdown");
    free_parts(s);
    free(s);
    *server = NULL;
}
