/* SPDX-License-Identifier: Apache-2.0
 * Sealed values: AES-256-GCM (SP 800-38D) under a data key. A sealed value is the byte 0x01, 12 random bytes of nonce,
 * the ciphertext, and 16 bytes of tag. The additional data, which is not stored, says where the value belongs: it opens
 * nowhere else. */
#ifndef CRYPTO_ENVELOPE_H
#define CRYPTO_ENVELOPE_H

#include "base/arena.h"
#include "base/secret.h"
#include "crypto/crypto.h"

enum {
    ENVELOPE_KEY_LEN = 32,
    ENVELOPE_NONCE_LEN = 12,
    ENVELOPE_OVERHEAD = 1 + ENVELOPE_NONCE_LEN + 16,
    ENVELOPE_PLAIN_MAX = 1048576
};

/* *out lies in the arena. ERR_TOO_LARGE for more than ENVELOPE_PLAIN_MAX bytes. */
struct err envelope_seal(const struct crypto *c, struct bytes key32, struct bytes aad, struct bytes plain,
                         struct arena *a, struct bytes *out);

/* ERR_SEALED, and nothing more, whatever of the key, the additional data or the sealed value is not as it was. */
struct err envelope_open(const struct crypto *c, struct bytes key32, struct bytes aad, struct bytes sealed,
                         struct secret **out);

#endif
