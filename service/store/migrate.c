/* SPDX-License-Identifier: Apache-2.0
 * Migrations run in one transaction, under a lock: several brokers may start at once, and a failure leaves nothing. */
#include "service/store/internal.h"
#include "service/store/migrations.h"

int64_t store_schema_version(void)
{
    return (int64_t)migrations_count;
}

/* Waiting for another program's migration may take long: the caller's deadline bounds it. The lock's key is
 * "nexusMIG" in ASCII. */
static const char prologue[] = "SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = 0; "
                               "SET LOCAL idle_in_transaction_session_timeout = 0; "
                               "SELECT pg_advisory_xact_lock(7954894477797607751);";
/* CREATE SCHEMA IF NOT EXISTS asks for the right to create even where there is nothing to do. */
static const char bookkeeping[] =
    "DO $$ BEGIN IF to_regnamespace('nexus') IS NULL THEN CREATE SCHEMA nexus; END IF; "
    "IF to_regclass('nexus.schema_migrations') IS NULL THEN CREATE TABLE nexus.schema_migrations "
    "(version bigint PRIMARY KEY, name text NOT NULL, sha256 bytea NOT NULL, "
    "applied_at timestamptz NOT NULL DEFAULT now()); END IF; END $$;";

/* What an applied migration was must be what this program holds: an edited file would make two schemas of one
 * version. */
static struct err check_applied(const struct store *s, int64_t *version)
{
    static const struct sql max = {"migrate_version", "SELECT coalesce(max(version), 0) FROM nexus.schema_migrations"};
    static const struct sql same = {"migrate_same", "SELECT EXISTS (SELECT 1 FROM nexus.schema_migrations "
                                                    "WHERE version = $1 AND sha256 = sha256($2))"};
    CLEANUP(db_rows_free) struct db_rows *r = NULL;
    TRY(store_run(s, &max, NULL, 0, &r));
    TRY(db_get_int(r, 0, 0, version));
    if (*version > store_schema_version())
        return FAIL(ERR_CONFIG, "the schema is newer than this program: run nexus-broker migrate of that version");
    for (int64_t v = 1; v <= *version; v++) {
        const struct migration *m = &migrations[v - 1];
        CLEANUP(db_rows_free) struct db_rows *h = NULL;
        bool ok = false;
        TRY(store_run(s, &same, (struct db_param[]){P_INT(v), P_BYTES(str_bytes(str_of(m->sql)))}, 2, &h));
        TRY(db_get_bool(h, 0, 0, &ok));
        if (!ok)
            return FAIL(ERR_CONFIG, "migration %s was applied with another text than this program has", m->name);
    }
    return OK;
}

static struct err apply(const struct store *s, int64_t version)
{
    static const struct sql record = {"migrate_record", "INSERT INTO nexus.schema_migrations (version, name, sha256) "
                                                        "VALUES ($1, $2, sha256($3))"};
    const struct migration *m = &migrations[version - 1];
    TRY(db_script(s->db, m->sql, s->deadline_us));
    const struct db_param p[] = {P_INT(version), P_TEXT(str_of(m->name)), P_BYTES(str_bytes(str_of(m->sql)))};
    return store_run(s, &record, p, COUNT(p), NULL);
}

static struct err is_owner(const struct store *s, bool *out)
{
    static const struct sql sql = {"migrate_owner", "SELECT pg_has_role(nspowner, 'USAGE') FROM pg_namespace "
                                                    "WHERE nspname = 'nexus'"};
    CLEANUP(db_rows_free) struct db_rows *r = NULL;
    TRY(store_run(s, &sql, NULL, 0, &r));
    return db_get_bool(r, 0, 0, out);
}

static struct err migrate(const struct store *s, void *arg)
{
    int64_t *applied = arg, have = 0;
    TRY(db_script(s->db, prologue, s->deadline_us));
    TRY(db_script(s->db, bookkeeping, s->deadline_us));
    TRY(check_applied(s, &have));
    bool owner = false;
    TRY(is_owner(s, &owner));
    if (!owner && have < store_schema_version())
        return FAIL(ERR_CONFIG,
                    "migrations are missing and this role does not own the schema: run nexus-broker migrate "
                    "with NEXUS_MIGRATE_DATABASE_URL");
    for (int64_t v = have + 1; v <= store_schema_version(); v++, ++*applied)
        TRY(apply(s, v));
    return owner ? db_script(s->db, migrations_grants, s->deadline_us) : OK;
}

struct err store_migrate(const struct store *s, int64_t *applied)
{
    *applied = 0;
    return db_tx(s, migrate, applied);
}
