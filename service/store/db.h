/* SPDX-License-Identifier: Apache-2.0
 * The seam to PostgreSQL: typed parameters, typed rows, prepared statements only. A struct db is one connection, owned
 * by one thread. Every call has a monotonic deadline; a server that does not answer by then costs the connection (it is
 * cancelled and dropped), never the thread. A dropped connection is made anew by the next call. */
#ifndef SERVICE_STORE_DB_H
#define SERVICE_STORE_DB_H

#include "base/arena.h"
#include "base/err.h"

#include <stdint.h>

struct db;

/* dsn: libpq's, maybe with several hosts (target_session_attrs=read-write is added when it names none). Connecting
 * waits for the first call. */
struct err db_new(struct str dsn, struct db **out);
void db_free(struct db **db);

/* How often this connection was made: a writer chain belongs to one generation. 0 before the first. */
int64_t db_generation(const struct db *db);
/* Connects if need be. After a failure the next attempt waits (100 ms, doubling to 500 ms): until then calls fail at
 * once with ERR_DB_UNAVAILABLE, so that a dead database costs requests nothing. */
struct err db_connect(struct db *db, int64_t deadline_us);
void db_drop(struct db *db);

/* Told about every statement: its name, how long it took, whether it succeeded. */
typedef void db_observer(void *arg, const char *statement, int64_t us, bool ok);
void db_observe(struct db *db, db_observer *fn, void *arg);

/* A statement: static const, prepared at its first use on each connection under its name. */
struct sql {
    const char *name;
    const char *text; /* with $1 .. $n */
};

enum db_type { DB_NULL, DB_TEXT, DB_INT, DB_BOOL, DB_BYTES, DB_TIME, DB_TEXTS, DB_INTS, DB_BYTESS };

struct db_param {
    enum db_type type;
    struct str s;               /* DB_TEXT; p == NULL is NULL */
    int64_t i;                  /* DB_INT, DB_BOOL, DB_TIME (microseconds; 0 is NULL) */
    struct bytes b;             /* DB_BYTES; p == NULL is NULL */
    struct str_list l;          /* DB_TEXTS: text[]; an entry with p == NULL is a NULL element */
    const int64_t *ints;        /* DB_INTS: bigint[] of n */
    const struct bytes *bytess; /* DB_BYTESS: bytea[] of n */
    size_t n;
};

#define P_TEXT(v)          ((struct db_param){.type = DB_TEXT, .s = (v)})
#define P_INT(v)           ((struct db_param){.type = DB_INT, .i = (v)})
#define P_BOOL(v)          ((struct db_param){.type = DB_BOOL, .i = (v)})
#define P_BYTES(v)         ((struct db_param){.type = DB_BYTES, .b = (v)})
#define P_TIME(v)          ((struct db_param){.type = DB_TIME, .i = (v)})
#define P_TEXTS(v)         ((struct db_param){.type = DB_TEXTS, .l = (v)})
#define P_INTS(v, count)   ((struct db_param){.type = DB_INTS, .ints = (v), .n = (count)})
#define P_BYTESS(v, count) ((struct db_param){.type = DB_BYTESS, .bytess = (v), .n = (count)})

struct db_rows;
void db_rows_free(struct db_rows **r);
size_t db_count(const struct db_rows *r);

/* Columns by number, checked against the type that the statement must return; a NULL is p == NULL, 0 or false. Text
 * and bytes are copied into the arena: rows may be freed before it. */
struct err db_get_text(const struct db_rows *r, size_t row, int col, struct arena *a, struct str *out);
struct err db_get_int(const struct db_rows *r, size_t row, int col, int64_t *out);
struct err db_get_bool(const struct db_rows *r, size_t row, int col, bool *out);
struct err db_get_bytes(const struct db_rows *r, size_t row, int col, struct arena *a, struct bytes *out);
struct err db_get_time(const struct db_rows *r, size_t row, int col, int64_t *us);
struct err db_get_texts(const struct db_rows *r, size_t row, int col, struct arena *a, struct str_list *out);

/* Runs a statement. Errors: ERR_DB_UNAVAILABLE (no connection, connection lost, server shutting down, read-only, out
 * of connections or disk), ERR_DB_CONFLICT (serialisation, deadlock, lock time-out), ERR_CONFLICT (a unique key, whose
 * constraint's name is the detail), ERR_INVALID_REQUEST (text that is not UTF-8 or holds a NUL), ERR_DEADLINE, ERR_DB
 * (anything else). After ERR_DB_UNAVAILABLE and ERR_DEADLINE it is not known whether the statement took effect; *sent
 * tells whether it had been sent (NULL: not wanted). Nothing is repeated here. out may be NULL. An error's detail is
 * SQLSTATE and the server's primary message: never parameters. */
struct db_call {
    const struct sql *sql;
    const struct db_param *params;
    size_t n;
    int64_t deadline_us;
    bool *sent;
    bool plan_anew; /* for these values, not once for all: lists with optional filters */
};
struct err db_run(struct db *db, const struct db_call *call, struct arena *a, struct db_rows **out);

#endif
