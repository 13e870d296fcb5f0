/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/cli.h"

#include "base/fd.h"
#include "crypto/jws.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

enum { MESSAGE_MAX = 8192, PAGE_MAX = 100 };

#define AT(member) offsetof(struct cli, member)
static const struct opt common_options[] = {
    {"json", NULL, "JSON instead of text, on one line; errors too, on stderr", AT(json), OPT_FLAG, false, 0, 0},
    {"help", NULL, "explain, and do nothing", AT(help), OPT_FLAG, false, 0, 0},
};

static const struct opt url_options[] = {
    {"url", "URL", "the broker (NEXUS_URL; else http://127.0.0.1:8080)", AT(url), OPT_STR, false, 0, 0},
    {"ca-file", "PEM_FILE", "the CA that vouches for it (NEXUS_CA_FILE)", AT(ca_file), OPT_STR, false, 0, 0},
    {"insecure-plain-http", NULL, "allow http:// to other machines", AT(insecure_http), OPT_FLAG, false, 0, 0},
};

static const struct opt key_options[] = {
    {"api-key-file", "FILE", "an API key, in a file of mode 0600 (NEXUS_ADMIN_KEY_FILE, NEXUS_API_KEY_FILE)",
     AT(api_key_file), OPT_STR, false, 0, 0},
};

static const struct opt page_options[] = {
    {"limit", "N", "at most so many of them, or per request with --all", AT(limit), OPT_INT, false, 1, PAGE_MAX},
    {"cursor", "CURSOR", "go on where an earlier page ended", AT(cursor), OPT_STR, false, 0, 0},
    {"all", NULL, "all pages", AT(all), OPT_FLAG, false, 0, 0},
};

void cli_option_sets(struct cli *cli, const struct command *command, void *own, struct opt_set out[static OPTION_SETS])
{
    unsigned uses = command != NULL ? command->uses : USES_BROKER;
    const struct opt_set sets[OPTION_SETS] = {
        {command != NULL ? command->opts : NULL, command != NULL ? command->n_opts : 0, own},
        {page_options, (uses & USES_PAGES) != 0 ? COUNT(page_options) : 0, cli},
        {url_options, (uses & USES_URL) != 0 ? COUNT(url_options) : 0, cli},
        {key_options, (uses & USES_KEY) != 0 ? COUNT(key_options) : 0, cli},
        {common_options, COUNT(common_options), cli},
    };
    memcpy(out, sets, sizeof sets);
}

struct err cli_fail(struct cli *cli, enum cli_exit status, const char *code, const char *fmt, ...)
{
    static const char *const codes[] = {"ok", "refused", "usage", "unavailable"};
    char text[MESSAGE_MAX];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    cli->exit = status;
    cli->error_code = arena_str(cli->arena, str_of(code != NULL ? code : codes[status]));
    cli->message = arena_str(cli->arena, str_of(text));
    return FAIL(ERR_INVALID_REQUEST, "told in the message");
}

void cli_note(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    (void)fputs("nexus: ", stderr);
    (void)vfprintf(stderr, fmt, ap);
    (void)fputc('\n', stderr);
    va_end(ap);
}

struct str cli_env(const struct cli *cli, const char *name)
{
    size_t n = strlen(name);
    for (char *const *e = cli->envp; *e != NULL; e++) {
        if (strncmp(*e, name, n) == 0 && (*e)[n] == '=' && (*e)[n + 1] != '\0')
            return str_of(*e + n + 1);
    }
    return (struct str){NULL, 0};
}

struct err cli_read_file(struct cli *cli, const char *what, struct str path, size_t max, struct str *out)
{
    errno = 0;
    if (access(path.p, R_OK) != 0)
        return cli_fail(cli, CLI_UNAVAILABLE, NULL, "cannot read the %s %s: %s", what, path.p, strerrordesc_np(errno));
    struct err e = fd_read_file(path.p, max, cli->arena, out);
    return err_is(&e) ? cli_fail(cli, CLI_UNAVAILABLE, NULL, "cannot use the %s: %s", what, e.detail) : OK;
}

struct err cli_read_json(struct cli *cli, const char *what, struct str path, const struct json **out)
{
    struct str text = {NULL, 0};
    TRY(cli_read_file(cli, what, path, JSON_TEXT_MAX, &text));
    struct err e = json_parse(cli->arena, str_bytes(text), out);
    if (err_is(&e))
        return cli_fail(cli, CLI_UNAVAILABLE, NULL, "the %s %s does not hold JSON: %s", what, path.p, e.detail);
    return OK;
}

struct err cli_read_secret(struct cli *cli, const char *what, struct str path, size_t max, struct secret **out)
{
    errno = 0;
    if (access(path.p, R_OK) != 0)
        return cli_fail(cli, CLI_UNAVAILABLE, NULL, "cannot read the %s %s: %s", what, path.p, strerrordesc_np(errno));
    struct err e = secret_from_file(path.p, max, out);
    return err_is(&e) ? cli_fail(cli, CLI_UNAVAILABLE, NULL, "cannot use the %s: %s", what, e.detail) : OK;
}

struct err cli_read_token(struct cli *cli, struct str *out)
{
    /* Room for white space around the longest token, and to see that there is more than that. */
    enum { ROOM = JWS_MAX + 64 };
    char *p = arena_alloc(cli->arena, ROOM);
    if (p == NULL)
        return FAIL(ERR_NO_MEMORY, "token");
    size_t n = fread(p, 1, ROOM, stdin);
    if (ferror(stdin) != 0)
        return cli_fail(cli, CLI_UNAVAILABLE, NULL, "cannot read a token on stdin");
    *out = str_trim((struct str){p, n});
    if (out->n == 0)
        return cli_fail(cli, CLI_REFUSED, NULL, "there is no token on stdin: nexus %s %s < TOKEN_FILE",
                        cli->group->name, cli->command->name);
    return OK;
}
