/* SPDX-License-Identifier: Apache-2.0
 * JWS in the compact form (RFC 7515), under RFC 8725: the key decides the algorithm, never the header. */
#ifndef CRYPTO_JWS_H
#define CRYPTO_JWS_H

#include "crypto/jwk.h"

/* The longest token that is read, and its longest header in decoded form. */
enum { JWS_MAX = 16384, JWS_HEADER_MAX = 2048 };

/* A token taken apart, not verified. Everything lies in the arena of jws_parse or in the token itself. */
struct jws {
    struct str signing_input; /* header '.' payload as they stood */
    struct bytes payload;
    struct bytes signature;
    enum jose_alg alg;
    struct str typ; /* lower-cased, an "application/" taken off (RFC 7515 section 4.1.9); p == NULL: absent */
    struct str kid; /* p == NULL: absent */
};

/* Takes a token apart. Refuses: other than three segments, non-canonical base64url, duplicate members, alg that is
 * not ours, any of jwk jku x5u x5c x5t x5t#S256 (keys come from the register only), crit and b64 (none is understood),
 * zip, an ill-formed kid. Members that RFC 7515 does not define are ignored. */
struct err jws_parse(struct arena *a, struct str token, struct jws *out);

/* Verifies the signature. ERR_JOSE_ALG when the header's alg is not the key's; ERR_JOSE_SIGNATURE when it does not
 * verify: wrong length, r or s of zero or not below the order, DER, s >= L of Ed25519, or simply wrong. */
struct err jws_verify(const struct crypto *c, const struct jws *j, const struct jwk *k);

/* What makes signatures: the HSM in the broker, a private key of the caller's in the command line's tests. */
struct jws_signer {
    enum jose_alg alg;
    struct str kid;
    void *self;
    struct err (*sign)(void *self, struct str signing_input, struct buf *signature);
};

/* base64url(header) '.' base64url(payload) for {"alg":..,"kid":..,"typ":..}. */
struct err jws_signing_input(struct arena *a, enum jose_alg alg, struct str kid, struct str typ, struct bytes payload,
                             struct str *out);
/* signing_input '.' base64url(signature). */
struct err jws_join(struct arena *a, struct str signing_input, struct bytes signature, struct str *out);
/* Both, with the signer between. */
struct err jws_sign(struct arena *a, const struct jws_signer *s, struct str typ, struct bytes payload, struct str *out);

/* Checks a signature over an input directly, without JSON: the broker's self-check of what the HSM returned. */
struct err jws_check_signature(const struct crypto *c, const struct jwk *k, struct bytes input, struct bytes signature);

#endif
