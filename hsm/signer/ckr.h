/* SPDX-License-Identifier: Apache-2.0
 * What each PKCS#11 return code means to the signer: one table. The ladder (hsm/signer/ladder.h) climbs by it. */
#ifndef HSM_SIGNER_CKR_H
#define HSM_SIGNER_CKR_H

#include <p11-kit/pkcs11.h>

enum ckr_action {
    ACT_NONE,    /* success */
    ACT_RETRY,   /* this session is spoilt: once more on a new one */
    ACT_LOGIN,   /* log in again, then once more */
    ACT_REFIND,  /* the handle is stale: find the key again, then once more */
    ACT_CONFIRM, /* may be the token's end or this input's fault: once more on a new session tells */
    ACT_REINIT,  /* the token is gone: C_Finalize, C_Initialize, and everything after it */
    ACT_WAIT,    /* no session free: wait for one of our own */
    ACT_PIN,     /* the PIN was refused: never again */
    ACT_REFUSE,  /* the request's own fault: trying again changes nothing */
};

struct ckr {
    CK_RV code;
    const char *name;
    enum ckr_action action;
};

/* Never NULL: a code that is not in the table gets the row of an unknown one. */
const struct ckr *ckr_find(CK_RV rv);

#endif
