/* SPDX-License-Identifier: Apache-2.0
 * What the files of crypto/ share and nobody else sees: the OpenSSL handles behind the public types. */
#ifndef CRYPTO_INTERNAL_H
#define CRYPTO_INTERNAL_H

#include "crypto/envelope.h"
#include "crypto/jws.h"

#include <openssl/evp.h>
#include <openssl/provider.h>

struct crypto {
    OSSL_LIB_CTX *lib;
    OSSL_PROVIDER *provider;
    EVP_MD *sha256, *sha384;
    EVP_CIPHER *aes_256_gcm;
};

enum jose_kty { JOSE_KTY_EC, JOSE_KTY_RSA, JOSE_KTY_OKP, JOSE_KTY_COUNT };

/* "EC" and so on, as in the kty member. */
const char *jose_kty_name(enum jose_kty kty);

/* What an algorithm needs of its key. part is the length of one coordinate (EC) or of the whole public key (OKP). */
struct jose_alg_info {
    const char *name;
    enum jose_kty kty;
    const char *crv; /* NULL for RSA */
    size_t part;
};
const struct jose_alg_info *jose_alg_info(enum jose_alg alg);

/* RFC 3986 section 2.3: A-Z a-z 0-9 . _ ~ - */
bool is_unreserved(char c);

/* [A-Za-z0-9._~-]{1,128}, or base64, which some issuers name their keys by: a kid is a map key and a log value only, so
 * nothing else is ever let in. */
bool jose_kid_ok(struct str kid);

enum { JWK_PUB_MAX = JWK_RSA_MAX_BITS / 8 };

struct jwk {
    enum jose_alg alg;
    size_t kid_n, pub_n;
    char kid[JWK_KID_MAX];
    uint8_t thumbprint[SHA256_LEN];
    /* EC: x then y. RSA: the modulus, whose first byte is not zero (the exponent is always 65537). OKP: x. */
    uint8_t pub[JWK_PUB_MAX];
    EVP_PKEY *pkey;
};

/* A key of these public bytes (as struct jwk holds them) under kid, or under its thumbprint when kid.p is NULL.
 * ERR_INVALID_JWKS when they are no acceptable key of this algorithm. */
struct err jwk_make(const struct crypto *c, enum jose_alg alg, struct bytes pub, struct str kid, struct jwk **out);

/* A key that a token of this alg brings along. The key need not name its algorithm, since it speaks for nobody but that
 * token's maker; when it does, it must name alg. Its kid is not used: the thumbprint is. */
struct err jwk_parse_as(const struct crypto *c, const struct json *obj, enum jose_alg alg, struct jwk **out);

/* jws_parse for a kind of JWT that brings its own key: *jwk is the header member jwk, which must be there, and kid is
 * not looked at. Everything else is refused as in jws_parse. */
struct err jws_parse_with_jwk(struct arena *a, struct str token, struct jws *out, const struct json **jwk);

/* envelope_seal under a nonce of the caller's choice, so that it can be held against known answers. A nonce must never
 * be used twice under one key. */
struct envelope_input {
    struct bytes key32, aad, plain;
    uint8_t nonce[ENVELOPE_NONCE_LEN];
};
struct err envelope_seal_with(const struct crypto *c, const struct envelope_input *in, struct arena *a,
                              struct bytes *out);

/* ERR_INVALID_JWKS unless e is 65537, in the fewest bytes. */
struct err jwk_check_exponent(struct bytes e);

#endif
