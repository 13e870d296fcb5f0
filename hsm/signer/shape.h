/* SPDX-License-Identifier: Apache-2.0
 * What the signer is willing to sign: a JWS signing input of the broker's own kind, with a bounded life from now on.
 * Whoever takes over the broker gets no signature over anything else. */
#ifndef HSM_SIGNER_SHAPE_H
#define HSM_SIGNER_SHAPE_H

#include "base/arena.h"
#include "hsm/wire.h"

/* ERR_HSM_REFUSED says what is wrong. The arena is scratch space for the decoded text. */
struct err shape_check(enum hsm_purpose purpose, enum jose_alg alg, struct bytes input, int64_t now_s, struct arena *a);

#endif
