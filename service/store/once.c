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

struct err ids_bind(const struct store *s, const struct one_time *ids, size_t n, struct db_param out[static 3])
{
    struct str *spaces = arena_array(s->arena, n, sizeof *spaces);
    struct bytes *hashes = arena_array(s->arena, n, sizeof *hashes);
    int64_t *until = arena_array(s->arena, n, sizeof *until);
    if (spaces == NULL || hashes == NULL || until == NULL)
        return FAIL(ERR_NO_MEMORY, "one-time ids");
    for (size_t i = 0; i < n; i++) {
        spaces[i] = ids[i].space;
        hashes[i] = bytes_of(ids[i].hash, SHA256_LEN);
        until[i] = ids[i].until_us;
    }
    out[0] = P_TEXTS(((struct str_list){spaces, n}));
    out[1] = P_BYTESS(hashes, n);
    out[2] = P_INTS(until, n);
    return OK;
}

struct err store_replay_seen(const struct store *s, const struct one_time *id, bool *seen)
{
    static const struct sql sql = {
        "replay_seen", "SELECT EXISTS (SELECT 1 FROM nexus.replay_guard WHERE issuer = $1 AND jti_hash = $2)"};
    const struct db_param p[] = {P_TEXT(id->space), P_BYTES(bytes_of(id->hash, SHA256_LEN))};
    CLEANUP(db_rows_free) struct db_rows *r = NULL;
    TRY(store_run(s, &sql, p, COUNT(p), &r));
    return db_get_bool(r, 0, 0, seen);
}

struct err store_replay_refuse(const struct store *s, const struct one_time *ids, size_t n, const struct leaf_batch *l,
                               bool *fresh)
{
#define REFUSED_IDS   IDS_ROWS("$10", "$11", "$12")
#define INSERT_LEAVES LEAVES_INSERT("f")
    static const struct sql sql = {
        "replay_refuse", "WITH g AS (INSERT INTO nexus.replay_guard (issuer, jti_hash, expires_at) SELECT " IDS_COLUMNS
                         " FROM " REFUSED_IDS " ON CONFLICT DO NOTHING RETURNING 1), "
                         "f AS (SELECT 1 WHERE (SELECT count(*) FROM g) = cardinality($10)), "
                         "l AS (" INSERT_LEAVES ") SELECT EXISTS (SELECT 1 FROM f)"};
    struct db_param p[LEAF_PARAMS + 3];
    TRY(ids_bind(s, ids, n, p + LEAF_PARAMS));
    TRY(leaves_bind(s, l, true, p));
    CLEANUP(db_rows_free) struct db_rows *r = NULL;
    TRY(store_run(s, &sql, p, COUNT(p), &r));
    return db_get_bool(r, 0, 0, fresh);
}

struct err store_replay_prune(const struct store *s, const struct replay_prune *q, int64_t *deleted)
{
    /* Brokers prune one at a time: two that delete the same rows in another order would deadlock. */
    static const struct sql sql = {
        "replay_prune", "WITH d AS (DELETE FROM nexus.replay_guard WHERE (SELECT pg_try_advisory_xact_lock(2, 0)) "
                        "AND (issuer, jti_hash) IN (SELECT issuer, jti_hash FROM nexus.replay_guard "
                        "WHERE expires_at < least($1, (SELECT latest FROM nexus.clock)) - make_interval(secs => $2) "
                        "ORDER BY expires_at LIMIT $3) RETURNING 1) SELECT count(*) FROM d"};
    const struct db_param p[] = {P_TIME(q->now_us), P_INT(q->keep_s), P_INT(q->limit)};
    CLEANUP(db_rows_free) struct db_rows *r = NULL;
    TRY(store_run(s, &sql, p, COUNT(p), &r));
    return db_get_int(r, 0, 0, deleted);
}

/* A nonce is in force for its slot of time and the next one; the database's clock says which slot it is, so that all
 * brokers agree. */
#define SLOT      "floor(extract(epoch FROM now()) / 300)::bigint"
#define SLOT_LEFT "((" SLOT " + 1) * 300000000 - extract(epoch FROM now()) * 1000000)::bigint"

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
                                    "(SELECT nonce FROM nexus.dpop_nonces WHERE slot = " SLOT " - 1), " SLOT_LEFT};
    TRY(store_run(s, &begin, (struct db_param[]){P_TEXT(offer)}, 1, NULL));
    CLEANUP(db_rows_free) struct db_rows *r = NULL;
    TRY(store_run(s, &read, NULL, 0, &r));
    TRY(read_nonce(s, r, 0, out->current));
    TRY(read_nonce(s, r, 1, out->previous));
    TRY(db_get_int(r, 0, 2, &out->left_us));
    /* The slot can have ended between the two statements. */
    return out->current[0] != '\0' ? OK : FAIL(ERR_DB_CONFLICT, "a new slot of DPoP nonces began just now");
}
