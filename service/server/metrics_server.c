/* SPDX-License-Identifier: Apache-2.0
 * The second listener: Prometheus text for whoever can reach its address (loopback by default). */
#include "base/fd.h"
#include "base/log.h"
#include "service/server/internal.h"
#include "service/server/listen.h"

#include <microhttpd.h>

enum { TEXT_MAX = 4 << 20, CONNECTIONS = 16, TIMEOUT_S = 10, HEADER_MAX = 8192 };

/* The exposition in a response of its own, which the library copies. NULL when memory is short. */
static struct MHD_Response *render(struct server *s)
{
    metric_set(s->app->metrics, M_QUEUE_DEPTH, (int64_t)queue_depth(s->queue), NULL, NULL, NULL);
    struct arena *arena CLEANUP(arena_free) = NULL;
    struct err e = arena_new((size_t)2 * TEXT_MAX, &arena);
    if (err_is(&e))
        return NULL;
    struct buf text = buf_in(arena, TEXT_MAX);
    metrics_write(s->app->metrics, &text);
    e = buf_status(&text);
    if (err_is(&e)) {
        LOG_ERR(LOG_WARN, "metrics do not fit", &e, LOG_INT("bytes", text.n));
        return NULL;
    }
    struct MHD_Response *r = MHD_create_response_from_buffer(text.n, text.p, MHD_RESPMEM_MUST_COPY);
    if (r != NULL)
        (void)MHD_add_response_header(r, "Content-Type", "text/plain; version=0.0.4; charset=utf-8");
    return r;
}

static enum MHD_Result on_request(void *cls, struct MHD_Connection *c, const char *url, const char *method,
                                  const char *version, const char *data, size_t *n, void **context)
{
    (void)version;
    (void)data;
    (void)n;
    static char seen;
    /* A reply to the first call would make the library close the connection. */
    if (*context == NULL) {
        *context = &seen;
        return MHD_YES;
    }
    enum { FOUND = 200, NOT_FOUND = 404, NOT_ALLOWED = 405 };
    bool get = strcmp(method, "GET") == 0 || strcmp(method, "HEAD") == 0;
    unsigned status = strcmp(url, "/metrics") != 0 ? NOT_FOUND : get ? FOUND : NOT_ALLOWED;
    struct MHD_Response *r =
        status == FOUND ? render(cls) : MHD_create_response_from_buffer(0, NULL, MHD_RESPMEM_PERSISTENT);
    if (r == NULL)
        return MHD_NO;
    if (status == NOT_ALLOWED)
        (void)MHD_add_response_header(r, "Allow", "GET, HEAD");
    enum MHD_Result queued = MHD_queue_response(c, status, r);
    MHD_destroy_response(r);
    return queued;
}

struct err metrics_start(struct server *s)
{
    struct str setting = s->app->config->metrics_listen;
    if (str_is(setting, "off"))
        return OK;
    struct str address;
    int64_t port = 0;
    int fd CLEANUP(fd_close) = -1;
    bool loopback = false;
    TRY(listen_split(setting, &address, &port));
    TRY(listen_open(address, port, &fd, &loopback));
    if (!loopback && !s->app->config->insecure_plain_http)
        return FAIL(ERR_CONFIG, "NEXUS_METRICS_LISTEN is not a loopback address, and metrics are served in the clear");
    s->metrics =
        MHD_start_daemon(MHD_USE_EPOLL_INTERNAL_THREAD, 0, NULL, NULL, on_request, s, MHD_OPTION_LISTEN_SOCKET, fd,
                         MHD_OPTION_CONNECTION_LIMIT, (unsigned)CONNECTIONS, MHD_OPTION_CONNECTION_TIMEOUT,
                         (unsigned)TIMEOUT_S, MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)HEADER_MAX, MHD_OPTION_END);
    if (s->metrics == NULL)
        return FAIL(ERR_CONFIG, "the metrics listener does not start on %.*s", STR_FMT(setting));
    fd = -1;
    return OK;
}

void metrics_stop(struct server *s)
{
    if (s->metrics != NULL)
        MHD_stop_daemon(s->metrics);
    s->metrics = NULL;
}
