/* SPDX-License-Identifier: Apache-2.0
 * The glue to libmicrohttpd. All callbacks run on its one thread, which only parses, guards, buffers bodies, answers
 * from snapshots and writes replies; whatever can block goes to a worker while the connection is suspended.
 *
 * Per request the library calls: on_uri (request line), on_request once for the header, once for each piece of a body,
 * once when the request is complete and again after a resume, then on_completed. */
#include "base/fd.h"
#include "base/log.h"
#include "base/rand.h"
#include "service/server/guard.h"
#include "service/server/internal.h"
#include "service/server/listen.h"

#include <microhttpd.h>
#include <stdio.h>
#include <sys/socket.h>

enum {
    HEADER_VALUE_MAX = 1024,
    GRACE_US = 100 * 1000, /* a worker that ends at its deadline answers by itself */
    POOL_EXTRA = 12 * 1024 /* the library's own structures and the reply's header, per connection */
};

/* The version whose buffers guard_layout knows (its tests hold it to that). Later ones are strict by themselves. */
static const char layout_version[] = "0.9.75";

static bool is_layout_known(void)
{
    return strcmp(MHD_get_version(), layout_version) == 0;
}

static struct conn *conn_of(struct MHD_Connection *c)
{
    const union MHD_ConnectionInfo *i = MHD_get_connection_info(c, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    return i != NULL ? i->socket_context : NULL;
}

static void add_header(struct MHD_Response *r, const char *name, struct str value)
{
    char text[HEADER_VALUE_MAX];
    if (value.n >= sizeof text || snprintf(text, sizeof text, "%.*s", STR_FMT(value)) < 0 ||
        MHD_add_response_header(r, name, text) != MHD_YES)
        LOG(LOG_ERROR, "a reply header was left out", LOG_CSTR("header", name));
}

static void add_headers(const struct server *s, const struct exchange *x, const struct http_reply *r,
                        struct MHD_Response *to)
{
    bool has_cache_control = false;
    for (size_t i = 0; i < r->n_headers; i++) {
        has_cache_control = has_cache_control || strcmp(r->headers[i].name, "Cache-Control") == 0;
        add_header(to, r->headers[i].name, r->headers[i].value);
    }
    if (!has_cache_control)
        add_header(to, "Cache-Control", STR("no-store"));
    /* RFC 6749 section 5.1. */
    if (x->req.oauth)
        add_header(to, "Pragma", STR("no-cache"));
    if (r->content_type != NULL)
        add_header(to, "Content-Type", str_of(r->content_type));
    add_header(to, "X-Content-Type-Options", STR("nosniff"));
    add_header(to, "X-Request-Id", str_of(x->request_id));
    if (atomic_load(&s->draining))
        add_header(to, "Connection", STR("close"));
}

/* The body stays where it is (in the exchange) until on_completed. */
static enum MHD_Result send_reply(struct server *s, struct exchange *x, const struct http_reply *r)
{
    void *body = (void *)(uintptr_t)r->body.p; /* the library does not write to it, but its prototype lacks const */
    struct MHD_Response *m = MHD_create_response_from_buffer(r->body.n, body, MHD_RESPMEM_PERSISTENT);
    if (m == NULL)
        return MHD_NO;
    add_headers(s, x, r, m);
    conn_wait(s->conns, x->conn, CONN_WRITE);
    enum MHD_Result queued = MHD_queue_response(x->http, (unsigned)r->status, m);
    MHD_destroy_response(m);
    return queued;
}

/* Answers what never reached a worker. */
static void refuse(struct server *s, struct exchange *x, const struct err *e)
{
    http_reply_error(&x->req, e, &x->reply);
    if (x->allow.p != NULL)
        http_set_header(&x->reply, "Allow", x->allow);
    metric_add(s->app->metrics, M_REFUSED_EARLY, 1, x->reply.outcome, NULL, NULL);
    access_log(s->app, x, &x->reply, e);
}

static enum MHD_Result send_refusal(struct server *s, struct exchange *x, const struct err *e)
{
    refuse(s, x, e);
    return send_reply(s, x, &x->reply);
}

static enum MHD_Result collect_field(void *cls, enum MHD_ValueKind kind, const char *name, size_t name_n,
                                     const char *value, size_t value_n)
{
    (void)kind;
    struct guard_head *h = cls;
    if (h->n < GUARD_FIELDS_MAX)
        h->fields[h->n] = (struct guard_field){{name, name_n}, {value != NULL ? value : "", value_n}};
    h->n++;
    return MHD_YES;
}

static struct err check_head(const struct server *s, struct exchange *x, struct guard_head *h,
                             struct guard_facts *facts)
{
    h->target = x->target;
    (void)MHD_get_connection_values_n(x->http, MHD_HEADER_KIND, collect_field, h);
    const union MHD_ConnectionInfo *i = MHD_get_connection_info(x->http, MHD_CONNECTION_INFO_REQUEST_HEADER_SIZE);
    h->bytes = i != NULL ? i->header_size : 0;
    TRY(guard_head(h, (size_t)s->app->config->max_header_bytes, facts));
    return is_layout_known() ? guard_layout(h) : OK;
}

/* A copy that lives as long as the exchange: a late worker may read it when the connection is gone. */
static struct str keep(struct exchange *x, struct str v)
{
    return v.p != NULL ? arena_str(x->arena, v) : v;
}

static void take_facts(struct exchange *x, const struct guard_facts *f)
{
    struct http_request *r = &x->req;
    r->content_type = keep(x, f->content_type);
    r->accept = keep(x, f->accept);
    r->authorization = keep(x, f->authorization);
    r->api_key = keep(x, f->api_key);
    r->dpop = keep(x, f->dpop);
    r->if_none_match = keep(x, f->if_none_match);
    if (f->traceparent.p != NULL && guard_traceparent_ok(f->traceparent))
        r->traceparent = keep(x, f->traceparent);
    if (f->request_id.p != NULL && guard_request_id_ok(f->request_id)) {
        memcpy(x->request_id, f->request_id.p, f->request_id.n);
        x->request_id[f->request_id.n] = '\0';
    }
    r->request_id = str_of(x->request_id);
}

static void split_target(struct exchange *x)
{
    struct http_request *r = &x->req;
    const char *question = memchr(x->target.p, '?', x->target.n);
    r->path = x->target;
    if (question != NULL) {
        r->path.n = (size_t)(question - x->target.p);
        struct str query = {question + 1, x->target.n - r->path.n - 1};
        r->query = query.n > 0 ? query : r->query;
    }
}

static struct err take_route(struct exchange *x, const struct route_match *m)
{
    if (m->allow[0] == '\0')
        return FAIL(ERR_NOT_FOUND, "no such path");
    if (m->route == NULL) {
        struct str allow = arena_str(x->arena, str_of(m->allow));
        x->allow = allow.p != NULL ? allow : STR("");
        return FAIL(ERR_METHOD_NOT_ALLOWED, "this path takes %s", m->allow);
    }
    x->route = m->route;
    for (size_t i = 0; i < HTTP_PATH_ARGS && m->args[i].p != NULL; i++)
        TRY(router_decode_arg(x->arena, m->args[i], &x->req.args[i]));
    return OK;
}

/* The first call. What is refused here and has a body is answered at once, which makes the library close: nothing of
 * the body is read, and no "100 Continue" is sent. */
static enum MHD_Result on_header(struct server *s, struct exchange *x, struct guard_head *h)
{
    struct guard_facts facts = {.chunked = false};
    struct route_match m;
    x->req.method = router_method(h->method);
    split_target(x);
    /* First of all, since it tells in which form to refuse. */
    router_find(&s->routes, x->req.method, x->req.path, &m);
    x->req.oauth = m.oauth;
    struct err e = check_head(s, x, h, &facts);
    if (err_is(&e))
        return send_refusal(s, x, &e);
    take_facts(x, &facts);
    x->refused = take_route(x, &m);
    if (facts.length > (uint64_t)s->max_body)
        x->refused = FAIL(ERR_BODY_TOO_LARGE, "at most %lld bytes", (long long)s->max_body);
    if (!facts.chunked && facts.length == 0)
        return MHD_YES;
    if (err_is(&x->refused))
        return send_refusal(s, x, &x->refused);
    conn_wait(s->conns, x->conn, x->req.oauth ? CONN_OAUTH_BODY : CONN_BODY);
    x->body = buf_in(x->arena, (size_t)s->max_body);
    /* One block for a body of known length. */
    (void)buf_room(&x->body, (size_t)facts.length);
    x->body.n = 0;
    return MHD_YES;
}

static enum MHD_Result on_body(struct server *s, struct exchange *x, const char *data, size_t n)
{
    if (!x->body_too_large && n <= (size_t)s->max_body - x->body.n) {
        buf_add(&x->body, data, n);
        return MHD_YES;
    }
    /* Only a chunked body comes here. The library cannot answer in the middle of one: as much again is thrown away, so
     * that a client a little over the limit is told so; then the connection is cut. */
    x->body_too_large = true;
    x->surplus += n;
    return x->surplus <= (size_t)s->max_body ? MHD_YES : MHD_NO;
}

static struct err check_complete(struct server *s, struct exchange *x)
{
    TRY(x->refused);
    if (x->body_too_large)
        return FAIL(ERR_BODY_TOO_LARGE, "at most %lld bytes", (long long)s->max_body);
    TRY(buf_status(&x->body));
    /* The library parses trailer fields as leniently as headers, and nothing here needs them. */
    if (MHD_get_connection_values_n(x->http, MHD_FOOTER_KIND, NULL, NULL) > 0)
        return FAIL(ERR_BAD_HTTP, "trailer fields are not accepted");
    x->req.body = buf_view(&x->body);
    return OK;
}

static enum MHD_Result answer_inline(struct server *s, struct exchange *x)
{
    struct err e = x->route->inline_handler(s->app, &x->req, &x->reply);
    if (err_is(&e))
        http_reply_error(&x->req, &e, &x->reply);
    if (x->reply.outcome == NULL)
        x->reply.outcome = "ok";
    access_log(s->app, x, &x->reply, &e);
    return send_reply(s, x, &x->reply);
}

static enum MHD_Result limit_rate(struct server *s, struct exchange *x, bool *limited)
{
    int64_t wait_s = 0;
    *limited = !buckets_take(s->addresses, conn_peer_bucket(x->conn), x->received_us, &wait_s);
    if (!*limited)
        return MHD_YES;
    struct err e =
        FAIL(ERR_RATE_LIMITED, "%lld requests a second from one address", (long long)s->app->config->address_rate);
    refuse(s, x, &e);
    struct str after = arena_printf(x->arena, "%lld", (long long)wait_s);
    if (after.p != NULL)
        http_set_header(&x->reply, "Retry-After", after);
    return send_reply(s, x, &x->reply);
}

/* Suspended first, then handed over: the worker may be done before this returns. */
static void hand_over(struct server *s, struct exchange *x)
{
    exchange_queue(x);
    MHD_suspend_connection(x->http);
    conn_wait_worker(s->conns, x->conn, x->req.deadline_us + GRACE_US);
    if (queue_push(s->queue, x))
        return;
    struct err e = atomic_load(&s->stopping) ? FAIL(ERR_SHUTTING_DOWN, "the queue is closed")
                                             : FAIL(ERR_OVERLOADED, "%zu requests are waiting", queue_depth(s->queue));
    if (exchange_finish(x)) {
        refuse(s, x, &e);
        http_resume(x);
    }
    exchange_release(x);
}

static enum MHD_Result on_complete(struct server *s, struct exchange *x)
{
    x->received_us = clock_mono_us();
    struct err e = check_complete(s, x);
    if (err_is(&e))
        return send_refusal(s, x, &e);
    if (x->route->inline_handler != NULL)
        return answer_inline(s, x);
    bool limited = false;
    enum MHD_Result r = limit_rate(s, x, &limited);
    if (limited)
        return r;
    x->req.deadline_us = x->received_us + s->app->config->request_timeout_ms * 1000;
    hand_over(s, x);
    return MHD_YES;
}

static enum MHD_Result on_resumed(struct server *s, struct exchange *x)
{
    if (atomic_load(&x->state) == EXCHANGE_DONE)
        return send_reply(s, x, &x->reply);
    struct http_reply instead;
    exchange_abandoned_reply(x, &instead);
    struct err e = FAIL(x->abandoned_for, "its worker did not answer in time");
    access_log(s->app, x, &instead, &e);
    return send_reply(s, x, &instead);
}

static void drop_exchange(struct conn *conn)
{
    struct exchange *x = conn_exchange(conn);
    conn_set_exchange(conn, NULL);
    if (x != NULL)
        exchange_release(x);
}

static void on_connection(void *cls, struct MHD_Connection *c, void **context, enum MHD_ConnectionNotificationCode what)
{
    struct server *s = cls;
    if (what == MHD_CONNECTION_NOTIFY_CLOSED) {
        if (*context != NULL) {
            drop_exchange(*context);
            conn_close(s->conns, *context);
        }
    } else {
        const union MHD_ConnectionInfo *i = MHD_get_connection_info(c, MHD_CONNECTION_INFO_CONNECTION_FD);
        int fd = i != NULL ? i->connect_fd : -1;
        i = MHD_get_connection_info(c, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
        *context = conn_open(s->conns, fd, i != NULL ? i->client_addr : NULL);
        if (*context == NULL)
            (void)shutdown(fd, SHUT_RDWR);
    }
    metric_set(s->app->metrics, M_CONNECTIONS, (int64_t)conn_count(s->conns), NULL, NULL, NULL);
}

static void *on_uri(void *cls, const char *uri, struct MHD_Connection *c)
{
    struct server *s = cls;
    struct conn *conn = conn_of(c);
    if (conn == NULL)
        return NULL;
    drop_exchange(conn);
    struct exchange *x = exchange_take(s->exchanges);
    if (x == NULL)
        return NULL;
    conn_set_exchange(conn, x);
    conn_wait(s->conns, conn, CONN_HEADER);
    x->conn = conn;
    x->http = c;
    x->target = arena_str(x->arena, str_of(uri != NULL ? uri : ""));
    struct str peer = conn_peer(conn);
    (void)snprintf(x->peer, sizeof x->peer, "%.*s", STR_FMT(peer));
    x->req.peer = str_of(x->peer);
    char id[ID_TEXT];
    struct err e = rand_id("req_", id);
    memcpy(x->request_id, err_is(&e) ? "req_unknown" : id, err_is(&e) ? sizeof "req_unknown" : sizeof id);
    x->req.request_id = str_of(x->request_id);
    x->req.issuer = s->app->config->base_url;
    return x;
}

static enum MHD_Result on_request(void *cls, struct MHD_Connection *c, const char *url, const char *method,
                                  const char *version, const char *data, size_t *n, void **context)
{
    (void)c;
    struct server *s = cls;
    struct exchange *x = *context;
    if (x == NULL || x->target.p == NULL)
        return MHD_NO;
    if (!x->head_seen) {
        x->head_seen = true;
        struct guard_head h = {.method = str_of(method), .version = str_of(version), .at = url, .n = 0};
        return on_header(s, x, &h);
    }
    if (*n > 0) {
        size_t taken = *n;
        *n = 0;
        return on_body(s, x, data, taken);
    }
    return atomic_load(&x->state) == EXCHANGE_OPEN ? on_complete(s, x) : on_resumed(s, x);
}

static void on_completed(void *cls, struct MHD_Connection *c, void **context, enum MHD_RequestTerminationCode why)
{
    (void)c;
    (void)why;
    struct server *s = cls;
    struct exchange *x = *context;
    *context = NULL;
    if (x == NULL)
        return;
    conn_wait(s->conns, x->conn, CONN_IDLE);
    drop_exchange(x->conn);
}

/* Targets stay as they were sent: the router decodes what it must, after it has split. */
static size_t no_unescape(void *cls, struct MHD_Connection *c, char *text)
{
    (void)cls;
    (void)c;
    return strlen(text);
}

struct err http_start(struct server *s)
{
    const struct config *cfg = s->app->config;
    int fd CLEANUP(fd_close) = -1;
    bool loopback = false;
    TRY(listen_open(cfg->listen, cfg->port, &fd, &loopback));
    if (!loopback && !cfg->insecure_plain_http)
        return FAIL(ERR_CONFIG, "NEXUS_LISTEN is not a loopback address: put a TLS front before the broker");
    if (!loopback)
        LOG(LOG_WARN,
            "NEXUS_INSECURE_PLAIN_HTTP: API keys, assertions and tokens cross the network in the clear, "
            "anyone on the way can read and use them",
            LOG_STR("listen", cfg->listen));
    unsigned flags =
        (unsigned)MHD_USE_EPOLL_INTERNAL_THREAD | (unsigned)MHD_ALLOW_SUSPEND_RESUME | (unsigned)MHD_USE_ITC;
    /* Where guard_layout works, it is stricter than the library's strict mode, and says why. */
    const int strict = is_layout_known() ? 0 : 1;
    s->http = MHD_start_daemon(
        flags, 0, NULL, NULL, on_request, s, MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_NOTIFY_CONNECTION, on_connection,
        s, MHD_OPTION_URI_LOG_CALLBACK, on_uri, s, MHD_OPTION_NOTIFY_COMPLETED, on_completed, s,
        MHD_OPTION_UNESCAPE_CALLBACK, no_unescape, NULL, MHD_OPTION_STRICT_FOR_CLIENT, strict,
        MHD_OPTION_CONNECTION_LIMIT, (unsigned)cfg->max_connections, MHD_OPTION_PER_IP_CONNECTION_LIMIT,
        (unsigned)cfg->max_connections_per_address, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
        (size_t)cfg->max_header_bytes + POOL_EXTRA, MHD_OPTION_CONNECTION_TIMEOUT, 0U, MHD_OPTION_END);
    if (s->http == NULL)
        return FAIL(ERR_CONFIG, "the HTTP server does not start on %.*s port %lld", STR_FMT(cfg->listen),
                    (long long)cfg->port);
    fd = -1;
    return OK;
}

void http_stop_accepting(struct server *s)
{
    s->listener = MHD_quiesce_daemon(s->http);
    /* The library's thread may be about to use it: it is closed when that thread has ended. */
    (void)shutdown(s->listener, SHUT_RDWR);
}

void http_stop(struct server *s)
{
    if (s->http != NULL)
        MHD_stop_daemon(s->http);
    s->http = NULL;
    fd_close(&s->listener);
}

void http_resume(struct exchange *x)
{
    MHD_resume_connection(x->http);
}

void http_overdue(struct exchange *x, enum err_code why)
{
    if (exchange_abandon(x, why))
        http_resume(x);
}
