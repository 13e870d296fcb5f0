/* SPDX-License-Identifier: Apache-2.0 */
#include "service/store/internal.h"

#include "base/rand.h"

struct err store_writer_begin(const struct store *s, const char *writer, struct str instance)
{
    /* The key is the first 64 bits of the id, which is random. Its lock shows that the writer is alive, for as long as
     * this connection is; the writer before it on the same connection ends here. */
    static const struct sql sql = {
        "writer_begin", "WITH old AS MATERIALIZED (SELECT pg_advisory_unlock(lock_key) FROM nexus.audit_writers "
                        "WHERE writer = $3), "
                        "w AS (INSERT INTO nexus.audit_writers (writer, instance, lock_key) "
                        "VALUES ($1, $2, ('x' || left($1, 16))::bit(64)::bigint) RETURNING lock_key) "
                        "SELECT pg_try_advisory_lock(lock_key), (SELECT count(*) FROM old) FROM w"};
    /* Only a writer of this connection can be ended: connect first, so that db_writer speaks of what $3 is sent to. */
    TRY(db_connect(s->db, s->deadline_us));
    const struct db_param p[] = {P_TEXT(str_of(writer)), P_TEXT(instance), P_TEXT(str_of(db_writer(s->db)))};
    CLEANUP(db_rows_free) struct db_rows *r = NULL;
    TRY(store_run(s, &sql, p, COUNT(p), &r));
    bool locked = false;
    TRY(db_get_bool(r, 0, 0, &locked));
    if (!locked)
        return FAIL(ERR_DB_CONFLICT, "the lock of a new audit writer is taken");
    db_set_writer(s->db, writer);
    return OK;
}

struct err store_leaves_append(const struct store *s, const struct leaf_batch *l)
{
    static const struct sql sql = {"leaves_append", "WITH e AS (SELECT 1) " LEAVES_INSERT("e")};
    struct db_param p[LEAF_PARAMS];
    TRY(leaves_bind(s, l, false, p));
    return store_run(s, &sql, p, COUNT(p), NULL);
}

/* A writer whose lock is free has said its last word: its backend has ended, and no other connection may write under
 * its name. They are found in a statement of their own, so that the next one's snapshot holds all that they wrote. */
static struct err dead_writers(const struct store *s, struct str_list *out)
{
    static const struct sql sql = {
        "dead_writers",
        "SELECT coalesce(array_agg(writer), '{}') FROM (SELECT writer FROM nexus.audit_writers w "
        "WHERE settled_at IS NULL AND NOT EXISTS (SELECT 1 FROM pg_locks k WHERE k.locktype = 'advisory' "
        "AND k.objsubid = 1 AND k.database = (SELECT oid FROM pg_database WHERE datname = current_database()) "
        "AND (k.classid::bigint << 32 | k.objid::bigint) = w.lock_key) "
        "ORDER BY started_at LIMIT 1000) d"};
    CLEANUP(db_rows_free) struct db_rows *r = NULL;
    TRY(store_run(s, &sql, NULL, 0, &r));
    return db_get_texts(r, 0, 0, s->arena, out);
}

#define OPEN_INTENT                                                                                                    \
    "i.kind = 'intent' AND NOT EXISTS (SELECT 1 FROM nexus.audit_leaves o WHERE o.corr_writer = i.writer "             \
    "AND o.corr_seq = i.seq AND o.kind = 'outcome')"

/* Dead writers that owe nothing are never looked at again. */
static struct err settle(const struct store *s, struct str_list dead)
{
    static const struct sql sql = {"writers_settle",
                                   "UPDATE nexus.audit_writers w SET settled_at = now() WHERE writer = ANY($1) "
                                   "AND NOT EXISTS (SELECT 1 FROM nexus.audit_leaves i WHERE i.writer = w.writer "
                                   "AND " OPEN_INTENT ")"};
    return store_run(s, &sql, (struct db_param[]){P_TEXTS(dead)}, 1, NULL);
}

struct err store_open_intents(const struct store *s, int64_t age_s, size_t limit, struct open_intent **out, size_t *n)
{
    static const struct sql sql = {"open_intents",
                                   "SELECT i.writer, i.seq, i.jti, convert_from(i.leaf, 'UTF8')::json ->> 'op' "
                                   "FROM nexus.audit_leaves i WHERE i.writer = ANY($1) AND "
                                   "i.t < now() - make_interval(secs => $2) AND " OPEN_INTENT " ORDER BY i.t LIMIT $3"};
    *n = 0;
    struct str_list dead;
    TRY(dead_writers(s, &dead));
    *out = arena_alloc(s->arena, 0);
    if (dead.n == 0)
        return OK;
    TRY(settle(s, dead));
    const struct db_param p[] = {P_TEXTS(dead), P_INT(age_s), P_INT((int64_t)limit)};
    CLEANUP(db_rows_free) struct db_rows *r = NULL;
    TRY(store_run(s, &sql, p, COUNT(p), &r));
    *out = arena_array(s->arena, db_count(r), sizeof **out);
    if (*out == NULL)
        return FAIL(ERR_NO_MEMORY, "%zu intents", db_count(r));
    for (; *n < db_count(r); ++*n) {
        struct open_intent *i = &(*out)[*n];
        TRY(db_get_text(r, *n, 0, s->arena, &i->writer));
        TRY(db_get_int(r, *n, 1, &i->seq));
        TRY(db_get_text(r, *n, 2, s->arena, &i->jti));
        TRY(db_get_text(r, *n, 3, s->arena, &i->op));
    }
    return OK;
}
