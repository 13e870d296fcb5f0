/* SPDX-License-Identifier: Apache-2.0
 * nexus-broker api-key create|list|revoke. A new key is printed once; only its SHA-256 is stored. */
#include "service/commands.h"

#include "base/rand.h"
#include "base/secret.h"
#include "crypto/b64u.h"
#include "service/api/record.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

enum { KEY_BYTES = 32, PREFIX_SHOWN = 8, CALL_MS = 10000, DAYS_MAX = 3650, NAME_MAX_BYTES = 64 };

struct key_options {
    struct str name, role;
    int64_t days;
};

/* -1 for what is not a whole number. */
static int64_t parse_days(const char *text)
{
    char *end = NULL;
    long long days = strtoll(text, &end, 10);
    return end != text && *end == '\0' ? days : -1;
}

static struct err parse_options(struct command_line *line, struct key_options *o)
{
    static const struct option options[] = {{"name", required_argument, NULL, 'n'},
                                            {"role", required_argument, NULL, 'r'},
                                            {"days", required_argument, NULL, 'd'},
                                            {0}};
    *o = (struct key_options){.days = 365};
    optind = 0;
    opterr = 0;
    for (int c; (c = getopt_long(line->argc, line->argv, "", options, NULL)) != -1;) {
        if (c == 'n')
            o->name = str_of(optarg);
        else if (c == 'r')
            o->role = str_of(optarg);
        else if (c == 'd')
            o->days = parse_days(optarg);
        else
            line->wrong = "options are --name, --role and --days, each with a value";
    }
    if (line->wrong == NULL && optind != line->argc)
        line->wrong = "a word too many: options are --name, --role and --days";
    if (line->wrong == NULL && (o->name.n == 0 || o->name.n > NAME_MAX_BYTES))
        line->wrong = "--name is needed, with 1 to 64 characters";
    for (size_t i = 0; i < o->name.n; i++) {
        char ch = o->name.p[i];
        if (!((ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z') || (ch >= '0' && ch <= '9') ||
              strchr("._-", ch) != NULL))
            return FAIL(ERR_INVALID_REQUEST, "--name: letters, digits and . _ - only");
    }
    if (o->days < 1 || o->days > DAYS_MAX)
        return FAIL(ERR_INVALID_REQUEST, "--days: must be from 1 to %d", DAYS_MAX);
    return OK;
}

/* "nxk_" and 43 characters of base64url, in locked memory. */
static struct err make_key(struct arena *a, struct secret **out)
{
    uint8_t raw[KEY_BYTES];
    TRY(rand_bytes(raw, sizeof raw));
    struct str text = b64u_text(a, bytes_of(raw, sizeof raw));
    explicit_bzero(raw, sizeof raw);
    if (text.p == NULL)
        return FAIL(ERR_NO_MEMORY, "key");
    TRY(secret_new(4 + text.n, out));
    memcpy((*out)->p, "nxk_", 4);
    memcpy((*out)->p + 4, text.p, text.n);
    (*out)->n = 4 + text.n;
    return OK;
}

static struct err create(struct command_line *line, struct workbench *w)
{
    struct key_options o;
    TRY(parse_options(line, &o));
    struct api_key k = {.name = o.name};
    if (line->wrong == NULL && !role_parse(o.role, &k.role))
        line->wrong = "--role is needed: admin, auditor or gateway";
    if (line->wrong != NULL)
        return OK;
    struct call c = workbench_call(w, CALL_MS);
    CLEANUP(secret_free) struct secret *key = NULL;
    TRY(make_key(w->arena, &key));
    k.prefix = bytes_str(bytes_of(key->p, PREFIX_SHOWN));
    k.created_us = clock_now_us(&w->runtime.app.clock);
    k.expires_us = k.created_us + o.days * INT64_C(86400000000);
    uint8_t hash[SHA256_LEN];
    TRY(crypto_sha256(w->runtime.crypto, secret_bytes(key), hash));
    const struct leaf_fields f = {.kind = LEAF_ADMIN,
                                  .op = "api_key.create",
                                  .actor = STR("operator"),
                                  .target = k.name,
                                  .detail = o.role,
                                  .exp = k.expires_us / 1000000};
    struct recording r;
    TRY(record_begin(&c, &f, &r));
    struct store s = call_store(&c);
    struct err e = record_end(&c, &r, store_api_key_insert(&s, &k, hash, &r.batch), true);
    if (e.code == ERR_CONFLICT)
        return FAIL(ERR_CONFLICT, "there is an API key named \"%.*s\" already", STR_FMT(k.name));
    TRY(e);
    (void)printf("%.*s\n", (int)key->n, (const char *)key->p);
    return OK;
}

static void print_time(int64_t us, const char *none)
{
    char text[CLOCK_TEXT];
    struct str t = us != 0 ? clock_rfc3339(us, text) : str_of(none);
    (void)printf("  %-20.*s", STR_FMT(t));
}

static struct err list(struct command_line *line, struct workbench *w)
{
    if (line->argc != 1) {
        line->wrong = "nothing stands behind list";
        return OK;
    }
    struct call c = workbench_call(w, CALL_MS);
    struct store s = call_store(&c);
    struct api_key *keys = NULL;
    size_t n = 0;
    TRY(store_api_key_list(&s, &keys, &n));
    (void)printf("%-24s  %-8s  %-8s  %-20s  %-20s  %-20s  %-20s\n", "NAME", "ROLE", "PREFIX", "CREATED", "EXPIRES",
                 "REVOKED", "LAST USE");
    for (size_t i = 0; i < n; i++) {
        (void)printf("%-24.*s  %-8s  %-8.*s", STR_FMT(keys[i].name), role_name(keys[i].role), STR_FMT(keys[i].prefix));
        print_time(keys[i].created_us, "-");
        print_time(keys[i].expires_us, "never");
        print_time(keys[i].revoked_us, "-");
        print_time(keys[i].last_used_us, "never");
        (void)printf("\n");
    }
    return OK;
}

static struct err revoke(struct command_line *line, struct workbench *w)
{
    struct key_options o;
    TRY(parse_options(line, &o));
    if (line->wrong != NULL)
        return OK;
    struct call c = workbench_call(w, CALL_MS);
    const struct leaf_fields f = {
        .kind = LEAF_ADMIN, .op = "api_key.revoke", .actor = STR("operator"), .target = o.name, .exp = -1};
    struct recording r;
    TRY(record_begin(&c, &f, &r));
    struct store s = call_store(&c);
    bool revoked = false;
    struct err stored = store_api_key_revoke(&s, o.name, &r.batch, &revoked);
    TRY(record_end(&c, &r, stored, revoked));
    if (!revoked)
        return FAIL(ERR_NOT_FOUND, "there is no API key named \"%.*s\" in force", STR_FMT(o.name));
    (void)printf("API key \"%.*s\" is revoked; every broker refuses it from now on\n", STR_FMT(o.name));
    return OK;
}

struct err command_api_key(struct command_line *line)
{
    static const struct {
        const char *name;
        struct err (*run)(struct command_line *line, struct workbench *w);
    } verbs[] = {{"create", create}, {"list", list}, {"revoke", revoke}};
    for (size_t i = 0; i < COUNT(verbs) && line->argc > 0; i++) {
        if (strcmp(line->argv[0], verbs[i].name) != 0)
            continue;
        CLEANUP(workbench_close) struct workbench w;
        TRY(workbench_open(line, false, &w));
        return verbs[i].run(line, &w);
    }
    line->wrong = "create, list or revoke is needed";
    return OK;
}
