/* SPDX-License-Identifier: Apache-2.0
 * What the tests of crypto/ share: a fixture, and private keys that sign whatever they are given. */
#ifndef TESTS_UNIT_CRYPTO_SUPPORT_H
#define TESTS_UNIT_CRYPTO_SUPPORT_H

#include "crypto/jwt.h"
#include "tests/unit/base/check.h"

#include <openssl/evp.h>

struct fixture {
    struct crypto *crypto;
    struct arena *arena;
};

/* For cmocka_run_group_tests. The arena is emptied by fixture_reset before each test. */
int fixture_setup(void **state);
int fixture_reset(void **state);
int fixture_teardown(void **state);

/* Parses text, which must be JSON. */
const struct json *json_of(struct fixture *f, const char *text);
/* Parses a JWK, which must be acceptable. */
struct jwk *key_of(struct fixture *f, const char *text);

struct test_key {
    EVP_PKEY *pkey;
    struct jwk *jwk;
};
struct test_key test_key_new(struct fixture *f, enum jose_alg alg);
void test_key_free(struct test_key *k);

/* A signature as JWS wants it. */
struct bytes test_sign(struct fixture *f, const struct test_key *k, struct bytes input);
/* A token of exactly this header and payload. */
struct str test_token(struct fixture *f, const struct test_key *k, struct str header, struct str payload);
struct str test_b64u(struct fixture *f, struct str text);

/* jws_parse and jws_verify in one. */
struct err read_token(struct fixture *f, const struct jwk *k, struct str token, struct jws *out);

#endif
