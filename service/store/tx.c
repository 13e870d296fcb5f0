/* SPDX-License-Identifier: Apache-2.0 */
#include "service/store/internal.h"

static const struct sql begin = {"begin", "BEGIN"};
static const struct sql commit = {"commit", "COMMIT"};
static const struct sql rollback = {"rollback", "ROLLBACK"};

struct err store_run(const struct store *s, const struct sql *sql, const struct db_param *p, size_t n,
                     struct db_rows **out)
{
    const struct db_call call = {.sql = sql, .params = p, .n = n, .deadline_us = s->deadline_us};
    return db_run(s->db, &call, s->arena, out);
}

static struct err in_tx(const struct store *s, db_tx_fn *fn, void *arg)
{
    struct err e = fn(s, arg);
    struct err ended = store_run(s, err_is(&e) ? &rollback : &commit, NULL, 0, NULL);
    /* The statement may not even have been sent. A connection is never left inside a transaction, where nothing that
     * follows would be durable: it is closed, which rolls back. */
    if (err_is(&ended))
        db_drop(s->db);
    return err_is(&e) ? e : ended;
}

struct err db_tx(const struct store *s, db_tx_fn *fn, void *arg)
{
    TRY(store_run(s, &begin, NULL, 0, NULL));
    db_set_tx(s->db, true);
    struct err e = in_tx(s, fn, arg);
    db_set_tx(s->db, false);
    return e;
}
