/* SPDX-License-Identifier: Apache-2.0 */
#include "crypto/internal.h"
#include "crypto/jws.h"

#include <openssl/err.h>
#include <openssl/rsa.h>

/* The orders of the base points (SEC 2, sections 2.4.2 and 2.5.1). */
static const uint8_t order_p256[] = {0xff, 0xff, 0xff, 0xff, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff,
                                     0xff, 0xff, 0xff, 0xff, 0xff, 0xbc, 0xe6, 0xfa, 0xad, 0xa7, 0x17,
                                     0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51};
static const uint8_t order_p384[] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
                                     0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
                                     0xc7, 0x63, 0x4d, 0x81, 0xf4, 0x37, 0x2d, 0xdf, 0x58, 0x1a, 0x0d, 0xb2,
                                     0x48, 0xb0, 0xa7, 0x7a, 0xec, 0xec, 0x19, 0x6a, 0xcc, 0xc5, 0x29, 0x73};

enum { DER_INTEGER = 2, DER_SEQUENCE = 0x30, DER_MAX = 2 + 2 * (2 + 1 + 48) };

static struct err wrong(void)
{
    return FAIL(ERR_JOSE_SIGNATURE, "the signature does not verify");
}

static void pkey_ctx_free(EVP_PKEY_CTX **p)
{
    EVP_PKEY_CTX_free(*p);
}

static void md_ctx_free(EVP_MD_CTX **p)
{
    EVP_MD_CTX_free(*p);
}

/* 0 < v < order, both big-endian and of one length. The program's own check, since CVE-2022-21449 came of leaving it to
 * the library. */
static bool in_range(const uint8_t *v, const uint8_t *order, size_t n)
{
    bool zero = true;
    for (size_t i = 0; i < n && zero; i++)
        zero = v[i] == 0;
    return !zero && memcmp(v, order, n) < 0;
}

/* Appends a positive integer in DER; its length is always below 128. */
static size_t der_integer(uint8_t *to, const uint8_t *v, size_t n)
{
    while (n > 1 && *v == 0) {
        v++;
        n--;
    }
    size_t pad = *v >= 0x80 ? 1 : 0;
    to[0] = DER_INTEGER;
    to[1] = (uint8_t)(n + pad);
    to[2] = 0;
    memcpy(to + 2 + pad, v, n);
    return 2 + pad + n;
}

/* RFC 7518 section 3.4: R || S, each of the order's length; OpenSSL wants SEQUENCE { r, s }. */
static struct err verify_ec(const struct crypto *c, const struct jwk *k, struct bytes input, struct bytes sig)
{
    bool p256 = k->alg == JOSE_ES256;
    const uint8_t *order = p256 ? order_p256 : order_p384;
    size_t n = p256 ? sizeof order_p256 : sizeof order_p384;
    if (sig.n != 2 * n)
        return FAIL(ERR_JOSE_SIGNATURE, "a %s signature has %zu bytes", jose_alg_name(k->alg), 2 * n);
    if (!in_range(sig.p, order, n) || !in_range(sig.p + n, order, n))
        return FAIL(ERR_JOSE_SIGNATURE, "r or s is out of range");
    uint8_t der[DER_MAX];
    size_t len = 2;
    len += der_integer(der + len, sig.p, n);
    len += der_integer(der + len, sig.p + n, n);
    der[0] = DER_SEQUENCE;
    der[1] = (uint8_t)(len - 2);

    uint8_t digest[SHA384_LEN];
    TRY(p256 ? crypto_sha256(c, input, digest) : crypto_sha384(c, input, digest));
    CLEANUP(pkey_ctx_free) EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(c->lib, k->pkey, NULL);
    if (ctx == NULL || EVP_PKEY_verify_init(ctx) != 1)
        return FAIL(ERR_CRYPTO, "EVP_PKEY_verify_init");
    return EVP_PKEY_verify(ctx, der, len, digest, n) == 1 ? OK : wrong();
}

/* RFC 7518 sections 3.3 and 3.5. PS256 has MGF1 with SHA-256 and a salt as long as the digest, and no other. */
static struct err verify_rsa(const struct crypto *c, const struct jwk *k, struct bytes input, struct bytes sig)
{
    if (sig.n != k->pub_n)
        return FAIL(ERR_JOSE_SIGNATURE, "a signature of this RSA key has %zu bytes", k->pub_n);
    uint8_t digest[SHA256_LEN];
    TRY(crypto_sha256(c, input, digest));
    CLEANUP(pkey_ctx_free) EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(c->lib, k->pkey, NULL);
    if (ctx == NULL || EVP_PKEY_verify_init(ctx) != 1 || EVP_PKEY_CTX_set_signature_md(ctx, c->sha256) != 1)
        return FAIL(ERR_CRYPTO, "EVP_PKEY_verify_init");
    bool pss = k->alg == JOSE_PS256;
    if (EVP_PKEY_CTX_set_rsa_padding(ctx, pss ? RSA_PKCS1_PSS_PADDING : RSA_PKCS1_PADDING) != 1)
        return FAIL(ERR_CRYPTO, "RSA padding");
    if (pss && (EVP_PKEY_CTX_set_rsa_mgf1_md(ctx, c->sha256) != 1 ||
                EVP_PKEY_CTX_set_rsa_pss_saltlen(ctx, RSA_PSS_SALTLEN_DIGEST) != 1))
        return FAIL(ERR_CRYPTO, "RSA-PSS parameters");
    return EVP_PKEY_verify(ctx, sig.p, sig.n, digest, sizeof digest) == 1 ? OK : wrong();
}

/* RFC 8037 section 3.1, RFC 8032 section 5.1.7. OpenSSL refuses s >= L; the unit tests hold it to that. */
static struct err verify_eddsa(const struct crypto *c, const struct jwk *k, struct bytes input, struct bytes sig)
{
    enum { ED25519_SIG = 64 };
    if (sig.n != ED25519_SIG)
        return FAIL(ERR_JOSE_SIGNATURE, "an EdDSA signature has %d bytes", ED25519_SIG);
    CLEANUP(md_ctx_free) EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    if (ctx == NULL || EVP_DigestVerifyInit_ex(ctx, NULL, NULL, c->lib, NULL, k->pkey, NULL) != 1)
        return FAIL(ERR_CRYPTO, "EVP_DigestVerifyInit");
    return EVP_DigestVerify(ctx, sig.p, sig.n, input.p, input.n) == 1 ? OK : wrong();
}

static struct err check(const struct crypto *c, const struct jwk *k, struct bytes input, struct bytes sig)
{
    switch (jose_alg_info(k->alg)->kty) {
    case JOSE_KTY_EC:
        return verify_ec(c, k, input, sig);
    case JOSE_KTY_RSA:
        return verify_rsa(c, k, input, sig);
    case JOSE_KTY_OKP:
        return verify_eddsa(c, k, input, sig);
    case JOSE_KTY_COUNT:
        break;
    }
    return FAIL(ERR_INTERNAL, "key type");
}

struct err jws_check_signature(const struct crypto *c, const struct jwk *k, struct bytes input, struct bytes signature)
{
    struct err e = check(c, k, input, signature);
    /* A refused signature leaves entries in this thread's OpenSSL error queue, which nobody reads. */
    ERR_clear_error();
    return e;
}

struct err jws_verify(const struct crypto *c, const struct jws *j, const struct jwk *k)
{
    /* RFC 8725 section 3.1: the header may only repeat what the key has settled. */
    if (j->alg != k->alg)
        return FAIL(ERR_JOSE_ALG, "header alg %s, but the key's is %s", jose_alg_name(j->alg), jose_alg_name(k->alg));
    return jws_check_signature(c, k, str_bytes(j->signing_input), j->signature);
}
