/* SPDX-License-Identifier: Apache-2.0 */
#include "crypto/jwk.h"

#include "crypto/b64u.h"
#include "tests/unit/crypto/support.h"
#include "tests/unit/crypto/vectors.h"

#include <openssl/err.h>

#define P256_X "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU"
#define P256_Y "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"
#define ED_X   "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"

static struct err parse(struct fixture *f, const char *text)
{
    struct jwk *k = NULL;
    struct err e = jwk_parse(f->crypto, json_of(f, text), &k);
    assert_true(err_is(&e) == (k == NULL));
    jwk_free(&k);
    return e;
}

static struct str thumbprint(struct fixture *f, const struct jwk *k)
{
    uint8_t t[SHA256_LEN];
    jwk_thumbprint(k, t);
    return b64u_text(f->arena, bytes_of(t, sizeof t));
}

static void test_rfc7638_thumbprint(void **state)
{
    struct fixture *f = *state;
    /* RFC 7638 section 3.1: the RSA key of RFC 7517 appendix A.1. */
    const struct json *keys = json_get(json_of(f, rfc7517_a1_keys), "keys");
    struct jwk *k = NULL;
    assert_ok(jwk_parse(f->crypto, &keys->items[1], &k));
    assert_str(thumbprint(f, k), "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
    assert_str(jwk_kid(k), "2011-04-29");
    assert_int_equal(JOSE_RS256, jwk_alg(k));
    jwk_free(&k);
}

static void test_rfc8037_thumbprint(void **state)
{
    struct fixture *f = *state;
    struct jwk *k = key_of(f, rfc8037_a2_key);
    assert_str(thumbprint(f, k), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
    assert_str(jwk_kid(k), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
    assert_int_equal(JOSE_EDDSA, jwk_alg(k));
    jwk_free(&k);
}

static void test_the_type_settles_the_algorithm(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *key;
        enum jose_alg alg;
    } keys[] = {{rfc7515_a2_key, JOSE_RS256},
                {rfc7515_a3_key, JOSE_ES256},
                {jwcrypto_es384_key, JOSE_ES384},
                {rfc8037_a2_key, JOSE_EDDSA}};
    for (size_t i = 0; i < COUNT(keys); i++) {
        struct jwk *k = key_of(f, keys[i].key);
        assert_int_equal(keys[i].alg, jwk_alg(k));
        jwk_free(&k);
    }
}

static void test_j04_alg_must_fit_the_key(void **state)
{
    struct fixture *f = *state;
    static const char *const algs[] = {"ES384", "RS256", "EdDSA", "HS256", "none", "ES256K", "RSA-OAEP", ""};
    for (size_t i = 0; i < COUNT(algs); i++) {
        struct str text = arena_printf(
            f->arena, "{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"" P256_X "\",\"y\":\"" P256_Y "\",\"alg\":\"%s\"}",
            algs[i]);
        assert_fails_with(ERR_INVALID_JWKS, "alg", parse(f, text.p));
    }
}

/* J11 and RFC 7517 section 9.2: the detail may name the member, never its value. */
static void test_private_and_symmetric_keys_are_refused(void **state)
{
    struct fixture *f = *state;
    static const char *const keys[] = {rfc7515_a2_private, rfc7515_a3_private, rfc7520_3_4_private, rfc7520_3_5_oct,
                                       rfc8037_a1_private};
    for (size_t i = 0; i < COUNT(keys); i++) {
        const struct json *obj = json_of(f, keys[i]);
        const struct json *secret = json_get(obj, json_get(obj, "k") != NULL ? "k" : "d");
        struct jwk *k = NULL;
        struct err e = jwk_parse(f->crypto, obj, &k);
        assert_int_equal(ERR_INVALID_JWKS, e.code);
        assert_non_null(strstr(e.detail, "private or symmetric"));
        assert_null(memmem(&e, sizeof e, secret->s.p, 8));
        assert_null(k);
    }
    static const char *const names[] = {"d", "p", "q", "dp", "dq", "qi", "oth", "k"};
    for (size_t i = 0; i < COUNT(names); i++) {
        struct str text =
            arena_printf(f->arena, "{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"" ED_X "\",\"%s\":null}", names[i]);
        assert_fails_with(ERR_INVALID_JWKS, "private or symmetric", parse(f, text.p));
    }
}

static void test_ill_formed_keys(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *text, *why;
    } bad[] = {
        {"[]", "object"},
        {"{}", "kty"},
        {"{\"kty\":7}", "kty"},
        {"{\"kty\":\"oct\"}", "kty"},
        {"{\"kty\":\"ec\",\"crv\":\"P-256\"}", "kty"},
        {"{\"kty\":\"OKP\",\"crv\":\"X25519\",\"x\":\"" ED_X "\"}", "kty and crv"},
        {"{\"kty\":\"OKP\",\"crv\":\"Ed25519\"}", "x is missing"},
        {"{\"kty\":\"EC\",\"x\":\"" P256_X "\",\"y\":\"" P256_Y "\"}", "kty and crv"},
        {"{\"kty\":\"EC\",\"crv\":\"secp256k1\",\"x\":\"" P256_X "\",\"y\":\"" P256_Y "\"}", "kty and crv"},
        {"{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"" P256_X "\"}", "y is missing"},
        {"{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"" P256_X "=\",\"y\":\"" P256_Y "\"}", "x is not base64url"},
        {"{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"AA\",\"y\":\"" P256_Y "\"}", "32 bytes each"},
        {"{\"kty\":\"EC\",\"crv\":\"P-384\",\"x\":\"" P256_X "\",\"y\":\"" P256_Y "\"}", "48 bytes each"},
        /* not on the curve: y in the place of x, and the point (0, 0) */
        {"{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"" P256_Y "\",\"y\":\"" P256_X "\"}", "EC public key"},
        {"{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\","
         "\"y\":\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\"}",
         "EC public key"},
        {"{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"" ED_X "\",\"use\":\"enc\"}", "use"},
        {"{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"" ED_X "\",\"key_ops\":[\"sign\"]}", "key_ops"},
        {"{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"" ED_X "\",\"key_ops\":[]}", "key_ops"},
        {"{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"" ED_X "\",\"key_ops\":\"verify\"}", "key_ops"},
    };
    for (size_t i = 0; i < COUNT(bad); i++)
        assert_fails_with(ERR_INVALID_JWKS, bad[i].why, parse(f, bad[i].text));
    assert_fails(ERR_INVALID_JWKS, parse(f, rfc7520_3_1_key));
    assert_fails(ERR_INVALID_JWKS, parse(f, rfc7515_a4_key));
    assert_ok(parse(f, "{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"" ED_X
                       "\",\"use\":\"sig\",\"key_ops\":[\"verify\"],\"x5c\":[\"ignored\"],\"other\":{}}"));
}

static void test_j05_kid(void **state)
{
    struct fixture *f = *state;
    static const char *const bad[] = {"\"\"",
                                      "\"../../dev/null\"",
                                      "\"/etc/ssl/key.pem\"",
                                      "\"' OR 1=1--\"",
                                      "\"a;b\"",
                                      "\"a b\"",
                                      "\"a\\nb\"",
                                      "\"k\xd0\xb0\"",
                                      "7",
                                      "[\"a\"]",
                                      "null",
                                      ("\"0123456789012345678901234567890123456789012345678901234567890123456789"
                                       "01234567890123456789012345678901234567890123456789012345678\"")};
    for (size_t i = 0; i < COUNT(bad); i++) {
        struct str text =
            arena_printf(f->arena, "{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"" ED_X "\",\"kid\":%s}", bad[i]);
        assert_fails_with(ERR_INVALID_JWKS, "kid", parse(f, text.p));
    }
    struct jwk *k = key_of(f, "{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"" ED_X "\",\"kid\":\"A.z_0~-\"}");
    assert_str(jwk_kid(k), "A.z_0~-");
    jwk_free(&k);
    k = key_of(f, "{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"" ED_X "\",\"kid\":\"Az09+/w==\"}");
    assert_str(jwk_kid(k), "Az09+/w==");
    jwk_free(&k);
}

struct rsa_case {
    size_t bytes;
    uint8_t first, last;
    const char *e;
};

/* A key whose modulus is first 5555.. last: only its size and oddness can be right. */
static struct err parse_rsa(struct fixture *f, const struct rsa_case *c)
{
    uint8_t *n = arena_alloc(f->arena, c->bytes + 1);
    memset(n, 0x55, c->bytes);
    n[0] = c->first;
    n[c->bytes > 0 ? c->bytes - 1 : 0] = c->last;
    struct str b = b64u_text(f->arena, bytes_of(n, c->bytes));
    struct str text = arena_printf(f->arena, "{\"kty\":\"RSA\",\"n\":\"%.*s\",\"e\":\"%s\"}", STR_FMT(b), c->e);
    return parse(f, text.p);
}

static void test_j11_rsa_sizes_and_exponents(void **state)
{
    struct fixture *f = *state;
    static const struct rsa_case bad[] = {
        {0, 0, 0, "AQAB"},            /* no modulus */
        {1, 0, 0, "AQAB"},            /* 0 */
        {128, 0x80, 1, "AQAB"},       /* 1024 bits */
        {256, 0x7f, 1, "AQAB"},       /* 2047 bits */
        {257, 0x00, 1, "AQAB"},       /* a leading zero byte */
        {513, 0x01, 1, "AQAB"},       /* 4097 bits */
        {2049, 0x01, 1, "AQAB"},      /* 16385 bits */
        {256, 0x80, 2, "AQAB"},       /* even */
        {256, 0xc0, 0x5f, "Aw"},      /* e = 3 */
        {256, 0xc0, 0x5f, "AQ"},      /* e = 1 */
        {256, 0xc0, 0x5f, "AQAA"},    /* e = 65536 */
        {256, 0xc0, 0x5f, "AQAAAAE"}, /* e = 2^32 + 1 */
        {256, 0xc0, 0x5f, "AAEAAQ"},  /* 65537 with a leading zero byte */
        {256, 0xc0, 0x5f, ""},
    };
    for (size_t i = 0; i < COUNT(bad); i++)
        assert_fails(ERR_INVALID_JWKS, parse_rsa(f, &bad[i]));
    assert_fails_with(ERR_INVALID_JWKS, "e is missing", parse(f, "{\"kty\":\"RSA\",\"n\":\"AQAB\"}"));
}

/* J10: the five small-order y, with the sign bit both ways, and y that are not below p. */
static void test_j10_ed25519_weak_keys(void **state)
{
    struct fixture *f = *state;
    static const uint8_t order8[2][32] = {
        {0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98, 0xf0,
         0xd5, 0xdf, 0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53, 0xfc, 0x05},
        {0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67, 0x0f,
         0x2a, 0x20, 0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac, 0x03, 0x7a}};
    uint8_t bad[9][32] = {{0}, {1}};
    /* p - 1, p, p + 1, 2^255 - 1 */
    for (size_t i = 2; i < 6; i++) {
        memset(bad[i], 0xff, 32);
        bad[i][0] = (uint8_t)(i < 5 ? 0xea + i : 0xff);
        bad[i][31] = 0x7f;
    }
    memcpy(bad[6], order8[0], 32);
    memcpy(bad[7], order8[1], 32);
    memcpy(bad[8], bad[4], 32);
    for (size_t i = 0; i < 2 * COUNT(bad); i++) {
        uint8_t x[32];
        struct jwk *k = NULL;
        memcpy(x, bad[i / 2], sizeof x);
        x[31] |= i % 2 == 0 ? 0 : 0x80;
        assert_fails(ERR_INVALID_JWKS, jwk_from_ed25519(f->crypto, bytes_of(x, sizeof x), &k));
    }
    struct jwk *k = NULL;
    assert_fails(ERR_INVALID_JWKS, jwk_from_ed25519(f->crypto, bytes_of(bad[8], 31), &k));
}

/* Large, but below p: only all of its bytes make a number one that is not reduced. */
static void test_ed25519_large_y_is_accepted(void **state)
{
    struct fixture *f = *state;
    for (size_t i = 1; i < 31; i++) {
        uint8_t x[32];
        struct jwk *k = NULL;
        memset(x, 0xff, sizeof x);
        x[i] = 0xfe;
        x[31] = 0x7f;
        assert_ok(jwk_from_ed25519(f->crypto, bytes_of(x, sizeof x), &k));
        jwk_free(&k);
    }
}

/* RFC 7518 section 6.3.1.1. */
static void test_rsa_modulus_in_more_bytes_than_needed(void **state)
{
    struct fixture *f = *state;
    struct bytes n = {NULL, 0};
    assert_ok(b64u_decode(f->arena, json_get(json_of(f, rfc7520_3_3_key), "n")->s, &n));
    uint8_t *padded = arena_alloc(f->arena, n.n + 1);
    memcpy(padded + 1, n.p, n.n);
    struct str b = b64u_text(f->arena, bytes_of(padded, n.n + 1));
    struct str text = arena_printf(f->arena, "{\"kty\":\"RSA\",\"n\":\"%.*s\",\"e\":\"AQAB\"}", STR_FMT(b));
    assert_fails_with(ERR_INVALID_JWKS, "leading zero", parse(f, text.p));
}

static void test_refusals_leave_no_openssl_errors(void **state)
{
    struct fixture *f = *state;
    assert_fails(ERR_INVALID_JWKS,
                 parse(f, "{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"" P256_Y "\",\"y\":\"" P256_X "\"}"));
    assert_int_equal(0, ERR_peek_error());
}

static void test_keys_of_a_token(void **state)
{
    struct fixture *f = *state;
    struct bytes x = {NULL, 0};
    struct bytes y = {NULL, 0};
    uint8_t point[65] = {4};
    struct jwk *k = NULL;
    assert_ok(b64u_decode(f->arena, STR(P256_X), &x));
    assert_ok(b64u_decode(f->arena, STR(P256_Y), &y));
    memcpy(point + 1, x.p, 32);
    memcpy(point + 33, y.p, 32);
    assert_ok(jwk_from_ec(f->crypto, JOSE_ES256, bytes_of(point, 65), &k));
    struct jwk *same = key_of(f, rfc7515_a3_key);
    assert_str(jwk_kid(k), arena_str(f->arena, jwk_kid(same)).p);
    jwk_free(&same);
    jwk_free(&k);
    assert_fails(ERR_INVALID_JWKS, jwk_from_ec(f->crypto, JOSE_ES256, bytes_of(point, 64), &k));
    assert_fails(ERR_INVALID_JWKS, jwk_from_ec(f->crypto, JOSE_ES384, bytes_of(point, 65), &k));
    assert_fails(ERR_INVALID_JWKS, jwk_from_ec(f->crypto, JOSE_RS256, bytes_of(point, 65), &k));
    assert_fails(ERR_INVALID_JWKS, jwk_from_ec(f->crypto, JOSE_ES256, bytes_of(point, 0), &k));
    point[0] = 2;
    assert_fails(ERR_INVALID_JWKS, jwk_from_ec(f->crypto, JOSE_ES256, bytes_of(point, 33), &k));
    point[0] = 6;
    assert_fails(ERR_INVALID_JWKS, jwk_from_ec(f->crypto, JOSE_ES256, bytes_of(point, 65), &k));
    assert_null(k);
}

static void test_rsa_of_a_token_may_have_leading_zeros(void **state)
{
    struct fixture *f = *state;
    const uint8_t e[] = {0, 0, 1, 0, 1};
    const struct json *key = json_of(f, rfc7520_3_3_key);
    struct bytes n = {NULL, 0};
    assert_ok(b64u_decode(f->arena, json_get(key, "n")->s, &n));
    uint8_t *padded = arena_alloc(f->arena, n.n + 1);
    memcpy(padded + 1, n.p, n.n);
    struct jwk *k = NULL;
    assert_ok(jwk_from_rsa(f->crypto, JOSE_PS256, bytes_of(padded, n.n + 1), bytes_of(e, sizeof e), &k));
    assert_int_equal(JOSE_PS256, jwk_alg(k));
    jwk_free(&k);
    assert_fails(ERR_INVALID_JWKS, jwk_from_rsa(f->crypto, JOSE_ES256, n, bytes_of(e + 2, 3), &k));
    assert_fails(ERR_INVALID_JWKS, jwk_from_rsa(f->crypto, JOSE_RS256, n, bytes_of(e, 3), &k));
}

static void test_what_is_written_reads_back(void **state)
{
    struct fixture *f = *state;
    for (int alg = 0; alg < JOSE_ALG_COUNT; alg++) {
        struct test_key key = test_key_new(f, (enum jose_alg)alg);
        struct buf b = buf_in(f->arena, 4096);
        struct json_writer w = json_writer(&b);
        jwk_write(key.jwk, &w, NULL);
        buf_char(&b, '\0');
        assert_ok(buf_status(&b));
        const struct json *obj = json_of(f, b.p);
        assert_str(json_get(obj, "use")->s, "sig");
        assert_str(json_get(obj, "alg")->s, jose_alg_name((enum jose_alg)alg));
        struct jwk *back = key_of(f, b.p);
        assert_int_equal(alg, jwk_alg(back));
        assert_true(str_eq(jwk_kid(key.jwk), jwk_kid(back)));
        assert_true(str_eq(thumbprint(f, key.jwk), thumbprint(f, back)));
        jwk_free(&back);
        test_key_free(&key);
    }
}

static struct err parse_set(struct fixture *f, const char *text, size_t min, bool strict, size_t *n)
{
    struct jwks s = {0};
    struct err e = jwks_parse(f->crypto, json_of(f, text), min, 8, strict, &s);
    *n = s.n;
    jwks_free(&s);
    return e;
}

static void test_sets(void **state)
{
    struct fixture *f = *state;
    size_t n = 0;
    /* RFC 7517 A.1: one key for encryption, one for signatures. A.2 and A.3 hold private and symmetric ones. */
    assert_ok(parse_set(f, rfc7517_a1_keys, 1, false, &n));
    assert_int_equal(1, n);
    assert_fails_with(ERR_INVALID_JWKS, "key 0", parse_set(f, rfc7517_a1_keys, 1, true, &n));
    assert_fails(ERR_INVALID_JWKS, parse_set(f, rfc7517_a2_keys, 1, true, &n));
    assert_fails_with(ERR_INVALID_JWKS, "fewer than 1", parse_set(f, rfc7517_a3_keys, 1, false, &n));
    assert_ok(parse_set(f, "{\"keys\":[]}", 0, true, &n));
    static const char *const bad[] = {"{\"keys\":[]}",    "{}", "[]", "{\"keys\":{}}", "{\"keys\":[1]}",
                                      "{\"keys\":[null]}"};
    for (size_t i = 0; i < COUNT(bad); i++)
        assert_fails(ERR_INVALID_JWKS, parse_set(f, bad[i], 1, false, &n));
}

static void test_a_set_is_bounded(void **state)
{
    struct fixture *f = *state;
    size_t n = 0;
    struct buf b = buf_in(f->arena, 65536);
    buf_cstr(&b, "{\"keys\":[{\"kty\":\"oct\"}");
    for (int i = 0; i < 8; i++)
        buf_cstr(&b, ",{\"kty\":\"oct\"}");
    buf_cstr(&b, "]}");
    buf_char(&b, '\0');
    assert_fails_with(ERR_INVALID_JWKS, "more than 8", parse_set(f, b.p, 0, false, &n));
}

static void test_j05_one_kid_for_two_keys(void **state)
{
    struct fixture *f = *state;
    size_t n = 0;
    struct str text = arena_printf(f->arena,
                                   "{\"keys\":[{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"" ED_X
                                   "\",\"kid\":\"k\"},{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"" P256_X
                                   "\",\"y\":\"" P256_Y "\",\"kid\":\"%s\"}]}",
                                   "k");
    assert_fails_with(ERR_INVALID_JWKS, "kid", parse_set(f, text.p, 1, true, &n));
    assert_fails_with(ERR_INVALID_JWKS, "kid", parse_set(f, text.p, 1, false, &n));
}

static void test_a_key_is_found_by_its_kid(void **state)
{
    struct fixture *f = *state;
    struct jwks s = {0};
    assert_null(jwks_find(&s, STR("a")));
    assert_null(jwks_find(&s, STR("")));
    assert_ok(jwks_parse(f->crypto,
                         json_of(f, "{\"keys\":[{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"" ED_X
                                    "\",\"kid\":\"a\"},{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"" P256_X
                                    "\",\"y\":\"" P256_Y "\",\"kid\":\"b\"}]}"),
                         1, 8, true, &s));
    assert_int_equal(JOSE_EDDSA, jwk_alg(jwks_find(&s, STR("a"))));
    assert_int_equal(JOSE_ES256, jwk_alg(jwks_find(&s, STR("b"))));
    assert_null(jwks_find(&s, STR("A")));
    assert_null(jwks_find(&s, STR("ab")));
    assert_null(jwks_find(&s, STR("")));
    jwks_free(&s);
    assert_ok(jwks_parse(f->crypto, json_of(f, rfc7517_a1_keys), 1, 8, false, &s));
    assert_non_null(jwks_find(&s, (struct str){NULL, 0}));
    assert_null(jwks_find(&s, STR("1")));
    jwks_free(&s);
}

#define T(fn) cmocka_unit_test_setup(fn, fixture_reset)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_rfc7638_thumbprint),
        T(test_rfc8037_thumbprint),
        T(test_the_type_settles_the_algorithm),
        T(test_j04_alg_must_fit_the_key),
        T(test_private_and_symmetric_keys_are_refused),
        T(test_ill_formed_keys),
        T(test_j05_kid),
        T(test_j11_rsa_sizes_and_exponents),
        T(test_j10_ed25519_weak_keys),
        T(test_ed25519_large_y_is_accepted),
        T(test_rsa_modulus_in_more_bytes_than_needed),
        T(test_refusals_leave_no_openssl_errors),
        T(test_keys_of_a_token),
        T(test_rsa_of_a_token_may_have_leading_zeros),
        T(test_what_is_written_reads_back),
        T(test_sets),
        T(test_a_set_is_bounded),
        T(test_j05_one_kid_for_two_keys),
        T(test_a_key_is_found_by_its_kid),
    };
    return cmocka_run_group_tests(tests, fixture_setup, fixture_teardown);
}
