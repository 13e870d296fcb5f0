/* SPDX-License-Identifier: Apache-2.0
 * nexus providers: third parties whose APIs agents use. */
#include "cli/http_client.h"
#include "cli/output.h"

enum { BODY_MAX = 65536, SECRET_MAX = 4096, UUID_LEN = 36 };

#define PROVIDERS "/providers"

static const struct column provider_lines[] = {
    {"id", "id", false},
    {"name", "name", false},
    {"description", "description", false},
    {"category", "category", false},
    {"auth type", "auth_type", false},
    {"auth header", "auth_header", false},
    {"client id", "client_id", false},
    {"client secret, by its fingerprint", "client_secret_fingerprint", false},
    {"issuer", "issuer", false},
    {"discovery", "enable_discovery", false},
    {"authorization endpoint", "auth_url", false},
    {"token endpoint", "token_url", false},
    {"revocation endpoint", "params.revocation_endpoint", false},
    {"scopes", "scopes", false},
    {"API", "api_base_url", false},
    {"user info endpoint", "user_info_endpoint", false},
    {"strategy", "params.auth_strategy.type", false},
    {"narrower tokens by", "downscope", false},
    {"whole tokens for agents", "allow_full_token", false},
    {"created", "created_at", false},
    {"updated", "updated_at", false},
};

static const struct column provider_columns[] = {
    {"ID", "id", false},
    {"NAME", "name", false},
    {"AUTH TYPE", "auth_type", false},
    {"CATEGORY", "category", false},
    {"DESCRIPTION", "description", false},
};

static const struct column message_lines[] = {{"id", "id", false}, {"message", "message", false}};

/* What add and update take. */
struct provider_options {
    struct str name, description, category, auth_type, auth_header, client_id, secret_file;
    struct str auth_url, token_url, issuer, api_base_url, user_info_endpoint, params_file, downscope;
    struct str_list scopes;
    bool discovery, no_discovery, full_token, no_full_token, no_scopes;
};

#define AT(member) offsetof(struct provider_options, member)
#define PROVIDER_OPTIONS                                                                                                \
    {"description", "TEXT", "what it is, for people", AT(description), OPT_TEXT, false, 0, 0},                          \
        {"category", "TEXT", "what kind of provider, for people", AT(category), OPT_TEXT, false, 0, 0},                 \
        {"auth-type",                                                                                                   \
         "TYPE",                                                                                                        \
         "oauth2 (default), api_key, basic_auth, header, query_param, hmac_payload or aws_sigv4",                       \
         AT(auth_type),                                                                                                 \
         OPT_STR,                                                                                                       \
         false,                                                                                                         \
         0,                                                                                                             \
         0},                                                                                                            \
        {"auth-header",                                                                                                 \
         "NAME",                                                                                                        \
         "client_secret_basic; else the header that carries the credential",                                            \
         AT(auth_header),                                                                                               \
         OPT_TEXT,                                                                                                      \
         false,                                                                                                         \
         0,                                                                                                             \
         0},                                                                                                            \
        {"client-id", "ID", "the broker's client_id there", AT(client_id), OPT_TEXT, false, 0, 0},                      \
        {"client-secret-file",                                                                                          \
         "FILE",                                                                                                        \
         "a file of mode 0600 with its client secret",                                                                  \
         AT(secret_file),                                                                                               \
         OPT_STR,                                                                                                       \
         false,                                                                                                         \
         0,                                                                                                             \
         0},                                                                                                            \
        {"auth-url", "URL", "the authorization endpoint", AT(auth_url), OPT_TEXT, false, 0, 0},                         \
        {"token-url", "URL", "the token endpoint", AT(token_url), OPT_TEXT, false, 0, 0},                               \
        {"issuer", "URL", "the iss of its id_tokens and metadata", AT(issuer), OPT_TEXT, false, 0, 0},                  \
        {"discovery", NULL, "the issuer's metadata say where its endpoints are", AT(discovery), OPT_FLAG, false, 0, 0}, \
        {"scope", "SCOPE", "one that it has; repeat for more", AT(scopes), OPT_LIST, false, 0, 0},                      \
        {"api-base-url", "URL", "where its API is", AT(api_base_url), OPT_TEXT, false, 0, 0},                           \
        {"user-info-endpoint", "URL", "a URL, or a path of the API", AT(user_info_endpoint), OPT_TEXT, false, 0, 0},    \
        {"params-file", "FILE", "further settings as a JSON object", AT(params_file), OPT_STR, false, 0, 0},            \
        {"downscope", "HOW", "how narrower tokens are had: refresh, exchange or none", AT(downscope), OPT_STR, false,   \
         0,           0},                                                                                               \
    {                                                                                                                   \
        "allow-full-token", NULL, "let agents have the whole token", AT(full_token), OPT_FLAG, false, 0, 0              \
    }

static const struct opt add_options[] = {
    {"name", "NAME", "lower-case letters, digits and -", AT(name), OPT_STR, true, 0, 0}, PROVIDER_OPTIONS};

static const struct opt update_options[] = {
    {"name", "NAME", "another name", AT(name), OPT_STR, false, 0, 0},
    PROVIDER_OPTIONS,
    {"no-discovery", NULL, "--auth-url and --token-url say where its endpoints are", AT(no_discovery), OPT_FLAG, false,
     0, 0},
    {"no-scope", NULL, "take its scopes away", AT(no_scopes), OPT_FLAG, false, 0, 0},
    {"no-allow-full-token", NULL, "no agent gets the whole token", AT(no_full_token), OPT_FLAG, false, 0, 0}};

/* Options that are members of the body as they are. */
static const struct {
    const char *member;
    size_t offset;
} texts[] = {
    {"name", AT(name)},
    {"description", AT(description)},
    {"category", AT(category)},
    {"auth_type", AT(auth_type)},
    {"auth_header", AT(auth_header)},
    {"client_id", AT(client_id)},
    {"auth_url", AT(auth_url)},
    {"token_url", AT(token_url)},
    {"issuer", AT(issuer)},
    {"api_base_url", AT(api_base_url)},
    {"user_info_endpoint", AT(user_info_endpoint)},
    {"downscope", AT(downscope)},
};
#undef AT

static void put_texts(struct json_writer *w, const struct provider_options *o)
{
    for (size_t i = 0; i < COUNT(texts); i++) {
        struct str value;
        memcpy(&value, (const char *)o + texts[i].offset, sizeof value);
        if (value.p != NULL)
            json_put_str(w, texts[i].member, value);
    }
}

/* A member that one option gives and another takes away. */
static void put_switch(struct json_writer *w, const char *name, bool on, bool off)
{
    if (on || off)
        json_put_bool(w, name, on);
}

static struct err put_secret(struct cli *cli, struct str file, struct json_writer *w)
{
    CLEANUP(secret_free) struct secret *secret = NULL;
    TRY(cli_read_secret(cli, "client secret file", file, SECRET_MAX, &secret));
    if (secret->n == 0)
        return cli_fail(cli, CLI_UNAVAILABLE, NULL, "the client secret file %s is empty", file.p);
    json_put_str(w, "client_secret", bytes_str(secret_bytes(secret)));
    return OK;
}

static struct err put_params(struct cli *cli, struct str file, struct json_writer *w)
{
    const struct json *params = NULL;
    TRY(cli_read_json(cli, "params file", file, &params));
    if (params->type != JSON_OBJECT)
        return cli_fail(cli, CLI_UNAVAILABLE, NULL, "the params file %s does not hold a JSON object", file.p);
    json_put_json(w, "params", params);
    return OK;
}

static struct err put_profile(struct cli *cli, const struct provider_options *o, struct json_writer *w)
{
    put_texts(w, o);
    if (o->scopes.v != NULL || o->no_scopes)
        json_put_list(w, "scopes", o->scopes);
    put_switch(w, "enable_discovery", o->discovery, o->no_discovery);
    put_switch(w, "allow_full_token", o->full_token, o->no_full_token);
    if (o->params_file.p != NULL)
        TRY(put_params(cli, o->params_file, w));
    return o->secret_file.p != NULL ? put_secret(cli, o->secret_file, w) : OK;
}

/* The profile; within an object of that name when it is to be registered. */
static struct err provider_body(struct cli *cli, const struct provider_options *o, bool wrapped, struct str *out)
{
    struct buf b = buf_in(cli->arena, BODY_MAX);
    struct json_writer w = json_writer(&b);
    json_begin_object(&w, NULL);
    if (wrapped)
        json_begin_object(&w, "profile");
    TRY(put_profile(cli, o, &w));
    if (wrapped)
        json_end_object(&w);
    json_end_object(&w);
    struct err e = buf_status(&b);
    if (err_is(&e))
        return cli_fail(cli, CLI_USAGE, NULL, "the options are not UTF-8, or more than %d bytes", BODY_MAX);
    *out = buf_view(&b);
    return OK;
}

static struct err call(struct cli *cli, const char *method, struct str path, struct str body, struct http_answer *out)
{
    const struct http_call c = {.method = method, .path = path, .body = body, .auth = AUTH_ADMIN};
    return http_json(cli, cli->arena, &c, out);
}

static bool is_uuid(struct str s)
{
    bool good = s.n == UUID_LEN;
    for (size_t i = 0; i < s.n; i++)
        good = good && s.p[i] != '\0' && strchr("0123456789abcdefABCDEF-", s.p[i]) != NULL;
    return good;
}

/* The provider that the command's word means, by its id or its name. */
static struct err path_of(struct cli *cli, struct str *out)
{
    static const struct str none = {NULL, 0};
    struct str word = cli->words.v[0];
    if (!is_uuid(word)) {
        struct http_answer answer = {.json = NULL};
        TRY(call(cli, "GET", http_path(cli->arena, PROVIDERS "/by-name/", word), none, &answer));
        const struct json *id = json_get(answer.json, "id");
        if (id == NULL || id->type != JSON_STR)
            return cli_fail(cli, CLI_UNAVAILABLE, NULL, "the answer has no \"id\": is it a broker's?");
        word = id->s;
    }
    *out = http_path(cli->arena, PROVIDERS "/", word);
    return OK;
}

static struct err providers_add(struct cli *cli, const void *options)
{
    struct str body = {NULL, 0};
    struct http_answer answer = {.json = NULL};
    TRY(provider_body(cli, options, true, &body));
    TRY(call(cli, "POST", STR(PROVIDERS), body, &answer));
    output_result(cli, answer.body, answer.json, message_lines, COUNT(message_lines));
    return OK;
}

/* One provider of the metadata, as a row that tells its name and its type too. */
static struct err add_row(struct cli *cli, struct table *t, struct str type, struct str name, const struct json *one)
{
    const struct json own[] = {{.type = JSON_STR, .s = type}, {.type = JSON_STR, .s = name}};
    struct json *items = arena_array(cli->arena, one->n + COUNT(own), sizeof *items);
    struct str *names = arena_array(cli->arena, one->n + COUNT(own), sizeof *names);
    if (items == NULL || names == NULL)
        return FAIL(ERR_NO_MEMORY, "row");
    memcpy(items, own, sizeof own);
    names[0] = STR("auth_type");
    names[1] = STR("name");
    for (size_t i = 0; i < one->n; i++) {
        items[COUNT(own) + i] = one->items[i];
        names[COUNT(own) + i] = one->names[i];
    }
    const struct json row = {.type = JSON_OBJECT, .n = one->n + COUNT(own), .items = items, .names = names};
    return table_add(t, cli->arena, &row);
}

static struct err providers_list(struct cli *cli, const void *options)
{
    (void)options;
    struct http_answer answer = {.json = NULL};
    TRY(call(cli, "GET", STR(PROVIDERS "/metadata"), (struct str){NULL, 0}, &answer));
    if (cli->json) {
        (void)printf("%.*s\n", STR_FMT(answer.body));
        return OK;
    }
    struct table t = {.cols = provider_columns, .n_cols = COUNT(provider_columns)};
    for (size_t i = 0; i < answer.json->n; i++) {
        const struct json *group = &answer.json->items[i];
        for (size_t k = 0; group->type == JSON_OBJECT && k < group->n; k++) {
            if (group->items[k].type == JSON_OBJECT)
                TRY(add_row(cli, &t, answer.json->names[i], group->names[k], &group->items[k]));
        }
    }
    table_print(&t);
    return OK;
}

static struct err show(struct cli *cli, const char *method, struct str body)
{
    struct str path;
    struct http_answer answer = {.json = NULL};
    TRY(path_of(cli, &path));
    TRY(call(cli, method, path, body, &answer));
    output_result(cli, answer.body, answer.json, provider_lines, COUNT(provider_lines));
    return OK;
}

static struct err providers_get(struct cli *cli, const void *options)
{
    (void)options;
    return show(cli, "GET", (struct str){NULL, 0});
}

static struct err providers_update(struct cli *cli, const void *options)
{
    const struct provider_options *o = options;
    if ((o->discovery && o->no_discovery) || (o->full_token && o->no_full_token) ||
        (o->no_scopes && o->scopes.v != NULL))
        return cli_fail(cli, CLI_USAGE, NULL, "an option and the one that takes it away are given, not both");
    struct str body = {NULL, 0};
    TRY(provider_body(cli, o, false, &body));
    if (str_is(body, "{}"))
        return cli_fail(cli, CLI_USAGE, NULL, "nothing to change is given; each option replaces what was there");
    return show(cli, "PATCH", body);
}

static struct err providers_remove(struct cli *cli, const void *options)
{
    (void)options;
    struct str path;
    struct http_answer answer = {.json = NULL};
    TRY(path_of(cli, &path));
    TRY(call(cli, "DELETE", path, (struct str){NULL, 0}, &answer));
    output_result(cli, answer.body, answer.json, message_lines, COUNT(message_lines));
    return OK;
}

static const struct command commands[] = {
    {"add", "", "register a provider", providers_add, USES_BROKER, 0, OPTS(add_options, struct provider_options)},
    {"list", "", "show providers", providers_list, USES_BROKER, 0, NULL, 0, 0},
    {"get", "PROVIDER", "show one provider, by its id or name", providers_get, USES_BROKER, 1, NULL, 0, 0},
    {"update", "PROVIDER", "change a provider", providers_update, USES_BROKER, 1,
     OPTS(update_options, struct provider_options)},
    {"remove", "PROVIDER", "remove a provider", providers_remove, USES_BROKER, 1, NULL, 0, 0},
};

const struct command_group providers_group = {"providers", "third parties whose APIs agents use", commands,
                                              COUNT(commands)};
