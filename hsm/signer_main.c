/* SPDX-License-Identifier: Apache-2.0 */
#include "hsm/signer/start.h"
#include "hsm/supervisor.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

static void print_help(FILE *to)
{
    size_t n = 0;
    const struct conf_key *table = signer_config_table(&n);
    (void)fprintf(to, "usage: nexus-signer serve     listen on NEXUS_SIGNER_SOCKET\n"
                      "       nexus-signer child     as started by nexus-broker, with its control socket on fd 3\n"
                      "       nexus-signer version\n\n"
                      "Holds the PKCS#11 module and the PIN, and signs what its permission table allows.\n"
                      "Exit status: 64 configuration, 69 token not found, 70 to be replaced, 77 PIN refused (do not\n"
                      "start again before the PIN is mended).\n\nEnvironment:\n");
    for (size_t i = 0; i < n; i++)
        (void)fprintf(to, "  %-36s %s%s%s%s\n", table[i].name, table[i].help, table[i].def != NULL ? " [" : "",
                      table[i].def != NULL ? table[i].def : "", table[i].def != NULL ? "]" : "");
}

int main(int argc, char **argv)
{
    const char *verb = argc == 2 ? argv[1] : "";
    if (strcmp(verb, "serve") == 0)
        return signer_run(SIGNER_SERVE, environ);
    if (strcmp(verb, "child") == 0)
        return signer_run(SIGNER_CHILD, environ);
    if (strcmp(verb, "version") == 0 || strcmp(verb, "--version") == 0)
        return printf("nexus-signer %s\n", NEXUS_VERSION) > 0 ? SIGNER_EXIT_OK : SIGNER_EXIT_CONFIG;
    bool help = strcmp(verb, "--help") == 0 || strcmp(verb, "help") == 0;
    print_help(help ? stdout : stderr);
    return help ? SIGNER_EXIT_OK : SIGNER_EXIT_CONFIG;
}
