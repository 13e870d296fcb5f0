/* SPDX-License-Identifier: Apache-2.0 */
#include "service/api/catalogue.h"

#include "service/store/policy.h"

#include <stdlib.h>

/* Twice what ISSUERS_MAX issuers with the largest key sets and SCOPE_RULES_MAX scopes need; untouched pages cost
 * nothing.
 */
enum { CATALOGUE_ARENA = 16777216 };

struct catalogue_cache {
    int64_t lifetime_us;
    int64_t read_us; /* when the rows were, monotonic */
    struct arena *arena;
    struct catalogue value; /* revision 0: none */
};

struct err catalogue_cache_new(int64_t lifetime_s, struct catalogue_cache **out)
{
    *out = calloc(1, sizeof **out);
    if (*out == NULL)
        return FAIL(ERR_NO_MEMORY, "catalogue");
    (*out)->lifetime_us = lifetime_s * 1000000;
    return OK;
}

void catalogue_cache_free(struct catalogue_cache **c)
{
    if (*c == NULL)
        return;
    arena_free(&(*c)->arena);
    free(*c);
    *c = NULL;
}

/* The number is read before the rows: rows that a change overtakes have the older one, and no session can be issued on
 * them, since the issuing statement finds another. */
static struct err read_rows(struct catalogue_cache *cache, const struct call *c, int64_t revision)
{
    if (cache->arena == NULL)
        TRY(arena_new(CATALOGUE_ARENA, &cache->arena));
    cache->value = (struct catalogue){.revision = 0};
    arena_reset(cache->arena);
    const struct store s = {.db = c->api->db, .arena = cache->arena, .deadline_us = c->deadline_us};
    int64_t now = clock_mono_us();
    struct scope_rule *rules = NULL;
    struct issuer *issuers = NULL;
    size_t n_rules = 0, n_issuers = 0;
    TRY(store_scope_list(&s, &rules, &n_rules));
    TRY(store_issuer_list(&s, &issuers, &n_issuers));
    cache->read_us = now;
    cache->value = (struct catalogue){
        .revision = revision, .rules = rules, .n_rules = n_rules, .issuers = issuers, .n_issuers = n_issuers};
    return OK;
}

/* Refusals ask for a fresh copy, and anybody may be refused: while the revision stands, the copy is fresh for the price
 * of that number. Only within its lifetime, though: a database that was put back to an earlier state may come to a
 * revision for the second time. */
static struct err refresh(struct catalogue_cache *cache, const struct call *c, bool expired)
{
    const struct store s = call_store(c);
    int64_t before = 0, after = 0;
    TRY(store_policy_revision(&s, &before));
    if (!expired && before == cache->value.revision)
        return OK;
    TRY(read_rows(cache, c, before));
    /* Each table is read by a statement of its own. Between two equal revisions nothing changed; else once more, so
     * that a refusal, too, rests on rows of one time. */
    TRY(store_policy_revision(&s, &after));
    return after == before ? OK : read_rows(cache, c, after);
}

struct err catalogue_get(struct catalogue_cache *cache, const struct call *c, bool must_be_fresh,
                         const struct catalogue **out)
{
    bool expired = cache->value.revision == 0 || clock_mono_us() - cache->read_us >= cache->lifetime_us;
    *out = &cache->value;
    if (expired || must_be_fresh)
        TRY(refresh(cache, c, expired));
    cache->value.fresh = expired || must_be_fresh;
    return OK;
}
