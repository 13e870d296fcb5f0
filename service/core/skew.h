/* SPDX-License-Identifier: Apache-2.0
 * Whether the clocks of a broker and its database can be trusted: what is valid when, and which one-time ids may be
 * forgotten, rests on both. Pure. */
#ifndef SERVICE_CORE_SKEW_H
#define SERVICE_CORE_SKEW_H

#include "base/err.h"

#include <stdint.h>

struct skew_case {
    int64_t before_us, after_us; /* our clock, read before the database was asked for its time and after it answered */
    int64_t database_us;
    int64_t latest_us; /* the latest time that the database's clock is known to have shown */
    int64_t max_us;    /* by how much clocks may differ */
};

/* ERR_CLOCK when the clocks differ by more than max_us, however long the answer took, or the database's was set back by
 * more than that. */
struct err skew_check(const struct skew_case *k);

#endif
