/* SPDX-License-Identifier: Apache-2.0
 * Random bytes for identifiers and nonces (never for keys: those are made in the HSM), and hexadecimal. */
#ifndef BASE_RAND_H
#define BASE_RAND_H

#include "base/err.h"
#include "base/span.h"

/* n bytes of the kernel's generator (getrandom(2)); it cannot run dry and needs no seeding. */
struct err rand_bytes(uint8_t *p, size_t n);

/* Lower-case hexadecimal of n bytes: 2n characters and a NUL. */
void hex_encode(const uint8_t *p, size_t n, char *out);

/* prefix, then 32 hexadecimal digits of 128 random bits: "sess_0123...". out holds ID_TEXT bytes. */
enum { ID_TEXT = 48 };
struct err rand_id(const char *prefix, char out[static ID_TEXT]);

#endif
