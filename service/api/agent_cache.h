/* SPDX-License-Identifier: Apache-2.0
 * Agents that a worker has read lately, with their keys parsed. Bounded, expiring, and one worker's own. A cached row
 * can never grant: the issuing statement names the version that it was decided on, and refusals are decided again on
 * a fresh row. */
#ifndef SERVICE_API_AGENT_CACHE_H
#define SERVICE_API_AGENT_CACHE_H

#include "service/api/record.h"

struct agent_cache;

struct cached_agent {
    struct agent agent;
    struct jwks keys;
    bool fresh; /* read from the database by this very call */
};

struct err agent_cache_new(int64_t lifetime_s, struct agent_cache **out);
void agent_cache_free(struct agent_cache **c);

/* The agent, from the cache or (must_be_fresh, or not cached) from the database; valid until the worker's next call.
 * ERR_AGENT_NOT_FOUND when there is none. */
struct err agent_cache_get(struct agent_cache *cache, const struct call *c, struct str agent_id, bool must_be_fresh,
                           const struct cached_agent **out);

#endif
