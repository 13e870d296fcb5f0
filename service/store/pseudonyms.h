/* SPDX-License-Identifier: Apache-2.0
 * The key of a month's pseudonyms ("2026-01"), wrapped under a KEK of the HSM. */
#ifndef SERVICE_STORE_PSEUDONYMS_H
#define SERVICE_STORE_PSEUDONYMS_H

#include "service/store/store.h"

struct pseudonym_key {
    struct hsm_key_id kek;
    struct bytes wrapped;
};
struct err store_pseudonym_key_get(const struct store *s, struct str period, struct pseudonym_key *out, bool *found);

/* An offer becomes the month's key if it has none: read it again to learn whose did. */
struct err store_pseudonym_key_offer(const struct store *s, struct str period, const struct pseudonym_key *k);

#endif
