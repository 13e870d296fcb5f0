/* SPDX-License-Identifier: Apache-2.0
 * What the files of this folder share. */
#ifndef SERVICE_NET_INTERNAL_H
#define SERVICE_NET_INTERNAL_H

#include "service/net/lookup.h"
#include "service/net/net.h"
#include "service/net/rules.h"

#include <curl/curl.h>

struct net {
    CURL *curl; /* kept for its cache of the authorities; no connection outlives a call */
    struct net_rules rules;
    struct lookups lookups;
    char *ca_file; /* NULL: what libcurl takes by itself */
};

/* A URL that may be used, in the parsed form that libcurl itself works from: there is no second parser to disagree. */
struct net_url {
    CURLU *u;
    char *host; /* without brackets */
    char *port;
    bool https;
    bool is_name; /* not an address */
};
struct err net_url_parse(const struct net_rules *r, enum net_reach reach, struct str text, struct net_url *out);
void net_url_wipe(struct net_url *u);

/* The exchange with addresses that were checked: pin is libcurl's "+host:port:address,address", NULL for a URL that
 * holds its address. */
struct err net_transfer(struct net *n, const struct net_request *q, const struct net_url *u, char *pin, struct arena *a,
                        struct net_reply *out);

#endif
