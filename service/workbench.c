/* SPDX-License-Identifier: Apache-2.0 */
#include "service/commands.h"

#include "service/api/record.h"

enum { BENCH_ARENA = 4194304 };

struct err workbench_open(struct command_line *line, bool with_signer, struct workbench *out)
{
    *out = (struct workbench){.api = NULL};
    TRY(runtime_configure(line->envp, line->config_file, &out->runtime));
    TRY(runtime_open(&out->runtime, line->envp, with_signer));
    TRY(arena_new(BENCH_ARENA, &out->arena));
    return api_new(&out->runtime.app, &out->api);
}

void workbench_close(struct workbench *w)
{
    api_free(&w->api);
    arena_free(&w->arena);
    runtime_close(&w->runtime);
}

struct call workbench_call(struct workbench *w, int64_t ms)
{
    return (struct call){.api = w->api, .arena = w->arena, .deadline_us = clock_mono_us() + ms * 1000};
}
