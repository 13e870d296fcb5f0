/* SPDX-License-Identifier: Apache-2.0
 * What the fuzz targets share. A target is one function over bytes; standalone.c runs it over files. */
#ifndef TESTS_FUZZ_FUZZ_H
#define TESTS_FUZZ_FUZZ_H

#include "base/arena.h"

#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A property that must hold for every input; unlike assert(3), no build turns it off. */
#define FUZZ_CHECK(cond)                                                                                               \
    do {                                                                                                               \
        if (!(cond)) {                                                                                                 \
            (void)fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #cond);                                           \
            abort();                                                                                                   \
        }                                                                                                              \
    } while (0)

#define FUZZ_OK(expr)                                                                                                  \
    do {                                                                                                               \
        struct err fuzz_err_ = (expr);                                                                                 \
        FUZZ_CHECK(fuzz_err_.code == ERR_NONE);                                                                        \
    } while (0)

/* An arena for one input, which the caller frees. */
static inline struct arena *fuzz_arena(void)
{
    struct arena *a = NULL;
    FUZZ_OK(arena_new(64 << 20, &a));
    return a;
}

#endif
