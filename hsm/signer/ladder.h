/* SPDX-License-Identifier: Apache-2.0
 * Running one operation on the token, and climbing the ladder of hsm/signer/ckr.h when it fails: a new session, a new
 * login, the key found again, the token re-initialised. Each rung is tried once a request. Only idempotent work may
 * be run: a step may run again after it has had its effect. */
#ifndef HSM_SIGNER_LADDER_H
#define HSM_SIGNER_LADDER_H

#include "hsm/signer/signer.h"

struct job {
    const char *name;
    CK_RV (*run)(void *self, const struct lease *l);
    void *self;
    struct key *key; /* the one that run uses, or NULL */
    /* The input comes from outside and may itself be what the module fails on: a failure that does not clearly name
     * the token's end is then the request's fault, or bad blobs could take the token down. */
    bool input_is_foreign;
};

/* ERR_HSM_UNAVAILABLE, or ERR_HSM_REFUSED when the token refuses this very operation. */
struct err ladder_run(struct signer *s, struct watch_slot *watch, const struct job *job);

#endif
