/* SPDX-License-Identifier: Apache-2.0
 * Whether this broker's clock can be trusted. Assertions and tokens are in time or not by our clock, and one-time ids
 * are forgotten by the database's (attacks T01, J20): while the two disagree, none is judged. Any thread. */
#ifndef SERVICE_API_TIME_GUARD_H
#define SERVICE_API_TIME_GUARD_H

#include "service/api/record.h"

/* Compares our clock with the database's and reports PART_CLOCK; for the background thread, and before serving. */
struct err time_guard_check(const struct call *c);

/* ERR_CLOCK unless the last comparison was good and our clock was not set since. No I/O. */
struct err time_guard_trust(const struct app *app);

#endif
