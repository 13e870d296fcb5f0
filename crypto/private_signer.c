/* SPDX-License-Identifier: Apache-2.0 */
#include "crypto/private_signer.h"

#include "crypto/internal.h"

#include <limits.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <stdlib.h>

struct private_signer {
    const struct crypto *crypto;
    EVP_PKEY *pkey;
    struct jwk *jwk; /* the public part */
};

static void bio_free(BIO **b)
{
    BIO_free(*b);
}

static void bn_free(BIGNUM **n)
{
    BN_free(*n);
}

static void pkey_free(EVP_PKEY **k)
{
    EVP_PKEY_free(*k);
}

static void md_ctx_free(EVP_MD_CTX **c)
{
    EVP_MD_CTX_free(*c);
}

static void ecdsa_sig_free(ECDSA_SIG **s)
{
    ECDSA_SIG_free(*s);
}

static struct err jwk_of_ec(const struct crypto *c, const EVP_PKEY *k, struct jwk **out)
{
    static const struct {
        const char *group;
        enum jose_alg alg;
    } curves[] = {{"prime256v1", JOSE_ES256}, {"secp384r1", JOSE_ES384}};
    enum { NAME_MAX_BYTES = 64, UNCOMPRESSED = 4 };
    char group[NAME_MAX_BYTES] = "";
    (void)EVP_PKEY_get_utf8_string_param(k, OSSL_PKEY_PARAM_GROUP_NAME, group, sizeof group, NULL);
    CLEANUP(bn_free) BIGNUM *x = NULL;
    CLEANUP(bn_free) BIGNUM *y = NULL;
    if (EVP_PKEY_get_bn_param(k, OSSL_PKEY_PARAM_EC_PUB_X, &x) != 1 ||
        EVP_PKEY_get_bn_param(k, OSSL_PKEY_PARAM_EC_PUB_Y, &y) != 1)
        return FAIL(ERR_INVALID_JWKS, "the EC key has no public point");
    for (size_t i = 0; i < COUNT(curves); i++) {
        if (strcmp(group, curves[i].group) != 0)
            continue;
        size_t part = jose_alg_info(curves[i].alg)->part;
        uint8_t point[1 + 2 * 48] = {UNCOMPRESSED};
        if (BN_bn2binpad(x, point + 1, (int)part) < 0 || BN_bn2binpad(y, point + 1 + part, (int)part) < 0)
            return FAIL(ERR_INVALID_JWKS, "the EC point is not of its curve");
        return jwk_from_ec(c, curves[i].alg, bytes_of(point, 1 + 2 * part), out);
    }
    return FAIL(ERR_INVALID_JWKS, "an EC key must be on P-256 or P-384");
}

static struct err jwk_of_rsa(const struct crypto *c, const EVP_PKEY *k, enum jose_alg alg, struct jwk **out)
{
    CLEANUP(bn_free) BIGNUM *n = NULL;
    CLEANUP(bn_free) BIGNUM *e = NULL;
    if (EVP_PKEY_get_bn_param(k, OSSL_PKEY_PARAM_RSA_N, &n) != 1 ||
        EVP_PKEY_get_bn_param(k, OSSL_PKEY_PARAM_RSA_E, &e) != 1)
        return FAIL(ERR_INVALID_JWKS, "the RSA key has no modulus or exponent");
    uint8_t modulus[JWK_PUB_MAX];
    uint8_t exponent[sizeof(uint64_t)];
    if (BN_num_bytes(n) > (int)sizeof modulus || BN_num_bytes(e) > (int)sizeof exponent)
        return FAIL(ERR_INVALID_JWKS, "an RSA key must have %d to %d bits and the exponent 65537", JWK_RSA_MIN_BITS,
                    JWK_RSA_MAX_BITS);
    int n_len = BN_bn2bin(n, modulus);
    int e_len = BN_bn2bin(e, exponent);
    return jwk_from_rsa(c, alg, bytes_of(modulus, (size_t)n_len), bytes_of(exponent, (size_t)e_len), out);
}

static struct err jwk_of_ed25519(const struct crypto *c, const EVP_PKEY *k, struct jwk **out)
{
    uint8_t x[32];
    size_t n = sizeof x;
    if (EVP_PKEY_get_raw_public_key(k, x, &n) != 1)
        return FAIL(ERR_INVALID_JWKS, "the Ed25519 key has no public part");
    return jwk_from_ed25519(c, bytes_of(x, n), out);
}

static struct err jwk_of(const struct crypto *c, const EVP_PKEY *k, enum jose_alg rsa_alg, struct jwk **out)
{
    if (EVP_PKEY_is_a(k, "EC"))
        return jwk_of_ec(c, k, out);
    if (EVP_PKEY_is_a(k, "RSA"))
        return jwk_of_rsa(c, k, rsa_alg, out);
    if (EVP_PKEY_is_a(k, "ED25519"))
        return jwk_of_ed25519(c, k, out);
    return FAIL(ERR_INVALID_JWKS, "the key must be EC (P-256, P-384), Ed25519 or RSA");
}

/* Without a callback OpenSSL would ask at the terminal. */
static int no_passphrase(char *buf, int size, int writing, void *arg)
{
    (void)buf, (void)size, (void)writing, (void)arg;
    return -1;
}

static struct err read_pem(const struct crypto *c, struct bytes pem, bool is_private, EVP_PKEY **out)
{
    if (pem.n > INT_MAX)
        return FAIL(ERR_TOO_LARGE, "PEM of %zu bytes", pem.n);
    CLEANUP(bio_free) BIO *b = BIO_new_mem_buf(pem.p, (int)pem.n);
    if (b == NULL)
        return FAIL(ERR_NO_MEMORY, "PEM");
    *out = is_private ? PEM_read_bio_PrivateKey_ex(b, NULL, no_passphrase, NULL, c->lib, NULL)
                      : PEM_read_bio_PUBKEY_ex(b, NULL, no_passphrase, NULL, c->lib, NULL);
    ERR_clear_error();
    if (*out == NULL)
        return FAIL(ERR_INVALID_JWKS, "no unencrypted %s key in PEM form", is_private ? "private" : "public");
    return OK;
}

struct err jwk_from_pem(const struct crypto *c, struct bytes pem, enum jose_alg rsa_alg, struct jwk **out)
{
    if (pem.n > 0 && memmem(pem.p, pem.n, "PRIVATE KEY", strlen("PRIVATE KEY")) != NULL)
        return FAIL(ERR_INVALID_JWKS, "that is a private key; give its public part (openssl pkey -pubout)");
    CLEANUP(pkey_free) EVP_PKEY *k = NULL;
    TRY(read_pem(c, pem, false, &k));
    return jwk_of(c, k, rsa_alg, out);
}

struct err private_signer_new(const struct crypto *c, struct bytes pem, enum jose_alg rsa_alg,
                              struct private_signer **out)
{
    CLEANUP(pkey_free) EVP_PKEY *pkey = NULL;
    CLEANUP(jwk_free) struct jwk *jwk = NULL;
    TRY(read_pem(c, pem, true, &pkey));
    TRY(jwk_of(c, pkey, rsa_alg, &jwk));
    struct private_signer *s = malloc(sizeof *s);
    if (s == NULL)
        return FAIL(ERR_NO_MEMORY, "signer");
    *s = (struct private_signer){.crypto = c, .pkey = pkey, .jwk = jwk};
    pkey = NULL;
    jwk = NULL;
    *out = s;
    return OK;
}

void private_signer_free(struct private_signer **s)
{
    if (*s == NULL)
        return;
    jwk_free(&(*s)->jwk);
    EVP_PKEY_free((*s)->pkey);
    free(*s);
    *s = NULL;
}

/* RFC 7518 section 3.4: R || S, each as long as the curve's order; OpenSSL makes SEQUENCE { r, s }. */
static struct err put_raw(const uint8_t *der, size_t n, size_t part, struct buf *signature)
{
    const unsigned char *p = der;
    CLEANUP(ecdsa_sig_free) ECDSA_SIG *sig = d2i_ECDSA_SIG(NULL, &p, (long)n);
    unsigned char *to = sig != NULL ? buf_room(signature, 2 * part) : NULL;
    if (to == NULL)
        return FAIL(ERR_CRYPTO, "ECDSA signature");
    if (BN_bn2binpad(ECDSA_SIG_get0_r(sig), to, (int)part) < 0 ||
        BN_bn2binpad(ECDSA_SIG_get0_s(sig), to + part, (int)part) < 0)
        return FAIL(ERR_CRYPTO, "ECDSA signature");
    return OK;
}

static struct err sign_init(const struct private_signer *s, EVP_MD_CTX *ctx)
{
    static const char *const digests[] = {
        [JOSE_ES256] = "SHA256", [JOSE_ES384] = "SHA384", [JOSE_PS256] = "SHA256",
        [JOSE_RS256] = "SHA256", [JOSE_EDDSA] = NULL, /* RFC 8032: Ed25519 hashes inside */
    };
    _Static_assert(COUNT(digests) == JOSE_ALG_COUNT, "one digest for each algorithm");
    enum jose_alg alg = jwk_alg(s->jwk);
    EVP_PKEY_CTX *key = NULL;
    if (EVP_DigestSignInit_ex(ctx, &key, digests[alg], s->crypto->lib, NULL, s->pkey, NULL) != 1)
        return FAIL(ERR_CRYPTO, "EVP_DigestSignInit");
    /* RFC 7518 section 3.5: MGF1 with the same digest, a salt as long as it. */
    if (alg == JOSE_PS256 && (EVP_PKEY_CTX_set_rsa_padding(key, RSA_PKCS1_PSS_PADDING) != 1 ||
                              EVP_PKEY_CTX_set_rsa_pss_saltlen(key, RSA_PSS_SALTLEN_DIGEST) != 1))
        return FAIL(ERR_CRYPTO, "RSA-PSS parameters");
    return OK;
}

static struct err sign(void *self, struct str signing_input, struct buf *signature)
{
    const struct private_signer *s = self;
    struct bytes in = str_bytes(signing_input);
    CLEANUP(md_ctx_free) EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    if (ctx == NULL)
        return FAIL(ERR_NO_MEMORY, "EVP_MD_CTX_new");
    TRY(sign_init(s, ctx));
    uint8_t made[JOSE_SIG_MAX];
    size_t n = sizeof made;
    if (EVP_DigestSign(ctx, made, &n, in.p, in.n) != 1)
        return FAIL(ERR_CRYPTO, "EVP_DigestSign");
    const struct jose_alg_info *info = jose_alg_info(jwk_alg(s->jwk));
    if (info->kty == JOSE_KTY_EC)
        return put_raw(made, n, info->part, signature);
    buf_add(signature, made, n);
    return OK;
}

struct jws_signer private_signer_jws(struct private_signer *s)
{
    return (struct jws_signer){.alg = jwk_alg(s->jwk), .kid = jwk_kid(s->jwk), .self = s, .sign = sign};
}
