/* SPDX-License-Identifier: Apache-2.0
 * The keys of registered issuers, shared by all workers. What was fetched is an immutable snapshot that readers hold
 * until they let go. One worker at a time fetches for an issuer, and others wait for it, as many in all as
 * api/bulkhead.h has places for. An issuer's outage is bridged for a while, and neither it nor a flood of unknown key
 * ids makes more than a few fetches (attacks J23, T06). Any thread. */
#ifndef SERVICE_API_ISSUER_KEYS_H
#define SERVICE_API_ISSUER_KEYS_H

#include "service/api/record.h"

#include <stdatomic.h>

struct issuer_keyset {
    atomic_int refs;
    struct jwks keys;
};

struct issuer_keys;

struct err issuer_keys_new(struct issuer_keys **out);
void issuer_keys_free(struct issuer_keys **k);

/* Borrows the keys of an issuer, by its id and version; kid (p == NULL: none) is whom the caller looks for, and need
 * not be among them. Give them back with issuer_keyset_release. ERR_ISSUER_KEYS: they cannot be had at the moment.
 * ERR_DB_CONFLICT: the issuer is known in a newer version than this row's. */
struct err issuer_keys_get(struct issuer_keys *k, const struct call *c, const struct issuer *i, struct str kid,
                           const struct issuer_keyset **out);
void issuer_keyset_release(const struct issuer_keyset **s);

#endif
