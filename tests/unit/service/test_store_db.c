/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/service/store_support.h"

#include "base/fd.h"
#include "service/store/internal.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

static const struct sql backend_pid = {"t_pid", "SELECT pg_backend_pid()::bigint"};
static const struct sql one = {"t_one", "SELECT 1::bigint"};

static struct err run(const struct actor *a, const struct sql *sql, const struct db_param *p, size_t n,
                      struct db_rows **out)
{
    const struct db_call call = {.sql = sql, .params = p, .n = n, .deadline_us = clock_mono_us() + 5000000};
    return db_run(a->db, &call, a->arena, out);
}

static void every_type_goes_there_and_back(void **state)
{
    (void)state;
    static const struct sql sql = {"t_types", "SELECT $1, $2, $3, $4, $5, $6, ($7::bigint[])[2], ($8::bytea[])[1], "
                                              "to_char($5, 'YYYY-MM-DD HH24:MI:SS.US')"};
    static const int64_t ints[] = {1, INT64_MIN};
    static const struct bytes blobs[] = {{(const uint8_t *)"\0b", 2}, {NULL, 0}};
    struct str list[] = {STR("a,\"{}"), {NULL, 0}, STR("")};
    struct actor a;
    actor_open(&a, BROKER);
    const struct db_param p[] = {P_TEXT(STR("t'\xe2\x82\xac")),
                                 P_INT(-5),
                                 P_BOOL(true),
                                 P_BYTES(bytes_of("\0\xff", 2)),
                                 P_TIME(INT64_C(1767323045000001)),
                                 P_TEXTS(((struct str_list){list, 3})),
                                 P_INTS(ints, 2),
                                 P_BYTESS(blobs, 2)};
    struct db_rows *r = NULL;
    assert_ok(run(&a, &sql, p, COUNT(p), &r));
    struct str text, when;
    struct str_list l;
    struct bytes b;
    int64_t i = 0, t = 0, low = 0;
    bool yes = false;
    assert_ok(db_get_text(r, 0, 0, a.arena, &text));
    assert_true(str_is(text, "t'\xe2\x82\xac"));
    assert_ok(db_get_int(r, 0, 1, &i));
    assert_int_equal(i, -5);
    assert_ok(db_get_bool(r, 0, 2, &yes));
    assert_true(yes);
    assert_ok(db_get_bytes(r, 0, 3, a.arena, &b));
    assert_true(bytes_eq(b, bytes_of("\0\xff", 2)));
    assert_ok(db_get_time(r, 0, 4, &t));
    assert_int_equal(t, INT64_C(1767323045000001));
    assert_ok(db_get_texts(r, 0, 5, a.arena, &l));
    assert_int_equal(l.n, 3);
    assert_true(str_is(l.v[0], "a,\"{}") && l.v[1].p == NULL && l.v[2].p != NULL && l.v[2].n == 0);
    assert_ok(db_get_int(r, 0, 6, &low));
    assert_true(low == INT64_MIN);
    assert_ok(db_get_bytes(r, 0, 7, a.arena, &b));
    assert_true(bytes_eq(b, blobs[0]));
    assert_ok(db_get_text(r, 0, 8, a.arena, &when));
    assert_true(str_is(when, "2026-01-02 03:04:05.000001"));
    assert_fails(ERR_INTERNAL, db_get_int(r, 0, 0, &i));
    assert_fails(ERR_INTERNAL, db_get_int(r, 1, 1, &i));
    assert_fails(ERR_INTERNAL, db_get_int(r, 0, 9, &i));
    db_rows_free(&r);
    actor_close(&a);
}

static void nulls_and_empty_lists(void **state)
{
    (void)state;
    static const struct sql sql = {"t_nulls", "SELECT $1, $2, $3, $4, $5::text, '{}'::text[]"};
    struct actor a;
    actor_open(&a, BROKER);
    const struct db_param p[] = {P_TEXT(((struct str){NULL, 0})),
                                 P_BYTES(((struct bytes){NULL, 0})),
                                 P_TIME(0),
                                 P_TEXTS(((struct str_list){NULL, 0})),
                                 {.type = DB_NULL}};
    struct db_rows *r = NULL;
    assert_ok(run(&a, &sql, p, COUNT(p), &r));
    struct str t = STR("x");
    struct bytes b = bytes_of("x", 1);
    struct str_list l = {NULL, 9};
    int64_t us = 9;
    assert_ok(db_get_text(r, 0, 0, a.arena, &t));
    assert_ok(db_get_bytes(r, 0, 1, a.arena, &b));
    assert_ok(db_get_time(r, 0, 2, &us));
    assert_true(t.p == NULL && b.p == NULL && us == 0);
    assert_ok(db_get_texts(r, 0, 3, a.arena, &l));
    assert_int_equal(l.n, 0);
    assert_ok(db_get_text(r, 0, 4, a.arena, &t));
    assert_null(t.p);
    assert_ok(db_get_texts(r, 0, 5, a.arena, &l));
    assert_int_equal(l.n, 0);
    db_rows_free(&r);
    actor_close(&a);
}

/* Attack P01: what looks like SQL is a value. */
static void text_is_never_sql(void **state)
{
    (void)state;
    static const struct sql sql = {"t_echo", "SELECT $1::text"};
    static const char *const evil[] = {
        "'; DROP TABLE nexus.agents; --", "\\'; SELECT 1",      "$1", "${x}", "%s%n", "\" OR \"\"=\"",
        "1;SELECT pg_sleep(9)",           "\xef\xbc\x87 OR 1=1"};
    struct actor a;
    actor_open(&a, BROKER);
    for (size_t i = 0; i < COUNT(evil); i++) {
        struct db_rows *r = NULL;
        struct str back;
        assert_ok(run(&a, &sql, (struct db_param[]){P_TEXT(str_of(evil[i]))}, 1, &r));
        assert_ok(db_get_text(r, 0, 0, a.arena, &back));
        assert_true(str_is(back, evil[i]));
        db_rows_free(&r);
    }
    assert_fails(ERR_INVALID_REQUEST, run(&a, &sql, (struct db_param[]){P_TEXT(STR("a\0b"))}, 1, NULL));
    assert_fails(ERR_INVALID_REQUEST, run(&a, &sql, (struct db_param[]){P_TEXT(STR("\xff"))}, 1, NULL));
    actor_close(&a);
}

static void the_session_is_set_up(void **state)
{
    (void)state;
    static const struct sql sql = {
        "t_setup", "SELECT count(*) FROM (VALUES ('search_path', 'pg_catalog, nexus, pg_temp'), "
                   "('synchronous_commit', 'on'), ('TimeZone', 'UTC'), ('client_encoding', 'UTF8'), "
                   "('application_name', 'nexus-broker'), ('lock_timeout', '2s'), ('statement_timeout', '10s')) "
                   "v(name, want) WHERE current_setting(name) = want"};
    static const struct sql weaken = {"t_weaken", "ALTER ROLE nexus_broker SET synchronous_commit = off"};
    static const struct sql stronger = {"t_stronger", "ALTER ROLE nexus_broker SET synchronous_commit = remote_apply"};
    static const struct sql reset = {"t_reset", "ALTER ROLE nexus_broker RESET synchronous_commit"};
    static const struct sql apply = {"t_apply",
                                     "SELECT (current_setting('synchronous_commit') = 'remote_apply')::int::bigint"};
    struct actor super, a;
    actor_open(&super, SUPER);
    assert_ok(exec(&super, &weaken));
    actor_open(&a, BROKER);
    assert_int_equal(number(&a, &sql), 7);
    assert_ok(exec(&super, &stronger));
    db_drop(a.db);
    assert_int_equal(number(&a, &apply), 1);
    assert_ok(exec(&super, &reset));
    actor_close(&a);
    actor_close(&super);
}

static void sqlstates_become_errors(void **state)
{
    (void)state;
    static const struct {
        struct sql sql;
        enum err_code code;
        bool drops;
    } cases[] = {
        {{"t_25006", "DO $$BEGIN RAISE EXCEPTION 'x' USING ERRCODE = '25006'; END$$"}, ERR_DB_UNAVAILABLE, true},
        {{"t_57p01", "DO $$BEGIN RAISE EXCEPTION 'x' USING ERRCODE = '57P01'; END$$"}, ERR_DB_UNAVAILABLE, true},
        {{"t_53300", "DO $$BEGIN RAISE EXCEPTION 'x' USING ERRCODE = '53300'; END$$"}, ERR_DB_UNAVAILABLE, false},
        {{"t_53100", "DO $$BEGIN RAISE EXCEPTION 'x' USING ERRCODE = '53100'; END$$"}, ERR_DB_UNAVAILABLE, false},
        {{"t_40001", "DO $$BEGIN RAISE EXCEPTION 'x' USING ERRCODE = '40001'; END$$"}, ERR_DB_CONFLICT, false},
        {{"t_40p01", "DO $$BEGIN RAISE EXCEPTION 'x' USING ERRCODE = '40P01'; END$$"}, ERR_DB_CONFLICT, false},
        {{"t_55p03", "DO $$BEGIN RAISE EXCEPTION 'x' USING ERRCODE = '55P03'; END$$"}, ERR_DB_CONFLICT, false},
        {{"t_57014", "DO $$BEGIN RAISE EXCEPTION 'x' USING ERRCODE = '57014'; END$$"}, ERR_DEADLINE, false},
        {{"t_42601", "SELEKT 1"}, ERR_DB, false},
        {{"t_22012", "SELECT 1/0"}, ERR_DB, false},
    };
    struct actor a;
    actor_open(&a, BROKER);
    for (size_t i = 0; i < COUNT(cases); i++) {
        assert_ok(db_connect(a.db, clock_mono_us() + 5000000));
        int64_t generation = db_generation(a.db);
        assert_fails(cases[i].code, exec(&a, &cases[i].sql));
        assert_int_equal(number(&a, &one), 1);
        assert_int_equal(db_generation(a.db) - generation, cases[i].drops);
    }
    actor_close(&a);
}

static void errors_do_not_quote_values(void **state)
{
    (void)state;
    static const struct sql sql = {"t_cast", "SELECT $1::text::bigint"};
    static const struct sql unique = {"t_unique", "CREATE TEMP TABLE t_u (v text CONSTRAINT t_u_key UNIQUE)"};
    static const struct sql insert = {"t_insert", "INSERT INTO pg_temp.t_u VALUES ($1)"};
    struct actor a;
    actor_open(&a, OWNER);
    struct err e = run(&a, &sql, (struct db_param[]){P_TEXT(STR("s3cret"))}, 1, NULL);
    assert_fails(ERR_DB, e);
    assert_null(strstr(e.detail, "s3cret"));
    assert_non_null(strstr(e.detail, "22P02"));
    assert_ok(exec(&a, &unique));
    assert_ok(run(&a, &insert, (struct db_param[]){P_TEXT(STR("s3cret"))}, 1, NULL));
    e = run(&a, &insert, (struct db_param[]){P_TEXT(STR("s3cret"))}, 1, NULL);
    assert_fails(ERR_CONFLICT, e);
    assert_string_equal(e.detail, "t_u_key");
    actor_close(&a);
}

/* P02: the backend is killed; the call that meets it fails, the next one is served by a new connection. */
static void a_killed_connection_heals(void **state)
{
    (void)state;
    static const struct sql end = {"t_end", "SELECT pg_terminate_backend($1::int, 5000)::int::bigint"};
    struct actor super, a;
    actor_open(&super, SUPER);
    actor_open(&a, BROKER);
    int64_t pid = number(&a, &backend_pid);
    assert_int_equal(db_generation(a.db), 1);
    assert_int_equal(number_of(&super, &end, P_INT(pid)), 1);
    bool sent = false;
    const struct db_call call = {.sql = &backend_pid, .deadline_us = clock_mono_us() + 5000000, .sent = &sent};
    assert_fails(ERR_DB_UNAVAILABLE, db_run(a.db, &call, a.arena, NULL));
    assert_true(number(&a, &backend_pid) != pid);
    assert_int_equal(db_generation(a.db), 2);
    actor_close(&a);
    actor_close(&super);
}

/* P02: the server does not answer at all (SIGSTOP). The thread comes back in time, the connection is given up. */
static void a_silent_server_costs_the_deadline_only(void **state)
{
    (void)state;
    struct actor a;
    actor_open(&a, BROKER);
    pid_t pid = (pid_t)number(&a, &backend_pid);
    assert_int_equal(kill(pid, SIGSTOP), 0);
    bool sent = false;
    int64_t start = clock_mono_us();
    const struct db_call call = {.sql = &backend_pid, .deadline_us = start + 200000, .sent = &sent};
    struct err e = db_run(a.db, &call, a.arena, NULL);
    int64_t took = clock_mono_us() - start;
    assert_int_equal(kill(pid, SIGCONT), 0);
    assert_fails(ERR_DEADLINE, e);
    assert_true(sent);
    assert_true(took >= 200000 && took < 2000000);
    assert_true(number(&a, &backend_pid) != pid);
    actor_close(&a);
}

static void a_large_statement_to_a_silent_server_does_not_block(void **state)
{
    (void)state;
    static const struct sql sql = {"t_large", "SELECT octet_length($1)::bigint"};
    enum { SIZE = 8388608 };
    struct actor a;
    actor_open(&a, BROKER);
    uint8_t *big = calloc(1, SIZE);
    assert_non_null(big);
    assert_int_equal(number_of(&a, &sql, P_BYTES(bytes_of(big, SIZE))), SIZE);
    pid_t pid = (pid_t)number(&a, &backend_pid);
    assert_int_equal(kill(pid, SIGSTOP), 0);
    const struct db_param p = P_BYTES(bytes_of(big, SIZE));
    const struct db_call call = {.sql = &sql, .params = &p, .n = 1, .deadline_us = clock_mono_us() + 200000};
    struct err e = db_run(a.db, &call, a.arena, NULL);
    assert_int_equal(kill(pid, SIGCONT), 0);
    assert_fails(ERR_DEADLINE, e);
    free(big);
    actor_close(&a);
}

static void no_time_left_sends_nothing(void **state)
{
    (void)state;
    struct actor a;
    actor_open(&a, BROKER);
    assert_ok(exec(&a, &one));
    bool sent = true;
    const struct db_call call = {.sql = &one, .deadline_us = clock_mono_us(), .sent = &sent};
    assert_fails(ERR_DEADLINE, db_run(a.db, &call, a.arena, NULL));
    assert_false(sent);
    assert_int_equal(number(&a, &one), 1);
    assert_int_equal(db_generation(a.db), 1);
    actor_close(&a);
}

/* P04: somebody holds a table. */
static void a_lock_held_by_another_is_a_conflict(void **state)
{
    (void)state;
    static const struct sql begin = {"t_begin", "BEGIN"}, rollback = {"t_rollback", "ROLLBACK"};
    static const struct sql lock = {"t_lock", "LOCK TABLE nexus.agents"};
    static const struct sql count = {"t_count", "SELECT count(*) FROM nexus.agents"};
    struct actor super, a;
    actor_open(&super, SUPER);
    actor_open(&a, BROKER);
    assert_ok(exec(&super, &begin));
    assert_ok(exec(&super, &lock));
    assert_fails(ERR_DB_CONFLICT, exec(&a, &count));
    assert_ok(exec(&super, &rollback));
    assert_ok(exec(&a, &count));
    actor_close(&a);
    actor_close(&super);
}

static void a_dead_database_answers_at_once(void **state)
{
    (void)state;
    struct actor a;
    actor_open(&a, BROKER);
    db_free(&a.db);
    assert_ok(db_new(STR("postgresql://nobody@/nowhere?host=/nonexistent"), &a.db));
    assert_fails(ERR_DB_UNAVAILABLE, exec(&a, &one));
    int64_t start = clock_mono_us();
    for (int i = 0; i < 1000; i++)
        assert_fails(ERR_DB_UNAVAILABLE, exec(&a, &one));
    assert_true(clock_mono_us() - start < 1000000);
    assert_int_equal(db_generation(a.db), 0);
    actor_close(&a);
}

static void one_of_several_hosts_is_enough(void **state)
{
    (void)state;
    struct actor a;
    actor_open(&a, BROKER);
    struct str home = str_of(strstr(getenv(BROKER), "host=") + 5);
    struct str dsn = arena_printf(a.arena, "user=nexus_broker dbname=nexus host=/nonexistent,%.*s", STR_FMT(home));
    db_free(&a.db);
    assert_ok(db_new(dsn, &a.db));
    assert_int_equal(number(&a, &one), 1);
    actor_close(&a);
}

/* A host that takes the connection and says nothing must not hide the next one for ever. */
static void a_silent_host_is_passed_over(void **state)
{
    (void)state;
    char dir[] = "/tmp/nexus-silent.XXXXXX";
    assert_non_null(mkdtemp(dir));
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    (void)snprintf(at.sun_path, sizeof at.sun_path, "%s/.s.PGSQL.5432", dir);
    CLEANUP(fd_close) int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (const struct sockaddr *)&at, sizeof at), 0);
    assert_int_equal(listen(fd, 8), 0);
    struct actor a;
    actor_open(&a, BROKER);
    struct str home = str_of(strstr(getenv(BROKER), "host=") + 5);
    struct str dsn = arena_printf(a.arena, "user=nexus_broker dbname=nexus host=%s,%.*s", dir, STR_FMT(home));
    db_free(&a.db);
    assert_ok(db_new(dsn, &a.db));
    assert_fails(ERR_DB_UNAVAILABLE, db_connect(a.db, clock_mono_us() + 200000));
    /* The first pause between attempts is 100 ms. */
    int64_t give_up = clock_mono_us() + 5000000;
    struct err e = OK;
    do {
        nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
        e = db_connect(a.db, clock_mono_us() + 2000000);
    } while (err_is(&e) && clock_mono_us() < give_up);
    assert_ok(e);
    assert_int_equal(number(&a, &one), 1);
    actor_close(&a);
    unlink(at.sun_path);
    rmdir(dir);
}

/* The second statement of a transaction must not run on a new connection, outside of any. */
static struct err lose_connection(const struct store *s, void *arg)
{
    static const struct sql suicide = {"t_suicide", "SELECT pg_terminate_backend(pg_backend_pid())"};
    struct err first = store_run(s, &suicide, NULL, 0, NULL);
    assert_int_equal(first.code, ERR_DB_UNAVAILABLE);
    return store_run(s, arg, NULL, 0, NULL);
}

static struct err fail_late(const struct store *s, void *arg)
{
    TRY(store_run(s, arg, NULL, 0, NULL));
    return FAIL(ERR_CONFLICT, "on purpose");
}

static void a_transaction_is_one_or_nothing(void **state)
{
    (void)state;
    static struct sql write = {"t_write", "CREATE TABLE nexus.t_written ()"};
    static const struct sql seen = {"t_seen", "SELECT count(*) FROM pg_class WHERE relname = 't_written'"};
    struct actor a;
    actor_open(&a, OWNER);
    struct store s = store_of(&a);
    assert_fails(ERR_DB_UNAVAILABLE, db_tx(&s, lose_connection, &write));
    assert_int_equal(number(&a, &seen), 0);
    assert_fails(ERR_CONFLICT, db_tx(&s, fail_late, &write));
    assert_int_equal(number(&a, &seen), 0);
    assert_int_equal(db_generation(a.db), 2);
    actor_close(&a);
}

/* target_session_attrs=read-write: with several hosts, a server that takes no writes is passed over. */
static void a_standby_is_passed_over(void **state)
{
    (void)state;
    static const struct sql readonly = {"t_ro", "ALTER ROLE nexus_broker SET default_transaction_read_only = on"};
    static const struct sql reset = {"t_rw", "ALTER ROLE nexus_broker RESET default_transaction_read_only"};
    struct actor super, a;
    actor_open(&super, SUPER);
    assert_ok(exec(&super, &readonly));
    actor_open(&a, BROKER);
    struct str home = str_of(strstr(getenv(BROKER), "host=") + 5);
    struct str dsn =
        arena_printf(a.arena, "user=nexus_broker dbname=nexus host=%.*s,%.*s", STR_FMT(home), STR_FMT(home));
    db_free(&a.db);
    assert_ok(db_new(dsn, &a.db));
    assert_fails(ERR_DB_UNAVAILABLE, exec(&a, &one));
    assert_ok(exec(&super, &reset));
    actor_close(&a);
    actor_close(&super);
}

static void a_bad_connection_string_is_not_quoted(void **state)
{
    (void)state;
    struct db *db = NULL;
    struct err e = db_new(STR("postgresql://u:s3cret@h:port/?bad=s3cret"), &db);
    assert_fails(ERR_CONFIG, e);
    assert_null(strstr(e.detail, "s3cret"));
    assert_null(db);
}

struct seen {
    int ok, failed;
    const char *last;
};

static void observe(void *arg, const char *statement, int64_t us, bool ok)
{
    struct seen *s = arg;
    assert_true(us >= 0);
    s->last = statement;
    s->ok += ok;
    s->failed += !ok;
}

static void statements_are_observed(void **state)
{
    (void)state;
    static const struct sql broken = {"t_broken", "SELEKT"};
    struct seen seen = {0};
    struct actor a;
    actor_open(&a, BROKER);
    db_observe(a.db, observe, &seen);
    assert_ok(exec(&a, &one));
    assert_fails(ERR_DB, exec(&a, &broken));
    assert_int_equal(seen.ok, 1);
    assert_int_equal(seen.failed, 1);
    assert_string_equal(seen.last, "t_broken");
    actor_close(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_type_goes_there_and_back),
        cmocka_unit_test(nulls_and_empty_lists),
        cmocka_unit_test(text_is_never_sql),
        cmocka_unit_test(the_session_is_set_up),
        cmocka_unit_test(sqlstates_become_errors),
        cmocka_unit_test(errors_do_not_quote_values),
        cmocka_unit_test(a_killed_connection_heals),
        cmocka_unit_test(a_silent_server_costs_the_deadline_only),
        cmocka_unit_test(a_large_statement_to_a_silent_server_does_not_block),
        cmocka_unit_test(no_time_left_sends_nothing),
        cmocka_unit_test(a_lock_held_by_another_is_a_conflict),
        cmocka_unit_test(a_dead_database_answers_at_once),
        cmocka_unit_test(one_of_several_hosts_is_enough),
        cmocka_unit_test(a_standby_is_passed_over),
        cmocka_unit_test(a_silent_host_is_passed_over),
        cmocka_unit_test(a_transaction_is_one_or_nothing),
        cmocka_unit_test(a_bad_connection_string_is_not_quoted),
        cmocka_unit_test(statements_are_observed),
    };
    return cmocka_run_group_tests_name("store_db", tests, migrate_schema, NULL);
}
