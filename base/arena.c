/* SPDX-License-Identifier: Apache-2.0 */
#include "base/arena.h"

#include <errno.h>
#include <stdalign.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

struct arena {
    size_t max;  /* bytes usable behind this header */
    size_t used; /* bytes handed out */
    size_t map;  /* bytes mapped */
    alignas(max_align_t) uint8_t data[];
};

enum { ARENA_ALIGN = alignof(max_align_t) };

struct err arena_new(size_t max, struct arena **out)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    if (max > SIZE_MAX / 2)
        return FAIL(ERR_NO_MEMORY, "arena of %zu bytes", max);
    size_t map = (sizeof(struct arena) + max + page - 1) / page * page;
    void *p = mmap(NULL, map, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED)
        return FAIL(ERR_NO_MEMORY, "mmap of %zu bytes: errno %d", map, errno);
    /* Best effort: PR_SET_DUMPABLE and RLIMIT_CORE (base/process.h) keep core dumps away altogether. */
    (void)madvise(p, map, MADV_DONTDUMP);
    struct arena *a = p;
    a->max = map - sizeof *a;
    a->map = map;
    *out = a;
    return OK;
}

void arena_free(struct arena **a)
{
    if (*a == NULL)
        return;
    arena_reset(*a);
    munmap(*a, (*a)->map);
    *a = NULL;
}

void arena_reset(struct arena *a)
{
    explicit_bzero(a->data, a->used);
    /* A rare large use must not stay resident in an arena that is kept for the next request. */
    enum { KEEP = 1 << 20 };
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    uintptr_t from = ((uintptr_t)a->data + KEEP + page - 1) / page * page;
    if (a->used > KEEP + page)
        (void)madvise((void *)from, (uintptr_t)a->data + a->used - from, MADV_DONTNEED);
    a->used = 0;
}

void *arena_alloc(struct arena *a, size_t n)
{
    if (n > a->max - a->used)
        return NULL;
    size_t step = (n + ARENA_ALIGN - 1) / ARENA_ALIGN * ARENA_ALIGN;
    if (step < n || step > a->max - a->used)
        return NULL;
    void *p = a->data + a->used;
    a->used += step;
    return p;
}

void *arena_array(struct arena *a, size_t count, size_t size)
{
    if (size != 0 && count > SIZE_MAX / size)
        return NULL;
    return arena_alloc(a, count * size);
}

struct str arena_str(struct arena *a, struct str s)
{
    char *p = s.n < SIZE_MAX ? arena_alloc(a, s.n + 1) : NULL;
    if (p == NULL)
        return (struct str){NULL, 0};
    if (s.n > 0)
        memcpy(p, s.p, s.n);
    return (struct str){p, s.n};
}

struct bytes arena_bytes(struct arena *a, struct bytes b)
{
    uint8_t *p = arena_alloc(a, b.n);
    if (p == NULL)
        return (struct bytes){NULL, 0};
    if (b.n > 0)
        memcpy(p, b.p, b.n);
    return (struct bytes){p, b.n};
}

struct str arena_printf(struct arena *a, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    va_list again;
    va_copy(again, ap);
    int n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    char *p = n >= 0 ? arena_alloc(a, (size_t)n + 1) : NULL;
    if (p != NULL)
        (void)vsnprintf(p, (size_t)n + 1, fmt, again);
    va_end(again);
    return p != NULL ? (struct str){p, (size_t)n} : (struct str){NULL, 0};
}

size_t arena_used(const struct arena *a)
{
    return a->used;
}

size_t arena_max(const struct arena *a)
{
    return a->max;
}
