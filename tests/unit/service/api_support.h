/* SPDX-License-Identifier: Apache-2.0
 * A broker without its HTTP server: a token, a database, and workers that each have what a worker has. */
#ifndef TESTS_UNIT_SERVICE_API_SUPPORT_H
#define TESTS_UNIT_SERVICE_API_SUPPORT_H

#include "tests/unit/hsm/fixture.h"

#include "service/api/record.h"

struct bench {
    struct fx *fx;
    struct config config;
    struct app app;
    struct api *api;     /* one worker */
    struct arena *arena; /* of what is being done */
};

/* For cmocka, as a group's fixture: everything runs, the schema is there, and there is no key. */
int bench_open(void **state);
int bench_close(void **state);
/* For cmocka, before each test: an empty arena. */
int bench_reset(void **state);

struct call bench_call(struct bench *b);
/* A call of another worker, in the same arena. */
struct call bench_call_of(struct bench *b, struct api *api);

/* Makes a key on the token, records it as active, and reads the keyring anew. id tells keys apart. */
struct ring_key bench_key(struct bench *b, uint8_t id, enum hsm_purpose purpose);
/* Its public half, from the database. Free it with jwk_free. */
struct jwk *bench_jwk(struct bench *b, const struct ring_key *key);

/* One number or text, by the schema's owner; the statement has no parameters and gives one row. */
int64_t bench_number(struct bench *b, const struct sql *sql);
struct str bench_text(struct bench *b, const struct sql *sql);
/* A statement that gives no row. */
void bench_exec(struct bench *b, const struct sql *sql);

#endif
