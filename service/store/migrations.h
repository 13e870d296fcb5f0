/* SPDX-License-Identifier: Apache-2.0
 * The files of schema/, compiled in (embed.cmake): a program needs none at run time. */
#ifndef SERVICE_STORE_MIGRATIONS_H
#define SERVICE_STORE_MIGRATIONS_H

#include <stddef.h>

struct migration {
    const char *name; /* "0001_init" */
    const char *sql;  /* ends with a NUL */
};
/* In order; the first has version 1, the next 2, and so on. */
extern const struct migration migrations[];
extern const size_t migrations_count;
/* schema/grants.sql: runs after every migration. */
extern const char migrations_grants[];

#endif
