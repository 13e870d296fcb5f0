/* SPDX-License-Identifier: Apache-2.0
 * The signer as the broker sees it: a small client over one socket. Each worker owns one client; a client is used by
 * one thread at a time. A client heals itself: after a failure the next call connects again. */
#ifndef HSM_CLIENT_H
#define HSM_CLIENT_H

#include "base/arena.h"
#include "base/err.h"
#include "hsm/wire.h"

#include <sys/types.h>

/* Where sockets come from: the supervisor of a signer of our own, or the path of one that runs by itself. */
struct hsm_connector {
    void *self;
    struct err (*connect)(void *self, int64_t deadline_us, int *fd);
};

/* Connects to NEXUS_SIGNER_SOCKET; refuses a listener that is not root's or this user's. The path must outlive the
 * connector. */
struct hsm_connector hsm_connector_path(const char *path);

/* The same for a signer that has a user of its own, which is accepted too. */
struct hsm_peer {
    const char *path;
    uid_t owner;
};
struct hsm_connector hsm_connector_peer(const struct hsm_peer *peer);

struct hsm_client;
struct err hsm_client_new(struct hsm_connector from, struct hsm_client **out);
void hsm_client_free(struct hsm_client **c);

/* Every call has a monotonic deadline. ERR_HSM_UNAVAILABLE: try later (the cause is logged by the signer);
 * ERR_HSM_REFUSED: the signer's permission table or shape check said no; ERR_HSM_PIN: an operator must act;
 * ERR_DEADLINE: no answer in time, the socket is dropped and whatever the answer was is lost. */

/* After hsm_wrap or hsm_unwrap: the number of that use of a key, as hsm_sign gives it in out->mark. */
struct hsm_mark hsm_last_mark(const struct hsm_client *c);

/* A signature over input by the key; the signer hashes, checks purpose and shape, signs, and answers with its counter.
 * out->mark is set even on failure when the signer answered (else it is zero): a failed attempt has its number too, and
 * a request that was refused before it counted has counter 0. After ERR_DEADLINE the use may have been counted: the
 * signer begins no use for a client that has hung up, but one under way it ends. */
struct err hsm_sign(struct hsm_client *c, const struct hsm_key_id *key, enum jose_alg alg, struct bytes input,
                    int64_t deadline_us, struct hsm_signature *out);

/* All keys of ours on the token with their attributes. *out is an array in the arena. */
struct err hsm_keys(struct hsm_client *c, struct arena *a, int64_t deadline_us, struct hsm_key **out, size_t *n);

/* Makes a key under an id that the caller chose beforehand (so that a repeat after a lost answer finds it). */
struct err hsm_generate(struct hsm_client *c, const struct hsm_key_id *id, enum hsm_purpose purpose,
                        enum hsm_key_type type, struct arena *a, int64_t deadline_us, struct hsm_key *out);

/* Wraps a DEK of HSM_DEK_LEN bytes under a KEK, and back. The blob names its algorithm. */
struct err hsm_wrap(struct hsm_client *c, const struct hsm_key_id *kek, struct bytes dek, struct arena *a,
                    int64_t deadline_us, struct bytes *blob);
struct err hsm_unwrap(struct hsm_client *c, const struct hsm_key_id *kek, struct bytes blob, int64_t deadline_us,
                      struct secret **dek);

/* n (at most 256) bytes of the token's generator. */
struct err hsm_random(struct hsm_client *c, uint8_t *p, size_t n, int64_t deadline_us);

/* Who answers: the signer's start (instance), the last number of its counter, the token, what the token can do. */
struct err hsm_hello(struct hsm_client *c, struct arena *a, int64_t deadline_us, struct hsm_info *out);

#endif
