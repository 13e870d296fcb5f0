/* SPDX-License-Identifier: Apache-2.0
 * A connection string, taken apart once, with our defaults behind what it says. */
#ifndef SERVICE_STORE_DSN_H
#define SERVICE_STORE_DSN_H

#include "base/err.h"
#include "base/span.h"

struct dsn;
/* ERR_CONFIG when it is none; the string is never quoted, since it holds a password. */
struct err dsn_parse(struct str text, struct dsn **out);
void dsn_free(struct dsn **d);

/* For PQconnectStartParams; borrowed until the next call on d. */
enum { DSN_PARAMS_MAX = 96 };
struct dsn_params {
    const char *keys[DSN_PARAMS_MAX + 1];
    const char *values[DSN_PARAMS_MAX + 1];
};
void dsn_params(const struct dsn *d, struct dsn_params *out);

/* The next attempt begins with the next host of several. libpq moves on from a host that refuses, but waits for one
 * that is silent as long as the caller lets it. */
void dsn_next_host(struct dsn *d);

#endif
