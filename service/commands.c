/* SPDX-License-Identifier: Apache-2.0
 * nexus-broker migrate, check and version. */
#include "service/commands.h"

#include "service/api/time_guard.h"

#include <stdio.h>

enum { MIGRATE_MS = 300000, CHECK_MS = 10000 };

/* Migrations run as the schema's owner, which is not the role that serves. */
static struct err migrate(struct workbench *w)
{
    const struct config *c = &w->runtime.config;
    struct str dsn = c->migrate_database_url.n > 0 ? c->migrate_database_url : c->database_url;
    CLEANUP(db_free) struct db *db = NULL;
    TRY(db_new(dsn, &db));
    struct store s = {.db = db, .arena = w->arena, .deadline_us = clock_mono_us() + INT64_C(1000) * MIGRATE_MS};
    int64_t applied = 0;
    TRY(store_migrate(&s, &applied));
    (void)printf("schema is at version %lld; %lld migration(s) applied\n", (long long)store_schema_version(),
                 (long long)applied);
    return OK;
}

struct err command_migrate(struct command_line *line)
{
    if (line->argc != 0) {
        line->wrong = "nothing stands behind this command";
        return OK;
    }
    CLEANUP(workbench_close) struct workbench w;
    TRY(workbench_open(line, false, &w));
    return migrate(&w);
}

static void print_setting(const struct config *c, const struct conf_key *k)
{
    const char *slot = (const char *)c + k->offset;
    bool secret = strstr(k->name, "DATABASE_URL") != NULL;
    if (k->type == CONF_STR)
        (void)printf("  %-36s %.*s\n", k->name, secret ? 8 : (int)((const struct str *)(const void *)slot)->n,
                     secret ? "(hidden)" : ((const struct str *)(const void *)slot)->p);
    else if (k->type == CONF_INT)
        (void)printf("  %-36s %lld\n", k->name, (long long)*(const int64_t *)(const void *)slot);
    else
        (void)printf("  %-36s %s\n", k->name, *(const bool *)(const void *)slot ? "on" : "off");
}

static void print_part(const char *part, const struct err *e)
{
    if (err_is(e))
        (void)printf("%-10s FAILED  %s: %s\n", part, err_public(e->code)->text, e->detail);
    else
        (void)printf("%-10s ok\n", part);
}

struct err command_check(struct command_line *line)
{
    if (line->argc != 0) {
        line->wrong = "nothing stands behind this command";
        return OK;
    }
    CLEANUP(workbench_close) struct workbench w;
    TRY(workbench_open(line, true, &w));
    size_t n = 0;
    const struct conf_key *table = config_table(&n);
    (void)printf("settings in force:\n");
    for (size_t i = 0; i < n; i++)
        print_setting(&w.runtime.config, &table[i]);
    struct call c = workbench_call(&w, CHECK_MS);
    struct store s = call_store(&c);
    struct err db = store_check_server(&s, w.runtime.config.insecure_database_role);
    print_part("database", &db);
    /* An unfit database may have no record of its clock. */
    struct err clocks = err_is(&db) ? OK : time_guard_check(&c);
    if (!err_is(&db))
        print_part("clock", &clocks);
    struct hsm_info info;
    struct err hsm = hsm_hello(w.api->hsm, w.arena, c.deadline_us, &info);
    print_part("signer", &hsm);
    if (!err_is(&hsm))
        (void)printf("           token \"%.*s\" serial %.*s (%.*s %.*s), DEK wrapping: %.*s\n",
                     STR_FMT(info.token_label), STR_FMT(info.token_serial), STR_FMT(info.manufacturer),
                     STR_FMT(info.model), STR_FMT(info.wrap_alg));
    TRY(db);
    TRY(clocks);
    return hsm;
}

struct err command_version(struct command_line *line)
{
    if (line->argc != 0)
        line->wrong = "nothing stands behind this command";
    else
        (void)printf("nexus-broker %s\n", NEXUS_VERSION);
    return OK;
}
