/* SPDX-License-Identifier: Apache-2.0 */
#include "service/server/deadline.h"

#include "base/clock.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>

enum { TICK_US = 25000, SPARE = 16, BUCKET_NAME_MAX = 8, TIMEOUT_REPLY_MAX = 512 };

struct conn {
    int fd; /* -1: free, or cut already */
    bool open;
    enum conn_phase phase;
    int64_t deadline_us;
    struct exchange *exchange; /* the HTTP thread's; the sweeper reads it in CONN_WORK only, when it does not change */
    char peer[INET6_ADDRSTRLEN];
    char bucket[BUCKET_NAME_MAX];
    size_t bucket_n;
    struct conn *next;
};

struct timeout_reply {
    char text[TIMEOUT_REPLY_MAX];
    size_t n;
};

struct conn_table {
    pthread_mutex_t lock;
    pthread_cond_t stop;
    pthread_t sweeper;
    bool stopping;
    int64_t limit_us[CONN_PHASE_COUNT];
    conn_overdue *overdue;
    struct conn *free;
    size_t n, n_open;
    struct timeout_reply timeout, oauth_timeout;
    struct conn v[];
};

/* Says why before the connection ends. Only in phases where nothing of a reply can be under way. */
static void tell_timeout(int fd, const struct timeout_reply *r)
{
    (void)send(fd, r->text, r->n, MSG_DONTWAIT | MSG_NOSIGNAL);
}

static void set_timeout_reply(bool oauth, struct timeout_reply *r)
{
    struct err_public e = http_error_public(ERR_REQUEST_TIMEOUT, oauth);
    char text[TIMEOUT_REPLY_MAX / 2];
    struct str body = http_error_body(&e, oauth, text, sizeof text);
    int n = snprintf(r->text, sizeof r->text,
                     "HTTP/1.1 %d Request Timeout\r\nContent-Type: application/json\r\nCache-Control: no-store\r\n%s"
                     "Connection: close\r\nContent-Length: %zu\r\n\r\n%.*s",
                     e.status, oauth ? "Pragma: no-cache\r\n" : "", body.n, STR_FMT(body));
    r->n = n > 0 && (size_t)n < sizeof r->text ? (size_t)n : 0;
}

/* The socket is shut down, not closed: the library sees its end and closes it, so the number is never used twice. */
static void cut(const struct conn_table *t, struct conn *c)
{
    if (c->phase == CONN_HEADER || c->phase == CONN_BODY)
        tell_timeout(c->fd, &t->timeout);
    if (c->phase == CONN_OAUTH_BODY)
        tell_timeout(c->fd, &t->oauth_timeout);
    (void)shutdown(c->fd, SHUT_RDWR);
    c->fd = -1;
}

static void sweep(struct conn_table *t, int64_t now_us)
{
    for (size_t i = 0; i < t->n; i++) {
        struct conn *c = &t->v[i];
        if (!c->open || c->fd < 0 || now_us < c->deadline_us)
            continue;
        if (c->phase != CONN_WORK) {
            cut(t, c);
            continue;
        }
        t->overdue(c->exchange, ERR_DEADLINE);
        c->deadline_us = INT64_MAX;
    }
}

static void *sweeper_main(void *arg)
{
    struct conn_table *t = arg;
    pthread_mutex_lock(&t->lock);
    while (!t->stopping) {
        int64_t now = clock_mono_us();
        sweep(t, now);
        const struct timespec until = {.tv_sec = (time_t)((now + TICK_US) / 1000000),
                                       .tv_nsec = (long)((now + TICK_US) % 1000000) * 1000};
        pthread_cond_timedwait(&t->stop, &t->lock, &until);
    }
    pthread_mutex_unlock(&t->lock);
    return NULL;
}

struct err conn_table_new(const struct config *cfg, conn_overdue *overdue, struct conn_table **out)
{
    size_t n = (size_t)cfg->max_connections + SPARE;
    struct conn_table *t = calloc(1, sizeof *t + n * sizeof t->v[0]);
    if (t == NULL)
        return FAIL(ERR_NO_MEMORY, "table of %zu connections", n);
    t->n = n;
    t->overdue = overdue;
    set_timeout_reply(false, &t->timeout);
    set_timeout_reply(true, &t->oauth_timeout);
    t->limit_us[CONN_HEADER] = cfg->header_timeout_ms * 1000;
    t->limit_us[CONN_BODY] = cfg->body_timeout_ms * 1000;
    t->limit_us[CONN_OAUTH_BODY] = cfg->body_timeout_ms * 1000;
    t->limit_us[CONN_WRITE] = cfg->write_timeout_ms * 1000;
    t->limit_us[CONN_IDLE] = cfg->idle_timeout_ms * 1000;
    for (size_t i = n; i > 0; i--) {
        t->v[i - 1].next = t->free;
        t->free = &t->v[i - 1];
    }
    pthread_mutex_init(&t->lock, NULL);
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&t->stop, &attr);
    pthread_condattr_destroy(&attr);
    int r = pthread_create(&t->sweeper, NULL, sweeper_main, t);
    if (r != 0) {
        free(t);
        return FAIL(ERR_NO_MEMORY, "cannot start the sweeper: errno %d", r);
    }
    *out = t;
    return OK;
}

void conn_table_free(struct conn_table **table)
{
    struct conn_table *t = *table;
    if (t == NULL)
        return;
    pthread_mutex_lock(&t->lock);
    t->stopping = true;
    pthread_cond_signal(&t->stop);
    pthread_mutex_unlock(&t->lock);
    pthread_join(t->sweeper, NULL);
    pthread_cond_destroy(&t->stop);
    pthread_mutex_destroy(&t->lock);
    free(t);
    *table = NULL;
}

void conn_abandon_all(struct conn_table *t, enum err_code why)
{
    pthread_mutex_lock(&t->lock);
    for (size_t i = 0; i < t->n; i++) {
        if (t->v[i].open && t->v[i].phase == CONN_WORK)
            t->overdue(t->v[i].exchange, why);
    }
    pthread_mutex_unlock(&t->lock);
}

/* The address as text and as a bucket's name; an IPv4 address that came through an IPv6 socket is an IPv4 address. */
static void set_peer(struct conn *c, const struct sockaddr *peer)
{
    static const char unknown[] = "unknown";
    memcpy(c->peer, unknown, sizeof unknown);
    c->bucket_n = 0;
    enum { V4 = 4, V6_PREFIX = 8, MAPPED_AT = 12 };
    if (peer != NULL && peer->sa_family == AF_INET) {
        const struct sockaddr_in *in = (const struct sockaddr_in *)(const void *)peer;
        (void)inet_ntop(AF_INET, &in->sin_addr, c->peer, sizeof c->peer);
        memcpy(c->bucket, &in->sin_addr, V4);
        c->bucket_n = V4;
    } else if (peer != NULL && peer->sa_family == AF_INET6) {
        const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)(const void *)peer;
        bool mapped = IN6_IS_ADDR_V4MAPPED(&in6->sin6_addr);
        const uint8_t *from = mapped ? in6->sin6_addr.s6_addr + MAPPED_AT : in6->sin6_addr.s6_addr;
        (void)inet_ntop(mapped ? AF_INET : AF_INET6, from, c->peer, sizeof c->peer);
        c->bucket_n = mapped ? V4 : V6_PREFIX;
        memcpy(c->bucket, from, c->bucket_n);
    }
}

struct conn *conn_open(struct conn_table *t, int fd, const struct sockaddr *peer)
{
    pthread_mutex_lock(&t->lock);
    struct conn *c = t->free;
    if (c != NULL) {
        t->free = c->next;
        t->n_open++;
        *c = (struct conn){.fd = fd, .open = true, .phase = CONN_HEADER};
        c->deadline_us = clock_mono_us() + t->limit_us[CONN_HEADER];
        set_peer(c, peer);
    }
    pthread_mutex_unlock(&t->lock);
    return c;
}

void conn_close(struct conn_table *t, struct conn *c)
{
    pthread_mutex_lock(&t->lock);
    c->open = false;
    c->fd = -1;
    c->next = t->free;
    t->free = c;
    t->n_open--;
    pthread_mutex_unlock(&t->lock);
}

void conn_wait(struct conn_table *t, struct conn *c, enum conn_phase phase)
{
    int64_t deadline = clock_mono_us() + t->limit_us[phase];
    pthread_mutex_lock(&t->lock);
    if (c->phase != CONN_HEADER || phase != CONN_HEADER)
        c->deadline_us = deadline;
    c->phase = phase;
    pthread_mutex_unlock(&t->lock);
}

void conn_wait_worker(struct conn_table *t, struct conn *c, int64_t deadline_us)
{
    pthread_mutex_lock(&t->lock);
    c->phase = CONN_WORK;
    c->deadline_us = deadline_us;
    pthread_mutex_unlock(&t->lock);
}

void conn_set_exchange(struct conn *c, struct exchange *x)
{
    c->exchange = x;
}

struct exchange *conn_exchange(const struct conn *c)
{
    return c->exchange;
}

size_t conn_count(struct conn_table *t)
{
    pthread_mutex_lock(&t->lock);
    size_t n = t->n_open;
    pthread_mutex_unlock(&t->lock);
    return n;
}

struct str conn_peer(const struct conn *c)
{
    return str_of(c->peer);
}

struct str conn_peer_bucket(const struct conn *c)
{
    return (struct str){c->bucket, c->bucket_n};
}
