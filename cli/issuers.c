/* SPDX-License-Identifier: Apache-2.0
 * nexus issuers: who may vouch for users. */
#include "cli/http_client.h"
#include "cli/keys.h"
#include "cli/list.h"

enum { KEYS_MAX = 100, BODY_MAX = 65536, AGE_MAX_S = 31536000 };

#define ISSUERS "/admin/v1/issuers"

static const struct column issuer_lines[] = {
    {"id", "id", false},
    {"issuer", "issuer", false},
    {"active", "active", false},
    {"keys from", "key_source", false},
    {"keys", "jwks.keys.kid", false},
    {"keys at", "jwks_uri", false},
    {"algorithms", "algorithms", false},
    {"audience", "audience", false},
    {"typ", "typ", false},
    {"user id at", "claims.user_id", false},
    {"tenant id at", "claims.tenant_id", false},
    {"clearance at", "claims.clearance_level", false},
    {"permissions at", "claims.permissions", false},
    {"oldest token, in seconds", "max_age_seconds", false},
    {"tokens of one use", "one_time_jti", false},
    {"created", "created_at", false},
    {"updated", "updated_at", false},
};

static const struct column issuer_columns[] = {
    {"ID", "id", false},         {"ACTIVE", "active", false},         {"KEYS FROM", "key_source", false},
    {"ISSUER", "issuer", false}, {"ALGORITHMS", "algorithms", false}, {"AUDIENCE", "audience", false},
};

/* What add and update take. */
struct issuer_options {
    struct str issuer, jwks_file, jwks_uri, audience, typ;
    struct str user_at, tenant_at, level_at, permissions_at;
    struct str_list algorithms;
    struct json_int max_age;
    bool discovery, one_time_jti, no_one_time_jti, active, inactive, no_typ, no_max_age;
};

#define AT(member) offsetof(struct issuer_options, member)
#define ISSUER_OPTIONS                                                                                                 \
    {"jwks-file", "FILE", "its public keys as a JWK set, or one as a JWK", AT(jwks_file), OPT_STR, false, 0, 0},       \
        {"jwks-uri", "URL", "where its keys are fetched", AT(jwks_uri), OPT_STR, false, 0, 0},                         \
        {"discovery", NULL, "its metadata say where its keys are fetched", AT(discovery), OPT_FLAG, false, 0, 0},      \
        {"typ", "TYP", "the typ of its tokens; else JWT, at+jwt or none", AT(typ), OPT_STR, false, 0, 0},              \
        {"claim-user-id", "POINTER", "where the user stands (/sub)", AT(user_at), OPT_STR, false, 0, 0},               \
        {"claim-tenant-id", "POINTER", "where the tenant stands (/tenant_id)", AT(tenant_at), OPT_STR, false, 0, 0},   \
        {"claim-clearance-level", "POINTER", "the clearance (/clearance_level)", AT(level_at), OPT_STR, false, 0, 0},  \
        {"claim-permissions", "POINTER", "the permissions (/permissions)", AT(permissions_at), OPT_STR, false, 0, 0},  \
        {"max-age", "SECONDS", "refuse tokens issued longer ago", AT(max_age), OPT_INT, false, 1, AGE_MAX_S},          \
        {"one-time-jti", NULL, "accept each token once", AT(one_time_jti), OPT_FLAG, false, 0, 0},                     \
    {                                                                                                                  \
        "inactive", NULL, "refuse its tokens", AT(inactive), OPT_FLAG, false, 0, 0                                     \
    }

static const struct opt add_options[] = {
    {"issuer", "URL", "the iss of its tokens, byte for byte", AT(issuer), OPT_STR, true, 0, 0},
    {"algorithm", "ALG", "one that it signs with, such as ES256; repeat for more", AT(algorithms), OPT_LIST, true, 0,
     0},
    {"audience", "AUD", "the aud that its tokens must have", AT(audience), OPT_STR, true, 0, 0},
    ISSUER_OPTIONS};

static const struct opt update_options[] = {
    {"algorithm", "ALG", "one that it signs with, such as ES256; repeat for more", AT(algorithms), OPT_LIST, false, 0,
     0},
    {"audience", "AUD", "the aud that its tokens must have", AT(audience), OPT_STR, false, 0, 0},
    ISSUER_OPTIONS,
    {"active", NULL, "accept its tokens again", AT(active), OPT_FLAG, false, 0, 0},
    {"no-typ", NULL, "accept JWT, at+jwt or no typ", AT(no_typ), OPT_FLAG, false, 0, 0},
    {"no-max-age", NULL, "accept tokens until they expire", AT(no_max_age), OPT_FLAG, false, 0, 0},
    {"no-one-time-jti", NULL, "accept a token more than once", AT(no_one_time_jti), OPT_FLAG, false, 0, 0}};
#undef AT

static void put_text(struct json_writer *w, const char *name, struct str v)
{
    if (v.p != NULL)
        json_put_str(w, name, v);
}

/* A member that one option gives and another takes away. */
static void put_switch(struct json_writer *w, const char *name, bool on, bool off)
{
    if (on || off)
        json_put_bool(w, name, on);
}

static void put_claims(struct json_writer *w, const struct issuer_options *o)
{
    if (o->user_at.p == NULL && o->tenant_at.p == NULL && o->level_at.p == NULL && o->permissions_at.p == NULL)
        return;
    json_begin_object(w, "claims");
    put_text(w, "user_id", o->user_at);
    put_text(w, "tenant_id", o->tenant_at);
    put_text(w, "clearance_level", o->level_at);
    put_text(w, "permissions", o->permissions_at);
    json_end_object(w);
}

static int sources(const struct issuer_options *o)
{
    return (o->jwks_file.p != NULL) + (o->jwks_uri.p != NULL) + o->discovery;
}

static struct err put_keys(struct cli *cli, struct str file, struct json_writer *w)
{
    json_begin_object(w, "jwks");
    json_begin_array(w, "keys");
    TRY(keys_put(cli, file, KEYS_MAX, w));
    json_end_array(w);
    json_end_object(w);
    return OK;
}

static struct err issuer_body(struct cli *cli, const struct issuer_options *o, struct str *out)
{
    struct buf b = buf_in(cli->arena, BODY_MAX);
    struct json_writer w = json_writer(&b);
    json_begin_object(&w, NULL);
    put_text(&w, "issuer", o->issuer);
    if (o->algorithms.v != NULL)
        json_put_list(&w, "algorithms", o->algorithms);
    put_text(&w, "audience", o->audience);
    put_text(&w, "typ", o->no_typ ? STR("") : o->typ);
    if (o->jwks_file.p != NULL)
        TRY(put_keys(cli, o->jwks_file, &w));
    put_text(&w, "jwks_uri", o->jwks_uri);
    put_switch(&w, "discovery", o->discovery, false);
    put_claims(&w, o);
    if (o->max_age.set || o->no_max_age)
        json_put_int(&w, "max_age_seconds", o->max_age.v);
    put_switch(&w, "one_time_jti", o->one_time_jti, o->no_one_time_jti);
    put_switch(&w, "active", o->active, o->inactive);
    json_end_object(&w);
    struct err e = buf_status(&b);
    if (err_is(&e))
        return cli_fail(cli, CLI_USAGE, NULL, "the options are not UTF-8, or more than %d bytes", BODY_MAX);
    *out = buf_view(&b);
    return OK;
}

/* Does one thing to one issuer and shows what it is afterwards. */
static struct err issuer_call(struct cli *cli, const char *method, struct str path, struct str body)
{
    const struct http_call call = {.method = method, .path = path, .body = body, .auth = AUTH_ADMIN};
    struct http_answer answer = {.json = NULL};
    TRY(http_json(cli, cli->arena, &call, &answer));
    output_result(cli, answer.body, answer.json, issuer_lines, COUNT(issuer_lines));
    return OK;
}

static struct str path_of(const struct cli *cli)
{
    return http_path(cli->arena, ISSUERS "/", cli->words.v[0]);
}

static struct err issuers_add(struct cli *cli, const void *options)
{
    const struct issuer_options *o = options;
    if (sources(o) != 1)
        return cli_fail(cli, CLI_USAGE, NULL,
                        "where are the issuer's keys? one of --jwks-file FILE, --jwks-uri URL and --discovery");
    struct str body = {NULL, 0};
    TRY(issuer_body(cli, o, &body));
    return issuer_call(cli, "POST", STR(ISSUERS), body);
}

static struct err issuers_list(struct cli *cli, const void *options)
{
    (void)options;
    const struct list l = {ISSUERS, "issuers", {NULL, 0}, issuer_columns, COUNT(issuer_columns)};
    return list_run(cli, &l);
}

static struct err issuers_get(struct cli *cli, const void *options)
{
    (void)options;
    return issuer_call(cli, "GET", path_of(cli), (struct str){NULL, 0});
}

static struct err issuers_update(struct cli *cli, const void *options)
{
    const struct issuer_options *o = options;
    if (sources(o) > 1)
        return cli_fail(cli, CLI_USAGE, NULL,
                        "an issuer's keys come from one place: --jwks-file, --jwks-uri or --discovery");
    if ((o->active && o->inactive) || (o->one_time_jti && o->no_one_time_jti) || (o->no_typ && o->typ.p != NULL) ||
        (o->no_max_age && o->max_age.set))
        return cli_fail(cli, CLI_USAGE, NULL, "an option and the one that takes it away are given, not both");
    struct str body = {NULL, 0};
    TRY(issuer_body(cli, o, &body));
    if (str_is(body, "{}"))
        return cli_fail(cli, CLI_USAGE, NULL, "nothing to change is given; each option replaces what was there");
    return issuer_call(cli, "PATCH", path_of(cli), body);
}

static struct err issuers_remove(struct cli *cli, const void *options)
{
    (void)options;
    static const struct column lines[] = {{"id", "id", false}, {"status", "status", false}};
    const struct http_call call = {.method = "DELETE", .path = path_of(cli), .auth = AUTH_ADMIN};
    struct http_answer answer = {.json = NULL};
    TRY(http_json(cli, cli->arena, &call, &answer));
    output_result(cli, answer.body, answer.json, lines, COUNT(lines));
    return OK;
}

static const struct command commands[] = {
    {"add", "", "let an issuer vouch for users", issuers_add, USES_BROKER, 0, OPTS(add_options, struct issuer_options)},
    {"list", "", "show issuers", issuers_list, USES_BROKER, 0, NULL, 0, 0},
    {"get", "ID", "show one issuer", issuers_get, USES_BROKER, 1, NULL, 0, 0},
    {"update", "ID", "change an issuer", issuers_update, USES_BROKER, 1, OPTS(update_options, struct issuer_options)},
    {"remove", "ID", "let an issuer vouch for nobody any more", issuers_remove, USES_BROKER, 1, NULL, 0, 0},
};

const struct command_group issuers_group = {"issuers", "who may vouch for users (needs an admin key)", commands,
                                            COUNT(commands)};
