/* SPDX-License-Identifier: Apache-2.0
 * DPoP proofs (RFC 9449): a JWT, signed with a key that it brings along, which shows that a request comes from the
 * holder of that key. All checks of section 4.3 are made here but those that need more than the proof, which are the
 * caller's: that there is one DPoP header (check 1), that the nonce is one of ours (check 10), that the jti is new
 * (section 11.1), and that the key is the one which the access token is bound to (check 12 b). */
#ifndef CRYPTO_DPOP_H
#define CRYPTO_DPOP_H

#include "base/arena.h"
#include "crypto/crypto.h"

/* The longest proof, jti and nonce in bytes; and how far iat may lie behind and ahead of now. FAPI 2.0 wants 10 s
 * ahead accepted, for clients' clocks, and no more than 60 s. */
enum { DPOP_PROOF_MAX = 8192, DPOP_JTI_MAX = 256, DPOP_NONCE_MAX = 128, DPOP_IAT_PAST_S = 60, DPOP_IAT_AHEAD_S = 10 };

/* base64url of a SHA-256. */
enum { DPOP_JKT_LEN = 43 };

/* What the proof must be for. */
struct dpop_expect {
    struct str method;       /* "POST" */
    struct str url;          /* of this endpoint as configured, never made of what the request says (Host) */
    struct str access_token; /* p == NULL: none goes with the proof; else ath must be its SHA-256 */
    int64_t now_s;
};

struct dpop_proof {
    char jkt[DPOP_JKT_LEN + 1];     /* RFC 7638 thumbprint of the proof's key, in base64url, with a NUL */
    struct str nonce;               /* p == NULL: none; lies in the arena */
    uint8_t jti_sha256[SHA256_LEN]; /* under jkt as its name space, what makes a proof a replay */
    int64_t replay_until_us;        /* how long it must be remembered */
};

/* Checks a proof. aud, iss, sub, the header's kid and, without an access token, ath are not looked at; exp and nbf are
 * obeyed when they are there. ERR_DPOP_PROOF with a detail that names what is wrong and quotes no value, or the
 * service's own trouble (ERR_INTERNAL when e->url is no URL to compare with). *out is set on success only. */
struct err dpop_check(const struct crypto *c, struct arena *a, struct str proof, const struct dpop_expect *e,
                      struct dpop_proof *out);

#endif
