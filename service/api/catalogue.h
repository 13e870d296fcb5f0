/* SPDX-License-Identifier: Apache-2.0
 * A worker's copy of the issuers and the scopes' conditions, which expires. What was decided on it is granted only
 * while its revision is the one in force: the issuing statement asks, behind the gate at which changes of the register
 * wait until it has committed (nexus.issue_stands). Refusals are decided again on a fresh copy. */
#ifndef SERVICE_API_CATALOGUE_H
#define SERVICE_API_CATALOGUE_H

#include "service/api/record.h"

struct catalogue {
    int64_t revision;
    const struct scope_rule *rules;
    size_t n_rules;
    const struct issuer *issuers; /* active or not */
    size_t n_issuers;
    bool fresh; /* read from the database by this very call */
};

struct catalogue_cache;
struct err catalogue_cache_new(int64_t lifetime_s, struct catalogue_cache **out);
void catalogue_cache_free(struct catalogue_cache **c);

/* The copy, or (must_be_fresh, or it has expired) what the database holds; valid until the worker's next call. */
struct err catalogue_get(struct catalogue_cache *cache, const struct call *c, bool must_be_fresh,
                         const struct catalogue **out);

#endif
