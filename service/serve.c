/* SPDX-License-Identifier: Apache-2.0
 * nexus-broker serve: checks everything that issuance rests on, then serves until SIGTERM. */
#include "service/commands.h"

#include "base/log.h"
#include "service/api/background.h"
#include "service/api/health.h"
#include "service/api/keyring.h"
#include "service/api/record.h"
#include "service/api/time_guard.h"
#include "service/server/server.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>

enum { START_MS = 15000, MIGRATE_MS = 300000 };

static struct err migrate_if_wanted(struct workbench *w)
{
    const struct config *c = &w->runtime.config;
    if (!c->migrate)
        return OK;
    /* The broker's own role will do as long as nothing is missing; it may not change the schema. */
    CLEANUP(db_free) struct db *db = NULL;
    TRY(db_new(c->migrate_database_url.n > 0 ? c->migrate_database_url : c->database_url, &db));
    struct store s = {.db = db, .arena = w->arena, .deadline_us = clock_mono_us() + INT64_C(1000) * MIGRATE_MS};
    int64_t applied = 0;
    TRY(store_migrate(&s, &applied));
    if (applied > 0)
        LOG(LOG_INFO, "migrations applied", LOG_INT("count", applied));
    return OK;
}

/* The active key must be on the token. That it is the one that the register knows (attack K05), the trial signature
 * that follows shows: it is checked with the registered public key. */
static struct err check_active_key(struct workbench *w, const struct call *c)
{
    CLEANUP(keyset_release) const struct keyset *keys = keyring_take(w->runtime.app.keyring);
    if (keys->active == NULL)
        return FAIL(ERR_NO_ACTIVE_KEY, "there is no active session key: run nexus-broker provision");
    struct hsm_key *on_token = NULL;
    size_t n = 0;
    TRY(hsm_keys(w->api->hsm, w->arena, c->deadline_us, &on_token, &n));
    for (size_t i = 0; i < n; i++) {
        if (memcmp(&on_token[i].id, &keys->active_id, sizeof keys->active_id) == 0)
            return OK;
    }
    return FAIL(ERR_NO_ACTIVE_KEY,
                "the active session key is not on this token: it is another token, or the key is gone");
}

static struct err boot_leaf(struct workbench *w, const struct call *c)
{
    struct hsm_info info;
    TRY(hsm_hello(w->api->hsm, w->arena, c->deadline_us, &info));
    struct str detail = arena_printf(w->arena, "version=%s instance=%s token_serial=%.*s", NEXUS_VERSION,
                                     w->runtime.app.instance, STR_FMT(info.token_serial));
    const struct leaf_fields f = {.kind = LEAF_BOOT,
                                  .op = "boot",
                                  .actor = STR("self"),
                                  .detail = detail,
                                  .mark = &info.mark,
                                  .cfg_sha256 = w->runtime.config.digest,
                                  .exp = -1};
    return record_append(c, &f);
}

static struct err check_start(struct workbench *w)
{
    TRY(migrate_if_wanted(w));
    struct call c = workbench_call(w, START_MS);
    struct store s = call_store(&c);
    TRY(store_check_server(&s, w->runtime.config.insecure_database_role));
    if (w->runtime.config.insecure_database_role)
        LOG0(LOG_WARN, "NEXUS_INSECURE_DATABASE_ROLE is on: the broker's role may be able to change audit leaves");
    TRY(time_guard_check(&c));
    TRY(background_load_keys(w->api, w->arena, c.deadline_us));
    TRY(check_active_key(w, &c));
    TRY(boot_leaf(w, &c));
    return record_selftest(&c, HSM_SESSION, "selftest.boot");
}

/* Signals are taken by this thread alone: they are blocked before any other thread starts. */
static void block_signals(sigset_t *set)
{
    sigemptyset(set);
    sigaddset(set, SIGTERM);
    sigaddset(set, SIGINT);
    sigaddset(set, SIGHUP);
    pthread_sigmask(SIG_BLOCK, set, NULL);
}

static void wait_for_end(const sigset_t *set, struct background *b)
{
    for (;;) {
        int sig = sigwaitinfo(set, NULL);
        if (sig == SIGHUP) {
            /* API keys are read from the database at every request, so keys are all there is to read again. */
            LOG0(LOG_INFO, "reloading keys");
            background_wake(b);
        } else if (sig > 0) {
            LOG(LOG_INFO, "shutting down", LOG_INT("signal", sig));
            return;
        }
    }
}

struct err command_serve(struct command_line *line)
{
    if (line->argc != 0) {
        line->wrong = "nothing stands behind this command";
        return OK;
    }
    sigset_t set;
    block_signals(&set);
    CLEANUP(workbench_close) struct workbench w;
    TRY(workbench_open(line, true, &w));
    TRY(check_start(&w));
    /* Its connection and its signer session have done their work. */
    api_free(&w.api);
    CLEANUP(background_stop) struct background *background = NULL;
    TRY(background_start(&w.runtime.app, &background));
    CLEANUP(server_stop) struct server *server = NULL;
    TRY(server_start(&w.runtime.app, &server));
    LOG(LOG_INFO, "serving", LOG_STR("listen", w.runtime.config.listen), LOG_INT("port", w.runtime.config.port),
        LOG_STR("issuer", w.runtime.config.base_url), LOG_CSTR("version", NEXUS_VERSION));
    wait_for_end(&set, background);
    health_set_draining(w.runtime.app.health);
    return OK;
}
