/* SPDX-License-Identifier: Apache-2.0 */
#include "service/store/internal.h"

/* A session ends with any of its ancestors: whoever closes one closes all that were exchanged from it, also those that
 * another broker inserts at that very moment. So the ancestors are looked at by every reading, not only when closing.
 */
#define CLOSED_AT                                                                                                      \
    "coalesce(closed_at, (SELECT min(p.closed_at) FROM nexus.agent_sessions p WHERE p.session_id = ANY(s.ancestors)))"

#define SESSION_COLUMNS                                                                                                \
    "session_id, agent_id, scopes, jti, kid, audiences, created_at, expires_at, " CLOSED_AT ", obo, acting_for, "      \
    "tenant_id, clearance_level, chain, ancestors, grant_type, user_issuer, cnf_jkt"

static struct err session_row(const struct store *s, const struct db_rows *r, size_t row, struct session *out)
{
    *out = (struct session){.closed_us = 0};
    TRY(db_get_text(r, row, 0, s->arena, &out->id));
    TRY(db_get_text(r, row, 1, s->arena, &out->agent_id));
    TRY(db_get_texts(r, row, 2, s->arena, &out->scopes));
    TRY(db_get_text(r, row, 3, s->arena, &out->jti));
    TRY(db_get_text(r, row, 4, s->arena, &out->kid));
    TRY(db_get_texts(r, row, 5, s->arena, &out->audiences));
    TRY(db_get_time(r, row, 6, &out->created_us));
    TRY(db_get_time(r, row, 7, &out->expires_us));
    TRY(db_get_time(r, row, 8, &out->closed_us));
    TRY(db_get_bool(r, row, 9, &out->obo));
    TRY(db_get_text(r, row, 10, s->arena, &out->acting_for));
    TRY(db_get_text(r, row, 11, s->arena, &out->tenant_id));
    TRY(db_get_int(r, row, 12, &out->clearance_level));
    TRY(db_get_texts(r, row, 13, s->arena, &out->chain));
    TRY(db_get_texts(r, row, 14, s->arena, &out->ancestors));
    TRY(db_get_text(r, row, 15, s->arena, &out->grant_type));
    TRY(db_get_text(r, row, 16, s->arena, &out->user_issuer));
    return db_get_text(r, row, 17, s->arena, &out->cnf_jkt);
}

/* The statement that the broker lives for: one round trip, one commit.
 * a: the agent as it was decided on, behind the gates. FOR SHARE lets any number of issuers pass together and makes a
 *    change of the agent wait for them; when a change came first, the row is looked at again as it is now. The gates
 *    make whoever changes the agent (agents.c), revokes a user's sessions (revoke.c) or changes issuers and scopes
 *    (policy.c) wait in turn for those who are opening sessions; row locks let new sharers overtake them without end.
 * k: whether all else that was decided on stands, asked behind all these locks (schema/migrations/0002_delegation.sql).
 * g: the one-time ids, consumed only if all that stands: the first of any number of brokers wins.
 * n: the session, if every id was fresh; l: its leaves. Waiting outcomes are written in any case. */
#define USER_PASSES USER_GATE_SHARED("$26")
#define GATES                                                                                                          \
    "(SELECT " AGENT_GATE_SHARED("$10") ", CASE WHEN $26 IS NOT NULL THEN " USER_PASSES " END, " POLICY_GATE_SHARED    \
                                        " OFFSET 0)"
#define INSERT_LEAVES LEAVES_INSERT("n")
#define ISSUE_IDS     IDS_ROWS("$13", "$14", "$15")
static const struct sql issue = {
    "session_issue",
    "WITH a AS (SELECT id FROM nexus.agents, " GATES " gate "
    "WHERE id = $10 AND version = $11 AND active AND deleted_at IS NULL FOR SHARE OF agents), "
    "k AS MATERIALIZED (SELECT id, nexus.issue_stands($12, $28[2:], $32, $29) AS code FROM a), "
    "g AS (INSERT INTO nexus.replay_guard (issuer, jti_hash, expires_at) "
    "SELECT " IDS_COLUMNS " FROM k, " ISSUE_IDS " WHERE k.code = 0 ON CONFLICT DO NOTHING RETURNING issuer), "
    "n AS (INSERT INTO nexus.agent_sessions (agent_id, session_id, scopes, jti, kid, audiences, created_at, "
    "expires_at, cnf_jkt, obo, tenant_id, acting_for, clearance_level, chain, ancestors, grant_type, user_issuer) "
    "SELECT id, $16, $17, $18, $19, $20, $21, $22, $23, $24, $25, $26, $27, $28, $29, $30, $31 "
    "FROM k WHERE code = 0 AND (SELECT count(*) FROM g) = cardinality($13) RETURNING 1), "
    "l AS (" INSERT_LEAVES ") "
    "SELECT coalesce((SELECT code FROM k), 1), EXISTS (SELECT 1 FROM n), (SELECT coalesce(array_agg(issuer), '{}') "
    "FROM g)"};

enum { ISSUE_PARAMS = LEAF_PARAMS + 23 };
/* What issue_stands says; without the agent as it was decided on there is nobody to ask for. */
enum { STANDS = 0, CHANGED = 1, ENDED = 2 };

/* Which of the ids had been used: the one whose space the statement did not give back. */
static struct err find_replayed(const struct store *s, const struct db_rows *r, const struct issue_request *q,
                                size_t *replayed)
{
    struct str_list fresh;
    TRY(db_get_texts(r, 0, 2, s->arena, &fresh));
    for (*replayed = 0; *replayed + 1 < q->n_ids; ++*replayed) {
        bool is_fresh = false;
        for (size_t i = 0; i < fresh.n && !is_fresh; i++)
            is_fresh = str_eq(fresh.v[i], q->ids[*replayed].space);
        if (!is_fresh)
            break;
    }
    return OK;
}

struct err store_session_issue(const struct store *s, const struct issue_request *q, const struct leaf_batch *l,
                               struct issue_answer *out)
{
    const struct session *n = q->session;
    struct db_param p[ISSUE_PARAMS] = {[LEAF_PARAMS] = P_TEXT(n->agent_id),
                                       P_INT(q->agent_version),
                                       P_INT(q->policy_revision),
                                       P_INT(0),
                                       P_INT(0),
                                       P_INT(0),
                                       P_TEXT(n->id),
                                       P_TEXTS(n->scopes),
                                       P_TEXT(n->jti),
                                       P_TEXT(n->kid),
                                       P_TEXTS(n->audiences),
                                       P_TIME(n->created_us),
                                       P_TIME(n->expires_us),
                                       P_TEXT(n->cnf_jkt),
                                       P_BOOL(n->obo),
                                       P_TEXT(n->tenant_id),
                                       P_TEXT(n->acting_for),
                                       P_INT(n->clearance_level),
                                       P_TEXTS(n->chain),
                                       P_TEXTS(n->ancestors),
                                       P_TEXT(n->grant_type),
                                       P_TEXT(n->user_issuer),
                                       P_INTS(q->chain_versions, n->chain.n - 1)};
    TRY(ids_bind(s, q->ids, q->n_ids, p + LEAF_PARAMS + 3));
    TRY(leaves_bind(s, l, true, p));
    CLEANUP(db_rows_free) struct db_rows *r = NULL;
    TRY(store_run(s, &issue, p, COUNT(p), &r));
    int64_t code = CHANGED;
    bool inserted = false;
    TRY(db_get_int(r, 0, 0, &code));
    TRY(db_get_bool(r, 0, 1, &inserted));
    out->result = inserted          ? ISSUE_DONE
                  : code == STANDS  ? ISSUE_REPLAYED
                  : code == CHANGED ? ISSUE_CHANGED
                                    : ISSUE_LINEAGE_ENDED;
    out->replayed = 0;
    return out->result == ISSUE_REPLAYED ? find_replayed(s, r, q, &out->replayed) : OK;
}

struct err store_session_get(const struct store *s, struct str session_id, struct session *out)
{
    static const struct sql sql = {"session_get",
                                   "SELECT " SESSION_COLUMNS " FROM nexus.agent_sessions s WHERE session_id = $1"};
    CLEANUP(db_rows_free) struct db_rows *r = NULL;
    TRY(store_run(s, &sql, (struct db_param[]){P_TEXT(session_id)}, 1, &r));
    if (db_count(r) == 0)
        return FAIL(ERR_SESSION_NOT_FOUND, "%.*s", STR_FMT(session_id));
    return session_row(s, r, 0, out);
}

struct err store_session_list(const struct store *s, const struct session_filter *f, struct session **out, size_t *n,
                              struct str *next)
{
    static const struct sql sql = {"session_list",
                                   "SELECT " SESSION_COLUMNS " FROM nexus.agent_sessions s WHERE "
                                   "($1::text IS NULL OR agent_id = $1) AND ($2::text IS NULL OR acting_for = $2) "
                                   "AND (NOT $3 OR (" CLOSED_AT " IS NULL AND expires_at > $5) = $4) "
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
