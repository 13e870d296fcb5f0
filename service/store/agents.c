/* SPDX-License-Identifier: Apache-2.0 */
#include "service/store/internal.h"

#define AGENT_COLUMNS                                                                                                  \
    "id, description, allowed_scopes, workspaces, allowed_audiences, jwks, max_ttl_seconds, active, version, "         \
    "created_at, updated_at, delegates_to, require_dpop"

static struct err agent_row(const struct store *s, const struct db_rows *r, size_t row, struct agent *out)
{
    *out = (struct agent){.version = 0};
    TRY(db_get_text(r, row, 0, s->arena, &out->id));
    TRY(db_get_text(r, row, 1, s->arena, &out->description));
    TRY(db_get_texts(r, row, 2, s->arena, &out->allowed_scopes));
    TRY(db_get_texts(r, row, 3, s->arena, &out->workspaces));
    TRY(db_get_texts(r, row, 4, s->arena, &out->allowed_audiences));
    TRY(db_get_text(r, row, 5, s->arena, &out->jwks));
    TRY(db_get_int(r, row, 6, &out->max_ttl_s));
    TRY(db_get_bool(r, row, 7, &out->active));
    TRY(db_get_int(r, row, 8, &out->version));
    TRY(db_get_time(r, row, 9, &out->created_us));
    TRY(db_get_time(r, row, 10, &out->updated_us));
    TRY(db_get_texts(r, row, 11, s->arena, &out->delegates_to));
    return db_get_bool(r, row, 12, &out->require_dpop);
}

enum { AGENT_PARAMS = LEAF_PARAMS + 10 };

/* $10 to $19: what a registration or a change writes. */
static void agent_bind(const struct agent *a, struct db_param p[static AGENT_PARAMS])
{
    const struct db_param own[] = {P_TEXT(a->id),
                                   P_TEXT(a->description),
                                   P_TEXTS(a->allowed_scopes),
                                   P_TEXTS(a->workspaces),
                                   P_TEXTS(a->allowed_audiences),
                                   P_TEXT(a->jwks),
                                   P_INT(a->max_ttl_s),
                                   P_BOOL(a->active),
                                   P_TEXTS(a->delegates_to),
                                   P_BOOL(a->require_dpop)};
    _Static_assert(COUNT(own) == AGENT_PARAMS - LEAF_PARAMS, "a value for each parameter");
    memcpy(p + LEAF_PARAMS, own, sizeof own);
}

struct err store_agent_insert(const struct store *s, const struct agent *a, const struct leaf_batch *l,
                              int64_t *created_us)
{
    static const struct sql sql = {
        "agent_insert",
        "WITH e AS (INSERT INTO nexus.agents (id, description, allowed_scopes, workspaces, "
        "allowed_audiences, jwks, max_ttl_seconds, active, delegates_to, "
        "require_dpop) VALUES ($10, $11, $12, $13, $14, $15, $16, $17, $18, $19) RETURNING created_at), "
        "l AS (" LEAVES_INSERT("e") ") SELECT created_at FROM e"};
    struct db_param p[AGENT_PARAMS];
    agent_bind(a, p);
    TRY(leaves_bind(s, l, true, p));
    CLEANUP(db_rows_free) struct db_rows *r = NULL;
    struct err e = store_run(s, &sql, p, COUNT(p), &r);
    if (e.code == ERR_CONFLICT && strcmp(e.detail, "agents_pkey") == 0)
        return FAIL(ERR_AGENT_EXISTS, "%.*s", STR_FMT(a->id));
    TRY(e);
    return db_get_time(r, 0, 0, created_us);
}

struct err store_agent_get(const struct store *s, struct str agent_id, struct agent *out)
{
    static const struct sql sql = {"agent_get",
                                   "SELECT " AGENT_COLUMNS " FROM nexus.agents WHERE id = $1 AND deleted_at IS NULL"};
    CLEANUP(db_rows_free) struct db_rows *r = NULL;
    TRY(store_run(s, &sql, (struct db_param[]){P_TEXT(agent_id)}, 1, &r));
    if (db_count(r) == 0)
        return FAIL(ERR_AGENT_NOT_FOUND, "%.*s", STR_FMT(agent_id));
    return agent_row(s, r, 0, out);
}

struct err store_agent_list(const struct store *s, const struct agent_filter *f, struct agent **out, size_t *n,
                            struct str *next)
{
    static const struct sql sql = {"agent_list", "SELECT " AGENT_COLUMNS " FROM nexus.agents WHERE deleted_at IS NULL "
                                                 "AND (NOT $1 OR active = $2) "
                                                 "AND ($3::timestamptz IS NULL OR (created_at, id) < ($3, $4)) "
                                                 "ORDER BY created_at DESC, id DESC LIMIT $5"};
    struct page page;
    TRY(page_parse(s->arena, f->cursor, &page));
    size_t limit = page_limit(f->limit);
    const struct db_param p[] = {P_BOOL(f->by_active), P_BOOL(f->active), P_TIME(page.us), P_TEXT(page.id),
                                 P_INT((int64_t)limit + 1)};
    CLEANUP(db_rows_free) struct db_rows *r = NULL;
    TRY(store_run(s, &sql, p, COUNT(p), &r));
    *n = db_count(r) < limit ? db_count(r) : limit;
    *out = arena_array(s->arena, *n, sizeof **out);
    if (*out == NULL)
        return FAIL(ERR_NO_MEMORY, "%zu agents", *n);
    for (size_t i = 0; i < *n; i++)
        TRY(agent_row(s, r, i, &(*out)[i]));
    *next = (struct str){NULL, 0};
    if (db_count(r) <= limit)
        return OK;
    const struct agent *last = &(*out)[limit - 1];
    return page_cursor(s->arena, last->created_us, last->id, next);
}

/* An update and its leaves are one statement, but it may only begin when no session can slip past it. Issuers hold
 * the agent's row FOR SHARE until they have committed. So the row is locked first, which waits for them; the next
 * statement then has a snapshot that holds what they did (READ COMMITTED), and closes their sessions too. The gate
 * keeps new issuers from overtaking meanwhile. */
struct change {
    const struct sql *sql;
    struct db_param *p;
    size_t n;
    struct str agent_id;
    int64_t version; /* 0: any */
    struct db_rows **rows;
};

static struct err locked_change(const struct store *s, void *arg)
{
    static const struct sql lock = {"agent_lock",
                                    "SELECT version FROM nexus.agents WHERE id = $1 AND deleted_at IS NULL FOR UPDATE"};
    static const struct sql gate = {"agent_gate", "SELECT " AGENT_GATE("$1")};
    const struct change *c = arg;
    TRY(store_run(s, &gate, (struct db_param[]){P_TEXT(c->agent_id)}, 1, NULL));
    CLEANUP(db_rows_free) struct db_rows *r = NULL;
    TRY(store_run(s, &lock, (struct db_param[]){P_TEXT(c->agent_id)}, 1, &r));
    if (db_count(r) == 0)
        return FAIL(ERR_AGENT_NOT_FOUND, "%.*s", STR_FMT(c->agent_id));
    int64_t version = 0;
    TRY(db_get_int(r, 0, 0, &version));
    if (c->version != 0 && c->version != version)
        return FAIL(ERR_CONFLICT, "the agent has another version");
    return store_run(s, c->sql, c->p, c->n, c->rows);
}

/* $10 is the agent's id. */
#define CLOSE_SESSIONS(condition) SESSIONS_CLOSE("agent_id = $10 AND " SESSION_LIVES " AND " condition)

struct err store_agent_update(const struct store *s, const struct agent *a, const struct leaf_batch *l,
                              struct agent *out, int64_t *sessions_closed)
{
    static const struct sql sql = {
        "agent_update",
        "WITH e AS (UPDATE nexus.agents SET description = $11, allowed_scopes = $12, workspaces = $13, "
        "allowed_audiences = $14, jwks = $15, max_ttl_seconds = $16, active = $17, delegates_to = $18, require_dpop = "
        "$19, version = version + 1, "
        "updated_at = now() WHERE id = $10 RETURNING " AGENT_COLUMNS
        "), " CLOSE_SESSIONS("NOT $17") ", "
                                        "l AS (" LEAVES_INSERT("e") ") SELECT " AGENT_COLUMNS
                                                                    ", (SELECT count(*) FROM m) FROM e"};
    struct db_param p[AGENT_PARAMS];
    agent_bind(a, p);
    TRY(leaves_bind(s, l, true, p));
    CLEANUP(db_rows_free) struct db_rows *r = NULL;
    struct change c = {&sql, p, COUNT(p), a->id, a->version, &r};
    TRY(db_tx(s, locked_change, &c));
    TRY(db_get_int(r, 0, 13, sessions_closed));
    return agent_row(s, r, 0, out);
}

struct err store_agent_delete(const struct store *s, struct str agent_id, const struct leaf_batch *l,
                              int64_t *sessions_closed)
{
    static const struct sql sql = {
        "agent_delete", "WITH e AS (UPDATE nexus.agents SET active = false, deleted_at = now(), updated_at = now(), "
                        "version = version + 1 WHERE id = $10 RETURNING 1), " CLOSE_SESSIONS(
                            "true") ", "
                                    "l AS (" LEAVES_INSERT("e") ") SELECT count(*) FROM m"};
    struct db_param p[LEAF_PARAMS + 1] = {[LEAF_PARAMS] = P_TEXT(agent_id)};
    TRY(leaves_bind(s, l, true, p));
    CLEANUP(db_rows_free) struct db_rows *r = NULL;
    struct change c = {&sql, p, COUNT(p), agent_id, 0, &r};
    TRY(db_tx(s, locked_change, &c));
    return db_get_int(r, 0, 0, sessions_closed);
}
