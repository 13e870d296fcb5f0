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

/* Issuers of an agent pass this gate together, a change of the agent alone; who comes first goes first. The first
 * number names the kind of lock: 1 an agent's gate, 2 the pruning of replay ids. (Writers' locks are 64 bits wide and
 * of another space.) Two agents of one hash wait for each other, no more. */
#define AGENT_GATE_SHARED(id) "pg_advisory_xact_lock_shared(1, hashtext(" id "))"
#define AGENT_GATE(id)        "pg_advisory_xact_lock(1, hashtext(" id "))"

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
