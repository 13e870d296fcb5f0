/* SPDX-License-Identifier: Apache-2.0 */
#include "hsm/signer/gate.h"

#include "base/clock.h"

#include <errno.h>
#include <time.h>

enum { SESSION_WAIT_US = 1000000, REGROW_US = 1000000 };

void gate_init(struct gate *g, int limit)
{
    pthread_condattr_t attr;
    *g = (struct gate){.limit = limit, .most = limit};
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_mutex_init(&g->lock, NULL);
    pthread_cond_init(&g->changed, &attr);
    pthread_condattr_destroy(&attr);
}

/* Under the lock. False when the deadline has passed. */
static bool wait_changed(struct gate *g, int64_t deadline_us)
{
    struct timespec t = {.tv_sec = deadline_us / 1000000, .tv_nsec = deadline_us % 1000000 * 1000};
    return pthread_cond_timedwait(&g->changed, &g->lock, &t) != ETIMEDOUT;
}

/* Under the lock. */
static struct err lend(struct gate *g, struct lease *out)
{
    int64_t deadline_us = 0;
    for (;;) {
        if (!g->open || g->stopping)
            return FAIL(ERR_HSM_UNAVAILABLE, "the token is away");
        if (g->idle_n > 0 || g->sessions < g->most)
            break;
        int64_t now = clock_mono_us();
        if (now - g->shrunk_us > REGROW_US && g->most < g->limit) {
            g->most = g->limit;
            continue;
        }
        if (deadline_us == 0)
            deadline_us = now + SESSION_WAIT_US;
        if (g->sessions == 0 || !wait_changed(g, deadline_us))
            return FAIL(ERR_HSM_UNAVAILABLE, "the token has no free session");
    }
    if (g->idle_n > 0)
        out->session = g->idle[--g->idle_n];
    else
        g->sessions++;
    g->inside++;
    return OK;
}

struct err gate_enter(struct gate *g, CK_FUNCTION_LIST *f, struct lease *out)
{
    *out = (struct lease){.f = f, .session = CK_INVALID_HANDLE};
    pthread_mutex_lock(&g->lock);
    struct err e = lend(g, out);
    out->epoch = g->epoch;
    pthread_mutex_unlock(&g->lock);
    return e;
}

void gate_leave(struct gate *g, const struct lease *l)
{
    pthread_mutex_lock(&g->lock);
    if (l->session == CK_INVALID_HANDLE)
        g->sessions--;
    else
        g->idle[g->idle_n++] = l->session;
    g->inside--;
    /* All sleepers: a waiter for a session and the healing thread wait for different things. */
    pthread_cond_broadcast(&g->changed);
    pthread_mutex_unlock(&g->lock);
}

void gate_no_more_sessions(struct gate *g)
{
    pthread_mutex_lock(&g->lock);
    /* The caller is inside with a session that it did not get. */
    g->most = g->sessions - 1;
    g->shrunk_us = clock_mono_us();
    pthread_mutex_unlock(&g->lock);
}

void gate_shut(struct gate *g, uint64_t epoch)
{
    pthread_mutex_lock(&g->lock);
    if (g->epoch == epoch)
        g->open = false;
    pthread_cond_broadcast(&g->changed);
    pthread_mutex_unlock(&g->lock);
}

void gate_wait_shut(struct gate *g)
{
    pthread_mutex_lock(&g->lock);
    while (g->open)
        pthread_cond_wait(&g->changed, &g->lock);
    pthread_mutex_unlock(&g->lock);
}

bool gate_drain(struct gate *g, int64_t deadline_us)
{
    pthread_mutex_lock(&g->lock);
    bool in_time = true;
    while (g->inside > 0 && in_time)
        in_time = wait_changed(g, deadline_us);
    bool empty = g->inside == 0;
    if (empty) {
        g->idle_n = 0;
        g->sessions = 0;
    }
    pthread_mutex_unlock(&g->lock);
    return empty;
}

void gate_open(struct gate *g)
{
    pthread_mutex_lock(&g->lock);
    g->epoch++;
    g->most = g->limit;
    g->open = true;
    pthread_cond_broadcast(&g->changed);
    pthread_mutex_unlock(&g->lock);
}

bool gate_stop(struct gate *g)
{
    pthread_mutex_lock(&g->lock);
    g->stopping = true;
    bool open = g->open;
    pthread_mutex_unlock(&g->lock);
    return open;
}
