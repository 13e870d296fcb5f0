/* SPDX-License-Identifier: Apache-2.0
 * The table of our keys on the token. It only grows, so that a request finds a key without a lock and without asking
 * the token; a scan, after every start and re-initialise, renews the handles and compares each key with the one that
 * was there before: a key that stands in another one's place is not used. */
#ifndef HSM_SIGNER_KEYS_H
#define HSM_SIGNER_KEYS_H

#include "hsm/signer/key.h"

#include <pthread.h>

enum { KEYS_MAX = 1024 };

struct keys {
    pthread_mutex_t lock; /* of growth and scans */
    struct key *v;
    _Atomic size_t n;
    uint64_t scans;
    bool accept_imported;
};

struct err keys_init(struct keys *k, bool accept_imported);

/* Reads every key of ours. *verdict: OK, or ERR_CONFIG with the first key that must not be used (all are logged, and
 * none of them is in the table). */
CK_RV keys_scan(struct keys *k, const struct lease *l, struct err *verdict);

/* NULL when no scan has seen it. */
struct key *keys_find(struct keys *k, const struct hsm_key_id *id);

/* Finds one key on the token by its CKA_ID and renews or adds its entry. *out is NULL when there is none; *verdict as
 * for a scan. */
CK_RV keys_lookup(struct keys *k, const struct lease *l, const struct hsm_key_id *id, struct key **out,
                  struct err *verdict);

/* After C_Finalize no handle is good. */
void keys_forget_handles(struct keys *k);

#endif
