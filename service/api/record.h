/* SPDX-License-Identifier: Apache-2.0
 * Recorded before signed. The only way from the broker to a signature leads through here: a recording gathers the
 * audit leaves of one database statement; only one whose intent leaf is durable can be turned into a signature.
 * One recorder belongs to one worker and is the writer of one chain of leaves. */
#ifndef SERVICE_API_RECORD_H
#define SERVICE_API_RECORD_H

#include "service/api/api.h"

struct recorder;
struct err recorder_new(struct recorder **out);
void recorder_free(struct recorder **r);

/* What surrounds a unit of work, whether it came by HTTP or from the background. */
struct call {
    struct api *api;
    struct arena *arena;
    int64_t deadline_us; /* monotonic */
    struct str req_id;   /* p == NULL: none */
};
struct call call_of(struct api *api, const struct http_request *req);
struct store call_store(const struct call *c);

struct recording {
    char writer[WRITER_ID_LEN + 1]; /* a copy: the recorder may go on to another chain */
    struct leaf_batch batch;        /* give it to the one store call that makes the effect */
    struct leaf always, effect;
    struct leaf_writer after_always, after_effect;
    uint8_t in_sha256[SHA256_LEN];
    bool durable; /* the effect leaf is committed */
};

/* Makes the leaves: the outcome that was waiting, and `effect` (NULL: none). Connects, and starts a new writer on a
 * new connection. op's time and request id are filled in here. */
struct err record_begin(const struct call *c, const struct leaf_fields *effect, struct recording *out);

/* Tells how the store call went: OK with the effect in, OK without, or failed (then the numbers are used again).
 * Returns the error to give to the caller. */
struct err record_end(const struct call *c, struct recording *r, struct err stored, bool effect_in);

/* One leaf alone, recorded by a statement of its own. *out is what record_sign and record_outcome take. */
struct err record_leaf(const struct call *c, const struct leaf_fields *leaf, struct recording *out);

/* Leaves alone: a refusal, a boot, a heartbeat; or, with NULL, the outcome that waits, if any. */
struct err record_append(const struct call *c, const struct leaf_fields *leaf);

/* A refusal after the caller had proved who it is: op and who asked come from the caller of this function. Returns the
 * error that is to be answered: why, or that it could not be recorded. */
struct err record_refusal(const struct call *c, const struct leaf_fields *who, struct err why);

/* The same, together with the use of the one-time ids that the refusal cost: one statement. An id that was used before:
 * the refusal is not on record, and what is returned is ERR_INVALID_CLIENT. */
struct id_list {
    const struct one_time *v;
    size_t n;
};
struct err record_refusal_once(const struct call *c, const struct leaf_fields *who, struct id_list ids, struct err why);

/* The outcome of a recorded use of a key that is not a signature (a generation, a wrapping), told right after the
 * signer was asked: a leaf that names its intent. What cannot be written now is kept for the next write. */
struct err record_outcome(const struct call *c, const struct recording *intent, const char *op, const struct err *how);

/* Signs exactly what a durable intent recorded; checks the signature with the public key before anyone sees it. The
 * outcome is kept for the next write. */
struct sign_order {
    enum hsm_purpose purpose; /* of the key */
    const struct recording *intent;
    const struct hsm_key_id *key;
    const struct jwk *jwk;
    struct str jti;
    struct str signing_input;
};
struct err record_sign(const struct call *c, const struct sign_order *o, struct bytes *signature);

/* A JWT of the broker's own, signed by the active key of a purpose under an intent of its own. */
struct own_jwt {
    enum hsm_purpose purpose;
    struct str typ;
    struct bytes payload;
    /* Of the intent. */
    const char *op;
    struct str jti, aud, detail; /* aud, detail: p == NULL: none */
};
/* ERR_NO_ACTIVE_KEY when the ring has none. */
struct err record_jwt(const struct call *c, const struct own_jwt *o, struct str *token);

/* A trial signature by the active key of a purpose under its own intent and outcome: the real health check. op names
 * the occasion. */
struct err record_selftest(const struct call *c, enum hsm_purpose purpose, const char *op);

#endif
