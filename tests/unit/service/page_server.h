/* SPDX-License-Identifier: Apache-2.0
 * A small HTTP server on a loopback port of its own, on a thread of the test: serves the pages that it is given, counts
 * what is asked for, and holds its answers back at will. One connection at a time. */
#ifndef TESTS_UNIT_SERVICE_PAGE_SERVER_H
#define TESTS_UNIT_SERVICE_PAGE_SERVER_H

struct page_server;

struct page_server *page_server_start(void);
void page_server_stop(struct page_server **s);
int page_server_port(const struct page_server *s);

/* Forgets all pages and counts, and holds nothing back. */
void page_server_reset(struct page_server *s);
/* What a path answers from now on; all others are 404. type "": no Content-Type. */
void page_server_put(struct page_server *s, const char *path, int status, const char *type, const char *body);
/* Requests for a path; NULL: for any. */
int page_server_hits(struct page_server *s, const char *path);

/* Answers wait from now on, until they are released. */
void page_server_hold(struct page_server *s);
/* Returns when a request is being held back. */
void page_server_wait(struct page_server *s);
void page_server_release(struct page_server *s);

#endif
