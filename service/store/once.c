/* SPDX-License-Identifier: Apache-2.0 */
#include "service/store/internal.h"

struct err store_replay_consume(const struct store *s, const struct one_time *id, bool *fresh)
{
    static const struct sql sql = {
        "replay_consume", "WITH g AS (INSERT INTO nexus.replay_guard (issuer, jti_hash, expires_at) "
                          "VALUES ($1, $2, $3) ON CONFLICT DO NOTHING RETURNING 1) SELECT EXISTS (SELECT 1 FROM g)"};
    const struct db_param p[] = {P_TEXT(id->space), P_BYTES(bytes_of(id->hash, SHA256_LEN)), P_TIME(id->until_us)};
    CLEANUP(db_rows_free) struct db_rows *r = NULL;
    TRY(store_run(s, &sql, p, COUNT(p), &r));
    return db_get_bool(r, 0, 0, fresh);
}

struct err store_replay_refuse(const struct store *s, const struct one_time *id, const struct leaf_batch *l,
                               bool *fresh)
{
    static const struct sql sql = {"replay_refuse",
                                   "WITH g AS (INSERT INTO nexus.replay_guard (issuer, jti_hash, expires_at) "
                                   "VALUES ($10, $11, $12) ON CONFLICT DO NOTHING RETURNING 1), "
                                   "l AS (" LEAVES_INSERT("g") ") SELECT EXISTS (SELECT 1 FROM g)"};
    struct db_param p[LEAF_PARAMS + 3] = {
        [LEAF_PARAMS] = P_TEXT(id->space), P_BYTES(bytes_of(id->hash, SHA256_LEN)), P_TIME(id->until_us)};
    TRY(leaves_bind(s, l, true, p));
    CLEANUP(db_rows_free) struct db_rows *r = NULL;
    TRY(store_run(s, &sql, p, COUNT(p), &r));
    return db_get_bool(r, 0, 0, fresh);
}

struct err store_replay_prune(const struct store *s, int64_t limit, int64_t *deleted)
{
    /* Brokers prune one at a time: two that delete the same rows in another order would deadlock. */
    static const struct sql sql = {
        "replay_prune", "WITH d AS (DELETE FROM nexus.replay_guard WHERE (SELECT pg_try_advisory_xact_lock(2, 0)) "
                        "AND (issuer, jti_hash) IN (SELECT issuer, jti_hash FROM nexus.replay_guard "
                        "WHERE expires_at < now() ORDER BY expires_at LIMIT $1) RETURNING 1) SELECT count(*) FROM d"};
    CLEANUP(db_rows_free) struct db_rows *r = NULL;
    TRY(store_run(s, &sql, (struct db_param[]){P_INT(limit)}, 1, &r));
    return db_get_int(r, 0, 0, deleted);
}

/* A nonce is in force for its slot of time and the next one; the database's clock says which slot it is, so that all
 * brokers agree. */
#define SLOT "(extract(epoch FROM now())::bigint / 300)"

static struct err read_nonce(const struct store *s, const struct db_rows *r, int col, char out[static NONCE_MAX + 1])
{
    struct str text;
    TRY(db_get_text(r, 0, col, s->arena, &text));
    if (text.n > NONCE_MAX)
        return FAIL(ERR_DB, "a DPoP nonce of %zu bytes", text.n);
    memset(out, 0, NONCE_MAX + 1);
    if (text.n > 0)
        memcpy(out, text.p, text.n);
    return OK;
}

struct err store_dpop_nonces(const struct store *s, struct str offer, struct store_nonces *out)
{
    static const struct sql begin = {"dpop_nonce_offer",
                                     "WITH d AS (DELETE FROM nexus.dpop_nonces WHERE slot < " SLOT " - 2) "
                                     "INSERT INTO nexus.dpop_nonces (slot, nonce) SELECT " SLOT ", $1 "
                                     "WHERE NOT EXISTS (SELECT 1 FROM nexus.dpop_nonces WHERE slot = " SLOT ") "
                                     "ON CONFLICT DO NOTHING"};
    /* A statement of its own: its snapshot holds what another broker inserted meanwhile. */
    static const struct sql read = {"dpop_nonces",
                                    "SELECT (SELECT nonce FROM nexus.dpop_nonces WHERE slot = " SLOT "), "
                                    "(SELECT nonce FROM nexus.dpop_nonces WHERE slot = " SLOT " - 1)"};
    TRY(store_run(s, &begin, (struct db_param[]){P_TEXT(offer)}, 1, NULL));
    CLEANUP(db_rows_free) struct db_rows *r = NULL;
    TRY(store_run(s, &read, NULL, 0, &r));
    TRY(read_nonce(s, r, 0, out->current));
    TRY(read_nonce(s, r, 1, out->previous));
    /* The slot can have ended between the two statements. */
    return out->current[0] != '\0' ? OK : FAIL(ERR_DB_CONFLICT, "a new slot of DPoP nonces began just now");
}
