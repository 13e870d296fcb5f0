/* SPDX-License-Identifier: Apache-2.0
 * Audit leaves: the exact bytes of each record, as restricted RFC 8785 JSON (strings, integers, arrays of strings; no
 * floats, no null), at most 16 KiB. Leaves of one writer form a chain: dense sequence numbers from 0, and each leaf
 * holds the hash of the one before it. Hashing is RFC 6962 section 2.1: SHA-256(0x00 || bytes). Pure. */
#ifndef SERVICE_CORE_LEAF_H
#define SERVICE_CORE_LEAF_H

#include "base/arena.h"
#include "crypto/crypto.h"
#include "hsm/wire.h"

enum { LEAF_MAX = 16384, LEAF_VERSION = 1, WRITER_ID_LEN = 32 };

enum leaf_kind {
    LEAF_INTENT,
    LEAF_OUTCOME,
    LEAF_REFUSAL,
    LEAF_ADMIN,
    LEAF_CLOSE,
    LEAF_BOOT,
    LEAF_HEARTBEAT,
    LEAF_KIND_COUNT
};
const char *leaf_kind_name(enum leaf_kind k);

/* A writer's place in its chain. A worker is a writer; each database connection starts a new one. */
struct leaf_writer {
    char id[WRITER_ID_LEN + 1]; /* random, lower-case hexadecimal */
    int64_t next;               /* the sequence number of the next leaf */
    uint8_t prev[SHA256_LEN];   /* hash of the last leaf; zeros before the first */
};
struct err leaf_writer_init(struct leaf_writer *w);

/* What a leaf can say. p == NULL, n == 0 or -1 (integers): left out. */
struct leaf_fields {
    enum leaf_kind kind;
    int64_t at_us;
    const char *op; /* "sign", "generate", "agent.register", "session.close", ... */
    struct str kid, key_id;
    const char *mech;                            /* JOSE algorithm name */
    const uint8_t *in_sha256;                    /* of the exact signing input; NULL: none */
    struct str jti, session, iss, client, sub_p; /* sub_p: pseudonym of a user, never the clear value */
    struct str_list scope, aud;
    struct str_list act;     /* the agents of a chain of delegation, the current one first */
    struct str parent;       /* the session that was exchanged */
    struct str jkt, sub_jkt; /* keys that the new token and the subject token are bound to */
    int64_t exp;             /* NumericDate; -1: none */
    const char *policy;      /* "granted" or "refused" */
    const char *reason;      /* of a refusal or failure: the wire code or the error's name */
    struct str req_id;
    struct str actor;       /* name of the API key that asked, or "self" */
    struct str target;      /* what an administrator changed */
    struct str detail;      /* a short digest of the change; no secrets, no names of people */
    struct str corr_writer; /* of an outcome: its intent's writer and number; in the leaf "<writer>:<seq>" */
    int64_t corr_seq;
    const struct hsm_mark *mark; /* of an outcome: the signer's instance and counter */
    const uint8_t *sig_sha256;   /* of an outcome: of the signature */
    const uint8_t *cfg_sha256;   /* of a boot leaf */
};

/* A finished leaf. corr_* say which intent an outcome belongs to, for the database's own index. */
struct leaf {
    enum leaf_kind kind;
    int64_t seq;
    struct bytes bytes;
    uint8_t hash[SHA256_LEN];
    struct str jti;
    struct str corr_writer; /* p == NULL: none */
    int64_t corr_seq;
};

/* Makes the next leaf of the writer and moves the writer on. To take steps back (an insert that did not happen),
 * restore a copy of the writer: it is a plain value. */
struct err leaf_make(const struct crypto *c, struct leaf_writer *w, const struct leaf_fields *f, struct arena *a,
                     struct leaf *out);

#endif
