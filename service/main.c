/* SPDX-License-Identifier: Apache-2.0
 * nexus-broker: the words of the command line, and nothing else. */
#include "service/commands.h"

#include "base/log.h"
#include "base/process.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { EXIT_FAILED = 1, EXIT_USAGE = 2 };

static const struct {
    const char *name;
    command_fn *run;
    const char *usage;
} commands[] = {
    {"serve", command_serve, "serve                     check everything, then serve until SIGTERM"},
    {"migrate", command_migrate, "migrate                   bring the database schema up to date"},
    {"provision", command_provision, "provision                 make the keys that are missing, inside the token"},
    {"api-key", command_api_key,
     "api-key create --name N --role admin|auditor|gateway [--days D]   make a key and print it once\n"
     "  api-key list              show names, roles and dates\n"
     "  api-key revoke --name N   refuse a key from now on"},
    {"check", command_check, "check                     check settings, database and signer without serving"},
    {"version", command_version, "version                   print the version"},
};

static int usage(FILE *to, int status)
{
    (void)fprintf(to, "usage: nexus-broker [--config FILE] COMMAND\n\n");
    for (size_t i = 0; i < COUNT(commands); i++)
        (void)fprintf(to, "  %s\n", commands[i].usage);
    (void)fprintf(
        to,
        "\nSettings are environment variables, or NAME=value lines of the file; `nexus-broker check` lists them.\n");
    return status;
}

static int run(size_t i, struct command_line *line)
{
    struct err e = commands[i].run(line);
    if (line->wrong != NULL) {
        (void)usage(stderr, EXIT_USAGE);
        (void)fprintf(stderr, "\nnexus-broker %s: %s\n", commands[i].name, line->wrong);
        return EXIT_USAGE;
    }
    if (!err_is(&e))
        return 0;
    LOG_ERR(LOG_DEBUG, "command failed", &e, LOG_CSTR("command", commands[i].name));
    (void)fprintf(stderr, "nexus-broker %s: %s: %s\n", commands[i].name, err_public(e.code)->text, e.detail);
    return EXIT_FAILED;
}

int main(int argc, char **argv)
{
    struct err hardened = process_harden();
    if (err_is(&hardened)) {
        (void)fprintf(stderr, "nexus-broker: %s\n", hardened.detail);
        return EXIT_FAILED;
    }
    struct command_line line = {.envp = environ};
    int at = 1;
    if (at + 1 < argc && strcmp(argv[at], "--config") == 0) {
        line.config_file = argv[at + 1];
        at += 2;
    }
    if (at < argc && (strcmp(argv[at], "--help") == 0 || strcmp(argv[at], "help") == 0))
        return usage(stdout, 0);
    for (size_t i = 0; i < COUNT(commands) && at < argc; i++) {
        if (strcmp(argv[at], commands[i].name) != 0)
            continue;
        line.argc = argc - at - 1;
        line.argv = argv + at + 1;
        return run(i, &line);
    }
    (void)usage(stderr, EXIT_USAGE);
    if (at < argc)
        (void)fprintf(stderr, "\nnexus-broker: no such command: %s\n", argv[at]);
    return EXIT_USAGE;
}
