/* SPDX-License-Identifier: Apache-2.0
 * One connection, driven by poll(2): libpq's own waiting calls know no deadline. */
#include "service/store/internal.h"

#include "base/clock.h"
#include "base/log.h"
#include "service/store/dsn.h"

#include <errno.h>
#include <libpq-fe.h>
#include <poll.h>
#include <stdlib.h>

enum { PREPARED_MAX = 128, BACKOFF_FIRST_US = 100000, BACKOFF_LAST_US = 500000, CONNECT_MAX_US = 3000000 };

struct db {
    PGconn *conn; /* NULL: none */
    struct dsn *dsn;
    int64_t generation;
    int64_t retry_at_us, backoff_us;
    const struct sql *prepared[PREPARED_MAX];
    size_t n_prepared;
    char writer[WRITER_ID_LEN + 1];
    bool in_tx;
    db_observer *observer;
    void *observer_arg;
};

/* Sent in one round trip after connecting. Settings that must hold whatever the server, database or role says:
 * - search_path: no name is looked up where another role could have put one (attack P07). pg_temp is named last, since
 *   it would be searched first where it is not named;
 * - synchronous_commit: a signature follows each commit (attack P09); a stronger setting stays;
 * - client_connection_check_interval: a statement whose client is gone ends, instead of holding its locks. */
static const struct sql setup = {
    "setup", "SELECT set_config('search_path', 'pg_catalog, nexus, pg_temp', false), "
             "set_config('synchronous_commit', CASE current_setting('synchronous_commit') "
             "WHEN 'remote_apply' THEN 'remote_apply' ELSE 'on' END, false), "
             "set_config('statement_timeout', '10s', false), set_config('lock_timeout', '2s', false), "
             "set_config('idle_in_transaction_session_timeout', '10s', false), "
             "set_config('client_connection_check_interval', '1s', false), "
             "set_config('client_encoding', 'UTF8', false), set_config('timezone', 'UTC', false), "
             "set_config('jit', 'off', false)"};

static void result_clear(PGresult **r)
{
    PQclear(*r);
}

struct err db_new(struct str dsn, struct db **out)
{
    CLEANUP(db_free) struct db *db = calloc(1, sizeof *db);
    if (db == NULL)
        return FAIL(ERR_NO_MEMORY, "database connection");
    TRY(dsn_parse(dsn, &db->dsn));
    *out = db;
    db = NULL;
    return OK;
}

void db_free(struct db **db)
{
    if (*db == NULL)
        return;
    db_drop(*db);
    dsn_free(&(*db)->dsn);
    free(*db);
    *db = NULL;
}

/* Closing never waits: the socket does not block, and no cancel request is sent, which would be a connection of its
 * own. The server notices by client_connection_check_interval. */
void db_drop(struct db *db)
{
    PQfinish(db->conn);
    db->conn = NULL;
    db->n_prepared = 0;
    db->writer[0] = '\0';
}

int64_t db_generation(const struct db *db)
{
    return db->generation;
}

void db_observe(struct db *db, db_observer *fn, void *arg)
{
    db->observer = fn;
    db->observer_arg = arg;
}

void db_set_writer(struct db *db, const char *writer)
{
    size_t n = strnlen(writer, sizeof db->writer - 1);
    memcpy(db->writer, writer, n);
    db->writer[n] = '\0';
}

const char *db_writer(const struct db *db)
{
    return db->writer;
}

void db_set_tx(struct db *db, bool open)
{
    db->in_tx = open;
}

static struct err lost(const char *what)
{
    return FAIL(ERR_DB_UNAVAILABLE, "%s: the connection was lost", what);
}

/* Waits for the socket. Whether it may be read or written, libpq finds out by itself. */
static struct err wait_for(PGconn *conn, short events, int64_t deadline_us, const char *what)
{
    struct pollfd p = {.fd = PQsocket(conn), .events = events};
    while (true) {
        if (clock_mono_us() >= deadline_us)
            return FAIL(ERR_DEADLINE, "%s: no answer from the database in time", what);
        int n = p.fd >= 0 ? poll(&p, 1, clock_poll_ms(deadline_us)) : -1;
        if (n > 0)
            return OK;
        if (n < 0 && (p.fd < 0 || errno != EINTR))
            return lost(what);
    }
}

static struct err flush(PGconn *conn, int64_t deadline_us, const char *what)
{
    int left;
    while ((left = PQflush(conn)) > 0) {
        TRY(wait_for(conn, POLLIN | POLLOUT, deadline_us, what));
        /* A server that is busy writing to us does not read: take what it has. */
        if (PQconsumeInput(conn) == 0)
            return lost(what);
    }
    return left == 0 ? OK : lost(what);
}

/* The last result, or the first that is an error; *out is the caller's to clear. */
static struct err collect(PGconn *conn, int64_t deadline_us, const char *what, PGresult **out)
{
    TRY(flush(conn, deadline_us, what));
    while (true) {
        while (PQisBusy(conn)) {
            TRY(wait_for(conn, POLLIN, deadline_us, what));
            if (PQconsumeInput(conn) == 0)
                return lost(what);
        }
        PGresult *r = PQgetResult(conn);
        if (r == NULL)
            return *out != NULL ? OK : lost(what);
        bool keep = *out != NULL && PQresultStatus(*out) == PGRES_FATAL_ERROR;
        PQclear(keep ? r : *out);
        *out = keep ? *out : r;
    }
}

static struct err check(const PGresult *r, const char *what, bool *drop)
{
    ExecStatusType s = PQresultStatus(r);
    *drop = false;
    return s == PGRES_TUPLES_OK || s == PGRES_COMMAND_OK ? OK : db_error(r, what, drop);
}

/* Waits for the answer to what was sent. Whatever makes the connection unusable drops it here. */
static struct err await(struct db *db, int64_t deadline_us, const char *what, PGresult **out)
{
    CLEANUP(result_clear) PGresult *r = NULL;
    struct err e = collect(db->conn, deadline_us, what, &r);
    bool drop = err_is(&e);
    if (!drop)
        e = check(r, what, &drop);
    if (drop || PQstatus(db->conn) != CONNECTION_OK)
        db_drop(db);
    TRY(e);
    *out = r;
    r = NULL;
    return OK;
}

static struct err handshake(PGconn *conn, int64_t deadline_us)
{
    PostgresPollingStatusType s = PGRES_POLLING_WRITING;
    while (s != PGRES_POLLING_OK) {
        TRY(wait_for(conn, s == PGRES_POLLING_READING ? POLLIN : POLLOUT, deadline_us, "connect"));
        s = PQconnectPoll(conn);
        if (s == PGRES_POLLING_FAILED)
            return FAIL(ERR_DB_UNAVAILABLE, "connect: %s", PQerrorMessage(conn));
    }
    return PQsetnonblocking(conn, 1) == 0 ? OK : lost("connect");
}

/* The server's notices go to our log, not to stderr as they are. */
static void log_notice(void *arg, const PGresult *r)
{
    (void)arg;
    const char *text = PQresultErrorField(r, PG_DIAG_MESSAGE_PRIMARY);
    LOG(LOG_INFO, "database notice", LOG_CSTR("notice", text != NULL ? text : ""));
}

static struct err connect_once(struct db *db, int64_t deadline_us)
{
    struct dsn_params p;
    dsn_params(db->dsn, &p);
    db->conn = PQconnectStartParams(p.keys, p.values, 0);
    if (db->conn == NULL)
        return FAIL(ERR_NO_MEMORY, "database connection");
    if (PQstatus(db->conn) == CONNECTION_BAD)
        return FAIL(ERR_DB_UNAVAILABLE, "connect: %s", PQerrorMessage(db->conn));
    (void)PQsetNoticeReceiver(db->conn, log_notice, NULL);
    struct err e = handshake(db->conn, deadline_us);
    if (e.code == ERR_DEADLINE)
        dsn_next_host(db->dsn);
    TRY(e);
    CLEANUP(result_clear) PGresult *r = NULL;
    if (PQsendQueryParams(db->conn, setup.text, 0, NULL, NULL, NULL, NULL, 1) == 0)
        return lost(setup.name);
    return await(db, deadline_us, setup.name, &r);
}

struct err db_connect(struct db *db, int64_t deadline_us)
{
    if (db->conn != NULL)
        return OK;
    int64_t now = clock_mono_us();
    if (db->in_tx)
        return lost("transaction");
    if (now < db->retry_at_us)
        return FAIL(ERR_DB_UNAVAILABLE, "the last attempt to connect failed just now");
    bool cut = deadline_us - now > CONNECT_MAX_US;
    struct err e = connect_once(db, cut ? now + CONNECT_MAX_US : deadline_us);
    if (!err_is(&e)) {
        db->backoff_us = 0;
        db->generation++;
        return OK;
    }
    db_drop(db);
    db->backoff_us = db->backoff_us == 0 ? BACKOFF_FIRST_US : db->backoff_us * 2;
    if (db->backoff_us > BACKOFF_LAST_US)
        db->backoff_us = BACKOFF_LAST_US;
    db->retry_at_us = clock_mono_us() + db->backoff_us;
    return e.code == ERR_DEADLINE ? err_as(e, ERR_DB_UNAVAILABLE) : e;
}

static struct err prepare(struct db *db, const struct db_call *call, const struct db_wire *w)
{
    for (size_t i = 0; i < db->n_prepared; i++) {
        if (db->prepared[i] == call->sql)
            return OK;
    }
    if (db->n_prepared == PREPARED_MAX)
        return FAIL(ERR_INTERNAL, "more than %d statements", PREPARED_MAX);
    CLEANUP(result_clear) PGresult *r = NULL;
    if (PQsendPrepare(db->conn, call->sql->name, call->sql->text, (int)call->n, w->types) == 0) {
        db_drop(db);
        return lost(call->sql->name);
    }
    TRY(await(db, call->deadline_us, call->sql->name, &r));
    db->prepared[db->n_prepared++] = call->sql;
    return OK;
}

static struct err send_call(struct db *db, const struct db_call *c, const struct db_wire *w)
{
    int sent = 0;
    if (c->plan_anew) {
        sent = PQsendQueryParams(db->conn, c->sql->text, (int)c->n, w->types, w->values, w->lengths, w->formats, 1);
    } else {
        TRY(prepare(db, c, w));
        sent = PQsendQueryPrepared(db->conn, c->sql->name, (int)c->n, w->values, w->lengths, w->formats, 1);
    }
    if (sent == 0) {
        db_drop(db);
        return lost(c->sql->name);
    }
    if (c->sent != NULL)
        *c->sent = true;
    return OK;
}

static struct err run(struct db *db, const struct db_call *call, struct arena *a, struct db_rows **out)
{
    if (clock_mono_us() >= call->deadline_us)
        return FAIL(ERR_DEADLINE, "%s: no time left", call->sql->name);
    struct db_wire w;
    TRY(db_encode(call->params, call->n, a, &w));
    TRY(db_connect(db, call->deadline_us));
    TRY(send_call(db, call, &w));
    CLEANUP(result_clear) PGresult *r = NULL;
    TRY(await(db, call->deadline_us, call->sql->name, &r));
    return out != NULL ? db_rows_new(a, &r, out) : OK;
}

struct err db_run(struct db *db, const struct db_call *call, struct arena *a, struct db_rows **out)
{
    int64_t start = clock_mono_us();
    if (call->sent != NULL)
        *call->sent = false;
    struct err e = run(db, call, a, out);
    if (db->observer != NULL)
        db->observer(db->observer_arg, call->sql->name, clock_mono_us() - start, !err_is(&e));
    return e;
}

struct err db_script(struct db *db, const char *text, int64_t deadline_us)
{
    TRY(db_connect(db, deadline_us));
    if (PQsendQuery(db->conn, text) == 0) {
        db_drop(db);
        return lost("script");
    }
    CLEANUP(result_clear) PGresult *r = NULL;
    return await(db, deadline_us, "script", &r);
}
