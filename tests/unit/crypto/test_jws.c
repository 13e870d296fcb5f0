/* SPDX-License-Identifier: Apache-2.0 */
#include "crypto/jws.h"

#include "crypto/b64u.h"
#include "tests/unit/crypto/support.h"
#include "tests/unit/crypto/vectors.h"

#include <openssl/err.h>
#include <pthread.h>

static void verifies(struct fixture *f, const char *key, const char *token, const char *payload)
{
    struct jwk *k = key_of(f, key);
    struct jws j = {0};
    assert_ok(read_token(f, k, str_of(token), &j));
    if (payload != NULL)
        assert_str(bytes_str(j.payload), payload);
    jwk_free(&k);
}

static void test_rfc7515_a2_rs256(void **state)
{
    verifies(*state, rfc7515_a2_key, rfc7515_a2_token,
             "{\"iss\":\"joe\",\r\n \"exp\":1300819380,\r\n \"http://example.com/is_root\":true}");
}

static void test_rfc7515_a3_es256(void **state)
{
    verifies(*state, rfc7515_a3_key, rfc7515_a3_token,
             "{\"iss\":\"joe\",\r\n \"exp\":1300819380,\r\n \"http://example.com/is_root\":true}");
}

static void test_rfc8037_a4_eddsa(void **state)
{
    verifies(*state, rfc8037_a2_key, rfc8037_a4_token, "Example of Ed25519 signing");
}

static void test_jwcrypto_es384_and_ps256(void **state)
{
    struct fixture *f = *state;
    verifies(f, jwcrypto_es384_key, jwcrypto_es384_token, NULL);
    /* The key does not name its algorithm, which makes it one for RS256. */
    struct jwk *k = key_of(f, jwcrypto_ps256_key);
    assert_fails(ERR_JOSE_ALG, read_token(f, k, str_of(jwcrypto_ps256_token), NULL));
    jwk_free(&k);
    struct str key = arena_printf(f->arena, "{\"alg\":\"PS256\",%s", jwcrypto_ps256_key + 1);
    verifies(f, key.p, jwcrypto_ps256_token, NULL);
}

/* RFC 7520 section 4.1. Its kid has an '@', which is no kid of ours, so the signature is checked by itself. */
static void test_rfc7520_4_1_rs256(void **state)
{
    struct fixture *f = *state;
    struct jws j = {0};
    assert_fails_with(ERR_JOSE_MALFORMED, "kid", jws_parse(f->arena, str_of(rfc7520_4_1_token), &j));
    const struct json *obj = json_of(f, rfc7520_3_3_key);
    struct str text = arena_printf(f->arena, "{\"kty\":\"RSA\",\"n\":\"%s\",\"e\":\"AQAB\"}", json_get(obj, "n")->s.p);
    struct jwk *k = key_of(f, text.p);
    const char *dot = strrchr(rfc7520_4_1_token, '.');
    struct bytes input = bytes_of(rfc7520_4_1_token, (size_t)(dot - rfc7520_4_1_token));
    struct bytes sig = {NULL, 0};
    assert_ok(b64u_decode(f->arena, str_of(dot + 1), &sig));
    assert_ok(jws_check_signature(f->crypto, k, input, sig));
    input.n--;
    assert_fails(ERR_JOSE_SIGNATURE, jws_check_signature(f->crypto, k, input, sig));
    jwk_free(&k);
}

/* J01, J03, J07: HS256, ES512, none, the extension of RFC 7515 appendix E, and RFC 7520 4.2 to 4.4. */
static void test_examples_with_what_is_not_ours(void **state)
{
    struct fixture *f = *state;
    struct jws j = {0};
    assert_fails(ERR_JOSE_ALG, jws_parse(f->arena, str_of(rfc7515_a1_token), &j));
    assert_fails(ERR_JOSE_ALG, jws_parse(f->arena, str_of(rfc7515_a4_token), &j));
    assert_fails(ERR_JOSE_MALFORMED, jws_parse(f->arena, str_of(rfc7515_a5_token), &j));
    assert_fails(ERR_JOSE_MALFORMED, jws_parse(f->arena, str_of(rfc7515_a6_json), &j));
    assert_fails(ERR_JOSE_MALFORMED, jws_parse(f->arena, str_of(rfc7515_e_token), &j));
    assert_fails(ERR_JOSE_ALG, jws_parse(f->arena, str_of(rfc7520_4_2_token), &j));
    assert_fails(ERR_JOSE_ALG, jws_parse(f->arena, str_of(rfc7520_4_3_token), &j));
    assert_fails(ERR_JOSE_ALG, jws_parse(f->arena, str_of(rfc7520_4_4_token), &j));
}

/* A token of this header whose other segments are well formed. */
static struct err parse_header(struct fixture *f, const char *header, struct jws *out)
{
    struct str h = test_b64u(f, str_of(header));
    return jws_parse(f->arena, arena_printf(f->arena, "%.*s.e30.AAAA", STR_FMT(h)), out);
}

static void test_j01_alg(void **state)
{
    struct fixture *f = *state;
    struct jws j = {0};
    static const char *const bad[] = {"{}",
                                      "{\"alg\":\"none\"}",
                                      "{\"alg\":\"None\"}",
                                      "{\"alg\":\"NONE\"}",
                                      "{\"alg\":\"nOnE\"}",
                                      "{\"alg\":\"\"}",
                                      "{\"alg\":null}",
                                      "{\"alg\":0}",
                                      "{\"alg\":[\"ES256\"]}",
                                      "{\"alg\":{\"ES256\":1}}",
                                      "{\"alg\":\"none \"}",
                                      "{\"alg\":\"HS256\"}",
                                      "{\"alg\":\"HS384\"}",
                                      "{\"alg\":\"HS512\"}",
                                      "{\"alg\":\"ES256K\"}",
                                      "{\"alg\":\"es256\"}",
                                      "{\"Alg\":\"ES256\"}",
                                      "{\"alg\":\"RSA1_5\",\"enc\":\"A128GCM\"}",
                                      "{\"alg\":\"PBES2-HS256+A128KW\",\"p2c\":2147483647}"};
    for (size_t i = 0; i < COUNT(bad); i++)
        assert_fails(ERR_JOSE_ALG, parse_header(f, bad[i], &j));
    assert_ok(parse_header(f, "{\"alg\":\"ES256\"}", &j));
}

static void test_j02_j22_shape(void **state)
{
    struct fixture *f = *state;
    struct jws j = {0};
    /* eyJhbGciOiJFUzI1NiJ9 is {"alg":"ES256"}. */
    const struct str bad[] = {
        STR(""),
        STR("."),
        STR(".."),
        STR("..."),
        STR("eyJhbGciOiJFUzI1NiJ9"),
        STR("eyJhbGciOiJFUzI1NiJ9.e30"),
        STR("eyJhbGciOiJFUzI1NiJ9.e30."),
        STR("eyJhbGciOiJFUzI1NiJ9..AAAA"),
        STR(".e30.AAAA"),
        STR("eyJhbGciOiJFUzI1NiJ9.e30.AAAA."),
        STR(".eyJhbGciOiJFUzI1NiJ9.e30.AAAA"),
        STR("eyJhbGciOiJFUzI1NiJ9.e30.AAAA.AAAA"),
        STR("eyJhbGciOiJFUzI1NiJ9.e30.AAAA.AAAA.AAAA"),
        STR("eyJhbGciOiJFUzI1NiJ9.e30.AAAA.AAAA.AAAA.AAAA"),
        STR(" eyJhbGciOiJFUzI1NiJ9.e30.AAAA"),
        STR("eyJhbGciOiJFUzI1NiJ9.e30.AAAA "),
        STR("eyJhbGciOiJFUzI1NiJ9.e30.AAAA\n"),
        STR("eyJhbGciOiJFUzI1NiJ9.e\n30.AAAA"),
        STR("eyJhbGciOiJFUzI1NiJ9.e30.AA\0A"),
        STR("eyJhbGciOiJFUzI1NiJ9.e30=.AAAA"),
        STR("eyJhbGciOiJFUzI1NiJ9.e30.AA=="),
        STR("eyJhbGciOiJFUzI1NiJ9.e30.AA+/"),
        STR("eyJhbGciOiJFUzI1NiJ9.e31.AAAA"), /* stray bits */
        STR("eyJhbGciOiJFUzI1NiJ9.e30.AAB"),  /* stray bits */
        STR("eyJhbGciOiJFUzI1NiJ9.e30.AAAAA"),
        STR("{\"payload\":\"e30\",\"protected\":\"eyJhbGciOiJFUzI1NiJ9\",\"signature\":\"AAAA\"}"),
    };
    for (size_t i = 0; i < COUNT(bad); i++)
        assert_fails(ERR_JOSE_MALFORMED, jws_parse(f->arena, bad[i], &j));
    assert_ok(jws_parse(f->arena, STR("eyJhbGciOiJFUzI1NiJ9.e30.AAAA"), &j));
    assert_str(j.signing_input, "eyJhbGciOiJFUzI1NiJ9.e30");
    assert_str(bytes_str(j.payload), "{}");
    assert_int_equal(3, j.signature.n);
    assert_null(j.kid.p);
    assert_null(j.typ.p);
}

static void test_j05_j06_j07_header_members(void **state)
{
    struct fixture *f = *state;
    struct jws j = {0};
    static const char *const bad[] = {
        "{\"alg\":\"ES256\",\"jwk\":{\"kty\":\"EC\"}}",
        "{\"alg\":\"ES256\",\"jwk\":null}",
        "{\"alg\":\"ES256\",\"jku\":\"https://example.com/jwks\"}",
        "{\"alg\":\"ES256\",\"x5u\":\"https://example.com/cert\"}",
        "{\"alg\":\"ES256\",\"x5c\":[]}",
        "{\"alg\":\"ES256\",\"x5t\":\"AAAA\"}",
        "{\"alg\":\"ES256\",\"x5t#S256\":\"AAAA\"}",
        "{\"alg\":\"ES256\",\"j\\u0077k\":{}}",
        "{\"alg\":\"ES256\",\"crit\":[\"exp\"]}",
        "{\"alg\":\"ES256\",\"crit\":[]}",
        "{\"alg\":\"ES256\",\"crit\":\"exp\"}",
        "{\"alg\":\"ES256\",\"crit\":[\"alg\"]}",
        "{\"alg\":\"ES256\",\"crit\":[\"b64\",\"b64\"],\"b64\":true}",
        "{\"alg\":\"ES256\",\"crit\":[\"b64\"],\"b64\":false}",
        "{\"alg\":\"ES256\",\"b64\":false}",
        "{\"alg\":\"ES256\",\"b64\":true}",
        "{\"alg\":\"ES256\",\"zip\":\"DEF\"}",
        "{\"alg\":\"ES256\",\"kid\":7}",
        "{\"alg\":\"ES256\",\"kid\":[\"a\"]}",
        "{\"alg\":\"ES256\",\"kid\":null}",
        "{\"alg\":\"ES256\",\"kid\":\"\"}",
        "{\"alg\":\"ES256\",\"kid\":\"../../dev/null\"}",
        "{\"alg\":\"ES256\",\"kid\":\"' OR 1=1--\"}",
        "{\"alg\":\"ES256\",\"kid\":\"a;b\"}",
        "{\"alg\":\"ES256\",\"kid\":\"a\\u0000\"}",
        "{\"alg\":\"ES256\",\"kid\":\"k\xd0\xb0\"}",
        "{\"alg\":\"ES256\",\"typ\":7}",
        "{\"alg\":\"ES256\",\"typ\":\"0123456789012345678901234567890123456789012345678901234567890123x\"}",
        /* J08 */
        "{\"alg\":\"ES256\",\"alg\":\"ES256\"}",
        "{\"alg\":\"none\",\"\\u0061lg\":\"ES256\"}",
        /* not an object, not JSON, not UTF-8 */
        "[\"alg\"]",
        "\"ES256\"",
        "{\"alg\":\"ES256\"} ,",
        "{\"alg\":\"ES256\",\"a\":\"\xff\"}",
        "{\"alg\":\"ES256\",\"a\":1.5}",
        "\xef\xbb\xbf{\"alg\":\"ES256\"}",
    };
    for (size_t i = 0; i < COUNT(bad); i++)
        assert_fails(ERR_JOSE_MALFORMED, parse_header(f, bad[i], &j));
    assert_ok(parse_header(
        f, "{\"alg\":\"PS256\",\"kid\":\"k-1\",\"cty\":\"x\",\"Alg\":\"none\",\"other\":{\"a\":[1]}}", &j));
    assert_int_equal(JOSE_PS256, j.alg);
    assert_str(j.kid, "k-1");
}

static void test_j18_typ_is_normalised(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *header, *typ;
    } cases[] = {{"{\"alg\":\"ES256\",\"typ\":\"JWT\"}", "jwt"},
                 {"{\"alg\":\"ES256\",\"typ\":\"at+JWT\"}", "at+jwt"},
                 {"{\"alg\":\"ES256\",\"typ\":\"Application/at+jwt\"}", "at+jwt"},
                 {"{\"alg\":\"ES256\",\"typ\":\"application/a/b\"}", "application/a/b"},
                 {"{\"alg\":\"ES256\",\"typ\":\"text/at+jwt\"}", "text/at+jwt"},
                 {"{\"alg\":\"ES256\",\"typ\":\"\"}", ""}};
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct jws j = {0};
        assert_ok(parse_header(f, cases[i].header, &j));
        assert_non_null(j.typ.p);
        assert_str(j.typ, cases[i].typ);
    }
}

static void test_j12_sizes(void **state)
{
    struct fixture *f = *state;
    struct jws j = {0};
    char *p = arena_alloc(f->arena, 4 * JWS_MAX);
    memset(p, 'A', 4 * JWS_MAX);
    memcpy(p, "eyJhbGciOiJFUzI1NiJ9.", 21);
    memcpy(p + JWS_MAX - 5, ".AAAA", 5);
    /* 16384 - 21 - 5 characters leave a remainder of 2, whose last character may be 'A'. */
    assert_ok(jws_parse(f->arena, (struct str){p, JWS_MAX}, &j));
    assert_fails_with(ERR_JOSE_MALFORMED, "longer", jws_parse(f->arena, (struct str){p, JWS_MAX + 1}, &j));
    size_t used = arena_used(f->arena);
    assert_fails_with(ERR_JOSE_MALFORMED, "longer", jws_parse(f->arena, (struct str){p, 4 * JWS_MAX}, &j));
    assert_int_equal(used, arena_used(f->arena));

    struct str pad = {p, JWS_HEADER_MAX};
    memset(p, 'x', JWS_HEADER_MAX);
    struct str header = arena_printf(f->arena, "{\"alg\":\"ES256\",\"p\":\"%.*s\"}", STR_FMT(pad));
    assert_fails_with(ERR_JOSE_MALFORMED, "header longer", parse_header(f, header.p, &j));
}

static void test_j13_depth(void **state)
{
    struct fixture *f = *state;
    struct jws j = {0};
    struct buf b = buf_in(f->arena, 4096);
    buf_cstr(&b, "{\"alg\":\"ES256\",\"a\":");
    for (int i = 0; i < 500; i++)
        buf_char(&b, '[');
    for (int i = 0; i < 500; i++)
        buf_char(&b, ']');
    buf_cstr(&b, "}");
    buf_char(&b, '\0');
    assert_fails_with(ERR_JOSE_MALFORMED, "nested", parse_header(f, b.p, &j));
}

static void test_every_algorithm(void **state)
{
    struct fixture *f = *state;
    for (int alg = 0; alg < JOSE_ALG_COUNT; alg++) {
        struct test_key k = test_key_new(f, (enum jose_alg)alg);
        struct test_key other = test_key_new(f, (enum jose_alg)alg);
        struct str header = arena_printf(f->arena, "{\"alg\":\"%s\"}", jose_alg_name((enum jose_alg)alg));
        struct str token = test_token(f, &k, header, STR("{\"iss\":\"a\"}"));
        struct jws j = {0};
        assert_ok(read_token(f, k.jwk, token, &j));
        assert_fails(ERR_JOSE_SIGNATURE, read_token(f, other.jwk, token, NULL));
        /* Any flipped bit of the signature, and any length but the right one. */
        uint8_t sig[JOSE_SIG_MAX + 1] = {0};
        memcpy(sig, j.signature.p, j.signature.n);
        struct bytes input = str_bytes(j.signing_input);
        for (size_t i = 0; i < j.signature.n; i += 7) {
            sig[i] ^= (uint8_t)(1U << (i % 8));
            assert_fails(ERR_JOSE_SIGNATURE,
                         jws_check_signature(f->crypto, k.jwk, input, bytes_of(sig, j.signature.n)));
            sig[i] ^= (uint8_t)(1U << (i % 8));
        }
        assert_ok(jws_check_signature(f->crypto, k.jwk, input, bytes_of(sig, j.signature.n)));
        for (size_t n = 0; n <= j.signature.n + 1; n++) {
            if (n != j.signature.n)
                assert_fails(ERR_JOSE_SIGNATURE, jws_check_signature(f->crypto, k.jwk, input, bytes_of(sig, n)));
        }
        test_key_free(&k);
        test_key_free(&other);
    }
}

static void test_j04_the_key_decides(void **state)
{
    struct fixture *f = *state;
    struct test_key keys[JOSE_ALG_COUNT];
    for (int i = 0; i < JOSE_ALG_COUNT; i++)
        keys[i] = test_key_new(f, (enum jose_alg)i);
    for (int header = 0; header < JOSE_ALG_COUNT; header++) {
        for (int key = 0; key < JOSE_ALG_COUNT; key++) {
            struct str text = arena_printf(f->arena, "{\"alg\":\"%s\"}", jose_alg_name((enum jose_alg)header));
            struct str token = test_token(f, &keys[key], text, STR("{}"));
            if (header == key)
                assert_ok(read_token(f, keys[key].jwk, token, NULL));
            else
                assert_fails(ERR_JOSE_ALG, read_token(f, keys[key].jwk, token, NULL));
        }
    }
    for (int i = 0; i < JOSE_ALG_COUNT; i++)
        test_key_free(&keys[i]);
}

/* PS256 and RS256 are one key type: each signature under the other's name. */
static void test_j04_ps256_and_rs256_do_not_mix(void **state)
{
    struct fixture *f = *state;
    struct test_key k = test_key_new(f, JOSE_RS256);
    const uint8_t e[] = {1, 0, 1};
    struct buf b = buf_in(f->arena, 4096);
    struct json_writer w = json_writer(&b);
    jwk_write(k.jwk, &w, NULL);
    buf_char(&b, '\0');
    struct bytes n = {NULL, 0};
    assert_ok(b64u_decode(f->arena, json_get(json_of(f, b.p), "n")->s, &n));
    struct jwk *pss = NULL;
    assert_ok(jwk_from_rsa(f->crypto, JOSE_PS256, n, bytes_of(e, sizeof e), &pss));
    struct bytes input = str_bytes(STR("a.b"));
    struct bytes sig = test_sign(f, &k, input);
    assert_ok(jws_check_signature(f->crypto, k.jwk, input, sig));
    assert_fails(ERR_JOSE_SIGNATURE, jws_check_signature(f->crypto, pss, input, sig));
    jwk_free(&k.jwk);
    k.jwk = pss;
    sig = test_sign(f, &k, input);
    assert_ok(jws_check_signature(f->crypto, pss, input, sig));
    test_key_free(&k);
}

static const uint8_t p256_order[32] = {0xff, 0xff, 0xff, 0xff, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff,
                                       0xff, 0xff, 0xff, 0xff, 0xff, 0xbc, 0xe6, 0xfa, 0xad, 0xa7, 0x17,
                                       0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51};

/* a - b modulo 2^256, big-endian. */
static void subtract(const uint8_t *a, const uint8_t *b, uint8_t *out)
{
    int borrow = 0;
    for (int i = 31; i >= 0; i--) {
        int d = a[i] - b[i] - borrow;
        borrow = d < 0 ? 1 : 0;
        out[i] = (uint8_t)(d & 0xff);
    }
}

static void test_j09_ecdsa_range(void **state)
{
    struct fixture *f = *state;
    struct test_key k = test_key_new(f, JOSE_ES256);
    struct bytes input = str_bytes(STR("a.b"));
    struct bytes good = test_sign(f, &k, input);
    const uint8_t zero[32] = {0};
    uint8_t ones[32];
    uint8_t sig[64];
    memset(ones, 0xff, sizeof ones);
    const uint8_t *const bad[] = {zero, p256_order, ones};
    for (size_t i = 0; i < COUNT(bad); i++) {
        for (int half = 0; half < 3; half++) {
            memcpy(sig, good.p, sizeof sig);
            if (half != 1)
                memcpy(sig, bad[i], 32);
            if (half != 0)
                memcpy(sig + 32, bad[i], 32);
            assert_fails_with(ERR_JOSE_SIGNATURE, "out of range",
                              jws_check_signature(f->crypto, k.jwk, input, bytes_of(sig, sizeof sig)));
        }
    }
    /* n - 1 is in range, and wrong. */
    memcpy(sig, p256_order, 32);
    sig[31]--;
    memcpy(sig + 32, sig, 32);
    assert_fails_with(ERR_JOSE_SIGNATURE, "does not verify",
                      jws_check_signature(f->crypto, k.jwk, input, bytes_of(sig, sizeof sig)));
    /* The other of s and n - s verifies too, as RFC 7518 has it: a signature's bytes are therefore no replay key. */
    memcpy(sig, good.p, sizeof sig);
    subtract(p256_order, good.p + 32, sig + 32);
    assert_ok(jws_check_signature(f->crypto, k.jwk, input, bytes_of(sig, sizeof sig)));
    test_key_free(&k);
}

static void test_j09_es384_range(void **state)
{
    struct fixture *f = *state;
    struct test_key k = test_key_new(f, JOSE_ES384);
    struct bytes input = str_bytes(STR("a.b"));
    struct bytes good = test_sign(f, &k, input);
    uint8_t sig[96];
    for (size_t half = 0; half < 2; half++) {
        memcpy(sig, good.p, sizeof sig);
        memset(sig + 48 * half, 0, 48);
        assert_fails_with(ERR_JOSE_SIGNATURE, "out of range",
                          jws_check_signature(f->crypto, k.jwk, input, bytes_of(sig, sizeof sig)));
        memset(sig + 48 * half, 0xff, 48);
        assert_fails_with(ERR_JOSE_SIGNATURE, "out of range",
                          jws_check_signature(f->crypto, k.jwk, input, bytes_of(sig, sizeof sig)));
    }
    test_key_free(&k);
}

/* Small r and s have many leading zeros, which DER drops; the padded high bit is DER's other special case. Signatures
 * are made until each shape was seen. */
static void test_ecdsa_of_every_der_shape(void **state)
{
    struct fixture *f = *state;
    struct test_key k = test_key_new(f, JOSE_ES256);
    unsigned seen = 0;
    for (int i = 0; i < 20000 && seen != 63; i++) {
        arena_reset(f->arena);
        struct bytes input = str_bytes(arena_printf(f->arena, "input %d", i));
        struct bytes sig = test_sign(f, &k, input);
        for (size_t half = 0; half < 2; half++) {
            uint8_t first = sig.p[32 * half];
            seen |= (first == 0 ? 1U : first >= 0x80 ? 2U : 4U) << (3 * half);
        }
        if (i < 100 || sig.p[0] == 0 || sig.p[32] == 0)
            assert_ok(jws_check_signature(f->crypto, k.jwk, input, sig));
    }
    assert_int_equal(63, seen);
    test_key_free(&k);
}

static void test_j09_der_is_refused(void **state)
{
    struct fixture *f = *state;
    struct test_key k = test_key_new(f, JOSE_ES256);
    struct bytes input = str_bytes(STR("a.b"));
    uint8_t der[80];
    size_t n = sizeof der;
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    assert_int_equal(1, EVP_DigestSignInit_ex(ctx, NULL, "SHA256", NULL, NULL, k.pkey, NULL));
    assert_int_equal(1, EVP_DigestSign(ctx, der, &n, input.p, input.n));
    EVP_MD_CTX_free(ctx);
    assert_fails(ERR_JOSE_SIGNATURE, jws_check_signature(f->crypto, k.jwk, input, bytes_of(der, n)));
    test_key_free(&k);
}

/* J10: s + L is the same signature to a verifier that does not look at the range of s (RFC 8032 section 5.1.7). */
static void test_j10_ed25519_malleability(void **state)
{
    struct fixture *f = *state;
    static const uint8_t order[32] = {0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7,
                                      0xa2, 0xde, 0xf9, 0xde, 0x14, 0,    0,    0,    0,    0,    0,
                                      0,    0,    0,    0,    0,    0,    0,    0,    0,    0x10};
    struct jwk *k = key_of(f, rfc8037_a2_key);
    struct jws j = {0};
    assert_ok(read_token(f, k, str_of(rfc8037_a4_token), &j));
    uint8_t sig[64];
    memcpy(sig, j.signature.p, sizeof sig);
    for (int times = 1; times <= 7; times++) {
        unsigned carry = 0;
        for (size_t i = 0; i < 32; i++) {
            carry += (unsigned)sig[32 + i] + order[i];
            sig[32 + i] = (uint8_t)carry;
            carry >>= 8;
        }
        assert_fails(ERR_JOSE_SIGNATURE,
                     jws_check_signature(f->crypto, k, str_bytes(j.signing_input), bytes_of(sig, sizeof sig)));
    }
    jwk_free(&k);
}

static void test_a_signature_covers_every_byte(void **state)
{
    struct fixture *f = *state;
    struct jwk *k = key_of(f, rfc7515_a3_key);
    size_t n = strlen(rfc7515_a3_token);
    char *copy = arena_str(f->arena, str_of(rfc7515_a3_token)).p != NULL ? arena_alloc(f->arena, n + 1) : NULL;
    assert_non_null(copy);
    for (size_t i = 0; i < n; i++) {
        memcpy(copy, rfc7515_a3_token, n + 1);
        copy[i] = copy[i] == 'A' ? 'B' : 'A';
        struct err e = read_token(f, k, (struct str){copy, n}, NULL);
        assert_true(err_is(&e));
    }
    jwk_free(&k);
}

static void test_refusals_leave_no_openssl_errors(void **state)
{
    struct fixture *f = *state;
    struct jwk *k = key_of(f, rfc7515_a2_key);
    uint8_t sig[256] = {0xff};
    assert_fails(ERR_JOSE_SIGNATURE,
                 jws_check_signature(f->crypto, k, str_bytes(STR("a.b")), bytes_of(sig, sizeof sig)));
    assert_int_equal(0, ERR_peek_error());
    jwk_free(&k);
}

struct shared {
    const struct crypto *crypto;
    const struct jwk *key;
    int good;
};

static void *verify_often(void *arg)
{
    struct shared *s = arg;
    struct arena *a = NULL;
    if (arena_new(65536, &a).code != ERR_NONE)
        return NULL;
    for (int i = 0; i < 50; i++) {
        struct jws j = {0};
        arena_reset(a);
        struct err e = jws_parse(a, str_of(rfc7515_a3_token), &j);
        if (!err_is(&e))
            e = jws_verify(s->crypto, &j, s->key);
        s->good += err_is(&e) ? 0 : 1;
    }
    arena_free(&a);
    return NULL;
}

/* One crypto and one key serve any number of threads. */
static void test_threads_share_a_key(void **state)
{
    struct fixture *f = *state;
    struct jwk *k = key_of(f, rfc7515_a3_key);
    struct shared s[4];
    pthread_t t[COUNT(s)];
    for (size_t i = 0; i < COUNT(s); i++) {
        s[i] = (struct shared){.crypto = f->crypto, .key = k};
        assert_int_equal(0, pthread_create(&t[i], NULL, verify_often, &s[i]));
    }
    for (size_t i = 0; i < COUNT(s); i++) {
        pthread_join(t[i], NULL);
        assert_int_equal(50, s[i].good);
    }
    jwk_free(&k);
}

#define T(fn) cmocka_unit_test_setup(fn, fixture_reset)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_rfc7515_a2_rs256),
        T(test_rfc7515_a3_es256),
        T(test_rfc8037_a4_eddsa),
        T(test_jwcrypto_es384_and_ps256),
        T(test_rfc7520_4_1_rs256),
        T(test_examples_with_what_is_not_ours),
        T(test_j01_alg),
        T(test_j02_j22_shape),
        T(test_j05_j06_j07_header_members),
        T(test_j18_typ_is_normalised),
        T(test_j12_sizes),
        T(test_j13_depth),
        T(test_every_algorithm),
        T(test_j04_the_key_decides),
        T(test_j04_ps256_and_rs256_do_not_mix),
        T(test_j09_ecdsa_range),
        T(test_j09_es384_range),
        T(test_ecdsa_of_every_der_shape),
        T(test_j09_der_is_refused),
        T(test_j10_ed25519_malleability),
        T(test_a_signature_covers_every_byte),
        T(test_refusals_leave_no_openssl_errors),
        T(test_threads_share_a_key),
    };
    return cmocka_run_group_tests(tests, fixture_setup, fixture_teardown);
}
