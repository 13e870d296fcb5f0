/* SPDX-License-Identifier: Apache-2.0
 * Workers: each owns one struct api (a database connection, a signer socket), takes exchanges from the queue and
 * answers them. Nothing here knows the HTTP library. */
#include "base/clock.h"
#include "base/log.h"
#include "service/api/dpop.h"
#include "service/api/vault.h"
#include "service/server/internal.h"

#include <pthread.h>
#include <stdlib.h>

/* After the last request a worker soon writes what it still holds, then rests. */
enum { BUSY_WAIT_US = 50 * 1000, IDLE_WAIT_US = 1000 * 1000, IDLE_ARENA = 1 << 20 };

struct worker {
    struct server *server;
    struct api *api;
    struct arena *idle_arena;
    pthread_t thread;
    bool started;
};

struct workers {
    size_t n;
    struct worker v[];
};

/* The endpoint's answer, or why there is none. */
static struct err answer(struct worker *w, struct exchange *x)
{
    if (clock_mono_us() >= x->req.deadline_us)
        return FAIL(ERR_DEADLINE, "waited too long for a worker");
    if (atomic_load(&w->server->stopping))
        return FAIL(ERR_SHUTTING_DOWN, "reached a worker during shutdown");
    if (x->route->roles != 0)
        TRY(api_require_role(w->api, &x->req, x->route->roles, NULL));
    return x->route->handler(w->api, &x->req, &x->reply);
}

static void serve(struct worker *w, struct exchange *x)
{
    if (atomic_load(&x->state) != EXCHANGE_QUEUED)
        return;
    struct err e = answer(w, x);
    if (err_is(&e))
        http_reply_error(&x->req, &e, &x->reply);
    dpop_offer_nonce(w->api, &x->req, &e, &x->reply);
    if (x->reply.outcome == NULL)
        x->reply.outcome = "ok";
    if (!exchange_finish(x)) {
        LOG(LOG_WARN, "a late answer was dropped: the caller was told that there is none",
            LOG_CSTR("request_id", x->request_id), LOG_CSTR("route", x->route->pattern),
            LOG_CSTR("outcome", x->reply.outcome));
        return;
    }
    http_resume(x);
    /* After the resume, so that the caller does not wait for the log; our hold keeps the values. */
    access_log(w->server->app, x, &x->reply, &e);
}

static void *worker_main(void *arg)
{
    struct worker *w = arg;
    bool busy = true;
    for (;;) {
        struct exchange *x = queue_pop(w->server->queue, clock_mono_us() + (busy ? BUSY_WAIT_US : IDLE_WAIT_US));
        if (x != NULL) {
            serve(w, x);
            exchange_release(x);
            vault_expire(w->api->vault);
            busy = true;
            continue;
        }
        api_idle(w->api, w->idle_arena);
        arena_reset(w->idle_arena);
        busy = false;
        if (queue_is_closed(w->server->queue) && queue_depth(w->server->queue) == 0)
            return NULL;
    }
}

struct err workers_start(struct server *s, struct workers **out)
{
    size_t n = (size_t)s->app->config->workers;
    struct workers *ws = calloc(1, sizeof *ws + n * sizeof ws->v[0]);
    if (ws == NULL)
        return FAIL(ERR_NO_MEMORY, "%zu workers", n);
    ws->n = n;
    *out = ws;
    for (size_t i = 0; i < n; i++) {
        struct worker *w = &ws->v[i];
        w->server = s;
        TRY(arena_new(IDLE_ARENA, &w->idle_arena));
        TRY(api_new(s->app, &w->api));
        int r = pthread_create(&w->thread, NULL, worker_main, w);
        if (r != 0)
            return FAIL(ERR_NO_MEMORY, "cannot start worker %zu: errno %d", i, r);
        w->started = true;
    }
    return OK;
}

void workers_stop(struct workers **workers)
{
    struct workers *ws = *workers;
    if (ws == NULL)
        return;
    for (size_t i = 0; i < ws->n; i++) {
        if (ws->v[i].started)
            pthread_join(ws->v[i].thread, NULL);
        api_free(&ws->v[i].api);
        arena_free(&ws->v[i].idle_arena);
    }
    free(ws);
    *workers = NULL;
}
