/* SPDX-License-Identifier: Apache-2.0
 * Keys of the caller's own, from PEM: for the command line, where an agent signs its assertions. Never part of the
 * broker, whose keys stay in the HSM: this is a library of its own (crypto_private) that only `nexus` links. The PEM
 * text is the caller's and stays in the caller's locked memory; OpenSSL's copy of a key is wiped by
 * private_signer_free. One thread uses a signer at a time. */
#ifndef CRYPTO_PRIVATE_SIGNER_H
#define CRYPTO_PRIVATE_SIGNER_H

#include "crypto/jws.h"

struct private_signer;

/* A private key (P-256, P-384, Ed25519 or RSA) in PKCS#8 or its type's older form, unencrypted: nobody is asked for a
 * passphrase. Its kid is its RFC 7638 thumbprint. rsa_alg, JOSE_RS256 or JOSE_PS256, matters for an RSA key only.
 * ERR_INVALID_JWKS when there is no such key in pem. */
struct err private_signer_new(const struct crypto *c, struct bytes pem, enum jose_alg rsa_alg,
                              struct private_signer **out);
void private_signer_free(struct private_signer **s);

/* What jws_sign takes; valid as long as s is. */
struct jws_signer private_signer_jws(struct private_signer *s);

/* A public key in PEM (SubjectPublicKeyInfo). A private key is refused, so that it is never mistaken for one. */
struct err jwk_from_pem(const struct crypto *c, struct bytes pem, enum jose_alg rsa_alg, struct jwk **out);

#endif
