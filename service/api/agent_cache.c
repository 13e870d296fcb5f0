/* SPDX-License-Identifier: Apache-2.0 */
#include "service/api/agent_cache.h"

#include "crypto/json.h"

#include <stdlib.h>

/* A row of the largest registration (64 scopes, 8 keys) fits several times. Only what is touched costs memory. */
enum { ENTRIES = 64, ENTRY_ARENA = 262144 };

struct entry {
    struct arena *arena; /* NULL: never used */
    struct cached_agent value;
    int64_t read_us, used_us; /* monotonic; read_us 0: empty */
};

struct agent_cache {
    int64_t lifetime_us;
    struct entry entries[ENTRIES];
};

struct err agent_cache_new(int64_t lifetime_s, struct agent_cache **out)
{
    *out = calloc(1, sizeof **out);
    if (*out == NULL)
        return FAIL(ERR_NO_MEMORY, "agent cache");
    (*out)->lifetime_us = lifetime_s * 1000000;
    return OK;
}

static void entry_clear(struct entry *e)
{
    jwks_free(&e->value.keys);
    if (e->arena != NULL)
        arena_reset(e->arena);
    e->value = (struct cached_agent){.fresh = false};
    e->read_us = 0;
}

void agent_cache_free(struct agent_cache **c)
{
    if (*c == NULL)
        return;
    for (size_t i = 0; i < ENTRIES; i++) {
        entry_clear(&(*c)->entries[i]);
        arena_free(&(*c)->entries[i].arena);
    }
    free(*c);
    *c = NULL;
}

static struct entry *find(struct agent_cache *cache, struct str id)
{
    for (size_t i = 0; i < ENTRIES; i++) {
        struct entry *e = &cache->entries[i];
        if (e->read_us != 0 && str_eq(e->value.agent.id, id))
            return e;
    }
    return NULL;
}

static struct entry *least_recently_used(struct agent_cache *cache)
{
    struct entry *oldest = &cache->entries[0];
    for (size_t i = 1; i < ENTRIES; i++) {
        if (cache->entries[i].used_us < oldest->used_us)
            oldest = &cache->entries[i];
    }
    return oldest;
}

static struct err fill(struct entry *e, const struct call *c, struct str id)
{
    if (e->arena == NULL)
        TRY(arena_new(ENTRY_ARENA, &e->arena));
    struct store s = {.db = c->api->db, .arena = e->arena, .deadline_us = c->deadline_us};
    TRY(store_agent_get(&s, id, &e->value.agent));
    const struct json *keys = NULL;
    TRY(json_parse(e->arena, str_bytes(e->value.agent.jwks), &keys));
    return jwks_parse(c->api->app->crypto, keys, 1, JWKS_MAX, true, &e->value.keys);
}

/* Reads a row that is cached again. While it has not changed its parsed keys stand: parsing costs more than reading,
 * and would tell by its time which agents exist (attack I06). */
static struct err reread(const struct entry *e, const struct call *c, bool *changed)
{
    struct store s = call_store(c);
    struct agent now;
    TRY(store_agent_get(&s, e->value.agent.id, &now));
    *changed = now.version != e->value.agent.version;
    return OK;
}

static struct err refresh(struct entry *e, const struct call *c, struct str id)
{
    bool changed = true;
    if (e->read_us != 0 && str_eq(e->value.agent.id, id))
        TRY(reread(e, c, &changed));
    if (!changed)
        return OK;
    entry_clear(e);
    return fill(e, c, id);
}

struct err agent_cache_get(struct agent_cache *cache, const struct call *c, struct str agent_id, bool must_be_fresh,
                           const struct cached_agent **out)
{
    int64_t now = clock_mono_us();
    struct entry *e = find(cache, agent_id);
    if (e != NULL && !must_be_fresh && now - e->read_us < cache->lifetime_us) {
        e->used_us = now;
        e->value.fresh = false;
        *out = &e->value;
        return OK;
    }
    if (e == NULL)
        e = least_recently_used(cache);
    struct err read = refresh(e, c, agent_id);
    if (err_is(&read)) {
        entry_clear(e);
        return read;
    }
    e->read_us = e->used_us = now;
    e->value.fresh = true;
    *out = &e->value;
    return OK;
}
