/* SPDX-License-Identifier: Apache-2.0
 * The PIN fuse: a wrong PIN is never tried twice, by this process, a later one or another one of the same state folder.
 * Before C_Login a record "an attempt with this PIN is in flight" is made durable; afterwards the token's verdict is.
 * One record a token; it holds a salted SHA-256 of the PIN, in a folder that only the PIN's own user can read. It also
 * keeps those of all PINs that the token has refused since its last good login, so that a PIN file that goes from one
 * wrong PIN to another and back costs no third try. When there are too many, every new PIN is refused until an
 * operator removes the record.
 *
 * What a record allows, for the very PIN that it names (any other PIN is a new one and starts afresh):
 *   blown              never again.
 *   good               yes.
 *   in flight, proven  yes: the token took this PIN before, the process was killed or the token fell silent during a
 *                      login, and an outage with a hanging HSM must not need an operator. Should the PIN have been
 *                      changed meanwhile, the token's own low-count flag stops us (below).
 *   in flight, new     once: kill -9 during the first start must not brick the service, but two attempts without a
 *                      verdict may have cost two tries of a wrong PIN, so a third is refused until an operator removes
 *                      the record.
 * The token's flags come on top: locked and final-try refuse always; low-count refuses unless the last login of this
 * PIN is recorded good, or the record explains the count: the token refused another PIN of ours, and an operator has
 * put this one in its place. */
#ifndef HSM_SIGNER_FUSE_H
#define HSM_SIGNER_FUSE_H

#include "crypto/crypto.h"

#include <limits.h>

enum fuse_verdict {
    FUSE_GOOD,
    FUSE_BAD,
    FUSE_UNJUDGED, /* the call failed for another reason than the PIN, which the token may have counted or not */
    FUSE_UNTRIED   /* the token did not look at the PIN: it was logged in already */
};

enum { FUSE_SALT_LEN = 16, FUSE_SALT_HEX = 2 * FUSE_SALT_LEN + 1, FUSE_PIN_HEX = 2 * SHA256_LEN + 1 };

enum fuse_state { FUSE_STATE_NONE, FUSE_STATE_IN_FLIGHT, FUSE_STATE_GOOD, FUSE_STATE_BLOWN };

enum { FUSE_REFUSED_MAX = 16 };

struct fuse_hash {
    char salt[FUSE_SALT_HEX], pin[FUSE_PIN_HEX];
};

struct fuse {
    int lock_fd; /* held over the attempt, so that two signers do not try at once */
    char path[PATH_MAX];
    struct fuse_hash at_hand; /* of the PIN at hand */
    struct fuse_hash refused[FUSE_REFUSED_MAX];
    int refused_n;
    enum fuse_state state;  /* what the record says about this PIN */
    enum fuse_state before; /* what it said before the attempt */
    int unjudged;           /* attempts without a verdict since the last one */
    bool proven;            /* the token has taken this PIN before */
    bool corrected;         /* the record says that another PIN is blown */
};

/* Reads the record of the token (serial) in the folder, for this PIN. An unreadable record refuses (ERR_HSM_PIN). */
struct err fuse_open(const struct crypto *c, const char *dir, struct str serial, struct bytes pin, struct fuse *out);
void fuse_close(struct fuse *f);

/* ERR_HSM_PIN when this PIN may not be tried; else the attempt is on disk when this returns. */
struct err fuse_arm(struct fuse *f, bool count_low);

/* Records the verdict. When a good one cannot be written, the next start finds an attempt in flight, which is safe. */
struct err fuse_settle(struct fuse *f, enum fuse_verdict v);

#endif
