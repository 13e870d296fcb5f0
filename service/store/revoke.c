/* SPDX-License-Identifier: Apache-2.0 */
#include "service/store/revoke.h"

#include "service/store/internal.h"

struct err store_session_close(const struct store *s, struct str session_id, const struct leaf_batch *l,
                               bool *closed_now)
{
    static const struct sql sql = {"session_close", "WITH " SESSIONS_CLOSE("session_id = $10") ", l AS (" LEAVES_INSERT(
                                                        "m") ") SELECT EXISTS (SELECT 1 FROM m)"};
    struct db_param p[LEAF_PARAMS + 1] = {[LEAF_PARAMS] = P_TEXT(session_id)};
    TRY(leaves_bind(s, l, true, p));
    CLEANUP(db_rows_free) struct db_rows *r = NULL;
    TRY(store_run(s, &sql, p, COUNT(p), &r));
    return db_get_bool(r, 0, 0, closed_now);
}

/* Issuers hold the gates of their agent and of the user whom it acts for, together, until they have committed. Who
 * passes a gate alone comes after all that had it before, and closes with the next statement, whose snapshot holds what
 * those did (READ COMMITTED). Whoever comes later opens a new session, which is not what was to be closed. A single
 * session needs no gate: what is exchanged from it at this very moment ends by its ancestor. */
struct revocation {
    struct sql first; /* the gate; of a session, whether there is one: without a row there is nothing to close */
    struct sql close; /* $10 is the id */
};

#define CLOSE(match)                                                                                                   \
    "WITH " SESSIONS_CLOSE(match) ", l AS (" LEAVES_INSERT(                                                            \
        "(SELECT 1) asked") ") SELECT (SELECT count(*) FROM m), (SELECT count(*) FROM c)"

static const struct revocation of_agent = {{"revoke_agent_gate", "SELECT " AGENT_GATE("$1")},
                                           {"revoke_agent", CLOSE("agent_id = $10 AND " SESSION_LIVES)}};
static const struct revocation of_user = {{"revoke_user_gate", "SELECT " USER_GATE("$1")},
                                          {"revoke_user", CLOSE("acting_for = $10 AND " SESSION_LIVES)}};
static const struct revocation of_session = {
    {"revoke_session_exists", "SELECT 1 FROM nexus.agent_sessions WHERE session_id = $1"},
    {"revoke_session", CLOSE("session_id = $10 AND " SESSION_LIVES)}};

struct revoking {
    const struct revocation *how;
    struct str id;
    struct db_param *p;
    size_t n;
    struct db_rows **rows;
};

static struct err revoke(const struct store *s, void *arg)
{
    const struct revoking *v = arg;
    CLEANUP(db_rows_free) struct db_rows *r = NULL;
    TRY(store_run(s, &v->how->first, (struct db_param[]){P_TEXT(v->id)}, 1, &r));
    if (db_count(r) == 0)
        return FAIL(ERR_SESSION_NOT_FOUND, "%.*s", STR_FMT(v->id));
    return store_run(s, &v->how->close, v->p, v->n, v->rows);
}

struct err store_sessions_revoke(const struct store *s, const struct revoke_ask *ask, const struct leaf_batch *l,
                                 int64_t *closed, int64_t *descendants)
{
    struct revoking v = {.how = &of_session, .id = ask->session_id};
    if (ask->agent_id.p != NULL)
        v = (struct revoking){.how = &of_agent, .id = ask->agent_id};
    else if (ask->user_id.p != NULL)
        v = (struct revoking){.how = &of_user, .id = ask->user_id};
    struct db_param p[LEAF_PARAMS + 1] = {[LEAF_PARAMS] = P_TEXT(v.id)};
    TRY(leaves_bind(s, l, true, p));
    CLEANUP(db_rows_free) struct db_rows *r = NULL;
    v.p = p;
    v.n = COUNT(p);
    v.rows = &r;
    TRY(db_tx(s, revoke, &v));
    int64_t all = 0;
    TRY(db_get_int(r, 0, 0, closed));
    TRY(db_get_int(r, 0, 1, &all));
    *descendants = all - *closed;
    return OK;
}

struct err store_user_issuers(const struct store *s, struct str user_id, struct str_list *out)
{
    static const struct sql sql = {"user_issuers",
                                   "SELECT DISTINCT user_issuer FROM nexus.agent_sessions WHERE acting_for = $1 "
                                   "AND closed_at IS NULL AND " SESSION_LIVES " LIMIT $2"};
    CLEANUP(db_rows_free) struct db_rows *r = NULL;
    TRY(store_run(s, &sql, (struct db_param[]){P_TEXT(user_id), P_INT(USER_ISSUERS_MAX)}, 2, &r));
    size_t n = db_count(r);
    struct str *v = arena_array(s->arena, n, sizeof *v);
    if (v == NULL)
        return FAIL(ERR_NO_MEMORY, "%zu issuers", n);
    for (size_t i = 0; i < n; i++)
        TRY(db_get_text(r, i, 0, s->arena, &v[i]));
    *out = (struct str_list){v, n};
    return OK;
}
