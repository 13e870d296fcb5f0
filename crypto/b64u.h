/* SPDX-License-Identifier: Apache-2.0
 * base64url without padding (RFC 4648 section 5, RFC 7515 section 2). Decoding is strict: no padding, no white space,
 * no '+' or '/', and the unused bits of the last character must be zero, so each value has exactly one spelling. */
#ifndef CRYPTO_B64U_H
#define CRYPTO_B64U_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"

/* Characters that n bytes need; no NUL is counted. */
#define B64U_LEN(n) (((n) / 3) * 4 + ((n) % 3 == 0 ? 0 : (n) % 3 + 1))

void b64u_encode(struct buf *out, struct bytes in);
/* The text of in, in the arena; p is NULL when the arena is exhausted. */
struct str b64u_text(struct arena *a, struct bytes in);
/* ERR_JOSE_MALFORMED for anything that is not the one canonical spelling. */
struct err b64u_decode(struct arena *a, struct str in, struct bytes *out);

#endif
