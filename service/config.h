/* SPDX-License-Identifier: Apache-2.0
 * The broker's settings: one table (config.def), one struct. See docs/configuration.md for the operator's view. */
#ifndef SERVICE_CONFIG_H
#define SERVICE_CONFIG_H

#include "base/arena.h"
#include "base/conf.h"
#include "base/err.h"

struct config {
#define STR_SETTING(field, name, def, help)         struct str field;
#define INT_SETTING(field, name, def, lo, hi, help) int64_t field;
#define BOOL_SETTING(field, name, def, help)        bool field;
#include "service/config.def"
#undef STR_SETTING
#undef INT_SETTING
#undef BOOL_SETTING
    uint8_t digest[32]; /* SHA-256 over the effective settings without secrets, for the boot leaf; set by main */
};

/* From the environment and an optional file; ERR_CONFIG with every mistake in *problems. */
struct err config_load(char *const *envp, const char *file, struct arena *a, struct config *out, struct str *problems);

/* The table, for `nexus-broker check` and the generated manual. */
const struct conf_key *config_table(size_t *n);

#endif
