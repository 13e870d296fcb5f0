/* SPDX-License-Identifier: Apache-2.0 */
#include "service/store/policy.h"

#include "service/store/internal.h"

#define ISSUER_COLUMNS                                                                                                 \
    "id, issuer, jwks, jwks_uri, discovery, algorithms, audience, typ, claim_user_id, claim_tenant_id, "               \
    "claim_clearance, claim_permissions, max_age_seconds, one_time_jti, active, version, created_at, updated_at"

static struct err issuer_row(const struct store *s, const struct db_rows *r, size_t row, struct issuer *out)
{
    *out = (struct issuer){.version = 0};
    TRY(db_get_text(r, row, 0, s->arena, &out->id));
    TRY(db_get_text(r, row, 1, s->arena, &out->issuer));
    TRY(db_get_text(r, row, 2, s->arena, &out->jwks));
    TRY(db_get_text(r, row, 3, s->arena, &out->jwks_uri));
    TRY(db_get_bool(r, row, 4, &out->discovery));
    TRY(db_get_texts(r, row, 5, s->arena, &out->algorithms));
    TRY(db_get_text(r, row, 6, s->arena, &out->audience));
    TRY(db_get_text(r, row, 7, s->arena, &out->typ));
    TRY(db_get_text(r, row, 8, s->arena, &out->claim_user_id));
    TRY(db_get_text(r, row, 9, s->arena, &out->claim_tenant_id));
    TRY(db_get_text(r, row, 10, s->arena, &out->claim_clearance));
    TRY(db_get_text(r, row, 11, s->arena, &out->claim_permissions));
    TRY(db_get_int(r, row, 12, &out->max_age_s));
    TRY(db_get_bool(r, row, 13, &out->one_time_jti));
    TRY(db_get_bool(r, row, 14, &out->active));
    TRY(db_get_int(r, row, 15, &out->version));
    TRY(db_get_time(r, row, 16, &out->created_us));
    return db_get_time(r, row, 17, &out->updated_us);
}

enum { ISSUER_PARAMS = LEAF_PARAMS + 16 };

/* $10 to $24: what a registration or a change writes; $25: what its statement must find. */
static void issuer_bind(const struct issuer *i, int64_t condition, struct db_param p[static ISSUER_PARAMS])
{
    const struct db_param own[] = {P_TEXT(i->id),
                                   P_TEXT(i->issuer),
                                   P_TEXT(i->jwks),
                                   P_TEXT(i->jwks_uri),
                                   P_BOOL(i->discovery),
                                   P_TEXTS(i->algorithms),
                                   P_TEXT(i->audience),
                                   P_TEXT(i->typ),
                                   P_TEXT(i->claim_user_id),
                                   P_TEXT(i->claim_tenant_id),
                                   P_TEXT(i->claim_clearance),
                                   P_TEXT(i->claim_permissions),
                                   P_INT(i->max_age_s),
                                   P_BOOL(i->one_time_jti),
                                   P_BOOL(i->active),
                                   P_INT(condition)};
    _Static_assert(COUNT(own) == ISSUER_PARAMS - LEAF_PARAMS, "a value for each parameter");
    memcpy(p + LEAF_PARAMS, own, sizeof own);
}

struct err store_issuer_insert(const struct store *s, const struct issuer *i, const struct leaf_batch *l,
                               int64_t *created_us)
{
    static const struct sql sql = {
        "issuer_insert",
        "WITH e AS (INSERT INTO nexus.issuers (id, issuer, jwks, jwks_uri, discovery, algorithms, audience, typ, "
        "claim_user_id, claim_tenant_id, claim_clearance, claim_permissions, max_age_seconds, one_time_jti, active) "
        "SELECT $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, nullif($22, 0), $23, $24 "
        "WHERE (SELECT count(*) FROM nexus.issuers) < $25 RETURNING created_at), " POLICY_CHANGED(
            "e") ", l AS (" LEAVES_INSERT("e") ") SELECT created_at FROM e"};
    struct db_param p[ISSUER_PARAMS];
    issuer_bind(i, ISSUERS_MAX, p);
    TRY(leaves_bind(s, l, true, p));
    CLEANUP(db_rows_free) struct db_rows *r = NULL;
    struct policy_change c = {
        &sql, p, COUNT(p), &r,
        FAIL(ERR_INVALID_REQUEST, "there are %d issuers already, the most that there can be", ISSUERS_MAX)};
    struct err e = policy_change(s, &c);
    if (e.code == ERR_CONFLICT && strcmp(e.detail, "issuers_issuer_key") == 0)
        return FAIL(ERR_ISSUER_EXISTS, "%.*s", STR_FMT(i->issuer));
    TRY(e);
    return db_get_time(r, 0, 0, created_us);
}

struct err store_issuer_get(const struct store *s, struct str id, struct issuer *out)
{
    static const struct sql sql = {"issuer_get", "SELECT " ISSUER_COLUMNS " FROM nexus.issuers WHERE id = $1"};
    CLEANUP(db_rows_free) struct db_rows *r = NULL;
    TRY(store_run(s, &sql, (struct db_param[]){P_TEXT(id)}, 1, &r));
    if (db_count(r) == 0)
        return FAIL(ERR_ISSUER_NOT_FOUND, "%.*s", STR_FMT(id));
    return issuer_row(s, r, 0, out);
}

struct err store_issuer_list(const struct store *s, struct issuer **out, size_t *n)
{
    static const struct sql sql = {"issuer_list", "SELECT " ISSUER_COLUMNS " FROM nexus.issuers ORDER BY issuer"};
    CLEANUP(db_rows_free) struct db_rows *r = NULL;
    TRY(store_run(s, &sql, NULL, 0, &r));
    *n = db_count(r);
    *out = arena_array(s->arena, *n, sizeof **out);
    if (*out == NULL)
        return FAIL(ERR_NO_MEMORY, "%zu issuers", *n);
    for (size_t i = 0; i < *n; i++)
        TRY(issuer_row(s, r, i, &(*out)[i]));
    return OK;
}

struct err store_issuer_update(const struct store *s, const struct issuer *i, const struct leaf_batch *l,
                               struct issuer *out)
{
    static const struct sql sql = {
        "issuer_update",
        "WITH e AS (UPDATE nexus.issuers SET jwks = $12, jwks_uri = $13, discovery = $14, algorithms = $15, "
        "audience = $16, typ = $17, claim_user_id = $18, claim_tenant_id = $19, claim_clearance = $20, "
        "claim_permissions = $21, max_age_seconds = nullif($22, 0), one_time_jti = $23, active = $24, "
        "version = version + 1, updated_at = now() WHERE id = $10 AND issuer = $11 AND version = $25 "
        "RETURNING " ISSUER_COLUMNS "), " POLICY_CHANGED("e") ", l AS (" LEAVES_INSERT("e") ") SELECT " ISSUER_COLUMNS
                                                                                            " FROM e"};
    struct db_param p[ISSUER_PARAMS];
    issuer_bind(i, i->version, p);
    TRY(leaves_bind(s, l, true, p));
    CLEANUP(db_rows_free) struct db_rows *r = NULL;
    struct policy_change c = {&sql, p, COUNT(p), &r, FAIL(ERR_CONFLICT, "the issuer has another version")};
    TRY(policy_change(s, &c));
    return issuer_row(s, r, 0, out);
}

struct err store_issuer_delete(const struct store *s, struct str id, const struct leaf_batch *l)
{
    static const struct sql sql = {"issuer_delete",
                                   "WITH e AS (DELETE FROM nexus.issuers WHERE id = $10 RETURNING 1), " POLICY_CHANGED(
                                       "e") ", l AS (" LEAVES_INSERT("e") ") SELECT 1 FROM e"};
    struct db_param p[LEAF_PARAMS + 1] = {[LEAF_PARAMS] = P_TEXT(id)};
    TRY(leaves_bind(s, l, true, p));
    CLEANUP(db_rows_free) struct db_rows *r = NULL;
    struct policy_change c = {&sql, p, COUNT(p), &r, FAIL(ERR_ISSUER_NOT_FOUND, "%.*s", STR_FMT(id))};
    return policy_change(s, &c);
}
