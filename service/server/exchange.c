/* SPDX-License-Identifier: Apache-2.0 */
#include "service/server/exchange.h"

#include "base/clock.h"

#include <pthread.h>
#include <stdlib.h>
#include <time.h>

/* An arena that grew past this is unmapped instead of kept: one large request must not cost memory for ever. */
enum { ARENA_KEEP = 128 * 1024 };

struct exchange_pool {
    pthread_mutex_t lock;
    pthread_cond_t idle;
    size_t max, made, out;
    size_t arena_bytes;
    struct exchange *free;
};

struct err exchange_pool_new(size_t max, size_t arena_bytes, struct exchange_pool **out)
{
    struct exchange_pool *p = calloc(1, sizeof *p);
    if (p == NULL)
        return FAIL(ERR_NO_MEMORY, "exchange pool");
    p->max = max;
    p->arena_bytes = arena_bytes;
    pthread_mutex_init(&p->lock, NULL);
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&p->idle, &attr);
    pthread_condattr_destroy(&attr);
    *out = p;
    return OK;
}

void exchange_pool_free(struct exchange_pool **pool)
{
    struct exchange_pool *p = *pool;
    if (p == NULL)
        return;
    while (p->free != NULL) {
        struct exchange *x = p->free;
        p->free = x->next;
        arena_free(&x->arena);
        free(x);
    }
    pthread_cond_destroy(&p->idle);
    pthread_mutex_destroy(&p->lock);
    free(p);
    *pool = NULL;
}

bool exchange_pool_wait_idle(struct exchange_pool *p, int64_t deadline_us)
{
    const struct timespec until = {.tv_sec = (time_t)(deadline_us / 1000000),
                                   .tv_nsec = (long)(deadline_us % 1000000) * 1000};
    pthread_mutex_lock(&p->lock);
    while (p->out > 0 && pthread_cond_timedwait(&p->idle, &p->lock, &until) == 0)
        ;
    bool idle = p->out == 0;
    pthread_mutex_unlock(&p->lock);
    return idle;
}

/* One of the free list, or a new one while there are fewer than the maximum. */
static struct exchange *pop(struct exchange_pool *p)
{
    pthread_mutex_lock(&p->lock);
    struct exchange *x = p->free;
    if (x != NULL) {
        p->free = x->next;
    } else if (p->made < p->max) {
        x = calloc(1, sizeof *x);
        p->made += x != NULL;
    }
    p->out += x != NULL;
    pthread_mutex_unlock(&p->lock);
    return x;
}

static void push(struct exchange_pool *p, struct exchange *x)
{
    pthread_mutex_lock(&p->lock);
    x->next = p->free;
    p->free = x;
    if (--p->out == 0)
        pthread_cond_broadcast(&p->idle);
    pthread_mutex_unlock(&p->lock);
}

struct exchange *exchange_take(struct exchange_pool *p)
{
    struct exchange *x = pop(p);
    if (x == NULL)
        return NULL;
    struct arena *arena = x->arena;
    *x = (struct exchange){.arena = arena, .pool = p};
    if (arena == NULL) {
        struct err e = arena_new(p->arena_bytes, &x->arena);
        if (err_is(&e)) {
            x->arena = NULL;
            push(p, x);
            return NULL;
        }
    }
    x->req.arena = x->arena;
    atomic_store(&x->state, EXCHANGE_OPEN);
    atomic_store(&x->holders, 1);
    return x;
}

void exchange_release(struct exchange *x)
{
    if (atomic_fetch_sub(&x->holders, 1) != 1)
        return;
    if (arena_used(x->arena) > ARENA_KEEP)
        arena_free(&x->arena);
    else
        arena_reset(x->arena);
    push(x->pool, x);
}

void exchange_queue(struct exchange *x)
{
    atomic_fetch_add(&x->holders, 1);
    atomic_store(&x->state, EXCHANGE_QUEUED);
}

bool exchange_finish(struct exchange *x)
{
    int expected = EXCHANGE_QUEUED;
    return atomic_compare_exchange_strong(&x->state, &expected, EXCHANGE_DONE);
}

bool exchange_abandon(struct exchange *x, enum err_code why)
{
    int expected = EXCHANGE_QUEUED;
    if (!atomic_compare_exchange_strong(&x->state, &expected, EXCHANGE_ABANDONED))
        return false;
    /* Read by the HTTP thread only, after the resume that follows. */
    x->abandoned_for = why;
    return true;
}

void exchange_abandoned_reply(struct exchange *x, struct http_reply *out)
{
    struct err_public pub = http_error_public(x->abandoned_for, x->req.oauth);
    *out = (struct http_reply){.status = pub.status, .content_type = "application/json", .outcome = pub.code};
    out->body = http_error_body(&pub, x->req.oauth, x->notice, sizeof x->notice);
    http_add_header(out, "Retry-After", STR("1"));
}
