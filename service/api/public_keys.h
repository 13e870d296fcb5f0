/* SPDX-License-Identifier: Apache-2.0
 * Sets of public keys that administrators register. */
#ifndef SERVICE_API_PUBLIC_KEYS_H
#define SERVICE_API_PUBLIC_KEYS_H

#include "service/api/record.h"

/* The text of a set of 1 to max keys, as it is kept: their public members only, in our own spelling, so that what else
 * a caller sent is never stored. ERR_INVALID_JWKS. */
struct err public_keys_text(const struct call *c, const struct json *jwks, size_t max, struct str *out);

#endif
