/* SPDX-License-Identifier: Apache-2.0
 * What is accepted once: ids of assertions, proofs and tokens, until none of them could pass again; and the nonces that
 * DPoP proofs must hold. The database decides, for any number of brokers. */
#ifndef SERVICE_STORE_ONCE_H
#define SERVICE_STORE_ONCE_H

#include "crypto/crypto.h"

struct store;
struct leaf_batch;

/* An id that is accepted once: of an assertion, a DPoP proof, a user's token. space tells whose it is; spaces of one
 * request differ. An agent's is its id; others begin with '@', which no agent id does. */
struct one_time {
    struct str space;
    uint8_t hash[SHA256_LEN];
    int64_t until_us; /* until when it must be remembered, skew included */
};

/* Consumes an id alone (of an assertion that authorises a read or a close). false: it was used before. */
struct err store_replay_consume(const struct store *s, const struct one_time *id, bool *fresh);
/* Whether an id was used before, without using it: only the statement that consumes it decides. */
struct err store_replay_seen(const struct store *s, const struct one_time *id, bool *seen);
/* Consumes ids together with the leaf of the refusal that they were used for: one statement. The effect leaf is in only
 * when all were *fresh. */
struct err store_replay_refuse(const struct store *s, const struct one_time *ids, size_t n, const struct leaf_batch *l,
                               bool *fresh);
/* Deletes replay ids whose time passed keep_s ago, by now_us and by the latest time of the database that is on record
 * (clock.h), at most limit. */
struct replay_prune {
    int64_t now_us, keep_s, limit;
};
struct err store_replay_prune(const struct store *s, const struct replay_prune *q, int64_t *deleted);

/* The DPoP nonces in force, the same for all brokers. offer becomes this slot's, if it has none. */
enum { NONCE_MAX = 64 };
struct store_nonces {
    char current[NONCE_MAX + 1], previous[NONCE_MAX + 1]; /* previous: "" when there was none */
    int64_t left_us;                                      /* until another one takes the place of current */
};
struct err store_dpop_nonces(const struct store *s, struct str offer, struct store_nonces *out);

#endif
