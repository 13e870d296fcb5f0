/* SPDX-License-Identifier: Apache-2.0 */
#include "service/api/background.h"

#include "base/log.h"
#include "service/api/health.h"
#include "service/api/keyring.h"
#include "service/api/record.h"
#include "service/api/time_guard.h"
#include "service/api/vault.h"

#include <pthread.h>
#include <stdlib.h>
#include <time.h>

enum { ARENA_BYTES = 1048576, TASK_DEADLINE_US = 4000000, SWEEP_BATCH = 100, PRUNE_BATCH = 10000 };
/* An intent this old has no worker any more that could still write its outcome. */
enum { OPEN_INTENT_AGE_S = 120 };
/* How long the last real signature stands for the HSM's health, and how often a sick one is tried. */
enum { HSM_FRESH_US = 10000000, HSM_RETRY_US = 2000000 };

struct background {
    const struct app *app;
    struct api *api;
    struct arena *arena;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool stop, wake;
};

typedef struct err task_fn(const struct call *c);

struct err background_load_keys(struct api *api, struct arena *arena, int64_t deadline_us)
{
    const struct app *app = api->app;
    struct store s = {.db = api->db, .arena = arena, .deadline_us = deadline_us};
    struct ring_key *rows = NULL;
    size_t n = 0;
    struct err e = store_key_list(&s, &rows, &n);
    health_report_error(app->health, &e);
    TRY(e);
    e = keyring_load(app->keyring, app->crypto, rows, n);
    if (err_is(&e))
        health_report(app->health, PART_KEY, &e);
    TRY(e);
    CLEANUP(keyset_release) const struct keyset *keys = keyring_take(app->keyring);
    struct err key = keys->active != NULL ? OK : FAIL(ERR_NO_ACTIVE_KEY, "run nexus-broker provision");
    health_report(app->health, PART_KEY, &key);
    return OK;
}

static struct err check_hsm(const struct call *c)
{
    const struct health *h = c->api->app->health;
    if (health_is_ok(h, PART_HSM) && clock_mono_us() - health_last_ok_us(h, PART_HSM) < HSM_FRESH_US)
        return OK;
    return record_selftest(c, HSM_SESSION, "selftest");
}

static struct err heartbeat(const struct call *c)
{
    const struct leaf_fields f = {.kind = LEAF_HEARTBEAT, .op = "heartbeat", .actor = STR("self"), .exp = -1};
    return record_append(c, &f);
}

/* A database whose disk is full still answers questions: only a write shows that it is back (attack T02). */
static struct err load_keys(const struct call *c)
{
    TRY(background_load_keys(c->api, c->arena, c->deadline_us));
    return health_is_ok(c->api->app->health, PART_DATABASE) ? OK : heartbeat(c);
}

static struct err prune(const struct call *c)
{
    /* An id passes for longer at a broker whose clock is behind the database's, and when both are set back: each time
     * by no more than clocks may differ (attack J20). */
    const struct app *app = c->api->app;
    const struct replay_prune p = {
        .now_us = clock_now_us(&app->clock), .keep_s = 2 * app->config->clock_skew_max_s, .limit = PRUNE_BATCH};
    /* Ids may be made faster than one batch a turn: go on while batches are full and there is time. */
    struct store s = call_store(c);
    int64_t deleted = PRUNE_BATCH;
    while (deleted == PRUNE_BATCH && clock_mono_us() < c->deadline_us)
        TRY(store_replay_prune(&s, &p, &deleted));
    return OK;
}

/* After a crash an intent can be without its outcome. Nobody knows whether its signature was made, and the record
 * says so; the signer's counter tells an auditor more. */
static struct err close_open_intents(const struct call *c)
{
    struct store s = call_store(c);
    struct open_intent *open = NULL;
    size_t n = 0;
    TRY(store_open_intents(&s, OPEN_INTENT_AGE_S, SWEEP_BATCH, &open, &n));
    for (size_t i = 0; i < n; i++) {
        const struct leaf_fields f = {.kind = LEAF_OUTCOME,
                                      .op = open[i].op.p,
                                      .reason = "unknown",
                                      .jti = open[i].jti,
                                      .corr_writer = open[i].writer,
                                      .corr_seq = open[i].seq,
                                      .exp = -1};
        struct recording r;
        TRY(record_begin(c, &f, &r));
        struct err stored = store_leaves_append(&s, &r.batch);
        if (stored.code == ERR_CONFLICT)
            continue; /* another broker's sweep, or the outcome itself, came first */
        TRY(record_end(c, &r, stored, true));
    }
    return OK;
}

static struct err gauges(const struct call *c)
{
    const struct app *app = c->api->app;
    metric_set(app->metrics, M_READY, health_is_ok(app->health, PART_DATABASE), "database", NULL, NULL);
    metric_set(app->metrics, M_READY, health_is_ok(app->health, PART_HSM), "hsm", NULL, NULL);
    metric_set(app->metrics, M_READY, health_is_ok(app->health, PART_KEY), "signing_key", NULL, NULL);
    metric_set(app->metrics, M_READY, health_is_ok(app->health, PART_CLOCK), "clock", NULL, NULL);
    return OK;
}

/* every_us 0: as the configuration's heartbeat says. */
static const struct {
    const char *name;
    task_fn *run;
    int64_t every_us;
} tasks[] = {
    {"load keys", load_keys, 2000000},       {"compare our clock with the database's", time_guard_check, 2000000},
    {"check hsm", check_hsm, HSM_RETRY_US},  {"heartbeat", heartbeat, 0},
    {"prune one-time ids", prune, 30000000}, {"close open intents", close_open_intents, 30000000},
    {"set gauges", gauges, 1000000},
};

static void run_task(struct background *b, size_t i)
{
    const struct call c = {.api = b->api, .arena = b->arena, .deadline_us = clock_mono_us() + TASK_DEADLINE_US};
    struct err e = tasks[i].run(&c);
    /* Outages are reported once, by health; what else goes wrong here is worth a line each time. */
    bool outage = err_public(e.code)->status == 503;
    if (err_is(&e))
        LOG_ERR(outage ? LOG_DEBUG : LOG_ERROR, "background task failed", &e, LOG_CSTR("task", tasks[i].name));
    arena_reset(b->arena);
    vault_expire(b->api->vault);
}

/* Sleeps until the monotonic time, a wake or a stop; returns whether to go on. */
static bool wait_until(struct background *b, int64_t until_us, bool *woken)
{
    const struct timespec ts = {.tv_sec = (time_t)(until_us / 1000000), .tv_nsec = (long)(until_us % 1000000) * 1000};
    pthread_mutex_lock(&b->lock);
    while (!b->stop && !b->wake) {
        if (pthread_cond_timedwait(&b->changed, &b->lock, &ts) != 0)
            break;
    }
    *woken = b->wake;
    b->wake = false;
    bool go_on = !b->stop;
    pthread_mutex_unlock(&b->lock);
    return go_on;
}

static void *run(void *arg)
{
    struct background *b = arg;
    int64_t due[COUNT(tasks)] = {0};
    bool woken = false;
    do {
        int64_t next = INT64_MAX;
        for (size_t i = 0; i < COUNT(tasks); i++) {
            int64_t every = tasks[i].every_us > 0 ? tasks[i].every_us : b->app->config->heartbeat_s * 1000000;
            if (woken || clock_mono_us() >= due[i]) {
                run_task(b, i);
                due[i] = clock_mono_us() + every;
            }
            next = due[i] < next ? due[i] : next;
        }
        if (!wait_until(b, next, &woken))
            break;
    } while (true);
    api_idle(b->api, b->arena);
    return NULL;
}

static void background_free(struct background **b)
{
    if (*b == NULL)
        return;
    api_free(&(*b)->api);
    arena_free(&(*b)->arena);
    pthread_cond_destroy(&(*b)->changed);
    pthread_mutex_destroy(&(*b)->lock);
    free(*b);
    *b = NULL;
}

struct err background_start(const struct app *app, struct background **out)
{
    CLEANUP(background_free) struct background *b = calloc(1, sizeof *b);
    if (b == NULL)
        return FAIL(ERR_NO_MEMORY, "background");
    b->app = app;
    pthread_mutex_init(&b->lock, NULL);
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&b->changed, &attr);
    pthread_condattr_destroy(&attr);
    TRY(api_new(app, &b->api));
    TRY(arena_new(ARENA_BYTES, &b->arena));
    if (pthread_create(&b->thread, NULL, run, b) != 0)
        return FAIL(ERR_NO_MEMORY, "cannot start the background thread");
    *out = b;
    b = NULL;
    return OK;
}

static void notify(struct background *b, bool stop)
{
    pthread_mutex_lock(&b->lock);
    b->stop = b->stop || stop;
    b->wake = true;
    pthread_cond_signal(&b->changed);
    pthread_mutex_unlock(&b->lock);
}

void background_wake(struct background *b)
{
    notify(b, false);
}

void background_stop(struct background **b)
{
    if (*b == NULL)
        return;
    notify(*b, true);
    pthread_join((*b)->thread, NULL);
    background_free(b);
}
