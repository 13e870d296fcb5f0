/* SPDX-License-Identifier: Apache-2.0
 * The keys that the broker publishes and those that sign, as an immutable snapshot. A new one replaces the old one
 * whole; readers hold theirs until they let go. So the JWKS is served, and tokens are verified, while the database and
 * the HSM are away. Any thread.
 * Session keys sign session tokens; call keys sign what tells other services that this broker calls. Both are in the
 * JWKS, but they are kept apart: what one of them signed is looked up among its own kind only, so that nothing that was
 * signed for another purpose passes as a session token (RFC 8725 section 3.12). */
#ifndef SERVICE_API_KEYRING_H
#define SERVICE_API_KEYRING_H

#include "service/core/domain.h"

#include <stdatomic.h>

struct keyset {
    atomic_int refs;
    const struct jwk *active; /* NULL: no active session key */
    struct hsm_key_id active_id;
    struct jwks published;  /* active and retiring session keys: what session tokens are verified with */
    const struct jwk *call; /* NULL: no active call key */
    struct hsm_key_id call_id;
    struct jwks calls;    /* active and retiring call keys */
    struct str jwks_json; /* the body of /.well-known/jwks.json: session keys, then call keys */
    struct str etag;
    struct arena *arena;
};

struct keyring;

struct err keyring_new(struct keyring **out);
void keyring_free(struct keyring **k);

/* Makes a snapshot of these rows and puts it in place. */
struct err keyring_load(struct keyring *k, const struct crypto *c, const struct ring_key *rows, size_t n);

/* Borrows the snapshot in force; never NULL (empty before the first load). Give it back with keyset_release. */
const struct keyset *keyring_take(struct keyring *k);
void keyset_release(const struct keyset **s);

#endif
