/* SPDX-License-Identifier: Apache-2.0
 * Total deadlines of connections, kept here because the library's own time-out measures silence only: a client that
 * sends a byte now and then would never meet it. A table of open connections is filled by the library's callbacks; a
 * sweeper thread ends what is overdue. The table's lock makes sure that a descriptor in it is still open.
 * conn_* are called by the HTTP thread. */
#ifndef SERVICE_SERVER_DEADLINE_H
#define SERVICE_SERVER_DEADLINE_H

#include "service/server/exchange.h"

/* What a connection is waiting for. */
enum conn_phase {
    CONN_HEADER,
    CONN_BODY,
    CONN_OAUTH_BODY, /* the same, at an endpoint whose refusals have OAuth's form */
    CONN_WORK,       /* a worker: the exchange is answered in its stead when overdue */
    CONN_WRITE,
    CONN_IDLE, /* the next request */
    CONN_PHASE_COUNT
};

struct conn_table;
/* Called under the table's lock for an exchange whose worker is overdue. Must not call conn_*. */
typedef void conn_overdue(struct exchange *x, enum err_code why);

/* Starts the sweeper. */
struct err conn_table_new(const struct config *c, conn_overdue *overdue, struct conn_table **out);
/* Joins the sweeper. Call when no connection is open any more. */
void conn_table_free(struct conn_table **t);
/* Answers every exchange that a worker still has, with that error. */
void conn_abandon_all(struct conn_table *t, enum err_code why);

struct sockaddr;
/* A new connection, waiting for its first header. NULL when the table is full. */
struct conn *conn_open(struct conn_table *t, int fd, const struct sockaddr *peer);
void conn_close(struct conn_table *t, struct conn *c);
/* Sets what is waited for, and its deadline from now. From CONN_HEADER to itself does nothing: its time is total. */
void conn_wait(struct conn_table *t, struct conn *c, enum conn_phase phase);
/* Waits for the worker of its exchange, until a monotonic deadline. */
void conn_wait_worker(struct conn_table *t, struct conn *c, int64_t deadline_us);
/* The exchange under way on a connection, or NULL: the library forgets to say that a request is over in some of its
 * error paths, so the connection remembers. */
void conn_set_exchange(struct conn *c, struct exchange *x);
struct exchange *conn_exchange(const struct conn *c);
size_t conn_count(struct conn_table *t);

/* The peer's address as text, and as the name of its token bucket (an IPv6 host owns a whole /64). */
struct str conn_peer(const struct conn *c);
struct str conn_peer_bucket(const struct conn *c);

#endif
