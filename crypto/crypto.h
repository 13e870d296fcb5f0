/* SPDX-License-Identifier: Apache-2.0
 * The one handle on OpenSSL: a library context of our own with a provider loaded by name, and the digests and the
 * cipher fetched once. Made once by main, then read-only, so any number of threads may use it. */
#ifndef CRYPTO_CRYPTO_H
#define CRYPTO_CRYPTO_H

#include "base/err.h"
#include "base/span.h"

struct crypto;

/* provider is "default", or "fips" where the host has it. */
struct err crypto_new(const char *provider, struct crypto **out);
void crypto_free(struct crypto **c);

enum { SHA256_LEN = 32, SHA384_LEN = 48 };
struct err crypto_sha256(const struct crypto *c, struct bytes in, uint8_t out[static SHA256_LEN]);
struct err crypto_sha384(const struct crypto *c, struct bytes in, uint8_t out[static SHA384_LEN]);

/* RFC 2104 with SHA-256. */
struct err crypto_hmac_sha256(const struct crypto *c, struct bytes key, struct bytes in,
                              uint8_t out[static SHA256_LEN]);

#endif
