/* SPDX-License-Identifier: Apache-2.0
 * The key of a month's pseudonyms ("2026-01"), wrapped under a KEK of the HSM. */
#ifndef SERVICE_STORE_PSEUDONYMS_H
#define SERVICE_STORE_PSEUDONYMS_H

#include "service/store/store.h"

struct err store_pseudonym_key_get(const struct store *s, struct str period, struct dek *out, bool *found);

/* An offer becomes the month's key if it has none: read it again to learn whose did. */
struct err store_pseudonym_key_offer(const struct store *s, struct str period, const struct dek *k);

#endif
