/* SPDX-License-Identifier: Apache-2.0
 * Public keys from files, on their way to a broker. */
#ifndef CLI_KEYS_H
#define CLI_KEYS_H

#include "cli/cli.h"

/* Appends the keys of a file, a JWK set of 1 to max keys or one JWK, to an array, by their public members only:
 * whatever else stands in the file stays here. */
struct err keys_put(struct cli *cli, struct str file, size_t max, struct json_writer *w);

#endif
