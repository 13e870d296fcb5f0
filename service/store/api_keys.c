/* SPDX-License-Identifier: Apache-2.0 */
#include "service/store/internal.h"

#define API_KEY_COLUMNS "name, prefix, role, created_at, expires_at, revoked_at, last_used_at"

static struct err api_key_row(const struct store *s, const struct db_rows *r, size_t row, struct api_key *out)
{
    struct str role;
    *out = (struct api_key){.role = ROLE_NONE};
    TRY(db_get_text(r, row, 0, s->arena, &out->name));
    TRY(db_get_text(r, row, 1, s->arena, &out->prefix));
    TRY(db_get_text(r, row, 2, s->arena, &role));
    TRY(db_get_time(r, row, 3, &out->created_us));
    TRY(db_get_time(r, row, 4, &out->expires_us));
    TRY(db_get_time(r, row, 5, &out->revoked_us));
    TRY(db_get_time(r, row, 6, &out->last_used_us));
    return role_parse(role, &out->role) ? OK : FAIL(ERR_DB, "role %.*s of an API key", STR_FMT(role));
}

struct err store_api_key_insert(const struct store *s, const struct api_key *k, const uint8_t hash[static SHA256_LEN],
                                const struct leaf_batch *l)
{
    static const struct sql sql = {
        "api_key_insert", "WITH e AS (INSERT INTO nexus.api_keys (name, prefix, hash, role, created_at, expires_at) "
                          "VALUES ($10, $11, $12, $13, coalesce($14, now()), $15) RETURNING 1), "
                          "l AS (" LEAVES_INSERT("e") ") SELECT count(*) FROM e"};
    struct db_param p[LEAF_PARAMS + 6] = {
        [LEAF_PARAMS] = P_TEXT(k->name),    P_TEXT(k->prefix),     P_BYTES(bytes_of(hash, SHA256_LEN)),
        P_TEXT(str_of(role_name(k->role))), P_TIME(k->created_us), P_TIME(k->expires_us)};
    TRY(leaves_bind(s, l, true, p));
    return store_run(s, &sql, p, COUNT(p), NULL);
}

struct err store_api_key_use(const struct store *s, const uint8_t hash[static SHA256_LEN], struct api_key *out)
{
    /* A busy key is used by all workers at once: whoever marks it, the others do not wait for the row. */
    static const struct sql sql = {
        "api_key_use", "WITH k AS (SELECT " API_KEY_COLUMNS " FROM nexus.api_keys WHERE hash = $1 "
                       "AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now())), "
                       "m AS (SELECT name FROM nexus.api_keys WHERE name = (SELECT name FROM k) AND "
                       "(last_used_at IS NULL OR last_used_at < now() - interval '1 minute') FOR UPDATE SKIP LOCKED), "
                       "u AS (UPDATE nexus.api_keys SET last_used_at = now() WHERE name = (SELECT name FROM m)) "
                       "SELECT " API_KEY_COLUMNS " FROM k"};
    CLEANUP(db_rows_free) struct db_rows *r = NULL;
    TRY(store_run(s, &sql, (struct db_param[]){P_BYTES(bytes_of(hash, SHA256_LEN))}, 1, &r));
    if (db_count(r) == 0)
        return FAIL(ERR_INVALID_API_KEY, "unknown, expired or revoked");
    return api_key_row(s, r, 0, out);
}

struct err store_api_key_list(const struct store *s, struct api_key **out, size_t *n)
{
    static const struct sql sql = {"api_key_list", "SELECT " API_KEY_COLUMNS " FROM nexus.api_keys ORDER BY name"};
    CLEANUP(db_rows_free) struct db_rows *r = NULL;
    TRY(store_run(s, &sql, NULL, 0, &r));
    *n = db_count(r);
    *out = arena_array(s->arena, *n, sizeof **out);
    if (*out == NULL)
        return FAIL(ERR_NO_MEMORY, "%zu API keys", *n);
    for (size_t i = 0; i < *n; i++)
        TRY(api_key_row(s, r, i, &(*out)[i]));
    return OK;
}

struct err store_api_key_revoke(const struct store *s, struct str name, const struct leaf_batch *l, bool *revoked_now)
{
    static const struct sql sql = {
        "api_key_revoke",
        "WITH e AS (UPDATE nexus.api_keys SET revoked_at = now() WHERE name = $10 "
        "AND revoked_at IS NULL RETURNING 1), l AS (" LEAVES_INSERT("e") ") "
                                                                         "SELECT EXISTS (SELECT 1 FROM e)"};
    struct db_param p[LEAF_PARAMS + 1] = {[LEAF_PARAMS] = P_TEXT(name)};
    TRY(leaves_bind(s, l, true, p));
    CLEANUP(db_rows_free) struct db_rows *r = NULL;
    TRY(store_run(s, &sql, p, COUNT(p), &r));
    return db_get_bool(r, 0, 0, revoked_now);
}
