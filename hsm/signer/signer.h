/* SPDX-License-Identifier: Apache-2.0
 * The state of one signer process, passed down to everything. Its parts guard themselves; what has no lock is written
 * before the first client thread starts. */
#ifndef HSM_SIGNER_SIGNER_H
#define HSM_SIGNER_SIGNER_H

#include "crypto/crypto.h"
#include "hsm/signer/config.h"
#include "hsm/signer/gate.h"
#include "hsm/signer/identity.h"
#include "hsm/signer/keys.h"
#include "hsm/signer/module.h"
#include "hsm/signer/uri.h"
#include "hsm/signer/watch.h"

enum wrap_alg { WRAP_NONE, WRAP_AES_KW, WRAP_AES_GCM, WRAP_ALG_COUNT };

/* What the token can do, found at start by its lists and by trials. */
struct abilities {
    uint64_t sign_algs; /* bit per enum jose_alg */
    uint64_t key_types; /* bit per enum hsm_key_type */
    enum wrap_alg wrap;
};

struct signer {
    struct signer_config cf;
    struct crypto *crypto;
    struct token_uri *uri;
    struct module module;
    struct token_identity token; /* as at start; only its slot may change, while the gate is shut */
    struct abilities can;
    struct gate gate;
    struct keys keys;
    struct watch watch;
    CK_SESSION_HANDLE anchor; /* idle for ever, so that the login outlives the other sessions */
    bool started;             /* healing thread only: a first start has succeeded */
    pthread_mutex_t login_lock;
    pthread_mutex_t generate_lock;
    uint8_t instance[HSM_INSTANCE_LEN];
    _Atomic uint64_t counter; /* uses of private and secret keys since start */
};

/* Ends the process with a status of hsm/supervisor.h. */
_Noreturn void signer_exit(int status);

#endif
