/* SPDX-License-Identifier: Apache-2.0
 * The HTTP server: libmicrohttpd reads and writes, complete requests go through a bounded queue to workers, the
 * connection is suspended meanwhile. Total deadlines, caps and strictness that the library lacks are here. */
#ifndef SERVICE_SERVER_SERVER_H
#define SERVICE_SERVER_SERVER_H

#include "service/api/api.h"

struct server;

/* Starts listeners and workers. The route table is routes.c's. */
struct err server_start(const struct app *app, struct server **out);
/* Stops accepting, answers what is in flight (until the drain time-out), joins every thread, frees. */
void server_stop(struct server **s);

/* The route table, for the router and for the tests that compare it with the contract. */
const struct api_route *server_routes(size_t *n);

#endif
