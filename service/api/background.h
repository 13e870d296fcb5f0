/* SPDX-License-Identifier: Apache-2.0
 * The broker's own work, on one thread with a struct api of its own: the keyring's snapshot, health by real
 * signatures, heartbeats, outcomes that were lost in a crash, and the pruning of one-time ids. */
#ifndef SERVICE_API_BACKGROUND_H
#define SERVICE_API_BACKGROUND_H

#include "service/api/api.h"

/* Reads the keyring from the database into its snapshot. */
struct err background_load_keys(struct api *api, struct arena *arena, int64_t deadline_us);

struct background;
struct err background_start(const struct app *app, struct background **out);
/* Asks for a look at everything now (SIGHUP). */
void background_wake(struct background *b);
void background_stop(struct background **b);

#endif
