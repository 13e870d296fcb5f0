/* SPDX-License-Identifier: Apache-2.0
 * Name lookups that end in time. getaddrinfo(3) has no deadline, so it runs in a thread that can be left behind; how
 * many may be behind at once is bounded. A struct lookups belongs to one thread. */
#ifndef SERVICE_NET_LOOKUP_H
#define SERVICE_NET_LOOKUP_H

#include "base/err.h"

#include <netdb.h>
#include <stdint.h>

enum { LOOKUPS_LEFT_MAX = 4, LOOKUP_HOST_MAX = 253 /* RFC 1035 section 2.3.4, without the dots at its ends */ };

struct lookup;

struct lookups {
    struct lookup *left[LOOKUPS_LEFT_MAX]; /* their deadline passed; they may be running still */
};
/* Lookups that hang free themselves when they end. */
void lookups_wipe(struct lookups *ls);

/* All addresses of a host (a name, or an address in any spelling), looked up once. ERR_NET when it has none, or when
 * they are not there in time. */
struct err lookup_host(struct lookups *ls, const char *host, int64_t deadline_us, struct lookup **out);
void lookup_free(struct lookup **l);

const struct addrinfo *lookup_list(const struct lookup *l);

#endif
