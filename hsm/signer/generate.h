/* SPDX-License-Identifier: Apache-2.0
 * Making keys in the token, under a CKA_ID that the caller chose: asked twice, it is made once. The template says
 * everything explicitly; what a token refuses to be told is left out, one attribute at a time, and logged. What was
 * made is read back, and destroyed when its evidence is not that of a key that can only live here. */
#ifndef HSM_SIGNER_GENERATE_H
#define HSM_SIGNER_GENERATE_H

#include "hsm/signer/signer.h"

struct generate_job {
    struct signer *s;
    struct hsm_key_id id;
    enum hsm_purpose purpose;
    enum hsm_key_type type;
    struct key *made;
    struct err verdict; /* why the key is not acceptable, when the module itself did not fail */
};

/* The step for the ladder. */
CK_RV generate_run(void *job, const struct lease *l);

#endif
