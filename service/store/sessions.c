/* SPDX-License-Identifier: Apache-2.0 */
#include "service/store/internal.h"

#define SESSION_COLUMNS                                                                                                \
    "session_id, agent_id, scopes, jti, kid, audience, created_at, expires_at, closed_at, obo, acting_for, "           \
    "tenant_id, clearance_level"

static struct err session_row(const struct store *s, const struct db_rows *r, size_t row, struct session *out)
{
    *out = (struct session){.closed_us = 0};
    TRY(db_get_text(r, row, 0, s->arena, &out->id));
    TRY(db_get_text(r, row, 1, s->arena, &out->agent_id));
    TRY(db_get_texts(r, row, 2, s->arena, &out->scopes));
    TRY(db_get_text(r, row, 3, s->arena, &out->jti));
    TRY(db_get_text(r, row, 4, s->arena, &out->kid));
    TRY(db_get_text(r, row, 5, s->arena, &out->audience));
    TRY(db_get_time(r, row, 6, &out->created_us));
    TRY(db_get_time(r, row, 7, &out->expires_us));
    TRY(db_get_time(r, row, 8, &out->closed_us));
    TRY(db_get_bool(r, row, 9, &out->obo));
    TRY(db_get_text(r, row, 10, s->arena, &out->acting_for));
    TRY(db_get_text(r, row, 11, s->arena, &out->tenant_id));
    return db_get_int(r, row, 12, &out->clearance_level);
}

/* The statement that the broker lives for: one round trip, one commit.
 * a: the agent as it was decided on. FOR SHARE lets any number of issuers pass together and makes a change of the
 *    agent wait for them; when a change came first, the row is looked at again as it is now. The gate is for fairness
 *    only: row locks let new sharers overtake a waiting change without end, advisory locks do not (agents.c).
 * g: the assertion's id, consumed only if the agent stands: the first of any number of brokers wins.
 * s, l: the session and its leaves follow from g; waiting outcomes are written in any case. */
static const struct sql issue = {
    "session_issue",
    "WITH a AS (SELECT id FROM nexus.agents, (SELECT " AGENT_GATE_SHARED(
        "$10") " OFFSET 0) gate "
               "WHERE id = $10 AND version = $11 AND active AND deleted_at IS NULL FOR SHARE OF agents), "
               "g AS (INSERT INTO nexus.replay_guard (issuer, jti_hash, expires_at) SELECT id, $12, $13 FROM a "
               "ON CONFLICT DO NOTHING RETURNING issuer), "
               "s AS (INSERT INTO nexus.agent_sessions (agent_id, session_id, scopes, jti, kid, audience, created_at, "
               "expires_at, obo, acting_for, tenant_id, clearance_level) "
               "SELECT issuer, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23, $24 FROM g RETURNING 1), "
               "l AS (" LEAVES_INSERT("s") ") SELECT EXISTS (SELECT 1 FROM a), EXISTS (SELECT 1 FROM s)"};

struct err store_session_issue(const struct store *s, const struct issue_request *q, const struct leaf_batch *l,
                               enum issue_result *out)
{
    const struct session *n = q->session;
    struct db_param p[LEAF_PARAMS + 15] = {[LEAF_PARAMS] = P_TEXT(n->agent_id),
                                           P_INT(q->agent_version),
                                           P_BYTES(bytes_of(q->jti_sha256, SHA256_LEN)),
                                           P_TIME(q->assertion_exp_us),
                                           P_TEXT(n->id),
                                           P_TEXTS(n->scopes),
                                           P_TEXT(n->jti),
                                           P_TEXT(n->kid),
                                           P_TEXT(n->audience),
                                           P_TIME(n->created_us),
                                           P_TIME(n->expires_us),
                                           P_BOOL(n->obo),
                                           P_TEXT(n->acting_for),
                                           P_TEXT(n->tenant_id),
                                           P_INT(n->clearance_level)};
    TRY(leaves_bind(s, l, true, p));
    CLEANUP(db_rows_free) struct db_rows *r = NULL;
    TRY(store_run(s, &issue, p, COUNT(p), &r));
    bool agent = false, inserted = false;
    TRY(db_get_bool(r, 0, 0, &agent));
    TRY(db_get_bool(r, 0, 1, &inserted));
    *out = inserted ? ISSUE_DONE : agent ? ISSUE_REPLAYED : ISSUE_AGENT_CHANGED;
    return OK;
}

struct err store_session_get(const struct store *s, struct str session_id, struct session *out)
{
    static const struct sql sql = {"session_get",
                                   "SELECT " SESSION_COLUMNS " FROM nexus.agent_sessions WHERE session_id = $1"};
    CLEANUP(db_rows_free) struct db_rows *r = NULL;
    TRY(store_run(s, &sql, (struct db_param[]){P_TEXT(session_id)}, 1, &r));
    if (db_count(r) == 0)
        return FAIL(ERR_SESSION_NOT_FOUND, "%.*s", STR_FMT(session_id));
    return session_row(s, r, 0, out);
}

struct err store_session_close(const struct store *s, struct str session_id, const struct leaf_batch *l,
                               bool *closed_now)
{
    static const struct sql sql = {
        "session_close",
        "WITH e AS (UPDATE nexus.agent_sessions SET closed_at = now() WHERE session_id = $10 "
        "AND closed_at IS NULL RETURNING 1), l AS (" LEAVES_INSERT("e") ") "
                                                                        "SELECT EXISTS (SELECT 1 FROM e)"};
    struct db_param p[LEAF_PARAMS + 1] = {[LEAF_PARAMS] = P_TEXT(session_id)};
    TRY(leaves_bind(s, l, true, p));
    CLEANUP(db_rows_free) struct db_rows *r = NULL;
    TRY(store_run(s, &sql, p, COUNT(p), &r));
    return db_get_bool(r, 0, 0, closed_now);
}

struct err store_session_list(const struct store *s, const struct session_filter *f, struct session **out, size_t *n,
                              struct str *next)
{
    static const struct sql sql = {"session_list",
                                   "SELECT " SESSION_COLUMNS " FROM nexus.agent_sessions WHERE "
                                   "($1::text IS NULL OR agent_id = $1) AND ($2::text IS NULL OR acting_for = $2) "
                                   "AND (NOT $3 OR (closed_at IS NULL AND expires_at > $5) = $4) "
                                   "AND ($6::timestamptz IS NULL OR created_at >= $6) "
                                   "AND ($7::timestamptz IS NULL OR created_at < $7) "
                                   "AND ($8::timestamptz IS NULL OR (created_at, session_id) < ($8, $9)) "
                                   "ORDER BY created_at DESC, session_id DESC LIMIT $10"};
    struct page page;
    TRY(page_parse(s->arena, f->cursor, &page));
    size_t limit = page_limit(f->limit);
    const struct db_param p[] = {P_TEXT(f->agent_id), P_TEXT(f->acting_for),    P_BOOL(f->by_active), P_BOOL(f->active),
                                 P_TIME(f->now_us),   P_TIME(f->since_us),      P_TIME(f->until_us),  P_TIME(page.us),
                                 P_TEXT(page.id),     P_INT((int64_t)limit + 1)};
    CLEANUP(db_rows_free) struct db_rows *r = NULL;
    const struct db_call call = {
        .sql = &sql, .params = p, .n = COUNT(p), .deadline_us = s->deadline_us, .plan_anew = true};
    TRY(db_run(s->db, &call, s->arena, &r));
    *n = db_count(r) < limit ? db_count(r) : limit;
    *out = arena_array(s->arena, *n, sizeof **out);
    if (*out == NULL)
        return FAIL(ERR_NO_MEMORY, "%zu sessions", *n);
    for (size_t i = 0; i < *n; i++)
        TRY(session_row(s, r, i, &(*out)[i]));
    *next = (struct str){NULL, 0};
    if (db_count(r) <= limit)
        return OK;
    const struct session *last = &(*out)[limit - 1];
    return page_cursor(s->arena, last->created_us, last->id, next);
}

struct err store_replay_consume(const struct store *s, struct str agent_id, const uint8_t jti_sha256[static SHA256_LEN],
                                int64_t exp_us, bool *fresh)
{
    static const struct sql sql = {
        "replay_consume", "WITH g AS (INSERT INTO nexus.replay_guard (issuer, jti_hash, expires_at) "
                          "VALUES ($1, $2, $3) ON CONFLICT DO NOTHING RETURNING 1) SELECT EXISTS (SELECT 1 FROM g)"};
    const struct db_param p[] = {P_TEXT(agent_id), P_BYTES(bytes_of(jti_sha256, SHA256_LEN)), P_TIME(exp_us)};
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
