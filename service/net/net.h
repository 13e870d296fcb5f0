/* SPDX-License-Identifier: Apache-2.0
 * Outbound HTTP: the only way from the broker to other people's services. Each call is one connection of its own to an
 * address that was checked, follows no redirect, and has a deadline and a maximum size. A struct net belongs to one
 * worker: one thread uses it at a time. Errors name the host at most, never a path, query, body or credential. */
#ifndef SERVICE_NET_NET_H
#define SERVICE_NET_NET_H

#include "base/arena.h"
#include "base/err.h"

#include <stdint.h>

struct net;

struct net_options {
    bool allow_loopback;      /* URLs from data may lead to this machine, also over plain http: a weakening switch */
    struct str allowed_cidrs; /* networks that they may lead to besides public ones: "10.1.0.0/16, fd00::/8" */
    struct str ca_file;       /* PEM bundle of the authorities that TLS trusts, and no others; empty: the system's */
};

/* Sets libcurl up. main calls it once, before it starts a thread; without it net_new is not thread safe. */
struct err net_global(void);

/* ERR_CONFIG names the network or the file that is wrong. The options are copied. */
struct err net_new(const struct net_options *o, struct net **out);
void net_free(struct net **n);

/* Who chose a URL decides how far it may reach. */
enum net_reach {
    NET_GUARDED, /* came with data (an issuer, a JWKS): public addresses, allowed_cidrs, loopback by switch only */
    NET_OPERATOR /* stands in our own configuration: private addresses and loopback too, plain http to loopback only */
};

enum net_method { NET_GET, NET_POST };

struct net_request {
    enum net_reach reach;
    enum net_method method;
    struct str url;
    struct str body;          /* of a POST */
    const char *content_type; /* of the body */
    const char *accept;       /* NULL: anything */
    struct str authorization; /* the header's whole value; empty: none. A secret: our copy is wiped */
    size_t body_max;          /* a larger reply is refused whole */
    int64_t deadline_us;      /* monotonic, for everything from the name lookup to the last byte */
};

struct net_reply {
    int status;              /* also 3xx: a redirect is the reply, and is not followed */
    struct str content_type; /* as sent; empty: none */
    struct bytes body;       /* as sent: no Content-Encoding is asked for or undone */
};

/* One exchange; *out lies in the arena.
 * ERR_NET_REFUSED: the URL, or an address that its host has, may not be used; nothing was sent.
 * ERR_NET: unreachable, untrusted, timed out, too large, or not HTTP. A POST may have had its effect. */
struct err net_call(struct net *n, const struct net_request *q, struct arena *a, struct net_reply *out);

/* What can be said of a URL without asking a name service, for its registration: https, or http to loopback where that
 * is allowed; a host, no user, no fragment; no address that would be refused. ERR_NET_REFUSED, its detail fit for the
 * one who sent the URL. */
struct err net_url_check(const struct net *n, enum net_reach reach, struct str url);

#endif
