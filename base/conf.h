/* SPDX-License-Identifier: Apache-2.0
 * Configuration from one table: environment variables, and the same names in a file (NAME=value lines, # comments).
 * The environment wins. Every mistake is collected, so that an operator sees all of them in one message. */
#ifndef BASE_CONF_H
#define BASE_CONF_H

#include "base/arena.h"
#include "base/err.h"

#include <stdint.h>

enum conf_type { CONF_STR, CONF_INT, CONF_BOOL /* on|off|true|false|1|0 */ };

/* One setting. Tables are static const arrays; a value is stored at offset in the program's struct: struct str for
 * CONF_STR, int64_t for CONF_INT, bool for CONF_BOOL. def is parsed like a given value; NULL means required. */
struct conf_key {
    const char *name;
    enum conf_type type;
    size_t offset;
    const char *def;
    int64_t min, max; /* CONF_INT; for CONF_STR max is the longest length, 0 = 4096 */
    const char *help; /* one line; ends up in `nexus-broker check` and the manual */
};

/* Fills *out from the environment (envp form), then file (path or NULL), then defaults. Names that start with NEXUS_
 * and are in neither table nor in `known` (a NULL-ended list of names and of prefixes that end in '*') are mistakes.
 * ERR_CONFIG: *problems then lists every mistake, one a line, for the operator; no value of a secret is shown. */
struct err conf_load(const struct conf_key *table, size_t n, const char *const *known, char *const *envp,
                     const char *file, struct arena *a, void *out, struct str *problems);

#endif
