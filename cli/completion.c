/* SPDX-License-Identifier: Apache-2.0
 * nexus completion: completion for the shell, made from the command and option tables. */
#include "cli/cli.h"

#include <stdio.h>

static void put_groups(const struct cli *cli)
{
    (void)printf("    1:*) words='");
    for (size_t g = 0; g < cli->n_groups; g++)
        (void)printf("%s ", cli->groups[g]->name);
    (void)printf("--help' ;;\n");
}

static void put_group(const struct command_group *g)
{
    if (g->commands[0].name == NULL)
        return;
    (void)printf("    2:%s:*) words='", g->name);
    for (size_t i = 0; i < g->n; i++)
        (void)printf("%s ", g->commands[i].name);
    (void)printf("--help' ;;\n");
}

static void put_command(struct cli *cli, const struct command_group *g, const struct command *c)
{
    struct opt_set sets[OPTION_SETS];
    cli_option_sets(cli, c, NULL, sets);
    (void)printf("    *:%s:%s) words='", g->name, c->name != NULL ? c->name : "*");
    for (size_t i = 0; i < OPTION_SETS; i++) {
        for (size_t k = 0; k < sets[i].n; k++)
            (void)printf("--%s ", sets[i].v[k].name);
    }
    (void)printf("' ;;\n");
}

static struct err completion_bash(struct cli *cli, const void *options)
{
    (void)options;
    (void)printf("# Completion of nexus for bash: source <(nexus completion bash)\n"
                 "_nexus() {\n"
                 "    local words=''\n"
                 "    case \"$COMP_CWORD:${COMP_WORDS[1]-}:${COMP_WORDS[2]-}\" in\n");
    put_groups(cli);
    for (size_t g = 0; g < cli->n_groups; g++) {
        put_group(cli->groups[g]);
        for (size_t i = 0; i < cli->groups[g]->n; i++)
            put_command(cli, cli->groups[g], &cli->groups[g]->commands[i]);
    }
    (void)printf("    esac\n"
                 "    mapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"${COMP_WORDS[COMP_CWORD]}\")\n"
                 "}\n"
                 "complete -o default -F _nexus nexus\n");
    return OK;
}

static const struct command commands[] = {
    {"bash", "", "print the completion script for bash", completion_bash, 0, 0, NULL, 0, 0},
};

const struct command_group completion_group = {"completion", "completion for the shell", commands, COUNT(commands)};
