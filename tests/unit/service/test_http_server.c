/* SPDX-License-Identifier: Apache-2.0
 * The server with endpoints of this test's own, which can be held up at will: who answers when a worker is late, when
 * the queue is full, and when the broker stops. The endpoints below stand in for service/api. */
#include "service/server/server.h"

#include "service/api/dpop.h"
#include "service/api/vault.h"
#include "tests/unit/base/check.h"

#include <arpa/inet.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum { MANY_MS = 600000, REPLY_MAX = 8192, PATIENCE_MS = 20000 };

static sem_t entered, gate;
static atomic_int calls;

struct err api_new(const struct app *app, struct api **out)
{
    *out = calloc(1, sizeof **out);
    if (*out == NULL)
        return FAIL(ERR_NO_MEMORY, "api");
    (*out)->app = app;
    return OK;
}

void api_free(struct api **api)
{
    free(*api);
    *api = NULL;
}

void api_idle(struct api *api, struct arena *arena)
{
    (void)api;
    (void)arena;
}

void dpop_offer_nonce(struct api *api, const struct http_request *req, const struct err *e, struct http_reply *out)
{
    (void)api;
    (void)e;
    if (req->dpop.p != NULL)
        http_set_header(out, "DPoP-Nonce", req->dpop);
}

void vault_expire(struct vault *v)
{
    (void)v;
}

struct err api_require_role(struct api *api, const struct http_request *req, unsigned roles, struct api_key *who)
{
    (void)api;
    (void)roles;
    (void)who;
    return req->api_key.p != NULL ? OK : FAIL(ERR_MISSING_API_KEY, "none");
}

static struct err reply_path(const struct http_request *req, struct http_reply *out)
{
    struct buf body = http_body(req);
    struct json_writer w = json_writer(&body);
    json_begin_object(&w, NULL);
    json_put_str(&w, "path", req->path);
    json_end_object(&w);
    return http_reply_json(200, &body, out);
}

static struct err at_once(struct api *api, const struct http_request *req, struct http_reply *out)
{
    (void)api;
    atomic_fetch_add(&calls, 1);
    return reply_path(req, out);
}

/* Waits until the test opens the gate, then uses the whole of the request and its arena. */
static struct err held_up(struct api *api, const struct http_request *req, struct http_reply *out)
{
    (void)api;
    atomic_fetch_add(&calls, 1);
    sem_post(&entered);
    while (sem_wait(&gate) != 0)
        ;
    return reply_path(req, out);
}

#define ENDPOINT(name, by)                                                                                             \
    struct err name(struct api *api, const struct http_request *req, struct http_reply *out)                           \
    {                                                                                                                  \
        return by(api, req, out);                                                                                      \
    }
ENDPOINT(api_agent_create, at_once)
ENDPOINT(api_agent_list, at_once)
ENDPOINT(api_agent_get, at_once)
ENDPOINT(api_agent_update, at_once)
ENDPOINT(api_agent_delete, at_once)
ENDPOINT(api_issuer_create, at_once)
ENDPOINT(api_issuer_list, at_once)
ENDPOINT(api_issuer_get, at_once)
ENDPOINT(api_issuer_update, at_once)
ENDPOINT(api_issuer_delete, at_once)
ENDPOINT(api_scope_create, at_once)
ENDPOINT(api_scope_list, at_once)
ENDPOINT(api_scope_get, at_once)
ENDPOINT(api_scope_update, at_once)
ENDPOINT(api_scope_delete, at_once)
ENDPOINT(api_provider_create, at_once)
ENDPOINT(api_provider_list, at_once)
ENDPOINT(api_provider_get, at_once)
ENDPOINT(api_provider_replace, at_once)
ENDPOINT(api_provider_update, at_once)
ENDPOINT(api_provider_delete, at_once)
ENDPOINT(api_provider_metadata, at_once)
ENDPOINT(api_provider_find, at_once)
ENDPOINT(api_provider_delete_named, at_once)
ENDPOINT(api_session_list, at_once)
ENDPOINT(api_sessions_revoke, at_once)
ENDPOINT(api_session_create, held_up)
ENDPOINT(api_session_create_obo, at_once)
ENDPOINT(api_session_get, at_once)
ENDPOINT(api_session_close, at_once)
ENDPOINT(api_oauth_token, held_up)
ENDPOINT(api_oauth_introspect, at_once)
ENDPOINT(api_oauth_revoke, at_once)

#define INLINE_ENDPOINT(name)                                                                                          \
    struct err name(const struct app *app, const struct http_request *req, struct http_reply *out)                     \
    {                                                                                                                  \
        (void)app;                                                                                                     \
        return reply_path(req, out);                                                                                   \
    }
INLINE_ENDPOINT(api_jwks)
INLINE_ENDPOINT(api_metadata)
INLINE_ENDPOINT(api_resource_metadata)
INLINE_ENDPOINT(api_health_live)
INLINE_ENDPOINT(api_health_ready)

static const struct metric_def metric_defs[] = {
#define M(id, name, type, help, ...) {name, type, help, {__VA_ARGS__}},
#include "service/metrics.def"
#undef M
};

struct fixture {
    struct config config;
    struct app app;
    struct server *server;
};

static int64_t free_port(void)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof a;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(0, bind(fd, (struct sockaddr *)&a, sizeof a));
    assert_int_equal(0, getsockname(fd, (struct sockaddr *)&a, &n));
    close(fd);
    return ntohs(a.sin_port);
}

static struct fixture *prepare(void **state)
{
    struct fixture *f = *state;
    sem_init(&entered, 0, 0);
    sem_init(&gate, 0, 0);
    atomic_store(&calls, 0);
    f->config = (struct config){.port = free_port(),
                                .listen = STR("127.0.0.1"),
                                .metrics_listen = STR("off"),
                                .workers = 1,
                                .queue_depth = 8,
                                .max_connections = 64,
                                .max_connections_per_address = 64,
                                .max_header_bytes = 16384,
                                .max_body_bytes = 65536,
                                .header_timeout_ms = MANY_MS,
                                .body_timeout_ms = MANY_MS,
                                .write_timeout_ms = MANY_MS,
                                .idle_timeout_ms = MANY_MS,
                                .request_timeout_ms = MANY_MS,
                                .drain_timeout_ms = MANY_MS,
                                .address_rate = 1000000,
                                .address_burst = 1000000};
    f->app = (struct app){.config = &f->config, .clock = clock_real()};
    assert_ok(metrics_new(metric_defs, COUNT(metric_defs), &f->app.metrics));
    return f;
}

static void start(struct fixture *f)
{
    assert_ok(server_start(&f->app, &f->server));
}

static int setup(void **state)
{
    *state = calloc(1, sizeof(struct fixture));
    return *state != NULL ? 0 : -1;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    server_stop(&f->server);
    metrics_free(&f->app.metrics);
    sem_destroy(&entered);
    sem_destroy(&gate);
    free(f);
    return 0;
}

static int dial(const struct fixture *f)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    a.sin_port = htons((uint16_t)f->config.port);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(fd, (struct sockaddr *)&a, sizeof a) == 0)
        return fd;
    close(fd);
    return -1;
}

static void say(int fd, const char *text)
{
    assert_int_equal(strlen(text), send(fd, text, strlen(text), MSG_NOSIGNAL));
}

#define HOLD   "POST /v1/agent-sessions HTTP/1.1\r\nHost: a\r\nX-Request-Id: test-0001\r\nContent-Length: 2\r\n\r\n{}"
#define QUICK  "GET /v1/agent-sessions/one HTTP/1.1\r\nHost: a\r\n\r\n"
#define HEALTH "GET /health HTTP/1.1\r\nHost: a\r\n\r\n"

/* One whole reply (its body ends in a brace), or what came before the end of the stream. */
static void hear(int fd, char out[static REPLY_MAX])
{
    size_t n = 0;
    while (n + 1 < REPLY_MAX) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        assert_int_equal(1, poll(&p, 1, PATIENCE_MS));
        ssize_t r = recv(fd, out + n, REPLY_MAX - n - 1, 0);
        n += r > 0 ? (size_t)r : 0;
        if (r <= 0 || out[n - 1] == '}')
            break;
    }
    out[n] = '\0';
}

static void assert_reply(int fd, const char *status, const char *part)
{
    char text[REPLY_MAX];
    hear(fd, text);
    if (strncmp(text, status, strlen(status)) != 0 || strstr(text, part) == NULL)
        fail_msg("not %s with %s: %s", status, part, text);
}

static bool is_silent(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    return poll(&p, 1, 0) == 0;
}

static void test_snapshots_are_served_while_every_worker_is_busy(void **state)
{
    struct fixture *f = prepare(state);
    start(f);
    int held = dial(f), other = dial(f);
    say(held, HOLD);
    sem_wait(&entered);
    say(other, HEALTH);
    assert_reply(other, "HTTP/1.1 200", "/health");
    assert_true(is_silent(held));
    sem_post(&gate);
    assert_reply(held, "HTTP/1.1 200", "/v1/agent-sessions");
    close(held);
    close(other);
}

static void test_a_late_worker_is_answered_for_and_its_answer_dropped(void **state)
{
    struct fixture *f = prepare(state);
    f->config.request_timeout_ms = 200;
    start(f);
    int fd = dial(f);
    say(fd, HOLD);
    sem_wait(&entered);
    assert_reply(fd, "HTTP/1.1 503", "deadline_exceeded");
    /* The connection goes on: what the late worker leaves is not taken for the next answer. */
    say(fd, HEALTH);
    assert_reply(fd, "HTTP/1.1 200", "/health");
    sem_post(&gate);
    say(fd, QUICK);
    assert_reply(fd, "HTTP/1.1 200", "/v1/agent-sessions/one");
    close(fd);
}

static void test_the_answer_for_a_late_worker_names_the_request(void **state)
{
    struct fixture *f = prepare(state);
    f->config.request_timeout_ms = 100;
    start(f);
    int fd = dial(f);
    say(fd, HOLD);
    assert_reply(fd, "HTTP/1.1 503", "X-Request-Id: test-0001\r\n");
    sem_post(&gate);
    close(fd);
}

static void test_who_waits_behind_a_stuck_worker_is_answered_and_never_run(void **state)
{
    struct fixture *f = prepare(state);
    f->config.request_timeout_ms = 200;
    start(f);
    int stuck = dial(f), waiting = dial(f);
    say(stuck, HOLD);
    sem_wait(&entered);
    say(waiting, QUICK);
    assert_reply(waiting, "HTTP/1.1 503", "deadline_exceeded");
    assert_int_equal(1, atomic_load(&calls));
    sem_post(&gate);
    say(waiting, QUICK);
    assert_reply(waiting, "HTTP/1.1 200", "one");
    assert_int_equal(2, atomic_load(&calls));
    close(stuck);
    close(waiting);
}

static void test_a_full_queue_is_answered_at_once(void **state)
{
    struct fixture *f = prepare(state);
    f->config.queue_depth = 1;
    start(f);
    int stuck = dial(f), waiting = dial(f), refused = dial(f);
    say(stuck, HOLD);
    sem_wait(&entered);
    say(waiting, QUICK);
    /* The one HTTP thread takes them in order of arrival; until then nothing may come back. */
    say(refused, QUICK);
    struct pollfd either[] = {{.fd = waiting, .events = POLLIN}, {.fd = refused, .events = POLLIN}};
    assert_int_equal(1, poll(either, 2, PATIENCE_MS));
    int shed = either[0].revents != 0 ? waiting : refused, kept = shed == waiting ? refused : waiting;
    char text[REPLY_MAX];
    hear(shed, text);
    assert_non_null(strstr(text, "HTTP/1.1 503"));
    assert_non_null(strstr(text, "overloaded"));
    assert_non_null(strstr(text, "Retry-After: 1\r\n"));
    sem_post(&gate);
    assert_reply(kept, "HTTP/1.1 200", "one");
    say(shed, QUICK);
    assert_reply(shed, "HTTP/1.1 200", "one");
    close(stuck);
    close(waiting);
    close(refused);
}

static void test_a_client_that_leaves_harms_nobody(void **state)
{
    struct fixture *f = prepare(state);
    start(f);
    int gone = dial(f), other = dial(f);
    say(gone, HOLD);
    sem_wait(&entered);
    close(gone);
    say(other, HEALTH);
    assert_reply(other, "HTTP/1.1 200", "/health");
    sem_post(&gate);
    say(other, QUICK);
    assert_reply(other, "HTTP/1.1 200", "one");
    close(other);
}

static void *stop_main(void *arg)
{
    struct fixture *f = arg;
    server_stop(&f->server);
    return NULL;
}

static void wait_until_refused(const struct fixture *f)
{
    for (int fd = dial(f); fd >= 0; fd = dial(f))
        close(fd);
}

static void test_stopping_lets_what_is_in_flight_finish(void **state)
{
    struct fixture *f = prepare(state);
    start(f);
    int fd = dial(f);
    say(fd, HOLD);
    sem_wait(&entered);
    pthread_t stopper;
    assert_int_equal(0, pthread_create(&stopper, NULL, stop_main, f));
    wait_until_refused(f);
    assert_true(is_silent(fd));
    sem_post(&gate);
    assert_reply(fd, "HTTP/1.1 200", "Connection: close");
    pthread_join(stopper, NULL);
    assert_null(f->server);
    close(fd);
}

static void test_stopping_answers_what_does_not_finish(void **state)
{
    struct fixture *f = prepare(state);
    f->config.drain_timeout_ms = 100;
    start(f);
    int stuck = dial(f), waiting = dial(f);
    say(stuck, HOLD);
    sem_wait(&entered);
    say(waiting, QUICK);
    pthread_t stopper;
    assert_int_equal(0, pthread_create(&stopper, NULL, stop_main, f));
    assert_reply(stuck, "HTTP/1.1 503", "shutting_down");
    assert_reply(waiting, "HTTP/1.1 503", "shutting_down");
    sem_post(&gate);
    pthread_join(stopper, NULL);
    close(stuck);
    close(waiting);
}

static void test_roles_are_asked_for_before_the_endpoint(void **state)
{
    struct fixture *f = prepare(state);
    start(f);
    int fd = dial(f);
    say(fd, "GET /admin/v1/agents HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_reply(fd, "HTTP/1.1 401", "missing_api_key");
    assert_int_equal(0, atomic_load(&calls));
    say(fd, "GET /admin/v1/agents HTTP/1.1\r\nHost: a\r\nX-API-Key: k\r\n\r\n");
    assert_reply(fd, "HTTP/1.1 200", "/admin/v1/agents");
    close(fd);
}

#define TOKEN_HEAD "POST /oauth/token HTTP/1.1\r\nHost: a\r\n"
#define TOKEN      TOKEN_HEAD "Content-Length: 2\r\n\r\n{}"

/* A reply of an OAuth endpoint: RFC 6749 section 5.2, and the header fields of section 5.1. */
static void assert_oauth_text(const char *text, const char *status, const char *error)
{
    char want[REPLY_MAX];
    (void)snprintf(want, sizeof want, "{\"error\":\"%s\",\"error_description\":\"", error);
    const char *const parts[] = {want, "\r\nCache-Control: no-store\r\n", "\r\nPragma: no-cache\r\n",
                                 "\r\nContent-Type: application/json\r\n"};
    for (size_t i = 0; i < COUNT(parts); i++) {
        if (strncmp(text, status, strlen(status)) != 0 || strstr(text, parts[i]) == NULL)
            fail_msg("not %s with %s: %s", status, parts[i], text);
    }
}

static void assert_oauth(int fd, const char *status, const char *error)
{
    char text[REPLY_MAX];
    hear(fd, text);
    assert_oauth_text(text, status, error);
}

/* Sends on a connection of its own, since some refusals end it. */
static void assert_oauth_refusal(const struct fixture *f, const char *request, const char *status, const char *error)
{
    int fd = dial(f);
    say(fd, request);
    assert_oauth(fd, status, error);
    close(fd);
}

static void test_refusals_before_an_oauth_endpoint_have_its_form(void **state)
{
    struct fixture *f = prepare(state);
    start(f);
    assert_oauth_refusal(f, "GET /oauth/token HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1 405", "invalid_request");
    assert_oauth_refusal(f, TOKEN_HEAD "Content-Length: 65537\r\n\r\n", "HTTP/1.1 413", "invalid_request");
    /* D05, H10 */
    assert_oauth_refusal(f, TOKEN_HEAD "DPoP: a\r\nDPoP: b\r\n\r\n", "HTTP/1.1 400", "invalid_request");
    assert_oauth_refusal(f, TOKEN_HEAD "Authorization: Bearer a\r\nAuthorization: Basic b\r\n\r\n", "HTTP/1.1 400",
                         "invalid_request");
    static char chunk[65536 + 256], header[20000], target[9000];
    int n =
        snprintf(chunk, sizeof chunk, TOKEN_HEAD "Transfer-Encoding: chunked\r\n\r\n10001\r\n%065537d\r\n0\r\n\r\n", 0);
    assert_in_range(n, 65537, sizeof chunk - 1);
    assert_oauth_refusal(f, chunk, "HTTP/1.1 413", "invalid_request");
    (void)snprintf(header, sizeof header, TOKEN_HEAD "DPoP: %016384d\r\n\r\n", 0);
    assert_oauth_refusal(f, header, "HTTP/1.1 431", "invalid_request");
    (void)snprintf(target, sizeof target, "POST /oauth/token?%08200d HTTP/1.1\r\nHost: a\r\n\r\n", 0);
    assert_oauth_refusal(f, target, "HTTP/1.1 414", "invalid_request");
    assert_int_equal(0, atomic_load(&calls));
    int fd = dial(f);
    say(fd, "PUT /v1/agent-sessions HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_reply(fd, "HTTP/1.1 405", "{\"error\":\"method_not_allowed\",\"message\":\"");
    close(fd);
}

static void test_an_oauth_endpoint_says_so_when_its_worker_is_late(void **state)
{
    struct fixture *f = prepare(state);
    f->config.request_timeout_ms = 200;
    start(f);
    int fd = dial(f);
    say(fd, TOKEN);
    sem_wait(&entered);
    assert_oauth(fd, "HTTP/1.1 503", "temporarily_unavailable");
    sem_post(&gate);
    close(fd);
}

static void test_an_oauth_endpoint_says_so_when_the_queue_is_full(void **state)
{
    struct fixture *f = prepare(state);
    f->config.queue_depth = 1;
    start(f);
    int stuck = dial(f), waiting = dial(f), refused = dial(f);
    say(stuck, HOLD);
    sem_wait(&entered);
    say(waiting, TOKEN);
    say(refused, TOKEN);
    struct pollfd either[] = {{.fd = waiting, .events = POLLIN}, {.fd = refused, .events = POLLIN}};
    assert_int_equal(1, poll(either, 2, PATIENCE_MS));
    int shed = either[0].revents != 0 ? waiting : refused, kept = shed == waiting ? refused : waiting;
    assert_oauth(shed, "HTTP/1.1 503", "temporarily_unavailable");
    sem_post(&gate);
    sem_post(&gate);
    assert_reply(kept, "HTTP/1.1 200", "\r\nPragma: no-cache\r\n");
    close(stuck);
    close(waiting);
    close(refused);
}

static void test_an_oauth_endpoint_says_so_when_one_address_asks_too_often(void **state)
{
    struct fixture *f = prepare(state);
    f->config.address_rate = 1;
    f->config.address_burst = 1;
    start(f);
    enum { ENOUGH = 1000 };
    char text[REPLY_MAX] = "HTTP/1.1 200";
    int fd = dial(f);
    for (int i = 0; i < ENOUGH && strncmp(text, "HTTP/1.1 200", 12) == 0; i++) {
        say(fd, "POST /oauth/revoke HTTP/1.1\r\nHost: a\r\n\r\n");
        hear(fd, text);
    }
    assert_oauth_text(text, "HTTP/1.1 429", "temporarily_unavailable");
    close(fd);
}

static void test_an_oauth_endpoint_says_so_when_a_body_does_not_come(void **state)
{
    struct fixture *f = prepare(state);
    f->config.body_timeout_ms = 200;
    start(f);
    int fd = dial(f);
    say(fd, TOKEN_HEAD "Content-Length: 2\r\n\r\n{");
    assert_oauth(fd, "HTTP/1.1 408", "invalid_request");
    close(fd);
}

/* RFC 9449 section 4.1, RFC 9728 section 5.1. */
static void test_the_request_knows_its_proof_and_where_it_is(void **state)
{
    struct fixture *f = prepare(state);
    f->config.base_url = STR("https://broker.example/x");
    start(f);
    int fd = dial(f);
    say(fd, "GET /v1/agent-sessions/one HTTP/1.1\r\nHost: a\r\nDPoP:  a.b.c \r\n\r\n");
    assert_reply(fd, "HTTP/1.1 200", "\r\nDPoP-Nonce: a.b.c\r\n");
    say(fd, "GET /admin/v1/agents HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_reply(fd, "HTTP/1.1 401",
                 "resource_metadata=\"https://broker.example/.well-known/oauth-protected-resource/x\"");
    close(fd);
}

static void test_where_it_listens(void **state)
{
    struct fixture *f = prepare(state);
    f->config.listen = STR("0.0.0.0");
    assert_fails_with(ERR_CONFIG, "loopback", server_start(&f->app, &f->server));
    f->config.listen = STR("localhost");
    assert_fails_with(ERR_CONFIG, "numeric", server_start(&f->app, &f->server));
    f->config.listen = STR("0.0.0.0");
    f->config.insecure_plain_http = true;
    start(f);
    struct server *second = NULL;
    assert_fails_with(ERR_CONFIG, "cannot listen", server_start(&f->app, &second));
    assert_null(second);
}

#define SERVER_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        SERVER_TEST(test_snapshots_are_served_while_every_worker_is_busy),
        SERVER_TEST(test_a_late_worker_is_answered_for_and_its_answer_dropped),
        SERVER_TEST(test_the_answer_for_a_late_worker_names_the_request),
        SERVER_TEST(test_who_waits_behind_a_stuck_worker_is_answered_and_never_run),
        SERVER_TEST(test_a_full_queue_is_answered_at_once),
        SERVER_TEST(test_a_client_that_leaves_harms_nobody),
        SERVER_TEST(test_stopping_lets_what_is_in_flight_finish),
        SERVER_TEST(test_stopping_answers_what_does_not_finish),
        SERVER_TEST(test_roles_are_asked_for_before_the_endpoint),
        SERVER_TEST(test_refusals_before_an_oauth_endpoint_have_its_form),
        SERVER_TEST(test_an_oauth_endpoint_says_so_when_its_worker_is_late),
        SERVER_TEST(test_an_oauth_endpoint_says_so_when_the_queue_is_full),
        SERVER_TEST(test_an_oauth_endpoint_says_so_when_one_address_asks_too_often),
        SERVER_TEST(test_an_oauth_endpoint_says_so_when_a_body_does_not_come),
        SERVER_TEST(test_the_request_knows_its_proof_and_where_it_is),
        SERVER_TEST(test_where_it_listens),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
