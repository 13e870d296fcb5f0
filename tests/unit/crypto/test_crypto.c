/* SPDX-License-Identifier: Apache-2.0 */
#include "crypto/crypto.h"

#include "base/rand.h"
#include "tests/unit/crypto/support.h"

/* FIPS 180-2, appendices B.1 and D.1. */
static void test_digests(void **state)
{
    struct fixture *f = *state;
    uint8_t d[SHA384_LEN];
    char hex[2 * SHA384_LEN + 1];
    assert_ok(crypto_sha256(f->crypto, str_bytes(STR("abc")), d));
    hex_encode(d, SHA256_LEN, hex);
    assert_string_equal("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad", hex);
    assert_ok(crypto_sha384(f->crypto, str_bytes(STR("abc")), d));
    hex_encode(d, SHA384_LEN, hex);
    assert_string_equal(
        "cb00753f45a35e8bb5a03d699ac65007272c32ab0eded1631a8b605a43ff5bed8086072ba1e7cc2358baeca134c825a7", hex);
    assert_ok(crypto_sha256(f->crypto, (struct bytes){NULL, 0}, d));
    hex_encode(d, SHA256_LEN, hex);
    assert_string_equal("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", hex);
}

static void assert_hmac(struct fixture *f, struct bytes key, struct str in, const char *expected)
{
    uint8_t d[SHA256_LEN];
    char hex[2 * SHA256_LEN + 1];
    assert_ok(crypto_hmac_sha256(f->crypto, key, str_bytes(in), d));
    hex_encode(d, sizeof d, hex);
    assert_string_equal(expected, hex);
}

/* RFC 4231 sections 4.2, 4.3 and 4.7 (a key that is longer than a block). */
static void test_hmac(void **state)
{
    uint8_t b[20], aa[131];
    memset(b, 0x0b, sizeof b);
    memset(aa, 0xaa, sizeof aa);
    assert_hmac(*state, bytes_of(b, sizeof b), STR("Hi There"),
                "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
    assert_hmac(*state, str_bytes(STR("Jefe")), STR("what do ya want for nothing?"),
                "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    assert_hmac(*state, bytes_of(aa, sizeof aa), STR("Test Using Larger Than Block-Size Key - Hash Key First"),
                "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
}

static void test_only_known_providers(void **state)
{
    (void)state;
    struct crypto *c = NULL;
    assert_fails(ERR_CONFIG, crypto_new("legacy", &c));
    assert_fails(ERR_CONFIG, crypto_new("", &c));
    assert_null(c);
    crypto_free(&c);
}

static void test_algorithm_names(void **state)
{
    (void)state;
    enum jose_alg alg = JOSE_ALG_COUNT;
    for (int i = 0; i < JOSE_ALG_COUNT; i++) {
        assert_ok(jose_alg_parse(str_of(jose_alg_name((enum jose_alg)i)), &alg));
        assert_int_equal(i, alg);
    }
    static const char *const bad[] = {"none",  "None",  "NONE",   "nOnE",  "",      "none ", "HS256", "HS384",
                                      "HS512", "es256", "ES256K", "ES512", "RS512", "PS512", "Ed448", " ES256"};
    for (size_t i = 0; i < COUNT(bad); i++)
        assert_fails(ERR_JOSE_ALG, jose_alg_parse(str_of(bad[i]), &alg));
    assert_fails(ERR_JOSE_ALG, jose_alg_parse((struct str){"ES256\0", 6}, &alg));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_digests),
        cmocka_unit_test(test_hmac),
        cmocka_unit_test(test_only_known_providers),
        cmocka_unit_test(test_algorithm_names),
    };
    return cmocka_run_group_tests(tests, fixture_setup, fixture_teardown);
}
