/* SPDX-License-Identifier: Apache-2.0
 * File descriptors by scope, and whole reads and writes with a deadline. */
#ifndef BASE_FD_H
#define BASE_FD_H

#include "base/err.h"
#include "base/span.h"

#include <stdint.h>

/* For CLEANUP: closes and sets to -1. */
void fd_close(int *fd);

/* Reads exactly n bytes, or fails with ERR_IO (peer gone: detail "closed") or ERR_DEADLINE when the monotonic clock
 * (clock_mono_us) reaches deadline_us. INT64_MAX waits for ever. */
struct err fd_read_full(int fd, void *p, size_t n, int64_t deadline_us);
struct err fd_write_full(int fd, const void *p, size_t n, int64_t deadline_us);

/* Waits until fd is readable (POLLIN), or the deadline. *ready tells which. */
struct err fd_wait_readable(int fd, int64_t deadline_us, bool *ready);

/* Sends and receives one descriptor over a unix socket (SCM_RIGHTS), with one byte of payload. */
struct err fd_send(int sock, int fd);
struct err fd_recv(int sock, int *fd);

/* Reads a file of at most max bytes into memory that the arena owns. */
struct arena;
struct err fd_read_file(const char *path, size_t max, struct arena *a, struct str *out);

/* Writes a file atomically and durably: temporary file, fsync, rename, fsync of the folder. Mode 0600. */
struct err fd_write_file_durable(const char *path, struct bytes content);

#endif
