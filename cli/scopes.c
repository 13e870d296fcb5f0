/* SPDX-License-Identifier: Apache-2.0
 * nexus scopes: the conditions of the enterprise's own scopes. */
#include "cli/http_client.h"
#include "cli/list.h"

enum { BODY_MAX = 65536, TTL_MAX_S = 3600, CLEARANCE_MAX = 1000000 };

#define SCOPES "/admin/v1/scopes"

static const struct column scope_lines[] = {
    {"scope", "name", false},
    {"description", "description", false},
    {"least clearance", "min_clearance", false},
    {"longest session", "max_ttl_seconds", false},
    {"for users only", "requires_obo", false},
    {"created", "created_at", false},
    {"updated", "updated_at", false},
};

static const struct column scope_columns[] = {
    {"SCOPE", "name", false},
    {"CLEARANCE", "min_clearance", false},
    {"TTL", "max_ttl_seconds", false},
    {"FOR USERS", "requires_obo", false},
    {"DESCRIPTION", "description", false},
};

/* What define and update take. */
struct scope_options {
    struct str description;
    struct json_int min_clearance, max_ttl;
    bool requires_obo, no_requires_obo;
};

#define AT(member) offsetof(struct scope_options, member)
#define SCOPE_OPTIONS                                                                                                  \
    {"description", "TEXT", "what it is, for people", AT(description), OPT_TEXT, false, 0, 0},                         \
        {"min-clearance", "LEVEL", "the clearance that a user needs", AT(min_clearance), OPT_INT, false, 0,            \
         CLEARANCE_MAX},                                                                                               \
        {"max-ttl", "SECONDS", "the longest session with it; 0: no limit of its own", AT(max_ttl), OPT_INT, false,     \
         0,         TTL_MAX_S},                                                                                        \
    {                                                                                                                  \
        "requires-obo", NULL, "grant it on behalf of a user only", AT(requires_obo), OPT_FLAG, false, 0, 0             \
    }

static const struct opt define_options[] = {SCOPE_OPTIONS};

static const struct opt update_options[] = {
    SCOPE_OPTIONS,
    {"no-requires-obo", NULL, "grant it to agents by themselves too", AT(no_requires_obo), OPT_FLAG, false, 0, 0}};
#undef AT

static struct err scope_body(struct cli *cli, const struct scope_options *o, struct str name, struct str *out)
{
    struct buf b = buf_in(cli->arena, BODY_MAX);
    struct json_writer w = json_writer(&b);
    json_begin_object(&w, NULL);
    if (name.p != NULL)
        json_put_str(&w, "name", name);
    if (o->description.p != NULL)
        json_put_str(&w, "description", o->description);
    if (o->min_clearance.set)
        json_put_int(&w, "min_clearance", o->min_clearance.v);
    if (o->max_ttl.set)
        json_put_int(&w, "max_ttl_seconds", o->max_ttl.v);
    if (o->requires_obo || o->no_requires_obo)
        json_put_bool(&w, "requires_obo", o->requires_obo);
    json_end_object(&w);
    struct err e = buf_status(&b);
    if (err_is(&e))
        return cli_fail(cli, CLI_USAGE, NULL, "the options are not UTF-8, or more than %d bytes", BODY_MAX);
    *out = buf_view(&b);
    return OK;
}

/* Does one thing to one scope and shows what it is afterwards. */
static struct err scope_call(struct cli *cli, const char *method, struct str path, struct str body)
{
    const struct http_call call = {.method = method, .path = path, .body = body, .auth = AUTH_ADMIN};
    struct http_answer answer = {.json = NULL};
    TRY(http_json(cli, cli->arena, &call, &answer));
    output_result(cli, answer.body, answer.json, scope_lines, COUNT(scope_lines));
    return OK;
}

static struct str path_of(const struct cli *cli)
{
    return http_path(cli->arena, SCOPES "/", cli->words.v[0]);
}

static struct err scopes_define(struct cli *cli, const void *options)
{
    struct str body = {NULL, 0};
    TRY(scope_body(cli, options, cli->words.v[0], &body));
    return scope_call(cli, "POST", STR(SCOPES), body);
}

static struct err scopes_list(struct cli *cli, const void *options)
{
    (void)options;
    const struct list l = {SCOPES, "scopes", {NULL, 0}, scope_columns, COUNT(scope_columns)};
    return list_run(cli, &l);
}

static struct err scopes_get(struct cli *cli, const void *options)
{
    (void)options;
    return scope_call(cli, "GET", path_of(cli), (struct str){NULL, 0});
}

static struct err scopes_update(struct cli *cli, const void *options)
{
    const struct scope_options *o = options;
    if (o->requires_obo && o->no_requires_obo)
        return cli_fail(cli, CLI_USAGE, NULL, "--requires-obo or --no-requires-obo, not both");
    struct str body = {NULL, 0};
    TRY(scope_body(cli, o, (struct str){NULL, 0}, &body));
    if (str_is(body, "{}"))
        return cli_fail(cli, CLI_USAGE, NULL, "nothing to change is given; each option replaces what was there");
    return scope_call(cli, "PATCH", path_of(cli), body);
}

static struct err scopes_remove(struct cli *cli, const void *options)
{
    (void)options;
    static const struct column lines[] = {{"scope", "name", false}, {"status", "status", false}};
    const struct http_call call = {.method = "DELETE", .path = path_of(cli), .auth = AUTH_ADMIN};
    struct http_answer answer = {.json = NULL};
    TRY(http_json(cli, cli->arena, &call, &answer));
    output_result(cli, answer.body, answer.json, lines, COUNT(lines));
    return OK;
}

static const struct command commands[] = {
    {"define", "NAME", "give a scope conditions", scopes_define, USES_BROKER, 1,
     OPTS(define_options, struct scope_options)},
    {"list", "", "show the scopes that have conditions", scopes_list, USES_BROKER, 0, NULL, 0, 0},
    {"get", "NAME", "show one scope", scopes_get, USES_BROKER, 1, NULL, 0, 0},
    {"update", "NAME", "change a scope's conditions", scopes_update, USES_BROKER, 1,
     OPTS(update_options, struct scope_options)},
    {"remove", "NAME", "take a scope's conditions away", scopes_remove, USES_BROKER, 1, NULL, 0, 0},
};

const struct command_group scopes_group = {"scopes", "the conditions of scopes (needs an admin key)", commands,
                                           COUNT(commands)};
