/* SPDX-License-Identifier: Apache-2.0
 * An arena: one mapped block with a hard maximum, bump-allocated, released as a whole. It holds callers' tokens and
 * assertions, so it is left out of core dumps and what was used is wiped at reset. One thread uses an arena at a time.
 */
#ifndef BASE_ARENA_H
#define BASE_ARENA_H

#include "base/err.h"
#include "base/span.h"

struct arena;

/* A new arena of at most max bytes (rounded up to pages; only what is touched costs memory). */
struct err arena_new(size_t max, struct arena **out);
void arena_free(struct arena **a);

/* Wipes and forgets everything allocated. */
void arena_reset(struct arena *a);

/* n zeroed bytes, aligned for any type; NULL when the maximum would be passed. n == 0 gives a valid pointer. */
void *arena_alloc(struct arena *a, size_t n);

/* An array of count elements of size bytes; NULL on overflow or exhaustion. */
void *arena_array(struct arena *a, size_t count, size_t size);

/* Copies with a NUL behind them (str) or as they are (bytes); p is NULL on exhaustion. */
struct str arena_str(struct arena *a, struct str s);
struct bytes arena_bytes(struct arena *a, struct bytes b);

/* printf into the arena; p is NULL on exhaustion. */
struct str arena_printf(struct arena *a, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* Bytes in use, and the arena's maximum. */
size_t arena_used(const struct arena *a);
size_t arena_max(const struct arena *a);

#endif
