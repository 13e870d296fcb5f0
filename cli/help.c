/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/help.h"

static const char exit_codes[] = "Exit status:\n"
                                 "  0  done; the token is valid\n"
                                 "  1  refused: the token is not valid, or the broker said no\n"
                                 "  2  the command line is wrong\n"
                                 "  3  something needed was not there: a file, the keys, the broker\n";

static const char environment[] =
    "Environment:\n"
    "  NEXUS_URL             the broker (http://127.0.0.1:8080)\n"
    "  NEXUS_ADMIN_KEY_FILE  file with the API key for agents and lists of sessions\n"
    "  NEXUS_API_KEY_FILE    file with the API key for all else; each stands in for the other\n"
    "  NEXUS_CA_FILE         the CA that vouches for the broker, where it is one of your own\n";

static void print_options(FILE *to, const struct opt_set sets[static OPTION_SETS])
{
    enum { WIDTH = 28 };
    (void)fprintf(to, "Options:\n");
    for (size_t i = 0; i < OPTION_SETS; i++) {
        for (size_t k = 0; k < sets[i].n; k++) {
            const struct opt *o = &sets[i].v[k];
            int n = fprintf(to, "  --%s%s%s", o->name, o->value != NULL ? " " : "", o->value != NULL ? o->value : "");
            (void)fprintf(to, "%*s%s%s\n", n < WIDTH ? WIDTH - n : 1, "", o->help, o->required ? " (required)" : "");
        }
    }
}

static void print_command_line(FILE *to, const struct command_group *g, const struct command *c)
{
    enum { WIDTH = 26 };
    int n = fprintf(to, "  %s%s%s%s%s", g->name, c->name != NULL ? " " : "", c->name != NULL ? c->name : "",
                    *c->args != '\0' ? " " : "", c->args);
    (void)fprintf(to, "%*s%s\n", n < WIDTH ? WIDTH - n : 1, "", c->help);
}

static void print_command(struct cli *cli, FILE *to)
{
    const struct command *c = cli->command;
    struct opt_set sets[OPTION_SETS];
    cli_option_sets(cli, c, NULL, sets);
    (void)fprintf(to, "usage: nexus %s%s%s [OPTION]...%s%s\n\n%s\n\n", cli->group->name, c->name != NULL ? " " : "",
                  c->name != NULL ? c->name : "", *c->args != '\0' ? " " : "", c->args, c->help);
    print_options(to, sets);
    (void)fprintf(to, "\n%s", exit_codes);
}

static void print_group(const struct cli *cli, FILE *to)
{
    (void)fprintf(to, "usage: nexus %s COMMAND [OPTION]...\n\n%s\n\n", cli->group->name, cli->group->help);
    for (size_t i = 0; i < cli->group->n; i++)
        print_command_line(to, cli->group, &cli->group->commands[i]);
    (void)fprintf(to, "\n`nexus %s COMMAND --help` shows the options.\n", cli->group->name);
}

static void print_program(struct cli *cli, FILE *to)
{
    struct opt_set sets[OPTION_SETS];
    cli_option_sets(cli, NULL, NULL, sets);
    (void)fprintf(to, "usage: nexus [OPTION]... COMMAND...\n\n");
    for (size_t g = 0; g < cli->n_groups; g++) {
        for (size_t i = 0; i < cli->groups[g]->n; i++)
            print_command_line(to, cli->groups[g], &cli->groups[g]->commands[i]);
    }
    (void)fprintf(to, "\n`nexus COMMAND... --help` shows the options of one.\n\n");
    print_options(to, sets);
    (void)fprintf(to, "\n%s\n%s", environment, exit_codes);
}

void help_print(struct cli *cli, FILE *to)
{
    if (cli->command != NULL)
        print_command(cli, to);
    else if (cli->group != NULL)
        print_group(cli, to);
    else
        print_program(cli, to);
}
