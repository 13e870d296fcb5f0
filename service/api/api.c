/* SPDX-License-Identifier: Apache-2.0
 * What one worker owns, made and freed together. */
#include "service/api/agent_cache.h"
#include "service/api/catalogue.h"
#include "service/api/dpop.h"
#include "service/api/pseudonym.h"
#include "service/api/record.h"
#include "service/api/vault.h"
#include "service/net/net.h"

#include "base/log.h"

#include <stdlib.h>

/* How long a worker without requests may spend on writing the outcome that waits. */
enum { IDLE_WRITE_US = 2000000 };

static const struct metric_def metric_defs[] = {
#define M(id, name, type, help, ...) [id] = {name, type, help, {__VA_ARGS__}},
#include "service/metrics.def"
#undef M
};

struct err api_metrics_new(struct metrics **out)
{
    return metrics_new(metric_defs, COUNT(metric_defs), out);
}

static void observe_statement(void *arg, const char *statement, int64_t us, bool ok)
{
    const struct app *app = arg;
    metric_observe_us(app->metrics, M_DB_TIME, us, statement, ok ? "ok" : "failed", NULL);
}

static void api_free_auto(struct api **a)
{
    api_free(a);
}

struct err api_new(const struct app *app, struct api **out)
{
    CLEANUP(api_free_auto) struct api *a = calloc(1, sizeof *a);
    if (a == NULL)
        return FAIL(ERR_NO_MEMORY, "api");
    a->app = app;
    TRY(db_new(app->config->database_url, &a->db));
    union {
        const struct app *view;
        void *arg;
    } u = {.view = app};
    db_observe(a->db, observe_statement, u.arg);
    TRY(hsm_client_new(app->hsm, &a->hsm));
    TRY(agent_cache_new(app->config->agent_cache_s, &a->cache));
    TRY(catalogue_cache_new(app->config->agent_cache_s, &a->catalogue));
    TRY(dpop_nonces_new(&a->nonces));
    const struct net_options outbound = {.allow_loopback = app->config->insecure_loopback_fetches,
                                         .allowed_cidrs = app->config->allowed_cidrs,
                                         .ca_file = app->config->ca_file};
    TRY(net_new(&outbound, &a->net));
    TRY(pseudonyms_new(&a->pseudonyms));
    TRY(recorder_new(&a->recorder));
    TRY(vault_new(app->config->dek_cache_s, app->config->dek_cache_max, &a->vault));
    *out = a;
    a = NULL;
    return OK;
}

void api_free(struct api **api)
{
    if (*api == NULL)
        return;
    vault_free(&(*api)->vault);
    recorder_free(&(*api)->recorder);
    pseudonyms_free(&(*api)->pseudonyms);
    net_free(&(*api)->net);
    dpop_nonces_free(&(*api)->nonces);
    catalogue_cache_free(&(*api)->catalogue);
    agent_cache_free(&(*api)->cache);
    hsm_client_free(&(*api)->hsm);
    db_free(&(*api)->db);
    free(*api);
    *api = NULL;
}

void api_idle(struct api *api, struct arena *arena)
{
    const struct call c = {.api = api, .arena = arena, .deadline_us = clock_mono_us() + IDLE_WRITE_US};
    vault_expire(api->vault);
    struct err e = record_append(&c, NULL);
    /* The outcome stays and is tried again; the log hears of it at debug only, since the next request will tell. */
    if (err_is(&e))
        LOG_ERR(LOG_DEBUG, "outcome waits", &e, LOG_CSTR("component_part", "recorder"));
}
