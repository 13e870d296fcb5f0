/* SPDX-License-Identifier: Apache-2.0
 * Listening sockets, and what the kernel must grant for them. */
#ifndef SERVICE_SERVER_LISTEN_H
#define SERVICE_SERVER_LISTEN_H

#include "base/err.h"
#include "base/span.h"

#include <stdint.h>

/* Opens a listening TCP socket on a numeric IPv4 or IPv6 address. *loopback tells whether only this machine reaches it.
 * ERR_CONFIG says what is wrong with the address or port. */
struct err listen_open(struct str address, int64_t port, int *fd, bool *loopback);

/* "127.0.0.1:9464" or "[::1]:9464". */
struct err listen_split(struct str text, struct str *address, int64_t *port);

/* Raises the limit of open descriptors to what n connections need; warns when the kernel does not grant it. */
void listen_raise_fd_limit(int64_t connections, int64_t workers);

#endif
