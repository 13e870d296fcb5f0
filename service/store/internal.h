/* SPDX-License-Identifier: Apache-2.0
 * What the files of this folder share: parameters on the wire, transactions, and the leaves of a statement. */
#ifndef SERVICE_STORE_INTERNAL_H
#define SERVICE_STORE_INTERNAL_H

#include "service/store/store.h"

/* --- db_param.c --- Parameters as libpq takes them; all are binary. */
struct db_wire {
    unsigned *types;
    const char **values;
    int *lengths;
    int *formats;
};
struct err db_encode(const struct db_param *params, size_t n, struct arena *a, struct db_wire *out);

/* --- db_rows.c --- Type numbers of PostgreSQL (pg_type.dat), which are part of its protocol. */
enum {
    OID_BOOL = 16,
    OID_BYTEA = 17,
    OID_INT8 = 20,
    OID_TEXT = 25,
    OID_BYTEA_ARRAY = 1001,
    OID_TEXT_ARRAY = 1009,
    OID_INT8_ARRAY = 1016,
    OID_TIMESTAMPTZ = 1184
};
/* PostgreSQL counts microseconds from 2000-01-01 UTC, we from 1970. */
#define PG_EPOCH_US INT64_C(946684800000000)

struct pg_result;
struct err db_rows_new(struct arena *a, struct pg_result **r, struct db_rows **out);
/* An error that holds what the server said; *drop: the connection is of no use any more. */
struct err db_error(const struct pg_result *r, const char *statement, bool *drop);

/* --- db.c --- */
/* The writer whose lock this connection holds ("" for none); forgotten with the connection. */
void db_set_writer(struct db *db, const char *writer);
const char *db_writer(const struct db *db);
/* Several statements in one text, for migrations: embedded files only, never anything made at run time. */
struct err db_script(struct db *db, const char *text, int64_t deadline_us);

/* --- tx.c --- Runs fn between BEGIN and COMMIT. fn's error rolls back and is returned. fn may not call db_tx. */
typedef struct err db_tx_fn(const struct store *s, void *arg);
struct err db_tx(const struct store *s, db_tx_fn *fn, void *arg);
void db_set_tx(struct db *db, bool open);

/* Runs a statement in its surroundings. out may be NULL. */
struct err store_run(const struct store *s, const struct sql *sql, const struct db_param *p, size_t n,
                     struct db_rows **out);

/* --- leaves.c --- The first nine parameters of every statement that makes an effect. */
enum { LEAF_PARAMS = 9 };
/* Fills them. Refuses leaves of a writer that was not begun on this very connection, and, when needs_effect, a batch
 * without an effect leaf: no effect without its record. */
struct err leaves_bind(const struct store *s, const struct leaf_batch *l, bool needs_effect,
                       struct db_param p[static LEAF_PARAMS]);
/* The part of a WITH that inserts them: leaves up to $9 always, those after it only if `effect` has a row. */
#define LEAVES_INSERT(effect)                                                                                          \
    "INSERT INTO nexus.audit_leaves (writer, seq, kind, jti, corr_writer, corr_seq, leaf, leaf_hash) "                 \
    "SELECT $1, x.seq, x.kind, x.jti, x.cw, CASE WHEN x.cw IS NOT NULL THEN x.cs END, x.leaf, x.hash "                 \
    "FROM unnest($2, $3, $4, $5, $6, $7, $8) WITH ORDINALITY AS x(seq, kind, jti, cw, cs, leaf, hash, n) "             \
    "WHERE x.n <= $9 OR EXISTS (SELECT 1 FROM " effect ")"

/* --- policy.c --- A change of issuers or scopes: one statement that gives one row when it took effect, else c->none is
 * returned and nothing of it stays. */
struct policy_change {
    const struct sql *sql;
    const struct db_param *p;
    size_t n;
    struct db_rows **rows;
    struct err none;
};
struct err policy_change(const struct store *s, struct policy_change *c);
/* The part of its WITH that raises the revision, if `effect` has a row. */
#define POLICY_CHANGED(effect)                                                                                         \
    "v AS (UPDATE nexus.policy_revision SET revision = revision + 1 WHERE EXISTS (SELECT 1 FROM " effect "))"

/* --- once.c --- Three parameters: the spaces, hashes and times of ids. */
struct err ids_bind(const struct store *s, const struct one_time *ids, size_t n, struct db_param out[static 3]);
/* As rows of replay_guard: what to select, and from what. */
#define IDS_ROWS(spaces, hashes, until) "unnest(" spaces ", " hashes ", " until ") AS i(space, hash, until)"
#define IDS_COLUMNS                     "i.space, i.hash, timestamptz 'epoch' + i.until * interval '1 microsecond'"

/* Issuers of an agent pass this gate together, a change of the agent alone; who comes first goes first. The first
 * number names the kind of lock: 1 an agent's gate, 2 the pruning of replay ids, 3 a user's gate, 4 the gate of issuers
 * and scopes. (Writers' locks are 64 bits wide and of another space.) Two agents of one hash wait for each other, no
 * more. */
#define AGENT_GATE_SHARED(id) "pg_advisory_xact_lock_shared(1, hashtext(" id "))"
#define AGENT_GATE(id)        "pg_advisory_xact_lock(1, hashtext(" id "))"
#define USER_GATE_SHARED(id)  "pg_advisory_xact_lock_shared(3, hashtext(" id "))"
#define USER_GATE(id)         "pg_advisory_xact_lock(3, hashtext(" id "))"
#define POLICY_GATE_SHARED    "pg_advisory_xact_lock_shared(4, 0)"
#define POLICY_GATE           "pg_advisory_xact_lock(4, 0)"

/* --- revoke.c --- The part of a WITH that closes sessions. m: the open ones that match, locked in the order of their
 * ids, so that two who close the same rows do not deadlock; d: the open ones that were exchanged from them; c: closes
 * both. Descendants end by their ancestors alone (sessions.c); their rows say so for those who read rows. So one that
 * somebody else is closing is skipped, not waited for. Lists of ids go through arrays, since the planner then takes the
 * primary key whatever it believes their length to be. */
#define SESSIONS_CLOSE(match)                                                                                          \
    "m AS (SELECT session_id FROM nexus.agent_sessions WHERE closed_at IS NULL AND " match                             \
    " ORDER BY session_id FOR UPDATE), "                                                                               \
    "d AS (SELECT x.session_id FROM m CROSS JOIN LATERAL (SELECT session_id FROM nexus.agent_sessions "                \
    "WHERE ancestors <> '{}' AND ancestors @> ARRAY[m.session_id] AND closed_at IS NULL AND " SESSION_LIVES            \
    " FOR UPDATE SKIP LOCKED) x), "                                                                                    \
    "c AS (UPDATE nexus.agent_sessions SET closed_at = statement_timestamp() "                                         \
    "WHERE session_id = ANY(ARRAY(SELECT session_id FROM m UNION ALL SELECT session_id FROM d)) RETURNING 1)"
/* What has just ended by the database's clock may live by a broker's: a minute for that. No session is longer than an
 * hour, so older ones need not be looked at: an agent that has 10,000 open has had a million in a day. */
#define SESSION_LIVES                                                                                                  \
    "expires_at > statement_timestamp() - interval '1 minute' "                                                        \
    "AND created_at > statement_timestamp() - interval '61 minutes'"
_Static_assert(TTL_MAX_S == 3600, "SESSION_LIVES knows how old an open session can be");

/* --- page.c --- Keyset cursors: (created_at, id), opaque to callers. */
enum { PAGE_MAX = 1000 };
struct page {
    int64_t us;    /* 0: from the start */
    struct str id; /* p == NULL with it */
};
/* ERR_INVALID_REQUEST naming "cursor" for anything that page_cursor did not make. */
struct err page_parse(struct arena *a, struct str cursor, struct page *out);
/* What a caller wants, within 1 .. PAGE_MAX. */
size_t page_limit(size_t wanted);
struct err page_cursor(struct arena *a, int64_t us, struct str id, struct str *out);

#endif
