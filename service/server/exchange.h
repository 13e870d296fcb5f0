/* SPDX-License-Identifier: Apache-2.0
 * One request and its reply, from the request line to the last byte sent. An exchange has its own arena and comes from
 * a bounded pool.
 *
 * Two may hold an exchange: the connection (the HTTP thread) and a worker. One atomic step decides who answers: either
 * the worker finishes (QUEUED to DONE), or the sweeper answers in its stead at the deadline (QUEUED to ABANDONED); the
 * loser leaves the reply alone. The last holder gives the exchange back, so a late worker writes into nobody's memory.
 */
#ifndef SERVICE_SERVER_EXCHANGE_H
#define SERVICE_SERVER_EXCHANGE_H

#include "service/api/api.h"

#include <stdatomic.h>

enum exchange_state {
    EXCHANGE_OPEN,   /* the HTTP thread's */
    EXCHANGE_QUEUED, /* a worker's, or waiting for one; its connection is suspended */
    EXCHANGE_DONE,
    EXCHANGE_ABANDONED
};

enum { EXCHANGE_ID_MAX = 64, EXCHANGE_PEER_MAX = 48, EXCHANGE_NOTICE_MAX = 512 };

struct conn;
struct exchange_pool;
struct MHD_Connection;

struct exchange {
    struct http_request req;
    struct http_reply reply;
    const struct api_route *route; /* NULL: none fits */
    struct err refused;            /* what was found wrong before the request was complete */
    struct buf body;
    struct str target; /* the raw request target */
    struct str allow;  /* of a 405 */
    bool head_seen;    /* the library calls several times; the first call is about the header */
    bool body_too_large;
    size_t surplus; /* bytes of a body past its limit, thrown away */
    int64_t received_us;
    struct conn *conn;
    struct MHD_Connection *http;
    /* Who may have a hand on it. */
    atomic_int state, holders;
    enum err_code abandoned_for;
    char request_id[EXCHANGE_ID_MAX + 1];
    char peer[EXCHANGE_PEER_MAX];
    char notice[EXCHANGE_NOTICE_MAX]; /* the body of a reply that must not touch the arena */
    struct arena *arena;
    struct exchange_pool *pool;
    struct exchange *next;
};

/* At most max exchanges, each with an arena of arena_bytes. */
struct err exchange_pool_new(size_t max, size_t arena_bytes, struct exchange_pool **out);
void exchange_pool_free(struct exchange_pool **p);
/* Waits until none is out, or the monotonic deadline; tells which. */
bool exchange_pool_wait_idle(struct exchange_pool *p, int64_t deadline_us);

/* An exchange with one holder, or NULL when the pool or memory is exhausted. */
struct exchange *exchange_take(struct exchange_pool *p);
/* One holder less; the last one wipes it and gives it back. */
void exchange_release(struct exchange *x);

/* OPEN to QUEUED, with the worker as second holder. Before the exchange is handed over. */
void exchange_queue(struct exchange *x);
/* QUEUED to DONE or to ABANDONED: true for the one caller who may then resume the connection. */
bool exchange_finish(struct exchange *x);
bool exchange_abandon(struct exchange *x, enum err_code why);

/* The reply to an abandoned exchange: text of the error's table, in the notice buffer; the arena is the worker's. */
void exchange_abandoned_reply(struct exchange *x, struct http_reply *out);

#endif
