/* SPDX-License-Identifier: Apache-2.0
 * The database's clock, and how far it has come. */
#ifndef SERVICE_STORE_CLOCK_H
#define SERVICE_STORE_CLOCK_H

#include "service/store/store.h"

/* *database_us: its time now; *latest_us: the latest that was on record. When it agrees with now_us, ours, to within
 * max_s, the record is brought up to date. */
struct err store_clock(const struct store *s, int64_t now_us, int64_t max_s, int64_t *database_us, int64_t *latest_us);

#endif
