/* SPDX-License-Identifier: Apache-2.0 */
#include "service/api/bulkhead.h"

#include "service/api/api.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

/* How long a worker waits for a place: long enough for a burst at somebody who answers, too short to matter to others.
 */
enum { WAIT_NS = 200000000, SECOND_NS = 1000000000 };

struct bulkhead {
    pthread_mutex_t lock;
    pthread_cond_t freed;
    int64_t left;
    bool stuck; /* a wait was in vain, and no place was given back since: nobody else need wait */
    struct metrics *metrics;
};

struct err bulkhead_new(int64_t workers, struct metrics *m, struct bulkhead **out)
{
    struct bulkhead *b = calloc(1, sizeof *b);
    if (b == NULL)
        return FAIL(ERR_NO_MEMORY, "bulkhead");
    b->left = workers > 1 ? workers / 2 : 1;
    b->metrics = m;
    pthread_mutex_init(&b->lock, NULL);
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&b->freed, &attr);
    pthread_condattr_destroy(&attr);
    *out = b;
    return OK;
}

void bulkhead_free(struct bulkhead **b)
{
    if (*b == NULL)
        return;
    pthread_cond_destroy(&(*b)->freed);
    pthread_mutex_destroy(&(*b)->lock);
    free(*b);
    *b = NULL;
}

/* With the lock held. */
static void wait_for_place(struct bulkhead *b)
{
    struct timespec until;
    (void)clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += WAIT_NS;
    until.tv_sec += until.tv_nsec / SECOND_NS;
    until.tv_nsec %= SECOND_NS;
    while (b->left == 0 && !b->stuck) {
        if (pthread_cond_timedwait(&b->freed, &b->lock, &until) == ETIMEDOUT)
            b->stuck = b->left == 0;
    }
}

struct bulkhead *bulkhead_enter(struct bulkhead *b)
{
    pthread_mutex_lock(&b->lock);
    wait_for_place(b);
    bool found = b->left > 0;
    b->left -= found;
    pthread_mutex_unlock(&b->lock);
    if (!found)
        return NULL;
    metric_add(b->metrics, M_OUTBOUND_CALLS, 1, NULL, NULL, NULL);
    return b;
}

void bulkhead_leave(struct bulkhead **place)
{
    struct bulkhead *b = *place;
    if (b == NULL)
        return;
    metric_add(b->metrics, M_OUTBOUND_CALLS, -1, NULL, NULL, NULL);
    pthread_mutex_lock(&b->lock);
    b->left++;
    b->stuck = false;
    pthread_cond_signal(&b->freed);
    pthread_mutex_unlock(&b->lock);
    *place = NULL;
}
