/* SPDX-License-Identifier: Apache-2.0
 * A bounded queue of pointers between threads. Full is an answer, not a wait: the producer sheds load. */
#ifndef BASE_QUEUE_H
#define BASE_QUEUE_H

#include "base/err.h"

#include <stddef.h>
#include <stdint.h>

struct queue;

struct err queue_new(size_t capacity, struct queue **out);
void queue_free(struct queue **q);

/* False when the queue is full or closed; the item is then still the caller's. */
bool queue_push(struct queue *q, void *item);

/* Waits until an item is there, the monotonic deadline has passed (NULL), or the queue is closed and empty (NULL). */
void *queue_pop(struct queue *q, int64_t deadline_us);

/* Refuses further pushes; what is queued can still be popped. */
void queue_close(struct queue *q);
bool queue_is_closed(struct queue *q);
size_t queue_depth(struct queue *q);

#endif
