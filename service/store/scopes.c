/* SPDX-License-Identifier: Apache-2.0 */
#include "service/store/policy.h"

#include "service/store/internal.h"

#define SCOPE_COLUMNS "name, description, min_clearance, max_ttl_seconds, requires_obo, created_at, updated_at"

static struct err scope_row(const struct store *s, const struct db_rows *r, size_t row, struct scope_rule *out)
{
    *out = (struct scope_rule){.min_clearance = 0};
    TRY(db_get_text(r, row, 0, s->arena, &out->name));
    TRY(db_get_text(r, row, 1, s->arena, &out->description));
    TRY(db_get_int(r, row, 2, &out->min_clearance));
    TRY(db_get_int(r, row, 3, &out->max_ttl_s));
    TRY(db_get_bool(r, row, 4, &out->requires_obo));
    TRY(db_get_time(r, row, 5, &out->created_us));
    return db_get_time(r, row, 6, &out->updated_us);
}

enum { SCOPE_PARAMS = LEAF_PARAMS + 5 };

/* $10 to $14: what a definition or a change writes. */
static void scope_bind(const struct scope_rule *d, struct db_param p[static SCOPE_PARAMS])
{
    const struct db_param own[] = {P_TEXT(d->name), P_TEXT(d->description), P_INT(d->min_clearance),
                                   P_INT(d->max_ttl_s), P_BOOL(d->requires_obo)};
    _Static_assert(COUNT(own) == SCOPE_PARAMS - LEAF_PARAMS, "a value for each parameter");
    memcpy(p + LEAF_PARAMS, own, sizeof own);
}

struct err store_scope_insert(const struct store *s, const struct scope_rule *d, const struct leaf_batch *l,
                              int64_t *created_us)
{
    static const struct sql sql = {
        "scope_insert",
        "WITH e AS (INSERT INTO nexus.scopes (name, description, min_clearance, max_ttl_seconds, requires_obo) "
        "SELECT $10, $11, $12, nullif($13, 0), $14 WHERE (SELECT count(*) FROM nexus.scopes) < $15 "
        "RETURNING created_at), " POLICY_CHANGED("e") ", l AS (" LEAVES_INSERT("e") ") SELECT created_at FROM e"};
    struct db_param p[SCOPE_PARAMS + 1] = {[SCOPE_PARAMS] = P_INT(SCOPE_RULES_MAX)};
    scope_bind(d, p);
    TRY(leaves_bind(s, l, true, p));
    CLEANUP(db_rows_free) struct db_rows *r = NULL;
    struct policy_change c = {
        &sql, p, COUNT(p), &r,
        FAIL(ERR_INVALID_REQUEST, "%d scopes are defined already, the most that there can be", SCOPE_RULES_MAX)};
    struct err e = policy_change(s, &c);
    if (e.code == ERR_CONFLICT && strcmp(e.detail, "scopes_pkey") == 0)
        return FAIL(ERR_SCOPE_EXISTS, "%.*s", STR_FMT(d->name));
    TRY(e);
    return db_get_time(r, 0, 0, created_us);
}

struct err store_scope_get(const struct store *s, struct str name, struct scope_rule *out)
{
    static const struct sql sql = {"scope_get", "SELECT " SCOPE_COLUMNS " FROM nexus.scopes WHERE name = $1"};
    CLEANUP(db_rows_free) struct db_rows *r = NULL;
    TRY(store_run(s, &sql, (struct db_param[]){P_TEXT(name)}, 1, &r));
    if (db_count(r) == 0)
        return FAIL(ERR_SCOPE_NOT_FOUND, "%.*s", STR_FMT(name));
    return scope_row(s, r, 0, out);
}

struct err store_scope_list(const struct store *s, struct scope_rule **out, size_t *n)
{
    static const struct sql sql = {"scope_list", "SELECT " SCOPE_COLUMNS " FROM nexus.scopes ORDER BY name"};
    CLEANUP(db_rows_free) struct db_rows *r = NULL;
    TRY(store_run(s, &sql, NULL, 0, &r));
    *n = db_count(r);
    *out = arena_array(s->arena, *n, sizeof **out);
    if (*out == NULL)
        return FAIL(ERR_NO_MEMORY, "%zu scopes", *n);
    for (size_t i = 0; i < *n; i++)
        TRY(scope_row(s, r, i, &(*out)[i]));
    return OK;
}

struct err store_scope_update(const struct store *s, const struct scope_rule *d, const struct leaf_batch *l,
                              struct scope_rule *out)
{
    /* o: the row as it was, which all parts of one statement see. A new revision has every worker read the register
     * again, and decide anew: not for a description, nor for values that stay. */
    static const struct sql sql = {
        "scope_update",
        "WITH e AS (UPDATE nexus.scopes SET description = $11, min_clearance = $12, "
        "max_ttl_seconds = nullif($13, 0), requires_obo = $14, updated_at = now() WHERE name = $10 "
        "RETURNING " SCOPE_COLUMNS "), "
        "d AS (SELECT 1 FROM e JOIN nexus.scopes o USING (name) WHERE (o.min_clearance, o.max_ttl_seconds, "
        "o.requires_obo) IS DISTINCT FROM (e.min_clearance, e.max_ttl_seconds, e.requires_obo)), " POLICY_CHANGED(
            "d") ", l AS (" LEAVES_INSERT("e") ") SELECT " SCOPE_COLUMNS " FROM e"};
    struct db_param p[SCOPE_PARAMS];
    scope_bind(d, p);
    TRY(leaves_bind(s, l, true, p));
    CLEANUP(db_rows_free) struct db_rows *r = NULL;
    struct policy_change c = {&sql, p, COUNT(p), &r, FAIL(ERR_SCOPE_NOT_FOUND, "%.*s", STR_FMT(d->name))};
    TRY(policy_change(s, &c));
    return scope_row(s, r, 0, out);
}

struct err store_scope_delete(const struct store *s, struct str name, const struct leaf_batch *l)
{
    static const struct sql sql = {"scope_delete",
                                   "WITH e AS (DELETE FROM nexus.scopes WHERE name = $10 RETURNING 1), " POLICY_CHANGED(
                                       "e") ", l AS (" LEAVES_INSERT("e") ") SELECT 1 FROM e"};
    struct db_param p[LEAF_PARAMS + 1] = {[LEAF_PARAMS] = P_TEXT(name)};
    TRY(leaves_bind(s, l, true, p));
    CLEANUP(db_rows_free) struct db_rows *r = NULL;
    struct policy_change c = {&sql, p, COUNT(p), &r, FAIL(ERR_SCOPE_NOT_FOUND, "%.*s", STR_FMT(name))};
    return policy_change(s, &c);
}
