/* SPDX-License-Identifier: Apache-2.0
 * What the files of service/server share and nobody else sees. */
#ifndef SERVICE_SERVER_INTERNAL_H
#define SERVICE_SERVER_INTERNAL_H

#include "base/queue.h"
#include "service/server/deadline.h"
#include "service/server/exchange.h"
#include "service/server/router.h"
#include "service/server/server.h"

struct MHD_Daemon;
struct workers;

struct server {
    const struct app *app;
    struct route_table routes;
    struct exchange_pool *exchanges;
    struct conn_table *conns;
    struct buckets *addresses;
    struct queue *queue;
    struct workers *workers;
    struct MHD_Daemon *http, *metrics;
    int listener; /* ours again after http_stop_accepting; -1: the library's */
    int64_t max_body;
    atomic_bool draining; /* replies ask the peer to close, and workers are not to begin anything new */
    atomic_bool stopping; /* what waits for a worker is answered shutting_down */
};

/* --- mhd.c: the only file that suspends and resumes --- */
struct err http_start(struct server *s);
/* Closes the listening socket; open connections are served on. */
void http_stop_accepting(struct server *s);
void http_stop(struct server *s);
/* Wakes the connection of a finished or abandoned exchange. Only for the winner of exchange_finish/_abandon. */
void http_resume(struct exchange *x);
/* Answers an exchange in its worker's stead, unless the worker just did. */
void http_overdue(struct exchange *x, enum err_code why);

/* --- worker.c --- */
struct err workers_start(struct server *s, struct workers **out);
/* Joins the workers; the queue must be closed. */
void workers_stop(struct workers **w);

/* --- metrics_server.c --- NULL daemon when the setting is "off" */
struct err metrics_start(struct server *s);
void metrics_stop(struct server *s);

/* --- access.c: one log line and one count per request --- */
void access_log(const struct app *app, const struct exchange *x, const struct http_reply *r, const struct err *e);

#endif
