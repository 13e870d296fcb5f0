/* SPDX-License-Identifier: Apache-2.0
 * nexus agents: the register of agents. */
#include "cli/assertion.h"
#include "cli/http_client.h"
#include "cli/keys.h"
#include "cli/list.h"
#include "crypto/private_signer.h"

enum { KEYS_MAX = 8, PEM_MAX = 16384, BODY_MAX = 65536, TTL_MAX_S = 3600 };

#define AGENTS "/admin/v1/agents"

static const struct column agent_lines[] = {
    {"agent", "agent_id", false},
    {"active", "active", false},
    {"description", "description", false},
    {"scopes", "allowed_scopes", false},
    {"audiences", "allowed_audiences", false},
    {"workspaces", "workspaces", false},
    {"delegates to", "delegates_to", false},
    {"tokens bound", "require_dpop", false},
    {"longest session", "max_ttl_seconds", false},
    {"keys", "jwks.keys.kid", false},
    {"created", "created_at", false},
    {"updated", "updated_at", false},
    {"sessions closed", "sessions_closed", false},
};

static const struct column agent_columns[] = {
    {"AGENT", "agent_id", false},     {"ACTIVE", "active", false},         {"TTL", "max_ttl_seconds", false},
    {"CREATED", "created_at", false}, {"SCOPES", "allowed_scopes", false}, {"DESCRIPTION", "description", false},
};

/* What register and update take. */
struct agent_options {
    struct str id, description, jwks, alg;
    struct str_list public_keys, scopes, audiences, workspaces, delegates_to;
    struct json_int max_ttl;
    bool no_audiences, no_workspaces, no_delegates, require_dpop, no_require_dpop;
};

#define AT(member) offsetof(struct agent_options, member)
#define AGENT_OPTIONS                                                                                                   \
    {"scope", "SCOPE", "a scope it may ask for; repeat for more", AT(scopes), OPT_LIST, false, 0, 0},                   \
        {"public-key", "PEM_FILE", "a public key of its own; repeat for more", AT(public_keys), OPT_LIST, false, 0, 0}, \
        {"jwks", "FILE", "its public keys as a JWK set, or one as a JWK", AT(jwks), OPT_STR, false, 0, 0},              \
        {"alg", "ALG", "RS256 (default) or PS256, of RSA keys in PEM", AT(alg), OPT_STR, false, 0, 0},                  \
        {"description", "TEXT", "what it is, for people", AT(description), OPT_TEXT, false, 0, 0},                      \
        {"audience", "URI", "an audience it may ask for; repeat for more", AT(audiences), OPT_LIST, false, 0, 0},       \
        {"workspace", "NAME", "a workspace it may act for; repeat for more", AT(workspaces), OPT_LIST, false, 0, 0},    \
        {"delegates-to",                                                                                                \
         "ID",                                                                                                          \
         "an agent that may act after it; repeat for more",                                                             \
         AT(delegates_to),                                                                                              \
         OPT_LIST,                                                                                                      \
         false,                                                                                                         \
         0,                                                                                                             \
         0},                                                                                                            \
        {"require-dpop", NULL, "bind all its tokens to a key (DPoP)", AT(require_dpop), OPT_FLAG, false, 0, 0},         \
    {                                                                                                                   \
        "max-ttl", "SECONDS", "its longest session", AT(max_ttl), OPT_INT, false, 1, TTL_MAX_S                          \
    }

static const struct opt register_options[] = {
    {"id", "ID", "its name; letters, digits and . _ : -", AT(id), OPT_STR, true, 0, 0}, AGENT_OPTIONS};

static const struct opt update_options[] = {
    AGENT_OPTIONS,
    {"no-audiences", NULL, "take all audiences away", AT(no_audiences), OPT_FLAG, false, 0, 0},
    {"no-workspaces", NULL, "take all workspaces away", AT(no_workspaces), OPT_FLAG, false, 0, 0},
    {"no-delegates", NULL, "let no agent act after it", AT(no_delegates), OPT_FLAG, false, 0, 0},
    {"no-require-dpop", NULL, "let it have bearer tokens again", AT(no_require_dpop), OPT_FLAG, false, 0, 0}};

struct list_options {
    bool active, inactive;
};

static const struct opt list_options[] = {
    {"active", NULL, "active ones only", offsetof(struct list_options, active), OPT_FLAG, false, 0, 0},
    {"inactive", NULL, "deactivated ones only", offsetof(struct list_options, inactive), OPT_FLAG, false, 0, 0}};

static struct err put_pem_file(struct cli *cli, struct str file, enum jose_alg rsa_alg, struct json_writer *w)
{
    struct str pem = {NULL, 0};
    TRY(cli_read_file(cli, "public key file", file, PEM_MAX, &pem));
    CLEANUP(jwk_free) struct jwk *k = NULL;
    struct err e = jwk_from_pem(cli->crypto, str_bytes(pem), rsa_alg, &k);
    if (err_is(&e))
        return cli_fail(cli, CLI_UNAVAILABLE, NULL, "cannot use the keys of %s: %s", file.p, e.detail);
    jwk_write(k, w, NULL);
    return OK;
}

static struct err put_keys(struct cli *cli, const struct agent_options *o, struct json_writer *w)
{
    enum jose_alg rsa_alg = JOSE_RS256;
    TRY(assertion_rsa_alg(cli, o->alg, &rsa_alg));
    if (o->jwks.p == NULL && o->public_keys.n == 0)
        return OK;
    json_begin_object(w, "jwks");
    json_begin_array(w, "keys");
    if (o->jwks.p != NULL)
        TRY(keys_put(cli, o->jwks, KEYS_MAX, w));
    for (size_t i = 0; i < o->public_keys.n; i++)
        TRY(put_pem_file(cli, o->public_keys.v[i], rsa_alg, w));
    json_end_array(w);
    json_end_object(w);
    return OK;
}

static void put_list(struct json_writer *w, const char *name, struct str_list l, bool none)
{
    if (l.v != NULL || none)
        json_put_list(w, name, l);
}

static struct err agent_body(struct cli *cli, const struct agent_options *o, struct str *out)
{
    struct buf b = buf_in(cli->arena, BODY_MAX);
    struct json_writer w = json_writer(&b);
    json_begin_object(&w, NULL);
    if (o->id.p != NULL)
        json_put_str(&w, "agent_id", o->id);
    if (o->description.p != NULL)
        json_put_str(&w, "description", o->description);
    put_list(&w, "allowed_scopes", o->scopes, false);
    put_list(&w, "allowed_audiences", o->audiences, o->no_audiences);
    put_list(&w, "workspaces", o->workspaces, o->no_workspaces);
    put_list(&w, "delegates_to", o->delegates_to, o->no_delegates);
    if (o->require_dpop || o->no_require_dpop)
        json_put_bool(&w, "require_dpop", o->require_dpop);
    if (o->max_ttl.set)
        json_put_int(&w, "max_ttl_seconds", o->max_ttl.v);
    TRY(put_keys(cli, o, &w));
    json_end_object(&w);
    struct err e = buf_status(&b);
    if (err_is(&e))
        return cli_fail(cli, CLI_USAGE, NULL, "the options are not UTF-8, or more than %d bytes", BODY_MAX);
    *out = buf_view(&b);
    return OK;
}

/* Does one thing to one agent and shows what it is afterwards. */
static struct err agent_call(struct cli *cli, const char *method, struct str path, struct str body)
{
    const struct http_call call = {.method = method, .path = path, .body = body, .auth = AUTH_ADMIN};
    struct http_answer answer = {.json = NULL};
    TRY(http_json(cli, cli->arena, &call, &answer));
    output_result(cli, answer.body, answer.json, agent_lines, COUNT(agent_lines));
    return OK;
}

static struct str path_of(const struct cli *cli)
{
    return http_path(cli->arena, AGENTS "/", cli->words.v[0]);
}

static struct err agents_register(struct cli *cli, const void *options)
{
    const struct agent_options *o = options;
    if (o->jwks.p == NULL && o->public_keys.n == 0)
        return cli_fail(cli, CLI_USAGE, NULL, "the agent needs a key of its own: --public-key PEM_FILE or --jwks FILE");
    struct str body = {NULL, 0};
    TRY(agent_body(cli, o, &body));
    return agent_call(cli, "POST", STR(AGENTS), body);
}

static struct err agents_list(struct cli *cli, const void *options)
{
    const struct list_options *o = options;
    struct buf query = buf_in(cli->arena, BODY_MAX);
    if (o->active && o->inactive)
        return cli_fail(cli, CLI_USAGE, NULL,
                        "--active and --inactive exclude each other; without either, all are shown");
    TRY(list_active(cli, &query, o->active, o->inactive));
    const struct list l = {AGENTS, "agents", buf_view(&query), agent_columns, COUNT(agent_columns)};
    return list_run(cli, &l);
}

static struct err agents_get(struct cli *cli, const void *options)
{
    (void)options;
    return agent_call(cli, "GET", path_of(cli), (struct str){NULL, 0});
}

static struct err agents_update(struct cli *cli, const void *options)
{
    const struct agent_options *o = options;
    if ((o->no_audiences && o->audiences.n > 0) || (o->no_workspaces && o->workspaces.n > 0) ||
        (o->no_delegates && o->delegates_to.n > 0) || (o->no_require_dpop && o->require_dpop))
        return cli_fail(cli, CLI_USAGE, NULL, "take all away, or give new ones, not both");
    struct str body = {NULL, 0};
    TRY(agent_body(cli, o, &body));
    if (str_is(body, "{}"))
        return cli_fail(cli, CLI_USAGE, NULL, "nothing to change is given; each option replaces what was there");
    return agent_call(cli, "PATCH", path_of(cli), body);
}

static struct err agents_activate(struct cli *cli, const void *options)
{
    (void)options;
    return agent_call(cli, "PATCH", path_of(cli), STR("{\"active\":true}"));
}

static struct err agents_deactivate(struct cli *cli, const void *options)
{
    (void)options;
    return agent_call(cli, "PATCH", path_of(cli), STR("{\"active\":false}"));
}

static struct err agents_delete(struct cli *cli, const void *options)
{
    (void)options;
    static const struct column lines[] = {
        {"agent", "agent_id", false}, {"status", "status", false}, {"sessions closed", "sessions_closed", false}};
    const struct http_call call = {.method = "DELETE", .path = path_of(cli), .auth = AUTH_ADMIN};
    struct http_answer answer = {.json = NULL};
    TRY(http_json(cli, cli->arena, &call, &answer));
    output_result(cli, answer.body, answer.json, lines, COUNT(lines));
    return OK;
}

static const struct command commands[] = {
    {"register", "", "add an agent", agents_register, USES_BROKER, 0, OPTS(register_options, struct agent_options)},
    {"list", "", "show agents", agents_list, USES_BROKER | USES_PAGES, 0, OPTS(list_options, struct list_options)},
    {"get", "ID", "show one agent", agents_get, USES_BROKER, 1, NULL, 0, 0},
    {"update", "ID", "change an agent", agents_update, USES_BROKER, 1, OPTS(update_options, struct agent_options)},
    {"deactivate", "ID", "refuse an agent and close its sessions", agents_deactivate, USES_BROKER, 1, NULL, 0, 0},
    {"activate", "ID", "admit an agent again", agents_activate, USES_BROKER, 1, NULL, 0, 0},
    {"delete", "ID", "remove an agent and close its sessions", agents_delete, USES_BROKER, 1, NULL, 0, 0},
};

const struct command_group agents_group = {"agents", "the register of agents (needs an admin key)", commands,
                                           COUNT(commands)};
