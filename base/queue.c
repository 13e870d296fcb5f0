/* SPDX-License-Identifier: Apache-2.0 */
#include "base/queue.h"

#include "base/clock.h"

#include <pthread.h>
#include <stdlib.h>
#include <time.h>

struct queue {
    pthread_mutex_t lock;
    pthread_cond_t more;
    size_t capacity, head, n;
    bool closed;
    void *items[];
};

struct err queue_new(size_t capacity, struct queue **out)
{
    struct queue *q = calloc(1, sizeof *q + capacity * sizeof q->items[0]);
    if (q == NULL)
        return FAIL(ERR_NO_MEMORY, "queue of %zu", capacity);
    q->capacity = capacity;
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&q->more, &attr);
    pthread_condattr_destroy(&attr);
    pthread_mutex_init(&q->lock, NULL);
    *out = q;
    return OK;
}

void queue_free(struct queue **q)
{
    if (*q == NULL)
        return;
    pthread_cond_destroy(&(*q)->more);
    pthread_mutex_destroy(&(*q)->lock);
    free(*q);
    *q = NULL;
}

bool queue_push(struct queue *q, void *item)
{
    pthread_mutex_lock(&q->lock);
    bool taken = !q->closed && q->n < q->capacity;
    if (taken) {
        q->items[(q->head + q->n) % q->capacity] = item;
        q->n++;
        pthread_cond_signal(&q->more);
    }
    pthread_mutex_unlock(&q->lock);
    return taken;
}

void *queue_pop(struct queue *q, int64_t deadline_us)
{
    const struct timespec until = {.tv_sec = (time_t)(deadline_us / 1000000),
                                   .tv_nsec = (long)(deadline_us % 1000000) * 1000};
    void *item = NULL;
    pthread_mutex_lock(&q->lock);
    while (q->n == 0 && !q->closed) {
        if (pthread_cond_timedwait(&q->more, &q->lock, &until) != 0)
            break;
    }
    if (q->n > 0) {
        item = q->items[q->head];
        q->head = (q->head + 1) % q->capacity;
        q->n--;
    }
    pthread_mutex_unlock(&q->lock);
    return item;
}

void queue_close(struct queue *q)
{
    pthread_mutex_lock(&q->lock);
    q->closed = true;
    pthread_cond_broadcast(&q->more);
    pthread_mutex_unlock(&q->lock);
}

bool queue_is_closed(struct queue *q)
{
    pthread_mutex_lock(&q->lock);
    bool closed = q->closed;
    pthread_mutex_unlock(&q->lock);
    return closed;
}

size_t queue_depth(struct queue *q)
{
    pthread_mutex_lock(&q->lock);
    size_t n = q->n;
    pthread_mutex_unlock(&q->lock);
    return n;
}
