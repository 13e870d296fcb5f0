/* SPDX-License-Identifier: Apache-2.0
 * Who owns an exchange, and when a connection's time is up. */
#include "service/server/exchange.h"

#include "service/server/deadline.h"
#include "tests/unit/base/check.h"

#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

enum { ARENA_BYTES = 65536, LONG_MS = 600000, SHORT_MS = 200, PATIENCE_US = 20 * 1000 * 1000 };

static struct exchange_pool *make_pool(size_t max)
{
    struct exchange_pool *p = NULL;
    assert_ok(exchange_pool_new(max, ARENA_BYTES, &p));
    return p;
}

static void test_the_pool_is_bounded_and_reused(void **state)
{
    (void)state;
    struct exchange_pool *p CLEANUP(exchange_pool_free) = make_pool(2);
    struct exchange *a = exchange_take(p), *b = exchange_take(p);
    assert_true(a != NULL && b != NULL && a != b);
    assert_null(exchange_take(p));
    assert_false(exchange_pool_wait_idle(p, clock_mono_us()));
    exchange_release(a);
    assert_ptr_equal(a, exchange_take(p));
    exchange_release(a);
    exchange_release(b);
    assert_true(exchange_pool_wait_idle(p, clock_mono_us()));
}

static void test_what_a_request_held_is_wiped(void **state)
{
    (void)state;
    struct exchange_pool *p CLEANUP(exchange_pool_free) = make_pool(1);
    struct exchange *x = exchange_take(p);
    struct str token = arena_str(x->arena, STR("a-secret-token"));
    x->req.authorization = token;
    exchange_release(x);
    for (size_t i = 0; i < token.n; i++)
        assert_int_equal(0, token.p[i]);
    x = exchange_take(p);
    assert_null(x->req.authorization.p);
    assert_int_equal(EXCHANGE_OPEN, atomic_load(&x->state));
    exchange_release(x);
}

static void test_one_side_answers(void **state)
{
    (void)state;
    struct exchange_pool *p CLEANUP(exchange_pool_free) = make_pool(1);
    struct exchange *x = exchange_take(p);
    assert_false(exchange_finish(x));
    assert_false(exchange_abandon(x, ERR_DEADLINE));
    exchange_queue(x);
    assert_true(exchange_finish(x));
    assert_false(exchange_abandon(x, ERR_DEADLINE));
    assert_int_equal(EXCHANGE_DONE, atomic_load(&x->state));
    exchange_release(x);
    exchange_release(x);
    x = exchange_take(p);
    exchange_queue(x);
    assert_true(exchange_abandon(x, ERR_DEADLINE));
    assert_false(exchange_finish(x));
    assert_false(exchange_abandon(x, ERR_SHUTTING_DOWN));
    struct http_reply r;
    exchange_abandoned_reply(x, &r);
    assert_int_equal(503, r.status);
    assert_string_equal("deadline_exceeded", r.outcome);
    assert_non_null(memmem(r.body.p, r.body.n, "\"message\":", 10));
    x->req.oauth = true;
    exchange_abandoned_reply(x, &r);
    assert_int_equal(503, r.status);
    assert_string_equal("temporarily_unavailable", r.outcome);
    assert_non_null(memmem(r.body.p, r.body.n, "\"error_description\":", 20));
    exchange_release(x);
    exchange_release(x);
}

static void test_a_late_worker_keeps_its_exchange(void **state)
{
    (void)state;
    struct exchange_pool *p CLEANUP(exchange_pool_free) = make_pool(1);
    struct exchange *x = exchange_take(p);
    exchange_queue(x);
    assert_true(exchange_abandon(x, ERR_DEADLINE));
    exchange_release(x);
    /* The connection is gone; nobody else may get the memory that the worker writes to. */
    assert_null(exchange_take(p));
    exchange_release(x);
    assert_ptr_equal(x, exchange_take(p));
    exchange_release(x);
}

static void *finish_main(void *arg)
{
    return exchange_finish(arg) ? arg : NULL;
}

static void test_of_two_at_once_one_wins(void **state)
{
    (void)state;
    enum { ROUNDS = 500 };
    struct exchange_pool *p CLEANUP(exchange_pool_free) = make_pool(1);
    for (int i = 0; i < ROUNDS; i++) {
        struct exchange *x = exchange_take(p);
        exchange_queue(x);
        pthread_t worker;
        void *finished = NULL;
        assert_int_equal(0, pthread_create(&worker, NULL, finish_main, x));
        bool abandoned = exchange_abandon(x, ERR_DEADLINE);
        pthread_join(worker, &finished);
        assert_true(abandoned != (finished != NULL));
        exchange_release(x);
        exchange_release(x);
    }
}

static void ignore(struct exchange *x, enum err_code why)
{
    (void)x;
    (void)why;
}

static struct conn_table *make_table(struct config cfg, conn_overdue *overdue)
{
    struct conn_table *t = NULL;
    cfg.max_connections = 4;
    assert_ok(conn_table_new(&cfg, overdue, &t));
    return t;
}

static const struct config slow = {
    .header_timeout_ms = LONG_MS, .body_timeout_ms = LONG_MS, .write_timeout_ms = LONG_MS, .idle_timeout_ms = LONG_MS};

/* Repeats what the server does at each event of that phase, until the peer sees the end of the connection. */
static void assert_cut(struct conn_table *t, enum conn_phase phase, const char *told, const char *member)
{
    int fds[2];
    assert_int_equal(0, socketpair(AF_UNIX, SOCK_STREAM, 0, fds));
    struct conn *c = conn_open(t, fds[0], NULL);
    assert_non_null(c);
    if (phase != CONN_HEADER)
        conn_wait(t, c, phase);
    int64_t begin = clock_mono_us();
    struct pollfd peer = {.fd = fds[1], .events = POLLIN};
    while (poll(&peer, 1, 1) == 0) {
        assert_true(clock_mono_us() - begin < PATIENCE_US);
        if (phase == CONN_HEADER)
            conn_wait(t, c, CONN_HEADER);
    }
    char text[1024];
    ssize_t n = recv(fds[1], text, sizeof text - 1, 0);
    assert_true(n >= 0);
    text[n] = '\0';
    assert_int_equal(0, strncmp(text, told, strlen(told)));
    assert_true(told[0] != '\0' || n == 0);
    assert_non_null(strstr(text, member));
    conn_close(t, c);
    close(fds[0]);
    close(fds[1]);
}

static void test_each_phase_has_its_total_time(void **state)
{
    (void)state;
    struct config cfg = slow;
    cfg.header_timeout_ms = SHORT_MS;
    struct conn_table *t CLEANUP(conn_table_free) = make_table(cfg, ignore);
    /* The request line's arrival does not start the header's time anew. */
    assert_cut(t, CONN_HEADER, "HTTP/1.1 408 ", "{\"error\":\"request_timeout\",\"message\":\"");
    cfg = slow;
    cfg.body_timeout_ms = SHORT_MS;
    struct conn_table *body CLEANUP(conn_table_free) = make_table(cfg, ignore);
    assert_cut(body, CONN_BODY, "HTTP/1.1 408 ", "\"message\":");
    assert_cut(body, CONN_OAUTH_BODY, "HTTP/1.1 408 ", "{\"error\":\"invalid_request\",\"error_description\":\"");
    cfg = slow;
    cfg.write_timeout_ms = SHORT_MS;
    struct conn_table *write CLEANUP(conn_table_free) = make_table(cfg, ignore);
    assert_cut(write, CONN_WRITE, "", "");
    cfg = slow;
    cfg.idle_timeout_ms = SHORT_MS;
    struct conn_table *idle CLEANUP(conn_table_free) = make_table(cfg, ignore);
    assert_cut(idle, CONN_IDLE, "", "");
}

static void test_the_table_is_bounded(void **state)
{
    (void)state;
    struct conn_table *t CLEANUP(conn_table_free) = make_table(slow, ignore);
    enum { MOST = 64 };
    struct conn *open[MOST];
    size_t n = 0;
    while (n < MOST && (open[n] = conn_open(t, -1, NULL)) != NULL)
        n++;
    assert_in_range(n, 4, MOST - 1);
    assert_int_equal(n, conn_count(t));
    while (n > 0)
        conn_close(t, open[--n]);
    assert_int_equal(0, conn_count(t));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_pool_is_bounded_and_reused),
        cmocka_unit_test(test_what_a_request_held_is_wiped),
        cmocka_unit_test(test_one_side_answers),
        cmocka_unit_test(test_a_late_worker_keeps_its_exchange),
        cmocka_unit_test(test_of_two_at_once_one_wins),
        cmocka_unit_test(test_each_phase_has_its_total_time),
        cmocka_unit_test(test_the_table_is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
