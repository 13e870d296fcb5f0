/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/crypto/support.h"

#include "crypto/b64u.h"

#include <openssl/core_names.h>
#include <openssl/ecdsa.h>
#include <openssl/rsa.h>
#include <stdlib.h>

enum { ARENA_SIZE = 16 << 20 };

int fixture_setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    assert_ok(crypto_new("default", &f->crypto));
    assert_ok(arena_new(ARENA_SIZE, &f->arena));
    *state = f;
    return 0;
}

int fixture_reset(void **state)
{
    struct fixture *f = *state;
    arena_reset(f->arena);
    return 0;
}

int fixture_teardown(void **state)
{
    struct fixture *f = *state;
    crypto_free(&f->crypto);
    arena_free(&f->arena);
    free(f);
    return 0;
}

const struct json *json_of(struct fixture *f, const char *text)
{
    const struct json *j = NULL;
    assert_ok(json_parse(f->arena, str_bytes(str_of(text)), &j));
    return j;
}

struct jwk *key_of(struct fixture *f, const char *text)
{
    struct jwk *k = NULL;
    assert_ok(jwk_parse(f->crypto, json_of(f, text), &k));
    return k;
}

static EVP_PKEY *generate(enum jose_alg alg)
{
    switch (alg) {
    case JOSE_ES256:
        return EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-256");
    case JOSE_ES384:
        return EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-384");
    case JOSE_PS256:
    case JOSE_RS256:
        return EVP_PKEY_Q_keygen(NULL, NULL, "RSA", (size_t)2048);
    case JOSE_EDDSA:
        return EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
    case JOSE_ALG_COUNT:
        break;
    }
    return NULL;
}

static struct jwk *public_part(struct fixture *f, enum jose_alg alg, EVP_PKEY *pkey)
{
    uint8_t p[512];
    size_t n = 0;
    struct jwk *k = NULL;
    if (alg == JOSE_EDDSA) {
        n = sizeof p;
        assert_int_equal(1, EVP_PKEY_get_raw_public_key(pkey, p, &n));
        assert_ok(jwk_from_ed25519(f->crypto, bytes_of(p, n), &k));
    } else if (alg == JOSE_ES256 || alg == JOSE_ES384) {
        assert_int_equal(1, EVP_PKEY_get_octet_string_param(pkey, OSSL_PKEY_PARAM_PUB_KEY, p, sizeof p, &n));
        assert_ok(jwk_from_ec(f->crypto, alg, bytes_of(p, n), &k));
    } else {
        const uint8_t e[] = {1, 0, 1};
        BIGNUM *modulus = NULL;
        assert_int_equal(1, EVP_PKEY_get_bn_param(pkey, OSSL_PKEY_PARAM_RSA_N, &modulus));
        n = (size_t)BN_bn2bin(modulus, p);
        BN_free(modulus);
        assert_ok(jwk_from_rsa(f->crypto, alg, bytes_of(p, n), bytes_of(e, sizeof e), &k));
    }
    return k;
}

struct test_key test_key_new(struct fixture *f, enum jose_alg alg)
{
    struct test_key k = {.pkey = generate(alg)};
    assert_non_null(k.pkey);
    k.jwk = public_part(f, alg, k.pkey);
    return k;
}

void test_key_free(struct test_key *k)
{
    EVP_PKEY_free(k->pkey);
    jwk_free(&k->jwk);
}

/* DER to R || S. */
static struct bytes raw_ecdsa(struct fixture *f, const uint8_t *der, size_t n, int part)
{
    ECDSA_SIG *sig = d2i_ECDSA_SIG(NULL, &der, (long)n);
    assert_non_null(sig);
    uint8_t *out = arena_alloc(f->arena, 2 * (size_t)part);
    assert_int_equal(part, BN_bn2binpad(ECDSA_SIG_get0_r(sig), out, part));
    assert_int_equal(part, BN_bn2binpad(ECDSA_SIG_get0_s(sig), out + part, part));
    ECDSA_SIG_free(sig);
    return bytes_of(out, 2 * (size_t)part);
}

struct bytes test_sign(struct fixture *f, const struct test_key *k, struct bytes input)
{
    enum jose_alg alg = jwk_alg(k->jwk);
    const char *md = alg == JOSE_EDDSA ? NULL : alg == JOSE_ES384 ? "SHA384" : "SHA256";
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    EVP_PKEY_CTX *pctx = NULL;
    assert_int_equal(1, EVP_DigestSignInit_ex(ctx, &pctx, md, NULL, NULL, k->pkey, NULL));
    if (alg == JOSE_PS256) {
        assert_int_equal(1, EVP_PKEY_CTX_set_rsa_padding(pctx, RSA_PKCS1_PSS_PADDING));
        assert_int_equal(1, EVP_PKEY_CTX_set_rsa_pss_saltlen(pctx, RSA_PSS_SALTLEN_DIGEST));
    }
    uint8_t *sig = arena_alloc(f->arena, JOSE_SIG_MAX);
    size_t n = JOSE_SIG_MAX;
    assert_int_equal(1, EVP_DigestSign(ctx, sig, &n, input.p, input.n));
    EVP_MD_CTX_free(ctx);
    if (alg == JOSE_ES256 || alg == JOSE_ES384)
        return raw_ecdsa(f, sig, n, alg == JOSE_ES256 ? 32 : 48);
    return bytes_of(sig, n);
}

struct str test_b64u(struct fixture *f, struct str text)
{
    return b64u_text(f->arena, str_bytes(text));
}

struct str test_token(struct fixture *f, const struct test_key *k, struct str header, struct str payload)
{
    struct str h = test_b64u(f, header);
    struct str p = test_b64u(f, payload);
    struct str input = arena_printf(f->arena, "%.*s.%.*s", STR_FMT(h), STR_FMT(p));
    struct str token = {NULL, 0};
    assert_ok(jws_join(f->arena, input, test_sign(f, k, str_bytes(input)), &token));
    return token;
}

struct err read_token(struct fixture *f, const struct jwk *k, struct str token, struct jws *out)
{
    struct jws local = {0};
    struct jws *j = out != NULL ? out : &local;
    TRY(jws_parse(f->arena, token, j));
    return jws_verify(f->crypto, j, k);
}
