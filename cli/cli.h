/* SPDX-License-Identifier: Apache-2.0
 * What every command gets: memory, the parsed common options, and one way to fail. A command is one row of its group's
 * table plus one function, both in the group's file; help and completion are made from the tables. */
#ifndef CLI_CLI_H
#define CLI_CLI_H

#include "base/clock.h"
#include "base/secret.h"
#include "cli/options.h"
#include "crypto/crypto.h"
#include "crypto/json.h"

enum cli_exit {
    CLI_DONE = 0,
    CLI_REFUSED = 1,     /* the answer is no: a token that is not valid, a request that the broker refused */
    CLI_USAGE = 2,       /* the command line is wrong */
    CLI_UNAVAILABLE = 3, /* something needed was not there: a file, the keys, the broker */
};

struct cli;

/* What a command uses besides its own options: a broker's URL, an API key too, pages of a list. */
enum { USES_URL = 1, USES_KEY = 2, USES_PAGES = 4 };
enum { USES_BROKER = USES_URL | USES_KEY };

struct command {
    const char *name; /* NULL: the group's own name is the command */
    const char *args; /* the words it takes, one capitalised name each, for the help; "" for none */
    const char *help; /* one line */
    struct err (*run)(struct cli *cli, const void *options);
    unsigned uses;
    int words;              /* how many words args names */
    const struct opt *opts; /* its own options, */
    size_t n_opts;
    size_t opts_size; /* and the size of the struct that they fill, which run gets */
};

/* For a row: .opts, .n_opts and .opts_size of a table and its struct. */
#define OPTS(table, type) .opts = (table), .n_opts = COUNT(table), .opts_size = sizeof(type)

struct command_group {
    const char *name;
    const char *help;
    const struct command *commands;
    size_t n;
};

/* The groups, each in its file. */
extern const struct command_group agents_group, sessions_group, issuers_group, scopes_group, providers_group,
    token_group, jws_group, completion_group;

struct cli {
    struct arena *arena;
    struct crypto *crypto;
    struct clock clock;
    char *const *envp;
    const struct command_group *const *groups; /* all there are */
    size_t n_groups;
    const struct command_group *group; /* what was asked for; NULL: not yet known */
    const struct command *command;
    struct str_list words; /* as many as the command takes */

    /* Options that every command has, */
    bool json, help;
    /* of USES_URL and USES_KEY (an environment variable stands in for one that is not given), */
    struct str url, ca_file, api_key_file;
    bool insecure_http;
    /* of USES_PAGES. */
    struct json_int limit;
    struct str cursor;
    bool all;

    /* Set by cli_fail. */
    enum cli_exit exit;
    struct str error_code, message, request_id;
};

/* The option tables of a command, and what they fill. For command NULL: those that may stand before it. */
void cli_option_sets(struct cli *cli, const struct command *command, void *own, struct opt_set out[static OPTION_SETS]);

/* Fails with a message for the user, which says what to do. code is the broker's own, or NULL for one by exit. */
struct err cli_fail(struct cli *cli, enum cli_exit status, const char *code, const char *fmt, ...) PRINTF_LIKE(4, 5);

/* A remark on stderr, besides the result. */
void cli_note(const char *fmt, ...) PRINTF_LIKE(1, 2);

/* An environment variable; p == NULL when it is unset or empty. */
struct str cli_env(const struct cli *cli, const char *name);

/* A whole file, NUL-terminated. Failures are CLI_UNAVAILABLE and name the file as `what`. */
struct err cli_read_file(struct cli *cli, const char *what, struct str path, size_t max, struct str *out);
struct err cli_read_json(struct cli *cli, const char *what, struct str path, const struct json **out);
/* The same for a secret, which must be in a file that nobody else can read. */
struct err cli_read_secret(struct cli *cli, const char *what, struct str path, size_t max, struct secret **out);
/* A compact JWS on stdin, without the white space around it. */
struct err cli_read_token(struct cli *cli, struct str *out);

#endif
