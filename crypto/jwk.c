/* SPDX-License-Identifier: Apache-2.0 */
#include "crypto/internal.h"

#include "crypto/b64u.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/param_build.h>
#include <stdlib.h>

enum { RSA_E = 65537, EC_POINT_UNCOMPRESSED = 4, SCRATCH = 8192 };

static const uint8_t rsa_e_bytes[] = {1, 0, 1};

static void bn_free(BIGNUM **b)
{
    BN_free(*b);
}

static void bld_free(OSSL_PARAM_BLD **b)
{
    OSSL_PARAM_BLD_free(*b);
}

static void params_free(OSSL_PARAM **p)
{
    OSSL_PARAM_free(*p);
}

static void ctx_free(EVP_PKEY_CTX **p)
{
    EVP_PKEY_CTX_free(*p);
}

static struct err from_params(const struct crypto *c, const char *type, OSSL_PARAM *params, EVP_PKEY **out)
{
    CLEANUP(ctx_free) EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(c->lib, type, NULL);
    if (ctx == NULL || EVP_PKEY_fromdata_init(ctx) != 1)
        return FAIL(ERR_CRYPTO, "no keys of type %s in the OpenSSL provider", type);
    if (EVP_PKEY_fromdata(ctx, out, EVP_PKEY_PUBLIC_KEY, params) != 1)
        return FAIL(ERR_INVALID_JWKS, "not a %s public key", type);
    CLEANUP(ctx_free) EVP_PKEY_CTX *check = EVP_PKEY_CTX_new_from_pkey(c->lib, *out, NULL);
    if (check == NULL)
        return FAIL(ERR_NO_MEMORY, "a check of a %s public key", type);
    if (EVP_PKEY_public_check(check) != 1)
        return FAIL(ERR_INVALID_JWKS, "the %s public key fails validation", type);
    return OK;
}

static struct err make_ec(const struct crypto *c, const struct jose_alg_info *info, struct bytes xy, EVP_PKEY **out)
{
    uint8_t point[1 + 2 * 48] = {EC_POINT_UNCOMPRESSED};
    char group[8];
    if (xy.n != 2 * info->part || xy.n >= sizeof point)
        return FAIL(ERR_INVALID_JWKS, "x and y of %s must have %zu bytes each", info->crv, info->part);
    memcpy(point + 1, xy.p, xy.n);
    memcpy(group, info->crv, strlen(info->crv) + 1);
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, group, 0),
        OSSL_PARAM_construct_octet_string(OSSL_PKEY_PARAM_PUB_KEY, point, 1 + xy.n),
        OSSL_PARAM_construct_end(),
    };
    return from_params(c, "EC", params, out);
}

static struct err make_rsa(const struct crypto *c, struct bytes n, EVP_PKEY **out)
{
    /* RFC 7518 section 6.3.1.1: the modulus stands in the fewest bytes. The size is checked before any arithmetic. */
    if (n.n == 0 || n.n > JWK_PUB_MAX || n.p[0] == 0)
        return FAIL(ERR_INVALID_JWKS, "n must have %d to %d bits and no leading zero byte", JWK_RSA_MIN_BITS,
                    JWK_RSA_MAX_BITS);
    CLEANUP(bn_free) BIGNUM *modulus = BN_bin2bn(n.p, (int)n.n, NULL);
    CLEANUP(bld_free) OSSL_PARAM_BLD *bld = OSSL_PARAM_BLD_new();
    if (modulus == NULL || bld == NULL)
        return FAIL(ERR_NO_MEMORY, "RSA key");
    if (BN_num_bits(modulus) < JWK_RSA_MIN_BITS)
        return FAIL(ERR_INVALID_JWKS, "n must have %d to %d bits", JWK_RSA_MIN_BITS, JWK_RSA_MAX_BITS);
    if (OSSL_PARAM_BLD_push_BN(bld, OSSL_PKEY_PARAM_RSA_N, modulus) != 1 ||
        OSSL_PARAM_BLD_push_uint(bld, OSSL_PKEY_PARAM_RSA_E, RSA_E) != 1)
        return FAIL(ERR_NO_MEMORY, "RSA key");
    CLEANUP(params_free) OSSL_PARAM *params = OSSL_PARAM_BLD_to_param(bld);
    return params != NULL ? from_params(c, "RSA", params, out) : FAIL(ERR_NO_MEMORY, "RSA key");
}

/* The y coordinates (little-endian, without the sign bit of x) of the points whose order divides 8. Under such a key
 * everyone can make signatures, and OpenSSL does not look. */
static const uint8_t ed25519_small_order[][32] = {
    {0},
    {1},
    {0xec, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
     0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f},
    {0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98, 0xf0,
     0xd5, 0xdf, 0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53, 0xfc, 0x05},
    {0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67, 0x0f,
     0x2a, 0x20, 0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac, 0x03, 0x7a},
};

static struct err check_ed25519(struct bytes x)
{
    uint8_t y[32];
    if (x.n != sizeof y)
        return FAIL(ERR_INVALID_JWKS, "x of Ed25519 must have %zu bytes", sizeof y);
    memcpy(y, x.p, sizeof y);
    y[31] &= 0x7f;
    for (size_t i = 0; i < COUNT(ed25519_small_order); i++) {
        if (memcmp(y, ed25519_small_order[i], sizeof y) == 0)
            return FAIL(ERR_INVALID_JWKS, "the Ed25519 public key is a point of small order");
    }
    /* RFC 8032 section 5.1.3: y must be below p = 2^255 - 19, whose bytes are ed, 30 times ff, 7f. */
    bool high = y[31] == 0x7f && y[0] >= 0xed;
    for (size_t i = 1; i < 31 && high; i++)
        high = y[i] == 0xff;
    return high ? FAIL(ERR_INVALID_JWKS, "the Ed25519 public key is not in canonical form") : OK;
}

static struct err make_okp(const struct crypto *c, struct bytes x, EVP_PKEY **out)
{
    uint8_t copy[32];
    TRY(check_ed25519(x));
    memcpy(copy, x.p, sizeof copy);
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_octet_string(OSSL_PKEY_PARAM_PUB_KEY, copy, sizeof copy),
        OSSL_PARAM_construct_end(),
    };
    return from_params(c, "ED25519", params, out);
}

static struct err make_pkey(const struct crypto *c, const struct jose_alg_info *info, struct bytes pub, EVP_PKEY **out)
{
    switch (info->kty) {
    case JOSE_KTY_EC:
        return make_ec(c, info, pub, out);
    case JOSE_KTY_RSA:
        return make_rsa(c, pub, out);
    case JOSE_KTY_OKP:
        return make_okp(c, pub, out);
    case JOSE_KTY_COUNT:
        break;
    }
    return FAIL(ERR_INTERNAL, "key type");
}

static void put_bytes(struct json_writer *w, const char *name, struct bytes b)
{
    struct str text = b64u_text(w->out->arena, b);
    if (text.p == NULL)
        w->out->failed = true;
    json_put_str(w, name, text);
}

/* The members of RFC 7638 section 3.2, in their order, which suits both the thumbprint and a JWK. */
static void put_required(const struct jwk *k, struct json_writer *w)
{
    const struct jose_alg_info *info = jose_alg_info(k->alg);
    bool rsa = info->kty == JOSE_KTY_RSA;
    if (rsa)
        put_bytes(w, "e", bytes_of(rsa_e_bytes, sizeof rsa_e_bytes));
    else
        json_put_str(w, "crv", str_of(info->crv));
    json_put_str(w, "kty", str_of(jose_kty_name(info->kty)));
    put_bytes(w, rsa ? "n" : "x", bytes_of(k->pub, rsa ? k->pub_n : info->part));
    if (info->kty == JOSE_KTY_EC)
        put_bytes(w, "y", bytes_of(k->pub + info->part, info->part));
}

static struct err thumbprint(const struct crypto *c, struct jwk *k)
{
    CLEANUP(arena_free) struct arena *scratch = NULL;
    TRY(arena_new(SCRATCH, &scratch));
    struct buf text = buf_in(scratch, SCRATCH / 2);
    struct json_writer w = json_writer_canonical(&text);
    json_begin_object(&w, NULL);
    put_required(k, &w);
    json_end_object(&w);
    TRY(buf_status(&text));
    TRY(crypto_sha256(c, buf_bytes(&text), k->thumbprint));
    if (k->kid_n > 0)
        return OK;
    struct str kid = b64u_text(scratch, bytes_of(k->thumbprint, sizeof k->thumbprint));
    if (kid.p == NULL)
        return FAIL(ERR_NO_MEMORY, "kid");
    memcpy(k->kid, kid.p, kid.n);
    k->kid_n = kid.n;
    return OK;
}

struct err jwk_make(const struct crypto *c, enum jose_alg alg, struct bytes pub, struct str kid, struct jwk **out)
{
    CLEANUP(jwk_free) struct jwk *k = calloc(1, sizeof *k);
    if (k == NULL)
        return FAIL(ERR_NO_MEMORY, "JWK");
    if (kid.p != NULL && !jose_kid_ok(kid))
        return FAIL(ERR_INVALID_JWKS, "kid must be 1 to %d characters of A-Z a-z 0-9 . _ ~ -", JWK_KID_MAX);
    struct err made = make_pkey(c, jose_alg_info(alg), pub, &k->pkey);
    /* A refused key leaves entries in this thread's OpenSSL error queue, which nobody reads. */
    ERR_clear_error();
    TRY(made);
    k->alg = alg;
    memcpy(k->pub, pub.p, pub.n);
    k->pub_n = pub.n;
    if (kid.p != NULL)
        memcpy(k->kid, kid.p, kid.n);
    k->kid_n = kid.n;
    TRY(thumbprint(c, k));
    *out = k;
    k = NULL;
    return OK;
}

void jwk_free(struct jwk **k)
{
    if (*k == NULL)
        return;
    EVP_PKEY_free((*k)->pkey);
    free(*k);
    *k = NULL;
}

static struct err check_kty(enum jose_alg alg, enum jose_kty kty)
{
    return jose_alg_info(alg)->kty == kty ? OK : FAIL(ERR_INVALID_JWKS, "%s does not fit the key", jose_alg_name(alg));
}

struct err jwk_from_ec(const struct crypto *c, enum jose_alg alg, struct bytes point, struct jwk **out)
{
    TRY(check_kty(alg, JOSE_KTY_EC));
    if (point.n == 0 || point.p[0] != EC_POINT_UNCOMPRESSED)
        return FAIL(ERR_INVALID_JWKS, "the EC point is not uncompressed");
    return jwk_make(c, alg, bytes_of(point.p + 1, point.n - 1), (struct str){NULL, 0}, out);
}

struct err jwk_check_exponent(struct bytes e)
{
    if (!bytes_eq(e, bytes_of(rsa_e_bytes, sizeof rsa_e_bytes)))
        return FAIL(ERR_INVALID_JWKS, "e must be %d", RSA_E);
    return OK;
}

static struct bytes without_leading_zeros(struct bytes b)
{
    while (b.n > 0 && b.p[0] == 0) {
        b.p++;
        b.n--;
    }
    return b;
}

struct err jwk_from_rsa(const struct crypto *c, enum jose_alg alg, struct bytes n, struct bytes e, struct jwk **out)
{
    TRY(check_kty(alg, JOSE_KTY_RSA));
    TRY(jwk_check_exponent(without_leading_zeros(e)));
    return jwk_make(c, alg, without_leading_zeros(n), (struct str){NULL, 0}, out);
}

struct err jwk_from_ed25519(const struct crypto *c, struct bytes x, struct jwk **out)
{
    return jwk_make(c, JOSE_EDDSA, x, (struct str){NULL, 0}, out);
}

enum jose_alg jwk_alg(const struct jwk *k)
{
    return k->alg;
}

struct str jwk_kid(const struct jwk *k)
{
    return (struct str){k->kid, k->kid_n};
}

void jwk_thumbprint(const struct jwk *k, uint8_t out[static SHA256_LEN])
{
    memcpy(out, k->thumbprint, sizeof k->thumbprint);
}

void jwk_write(const struct jwk *k, struct json_writer *w, const char *name)
{
    json_begin_object(w, name);
    json_put_str(w, "alg", str_of(jose_alg_name(k->alg)));
    put_required(k, w);
    json_put_str(w, "kid", jwk_kid(k));
    json_put_str(w, "use", STR("sig"));
    json_end_object(w);
}
