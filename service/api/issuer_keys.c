/* SPDX-License-Identifier: Apache-2.0 */
#include "service/api/issuer_keys.h"

#include "base/log.h"
#include "base/rand.h"
#include "service/api/bulkhead.h"
#include "service/api/issuer_fetch.h"

#include <pthread.h>
#include <stdlib.h>
#include <time.h>

/* How often an unknown kid may have an issuer's keys fetched again, and how long a failure stands for the next one. */
enum { UNKNOWN_KID_US = 60000000, RETRY_US = 5000000 };

struct entry {
    char id[ID_TEXT]; /* "": free */
    int64_t version;
    struct issuer_keyset *set; /* the last good one; NULL: none */
    int64_t good_us, tried_us; /* monotonic: when it was fetched, when the last attempt ended */
    int64_t used_us;
    bool failed;   /* the last attempt did */
    bool fetching; /* by one worker, who relies on the entry to stay */
};

struct issuer_keys {
    pthread_mutex_t lock;
    pthread_cond_t fetched; /* some fetch ended */
    struct entry entries[ISSUERS_MAX];
};

static void keyset_drop(struct issuer_keyset *s)
{
    if (s == NULL || atomic_fetch_sub(&s->refs, 1) != 1)
        return;
    jwks_free(&s->keys);
    free(s);
}

void issuer_keyset_release(const struct issuer_keyset **s)
{
    /* The count is the one member that changes behind a const view. */
    union {
        const struct issuer_keyset *view;
        struct issuer_keyset *own;
    } u = {.view = *s};
    keyset_drop(u.own);
    *s = NULL;
}

struct err issuer_keys_new(struct issuer_keys **out)
{
    struct issuer_keys *k = calloc(1, sizeof *k);
    if (k == NULL)
        return FAIL(ERR_NO_MEMORY, "issuers' keys");
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&k->fetched, &attr);
    pthread_condattr_destroy(&attr);
    pthread_mutex_init(&k->lock, NULL);
    *out = k;
    return OK;
}

static void entry_clear(struct entry *e)
{
    keyset_drop(e->set);
    *e = (struct entry){.version = 0};
}

void issuer_keys_free(struct issuer_keys **k)
{
    if (*k == NULL)
        return;
    for (size_t n = 0; n < ISSUERS_MAX; n++)
        entry_clear(&(*k)->entries[n]);
    pthread_cond_destroy(&(*k)->fetched);
    pthread_mutex_destroy(&(*k)->lock);
    free(*k);
    *k = NULL;
}

static struct entry *find(struct issuer_keys *k, struct str id)
{
    for (size_t n = 0; n < ISSUERS_MAX; n++) {
        if (str_is(id, k->entries[n].id))
            return &k->entries[n];
    }
    return NULL;
}

/* The one that was not used for longest; NULL when all are being fetched for. */
static struct entry *take_slot(struct issuer_keys *k)
{
    struct entry *oldest = NULL;
    for (size_t n = 0; n < ISSUERS_MAX; n++) {
        struct entry *e = &k->entries[n];
        if (!e->fetching && (oldest == NULL || e->used_us < oldest->used_us))
            oldest = e;
    }
    if (oldest != NULL)
        entry_clear(oldest);
    return oldest;
}

/* The entry of a row, made when there is none. *out is NULL while it must stay what it was for another version. */
static struct err entry_of(struct issuer_keys *k, const struct issuer *i, struct entry **out)
{
    *out = NULL;
    if (i->id.n == 0 || i->id.n >= sizeof k->entries[0].id)
        return FAIL(ERR_INTERNAL, "an issuer's id of %zu bytes", i->id.n);
    struct entry *e = find(k, i->id);
    if (e != NULL && e->version > i->version)
        return FAIL(ERR_DB_CONFLICT, "issuer %.*s was changed meanwhile", STR_FMT(i->id));
    if (e != NULL && e->version < i->version && e->fetching)
        return OK;
    if (e == NULL)
        e = take_slot(k);
    if (e == NULL)
        return FAIL(ERR_ISSUER_KEYS, "too many issuers' keys are being fetched");
    if (e->version != i->version) {
        entry_clear(e);
        memcpy(e->id, i->id.p, i->id.n);
        e->version = i->version;
    }
    e->used_us = clock_mono_us();
    *out = e;
    return OK;
}

static bool is_younger(const struct entry *e, int64_t seconds)
{
    return e->set != NULL && clock_mono_us() - e->good_us < seconds * 1000000;
}

static bool is_usable(const struct entry *e, const struct config *config)
{
    return is_younger(e, config->jwks_cache_s + config->jwks_stale_s);
}

static bool is_known(const struct entry *e, const struct config *config, struct str kid)
{
    return is_usable(e, config) && (kid.n == 0 || jwks_find(&e->set->keys, kid) != NULL);
}

enum step { STEP_USE, STEP_WAIT, STEP_FETCH, STEP_GIVE_UP };

/* What a caller who looks for kid does next. */
static enum step next_step(const struct entry *e, const struct config *config, struct str kid)
{
    int64_t now = clock_mono_us();
    bool fresh = is_younger(e, config->jwks_cache_s), known = is_known(e, config, kid);
    if (e->fetching)
        return known ? STEP_USE : STEP_WAIT;
    bool due = !fresh || (!known && now - e->tried_us >= UNKNOWN_KID_US);
    bool may_try = !e->failed || now - e->tried_us >= RETRY_US;
    if (due && may_try)
        return STEP_FETCH;
    /* While the issuer fails, nobody can tell whether it has a key of that kid. */
    return known || (is_usable(e, config) && !e->failed) ? STEP_USE : STEP_GIVE_UP;
}

static struct err make_set(const struct call *c, const struct issuer *i, struct issuer_keyset **out)
{
    struct issuer_keyset *s = calloc(1, sizeof *s);
    if (s == NULL)
        return FAIL(ERR_NO_MEMORY, "the keys of an issuer");
    atomic_init(&s->refs, 1);
    struct err e = issuer_fetch(c, i, &s->keys);
    if (err_is(&e)) {
        free(s);
        return e;
    }
    *out = s;
    return OK;
}

/* Called with the lock held, which is let go meanwhile. */
static void fetch(struct issuer_keys *k, struct entry *e, const struct call *c, const struct issuer *i)
{
    e->fetching = true;
    pthread_mutex_unlock(&k->lock);
    struct issuer_keyset *set = NULL;
    struct err failed = make_set(c, i, &set);
    if (err_is(&failed))
        LOG_ERR(LOG_WARN, "the keys of an issuer could not be had", &failed, LOG_STR("issuer", i->issuer));
    pthread_mutex_lock(&k->lock);
    e->fetching = false;
    e->failed = err_is(&failed);
    e->tried_us = clock_mono_us();
    if (set != NULL) {
        keyset_drop(e->set);
        e->set = set;
        e->good_us = e->tried_us;
    }
    pthread_cond_broadcast(&k->fetched);
}

static struct err wait_for_another(struct issuer_keys *k, const struct call *c, const struct issuer *i)
{
    const struct timespec until = {.tv_sec = (time_t)(c->deadline_us / 1000000),
                                   .tv_nsec = (long)(c->deadline_us % 1000000) * 1000};
    return pthread_cond_timedwait(&k->fetched, &k->lock, &until) == 0
               ? OK
               : FAIL(ERR_ISSUER_KEYS, "the keys of issuer %.*s are still being fetched", STR_FMT(i->issuer));
}

/* A place to fetch or to wait in, kept once it is taken. Keys of a registration come from nobody outside. */
static bool has_place(const struct call *c, const struct issuer *i, struct bulkhead **place)
{
    if (*place == NULL && i->jwks.p == NULL)
        *place = bulkhead_enter(c->api->app->outbound);
    return *place != NULL || i->jwks.p != NULL;
}

static struct err get_locked(struct issuer_keys *k, const struct call *c, const struct issuer *i, struct str kid,
                             struct issuer_keyset **out)
{
    const struct config *config = c->api->app->config;
    CLEANUP(bulkhead_leave) struct bulkhead *place = NULL;
    for (;;) {
        struct entry *e = NULL;
        TRY(entry_of(k, i, &e));
        enum step step = e != NULL ? next_step(e, config, kid) : STEP_WAIT;
        if (step == STEP_GIVE_UP)
            return FAIL(ERR_ISSUER_KEYS, "the last fetch of the keys of issuer %.*s failed", STR_FMT(i->issuer));
        if (step != STEP_USE && !has_place(c, i, &place)) {
            /* As in the issuer's own outage: what hangs may be somebody else. */
            if (e == NULL || !is_known(e, config, kid))
                return FAIL(ERR_ISSUER_KEYS, "half of NEXUS_WORKERS wait for the back end or for issuers already");
            step = STEP_USE;
        }
        if (step == STEP_WAIT)
            TRY(wait_for_another(k, c, i));
        if (step == STEP_FETCH)
            fetch(k, e, c, i);
        if (step != STEP_USE)
            continue;
        atomic_fetch_add(&e->set->refs, 1);
        *out = e->set;
        return OK;
    }
}

struct err issuer_keys_get(struct issuer_keys *k, const struct call *c, const struct issuer *i, struct str kid,
                           const struct issuer_keyset **out)
{
    struct issuer_keyset *set = NULL;
    pthread_mutex_lock(&k->lock);
    struct err e = get_locked(k, c, i, kid, &set);
    pthread_mutex_unlock(&k->lock);
    *out = set;
    return e;
}
