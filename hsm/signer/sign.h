/* SPDX-License-Identifier: Apache-2.0
 * Signing: the digest is made here and signed with a single-part C_Sign, because tokens miss hashed mechanisms but not
 * plain ones (hsm.md section 1.3). */
#ifndef HSM_SIGNER_SIGN_H
#define HSM_SIGNER_SIGN_H

#include "hsm/signer/signer.h"

enum { SIGN_DATA_MAX = 64 };

struct sign_job {
    const struct signer *s;
    struct key *key;
    enum jose_alg alg;
    uint8_t data[SIGN_DATA_MAX]; /* what is signed, but for EdDSA */
    struct bytes message;        /* what is signed: data, or the input itself */
    size_t length;               /* of a signature of this algorithm by this key */
    uint8_t out[JOSE_SIG_MAX];
    size_t out_n;
    uint32_t us;
};

/* Prepares everything that does not need the token. The input must live as long as the job. */
struct err sign_prepare(struct sign_job *j, struct bytes input);

/* The step for the ladder. */
CK_RV sign_run(void *job, const struct lease *l);

#endif
