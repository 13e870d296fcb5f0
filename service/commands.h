/* SPDX-License-Identifier: Apache-2.0
 * The commands of nexus-broker, one function each. A returned error is printed by main, which ends with status 1 (2 for
 * a wrong use, which a command reports by setting `wrong`). */
#ifndef SERVICE_COMMANDS_H
#define SERVICE_COMMANDS_H

#include "service/runtime.h"

struct command_line {
    int argc; /* what stands behind the command and the common options */
    char **argv;
    char *const *envp;
    const char *config_file; /* NULL: none */
    const char *wrong;       /* set by a command: what is wrong with its words; NULL: nothing */
};

typedef struct err command_fn(struct command_line *line);
command_fn command_serve, command_migrate, command_provision, command_api_key, command_check, command_version;

/* One unit of work outside the server: the worker's parts and an arena, made and freed together. */
struct workbench {
    struct runtime runtime;
    struct api *api;
    struct arena *arena;
};
struct err workbench_open(struct command_line *line, bool with_signer, struct workbench *out);
void workbench_close(struct workbench *w);

/* A call with this much time, in milliseconds. */
struct call;
struct call workbench_call(struct workbench *w, int64_t ms);

#endif
