/* SPDX-License-Identifier: Apache-2.0
 * For tests of service/net: net_server.py as a child, and stand-ins for getaddrinfo(3) and connect(2). The program's
 * own definitions of both take precedence over the C library's in libcurl too, so they see every call there is. */
#ifndef TESTS_UNIT_SERVICE_TEST_NET_SUPPORT_H
#define TESTS_UNIT_SERVICE_TEST_NET_SUPPORT_H

#include <stdbool.h>
#include <sys/types.h>

struct server {
    pid_t pid;
    int input; /* the server ends with it */
    int http, https, wrong_name, old_tls, mute;
    char ca_file[128], stranger_file[128], lax_cnf[128], key_log[128];
};
bool server_start(struct server *s);
void server_stop(struct server *s);

/* Forgets what was counted. */
void seen_reset(void);
/* Names that were looked up (addresses not counted), and connections that were begun, since then. */
int seen_lookups(void);
int seen_connects(void);
/* Where the last of them was to go, as "192.0.2.1 443". IPv4 connections that are not for loopback end there, at the
 * same port; IPv6 ones find no route. */
const char *seen_address(void);

/* Answers for a name from now on: addresses in order, separated by commas; NULL: the name does not exist. */
void name_set(const char *name, const char *addresses);
/* Lookups of names that begin with "hang" wait for this. */
void names_release(void);

#endif
