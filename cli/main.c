/* SPDX-License-Identifier: Apache-2.0
 * nexus: the command line of the broker. Finds the command in the tables, runs it, and tells how it went. */
#include "cli/help.h"

#include "base/process.h"

#include <unistd.h>

enum { MEMORY = 64 << 20, ERROR_TEXT_MAX = 65536 };

static struct err print_version(struct cli *cli, const void *options)
{
    (void)options;
    (void)printf(cli->json ? "{\"version\":\"%s\"}\n" : "nexus %s\n", NEXUS_VERSION);
    return OK;
}

static struct err print_help(struct cli *cli, const void *options)
{
    (void)options;
    cli->group = NULL;
    cli->command = NULL;
    help_print(cli, stdout);
    return OK;
}

static const struct command version_commands[] = {{NULL, "", "print the version", print_version, 0, 0, NULL, 0, 0}};
static const struct command help_commands[] = {{NULL, "", "print this help", print_help, 0, 0, NULL, 0, 0}};
static const struct command_group version_group = {"version", "", version_commands, COUNT(version_commands)};
static const struct command_group help_group = {"help", "", help_commands, COUNT(help_commands)};

static const struct command_group *const groups[] = {
    &agents_group, &sessions_group, &issuers_group,    &scopes_group,  &providers_group,
    &token_group,  &jws_group,      &completion_group, &version_group, &help_group,
};

/* Whoever asked for JSON gets it, also when the words before that could not be understood. */
static bool asks_for_json(const struct words *in)
{
    for (int i = 0; i < in->n; i++) {
        if (strcmp(in->v[i], "--json") == 0)
            return true;
    }
    return false;
}

/* What is wrong with the command line, and behind it the help on as much of the command as was understood. */
static struct err wrong_words(struct cli *cli, const struct words *all, const char *what)
{
    cli->json = cli->json || asks_for_json(all);
    if (!cli->json) {
        help_print(cli, stderr);
        (void)fputc('\n', stderr);
    }
    return cli_fail(cli, CLI_USAGE, NULL, "%s", what);
}

static struct err find_group(struct cli *cli, const char *name)
{
    for (size_t i = 0; i < cli->n_groups; i++) {
        if (strcmp(name, cli->groups[i]->name) != 0)
            continue;
        cli->group = cli->groups[i];
        if (cli->group->commands[0].name == NULL)
            cli->command = &cli->group->commands[0];
        return OK;
    }
    return FAIL(ERR_INVALID_REQUEST, "no such command: %s", name);
}

static struct err find_command(struct cli *cli, const char *name)
{
    for (size_t i = 0; i < cli->group->n; i++) {
        if (strcmp(name, cli->group->commands[i].name) != 0)
            continue;
        cli->command = &cli->group->commands[i];
        return OK;
    }
    return FAIL(ERR_INVALID_REQUEST, "no such command: %s %s", cli->group->name, name);
}

/* The next word of the command, behind options that may stand before it; NULL when there is none. */
static struct err next_word(struct cli *cli, struct words *in, const char **out)
{
    struct opt_set sets[OPTION_SETS];
    cli_option_sets(cli, NULL, NULL, sets);
    TRY(options_parse(sets, cli->arena, in, NULL));
    *out = NULL;
    if (cli->help)
        return OK;
    if (in->n == 0)
        return FAIL(ERR_INVALID_REQUEST, "a command is needed");
    *out = in->v[0];
    in->v++;
    in->n--;
    return OK;
}

static struct err parse_command(struct cli *cli, struct words *in)
{
    const char *word = NULL;
    TRY(next_word(cli, in, &word));
    if (word != NULL)
        TRY(find_group(cli, word));
    if (cli->group == NULL || cli->command != NULL)
        return OK;
    TRY(next_word(cli, in, &word));
    return word != NULL ? find_command(cli, word) : OK;
}

static struct err parse_rest(struct cli *cli, struct words *in, void *options)
{
    struct opt_set sets[OPTION_SETS];
    cli_option_sets(cli, cli->command, options, sets);
    TRY(options_parse(sets, cli->arena, in, &cli->words));
    if (cli->help)
        return OK;
    size_t wanted = (size_t)cli->command->words;
    if (cli->words.n > wanted)
        return FAIL(ERR_INVALID_REQUEST, "one word too many: %.*s", STR_FMT(cli->words.v[wanted]));
    if (cli->words.n < wanted)
        return FAIL(ERR_INVALID_REQUEST, "%s is needed", cli->command->args);
    for (size_t i = 0; i < wanted; i++) {
        if (cli->words.v[i].n == 0)
            return FAIL(ERR_INVALID_REQUEST, "%s is empty", cli->command->args);
    }
    return options_check(&sets[0]);
}

static struct err run(struct cli *cli, struct words in)
{
    const struct words all = in;
    struct err e = parse_command(cli, &in);
    if (err_is(&e))
        return wrong_words(cli, &all, e.detail);
    if (cli->command != NULL && !cli->help) {
        void *options = arena_alloc(cli->arena, cli->command->opts_size);
        if (options == NULL)
            return FAIL(ERR_NO_MEMORY, "options");
        e = parse_rest(cli, &in, options);
        if (err_is(&e))
            return wrong_words(cli, &all, e.detail);
        if (!cli->help)
            return cli->command->run(cli, options);
    }
    help_print(cli, stdout);
    return OK;
}

static bool print_error_json(const struct cli *cli)
{
    struct buf b = buf_in(cli->arena, ERROR_TEXT_MAX);
    struct json_writer w = json_writer(&b);
    json_begin_object(&w, NULL);
    json_put_str(&w, "error", cli->error_code);
    json_put_str(&w, "message", cli->message);
    if (cli->request_id.p != NULL)
        json_put_str(&w, "request_id", cli->request_id);
    json_end_object(&w);
    struct err e = buf_status(&b);
    if (err_is(&e)) /* bytes of the command line that are not UTF-8 */
        return false;
    (void)fprintf(stderr, "%.*s\n", STR_FMT(buf_view(&b)));
    return true;
}

static enum cli_exit print_error(const struct cli *cli)
{
    if (cli->json && print_error_json(cli))
        return cli->exit;
    if (cli->request_id.p != NULL)
        cli_note("%.*s (request id %.*s)", STR_FMT(cli->message), STR_FMT(cli->request_id));
    else
        cli_note("%.*s", STR_FMT(cli->message));
    return cli->exit;
}

static struct err start(struct cli *cli, struct words in)
{
    TRY(process_harden());
    TRY(arena_new(MEMORY, &cli->arena));
    TRY(crypto_new("default", &cli->crypto));
    TRY(run(cli, in));
    if (fflush(stdout) != 0 || ferror(stdout) != 0)
        return cli_fail(cli, CLI_UNAVAILABLE, NULL, "cannot write the output");
    return OK;
}

static void cli_wipe(struct cli *cli)
{
    crypto_free(&cli->crypto);
    arena_free(&cli->arena);
}

int main(int argc, char **argv)
{
    CLEANUP(cli_wipe)
    struct cli cli = {.clock = clock_real(), .envp = environ, .groups = groups, .n_groups = COUNT(groups)};
    const struct words in = {argv + 1, argc > 0 ? argc - 1 : 0};
    struct err e = start(&cli, in);
    if (!err_is(&e))
        return CLI_DONE;
    if (cli.message.p != NULL)
        return (int)print_error(&cli);
    cli_note("%s", e.detail);
    return CLI_UNAVAILABLE;
}
