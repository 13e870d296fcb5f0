/* SPDX-License-Identifier: Apache-2.0
 * Issuers whose keys come from a server within the test. Time is moved on by the linker's hand: clock_mono_us leads
 * through here. */
#ifndef TESTS_UNIT_SERVICE_ISSUER_SUPPORT_H
#define TESTS_UNIT_SERVICE_ISSUER_SUPPORT_H

#include "service/api/bulkhead.h"
#include "service/api/issuer_keys.h"
#include "service/net/net.h"
#include "tests/unit/crypto/support.h"
#include "tests/unit/service/page_server.h"

enum { CACHE_S = 300, STALE_S = 3600, COOLDOWN_S = 60, RETRY_S = 5, LONG_MS = 60000, OUTSIDE = 10 /* places */ };

struct world {
    struct fixture *f;
    struct page_server *server;
    struct config config;
    struct app app;
    struct api api;
    char url[64]; /* http://127.0.0.1:port */
    char *key[3];
};

/* For cmocka, as a group's fixture, and around each test. After each, whatever it did, every place outside is free. */
int world_open(void **state);
int world_close(void **state);
int world_begin(void **state);
int world_end(void **state);

int64_t __real_clock_mono_us(void);
void pass_s(int64_t seconds);

/* A call with much time left. */
struct call call_of_test(struct world *w);

struct str text_of(struct world *w, const char *path); /* a URL of the server */
struct str set_of(struct world *w, const char *key);
void serve(struct world *w, const char *path, const char *key);
/* How often /jwks was asked for. */
int fetches(struct world *w);

/* Registrations: with the keys at /jwks, within, or where the metadata of that path says. */
struct issuer by_uri(struct world *w);
struct issuer by_jwks(struct world *w, const char *key);
struct issuer by_discovery(struct world *w, const char *path);

/* Whether the issuer's keys can be had, and hold kid. */
struct err look_for(struct world *w, const struct issuer *i, const char *kid, bool *found);
void assert_has(struct world *w, const struct issuer *i, const char *kid);
void assert_lacks(struct world *w, const struct issuer *i, const char *kid);
void assert_unavailable(struct world *w, const struct issuer *i, const char *kid);
/* Looks for a kid with no time left to wait for somebody else's fetch, which is going on. */
void assert_would_wait(struct world *w, const struct issuer *i, const char *kid);

#endif
