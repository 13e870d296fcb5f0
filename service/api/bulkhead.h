/* SPDX-License-Identifier: Apache-2.0
 * How many workers may wait for somebody outside at a time: for the back end, for an issuer's keys, or for another
 * worker who fetches those. Who finds no place waits a moment, as in a burst at somebody who answers; when even that
 * was in vain, all are refused at once until a place is given back, so that whoever hangs out there leaves workers for
 * all else, the kill switch above all. Any thread. */
#ifndef SERVICE_API_BULKHEAD_H
#define SERVICE_API_BULKHEAD_H

#include "base/err.h"

#include <stdint.h>

struct bulkhead;
struct metrics;

/* With places for half of the workers, and one at least. The gauge of places that are taken goes to m. */
struct err bulkhead_new(int64_t workers, struct metrics *m, struct bulkhead **out);
void bulkhead_free(struct bulkhead **b);

/* Takes a place, to be given back with bulkhead_leave; NULL: all are taken. */
struct bulkhead *bulkhead_enter(struct bulkhead *b);
void bulkhead_leave(struct bulkhead **place);

#endif
