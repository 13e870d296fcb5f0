/* SPDX-License-Identifier: Apache-2.0
 * Help, made from the command and option tables. */
#ifndef CLI_HELP_H
#define CLI_HELP_H

#include "cli/cli.h"

#include <stdio.h>

/* Help on what is known of the command: one command, a group, or the whole program. */
void help_print(struct cli *cli, FILE *to);

#endif
