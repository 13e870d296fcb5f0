/* SPDX-License-Identifier: Apache-2.0
 * From a method and a path to a line of the route table. Pure. */
#ifndef SERVICE_SERVER_ROUTER_H
#define SERVICE_SERVER_ROUTER_H

#include "service/api/api.h"

enum { ROUTE_SEGMENT_MAX = 256, ROUTE_ALLOW_MAX = 64 };

struct route_table {
    const struct api_route *v;
    size_t n;
};

struct route_match {
    const struct api_route *route;   /* NULL: no such path, or not with that method */
    struct str args[HTTP_PATH_ARGS]; /* as sent, not decoded */
    char allow[ROUTE_ALLOW_MAX];     /* "GET, HEAD"; empty when no pattern fits the path */
    bool oauth;                      /* a pattern that fits the path is an OAuth endpoint's, whatever the method */
};

/* Finds by path first, then by method; a GET route serves HEAD too (RFC 9110 section 9.3.2). */
void router_find(const struct route_table *t, enum http_method method, struct str path, struct route_match *out);

/* HTTP_OTHER for what the table can never hold. Methods are case-sensitive (RFC 9110 section 9.1). */
enum http_method router_method(struct str name);

/* Percent-decodes an argument. ERR_INVALID_REQUEST for '/' (also encoded), control bytes, bad UTF-8, an empty segment,
 * or more than ROUTE_SEGMENT_MAX bytes. */
struct err router_decode_arg(struct arena *a, struct str raw, struct str *out);

#endif
