/* SPDX-License-Identifier: Apache-2.0 */
#include "service/store/internal.h"

struct err store_policy_revision(const struct store *s, int64_t *out)
{
    static const struct sql sql = {"policy_revision", "SELECT revision FROM nexus.policy_revision"};
    CLEANUP(db_rows_free) struct db_rows *r = NULL;
    TRY(store_run(s, &sql, NULL, 0, &r));
    if (db_count(r) != 1)
        return FAIL(ERR_DB, "nexus.policy_revision has no row");
    return db_get_int(r, 0, 0, out);
}

/* Changes come one after the other, however many brokers make them, and each after the issuers that decided on what it
 * changes: those hold the gate together until they have committed. The gate is passed first, so that the next statement
 * has a snapshot that holds what the change before did (READ COMMITTED). Counts and versions that it looks at are then
 * the ones that it changes. */
static struct err locked_change(const struct store *s, void *arg)
{
    static const struct sql lock = {"policy_gate", "SELECT " POLICY_GATE};
    const struct policy_change *c = arg;
    TRY(store_run(s, &lock, NULL, 0, NULL));
    TRY(store_run(s, c->sql, c->p, c->n, c->rows));
    return db_count(*c->rows) == 1 ? OK : c->none;
}

struct err policy_change(const struct store *s, struct policy_change *c)
{
    return db_tx(s, locked_change, c);
}
