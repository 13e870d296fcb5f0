/* SPDX-License-Identifier: Apache-2.0
 * The one type for secrets (PINs, DEKs, API keys in the clear): pages of their own that are locked into memory,
 * left out of core dumps, wiped in a forked child, fenced by guard pages, and wiped on release. */
#ifndef BASE_SECRET_H
#define BASE_SECRET_H

#include "base/err.h"
#include "base/span.h"

struct secret {
    uint8_t *p;
    size_t n;    /* bytes in use */
    size_t size; /* bytes usable */
};

/* A secret with room for size bytes. ERR_NO_MEMORY when the pages cannot be locked: then raise RLIMIT_MEMLOCK. */
struct err secret_new(size_t size, struct secret **out);
/* Wipes and releases; sets the owner's pointer to NULL. */
void secret_free(struct secret **s);

/* Reads a file whole (at most size bytes; one trailing newline is dropped) straight into locked memory. Refuses a file
 * that others than its owner can read, unless it lies on a file system that the service manager made for it. */
struct err secret_from_file(const char *path, size_t size, struct secret **out);

/* Equality in time that depends on the lengths only. */
bool secret_eq(struct bytes a, struct bytes b);

static inline struct bytes secret_bytes(const struct secret *s)
{
    return (struct bytes){s->p, s->n};
}

#endif
