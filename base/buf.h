/* SPDX-License-Identifier: Apache-2.0
 * A growing buffer with a hard maximum, inside an arena. Failure is sticky: appends after a failure do nothing, and
 * buf_status tells at the end, so that a chain of writes is checked once. One thread uses a buffer at a time. */
#ifndef BASE_BUF_H
#define BASE_BUF_H

#include "base/arena.h"

struct buf {
    struct arena *arena;
    char *p;
    size_t n, cap, max;
    bool failed, too_large; /* too_large: failed by max, not by the arena */
};

/* An empty buffer of at most max bytes, which come from the arena as needed. */
struct buf buf_in(struct arena *a, size_t max);

void buf_add(struct buf *b, const void *p, size_t n);
void buf_str(struct buf *b, struct str s);
void buf_cstr(struct buf *b, const char *s);
void buf_char(struct buf *b, char c);
void buf_printf(struct buf *b, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* n uninitialised bytes at the end, to be filled by the caller; NULL once the buffer has failed. */
void *buf_room(struct buf *b, size_t n);

/* OK, or ERR_TOO_LARGE (the buffer's maximum) or ERR_NO_MEMORY (the arena's). */
struct err buf_status(const struct buf *b);

/* Views of what was written; valid until the next append. */
struct str buf_view(const struct buf *b);
struct bytes buf_bytes(const struct buf *b);

#endif
