/* SPDX-License-Identifier: Apache-2.0 */
#include "base/buf.h"

#include <stdarg.h>
#include <stdio.h>

enum { BUF_FIRST = 256 };

struct buf buf_in(struct arena *a, size_t max)
{
    return (struct buf){.arena = a, .max = max};
}

/* Makes room for n more bytes. Old blocks stay in the arena until its reset: doubling bounds the waste at one copy. */
static bool buf_grow(struct buf *b, size_t n)
{
    if (b->failed)
        return false;
    if (n <= b->cap - b->n)
        return true;
    if (n > b->max - b->n) {
        b->failed = b->too_large = true;
        return false;
    }
    size_t want = b->cap < BUF_FIRST ? BUF_FIRST : b->cap * 2;
    if (want < b->n + n)
        want = b->n + n;
    if (want > b->max)
        want = b->max;
    /* One byte more than is accounted for: vsnprintf wants to end its text with a NUL. */
    char *p = arena_alloc(b->arena, want + 1);
    if (p == NULL) {
        b->failed = true;
        return false;
    }
    if (b->n > 0)
        memcpy(p, b->p, b->n);
    b->p = p;
    b->cap = want;
    return true;
}

void *buf_room(struct buf *b, size_t n)
{
    if (!buf_grow(b, n))
        return NULL;
    void *p = b->p + b->n;
    b->n += n;
    return p;
}

void buf_add(struct buf *b, const void *p, size_t n)
{
    if (n == 0)
        return;
    void *to = buf_room(b, n);
    if (to != NULL)
        memcpy(to, p, n);
}

void buf_str(struct buf *b, struct str s)
{
    buf_add(b, s.p, s.n);
}

void buf_cstr(struct buf *b, const char *s)
{
    buf_add(b, s, strlen(s));
}

void buf_char(struct buf *b, char c)
{
    buf_add(b, &c, 1);
}

void buf_printf(struct buf *b, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    va_list again;
    va_copy(again, ap);
    int n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    char *p = n >= 0 ? buf_room(b, (size_t)n) : NULL;
    if (p != NULL)
        (void)vsnprintf(p, (size_t)n + 1, fmt, again);
    else
        b->failed = true;
    va_end(again);
}

struct err buf_status(const struct buf *b)
{
    if (!b->failed)
        return OK;
    if (b->too_large)
        return FAIL(ERR_TOO_LARGE, "more than %zu bytes", b->max);
    return FAIL(ERR_NO_MEMORY, "arena full at %zu bytes", arena_used(b->arena));
}

struct str buf_view(const struct buf *b)
{
    return (struct str){b->p, b->n};
}

struct bytes buf_bytes(const struct buf *b)
{
    return (struct bytes){(const uint8_t *)b->p, b->n};
}
