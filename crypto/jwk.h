/* SPDX-License-Identifier: Apache-2.0
 * Public keys as JWK (RFC 7517, 7518, 8037). Only public, asymmetric keys exist here: a member of a private or
 * symmetric key is refused before anything is kept. A key fixes its one algorithm (RFC 8725 section 3.1). */
#ifndef CRYPTO_JWK_H
#define CRYPTO_JWK_H

#include "base/arena.h"
#include "crypto/crypto.h"
#include "crypto/json.h"

enum jose_alg { JOSE_ES256, JOSE_ES384, JOSE_PS256, JOSE_RS256, JOSE_EDDSA, JOSE_ALG_COUNT };

/* "ES256" and so on. An unknown name (also "none" and every HMAC) is ERR_JOSE_ALG. */
const char *jose_alg_name(enum jose_alg alg);
struct err jose_alg_parse(struct str name, enum jose_alg *out);
/* Bytes of a signature: 64 for ES256 and EdDSA, 96 for ES384, the modulus for RSA (up to 512). */
enum { JOSE_SIG_MAX = 512 };

enum { JWK_KID_MAX = 128, JWK_RSA_MIN_BITS = 2048, JWK_RSA_MAX_BITS = 4096 };

struct jwk;

/* The longest set that is read, for jwks_parse. */
enum { JWKS_MAX = 100 };

/* A key from its JSON. kid: [A-Za-z0-9._~-]{1,128} or base64, or absent: then it is the thumbprint. alg: as the member
 * says, else by type (P-256 ES256, P-384 ES384, Ed25519 EdDSA, RSA RS256). use other than "sig" and key_ops without
 * "verify" are refused; RSA must have 2048 to 4096 bits and e = 65537; EC points must lie on their curve. Refusals are
 * ERR_INVALID_JWKS with a detail that names the member and never quotes its value. */
struct err jwk_parse(const struct crypto *c, const struct json *obj, struct jwk **out);
void jwk_free(struct jwk **k);

/* Keys from what a token exports: an uncompressed EC point (0x04 x y), a modulus and exponent, 32 bytes of Ed25519. */
struct err jwk_from_ec(const struct crypto *c, enum jose_alg alg, struct bytes point, struct jwk **out);
struct err jwk_from_rsa(const struct crypto *c, enum jose_alg alg, struct bytes n, struct bytes e, struct jwk **out);
struct err jwk_from_ed25519(const struct crypto *c, struct bytes x, struct jwk **out);

enum jose_alg jwk_alg(const struct jwk *k);
struct str jwk_kid(const struct jwk *k);
/* RFC 7638 thumbprint with SHA-256. */
void jwk_thumbprint(const struct jwk *k, uint8_t out[static SHA256_LEN]);
/* {"kty":..,"kid":..,"alg":..,"use":"sig", the public members} as one JSON object. */
void jwk_write(const struct jwk *k, struct json_writer *w, const char *name);

/* A set of keys, found by kid. */
struct jwks {
    size_t n;
    struct jwk **keys;
};

/* Parses {"keys":[..]} with min to max keys; two keys of one kid are refused. In a strict set every member must be
 * acceptable (registration); else keys of unknown type or use are left out (RFC 7517 section 5, fetched sets). */
struct err jwks_parse(const struct crypto *c, const struct json *obj, size_t min, size_t max, bool strict,
                      struct jwks *out);
void jwks_free(struct jwks *s);
/* NULL when there is none. An empty kid finds the only key of a set of one. */
const struct jwk *jwks_find(const struct jwks *s, struct str kid);

#endif
