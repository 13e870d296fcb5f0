/* SPDX-License-Identifier: Apache-2.0
 * Which addresses a call may go to. Pure: no name service, no sockets. */
#ifndef SERVICE_NET_RULES_H
#define SERVICE_NET_RULES_H

#include "service/net/net.h"

#include <sys/socket.h>

enum { NET_RANGES_MAX = 64 };

/* A network: the first bits of addr. IPv4 uses the first four bytes. */
struct net_range {
    bool v6;
    uint8_t bits;
    uint8_t addr[16];
};

struct net_rules {
    bool allow_loopback;
    size_t n;
    struct net_range allowed[NET_RANGES_MAX];
};

/* From the options' list. ERR_CONFIG names the entry that is none. */
struct err net_rules_init(const struct net_options *o, struct net_rules *out);

/* Whether a connection may be made to sa; https tells whether TLS protects it. */
bool net_rules_allow(const struct net_rules *r, enum net_reach reach, bool https, const struct sockaddr *sa);

/* An address in its usual spelling ("192.0.2.1", "2001:db8::1"); false: text is none. */
bool net_address(const char *text, struct sockaddr_storage *out);

#endif
