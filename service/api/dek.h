/* SPDX-License-Identifier: Apache-2.0
 * Data keys: made by the token's own generator, wrapped under the active KEK at once, unwrapped when they are needed.
 * Each use of a KEK is on record, an intent before and an outcome after, like every use of a key. */
#ifndef SERVICE_API_DEK_H
#define SERVICE_API_DEK_H

#include "service/api/record.h"

/* detail tells the audit what the key is for. ERR_NO_ACTIVE_KEY when there is no KEK; ERR_HSM_* and ERR_DB_*;
 * ERR_SEALED for what cannot be a wrapped key. What was tampered with in other ways is ERR_HSM_REFUSED. */
struct err dek_make(const struct call *c, struct str detail, struct dek *out);
struct err dek_unwrap(const struct call *c, struct str detail, const struct dek *d, struct secret **out);

#endif
