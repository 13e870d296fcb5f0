/* SPDX-License-Identifier: Apache-2.0
 * nexus sessions: an agent's sessions, opened with the agent's own key. */
#include "base/fd.h"
#include "cli/assertion.h"
#include "cli/http_client.h"
#include "cli/list.h"

enum { BODY_MAX = 65536, USER_TOKEN_MAX = 16384, TTL_MAX_S = 3600 };

#define SESSIONS "/v1/agent-sessions"

static const struct column session_lines[] = {
    {"session", "session_id", false}, {"agent", "agent_id", false},     {"acting for", "acting_for", false},
    {"active", "active", false},      {"status", "status", false},      {"scopes", "scopes_granted", false},
    {"audience", "audience", false},  {"created", "created_at", false}, {"expires", "expires_at", false},
    {"closed", "closed_at", false},
};

static const struct column session_columns[] = {
    {"SESSION", "session_id", false}, {"AGENT", "agent_id", false},        {"ACTIVE", "active", false},
    {"EXPIRES", "expires_at", false}, {"SCOPES", "scopes_granted", false}, {"ACTING FOR", "acting_for", false},
};

struct open_options {
    struct str agent, key_file, kid, audience, issuer, alg, token_file, user_token_file;
    struct str_list scopes;
    struct json_int ttl;
    bool print_token;
};

#define AT(member) offsetof(struct open_options, member)
static const struct opt open_options[] = {
    {"agent", "ID", "the agent whose session it is", AT(agent), OPT_STR, true, 0, 0},
    {"key-file", "PEM_FILE", "the agent's private key, in a file of mode 0600", AT(key_file), OPT_STR, true, 0, 0},
    {"kid", "KID", "the key's registered kid, where it is not its thumbprint", AT(kid), OPT_STR, false, 0, 0},
    {"scope", "SCOPE", "a scope to ask for; repeat for more", AT(scopes), OPT_LIST, true, 0, 0},
    {"ttl", "SECONDS", "how long the session may last", AT(ttl), OPT_INT, false, 1, TTL_MAX_S},
    {"audience", "URI", "who the token is for", AT(audience), OPT_STR, false, 0, 0},
    {"user-token-file", "FILE", "act on behalf of the user whose token is in FILE", AT(user_token_file), OPT_STR, false,
     0, 0},
    {"token-file", "FILE", "write the token there (mode 0600)", AT(token_file), OPT_STR, false, 0, 0},
    {"print-token", NULL, "print the token on stdout, the rest on stderr", AT(print_token), OPT_FLAG, false, 0, 0},
    {"issuer", "URL", "the broker's issuer, where it is not its URL", AT(issuer), OPT_STR, false, 0, 0},
    {"alg", "ALG", "RS256 (default) or PS256, of an RSA key", AT(alg), OPT_STR, false, 0, 0},
};
#undef AT

struct list_options {
    struct str agent, acting_for, since, until;
    bool active, inactive;
};

#define AT(member) offsetof(struct list_options, member)
static const struct opt list_options[] = {
    {"agent", "ID", "of this agent only", AT(agent), OPT_STR, false, 0, 0},
    {"acting-for", "USER", "on behalf of this user only", AT(acting_for), OPT_STR, false, 0, 0},
    {"active", NULL, "open ones only", AT(active), OPT_FLAG, false, 0, 0},
    {"inactive", NULL, "ended ones only", AT(inactive), OPT_FLAG, false, 0, 0},
    {"since", "TIME", "opened at or after, as 2026-01-02T03:04:05Z", AT(since), OPT_STR, false, 0, 0},
    {"until", "TIME", "opened before", AT(until), OPT_STR, false, 0, 0},
};
#undef AT

struct one_options {
    struct str token_file;
};

static const struct opt one_options[] = {
    {"token-file", "FILE", "the session's own token instead of an API key", offsetof(struct one_options, token_file),
     OPT_STR, false, 0, 0},
};

struct revoke_options {
    struct str agent, user, session;
    bool cascade;
};

#define AT(member) offsetof(struct revoke_options, member)
static const struct opt revoke_options[] = {
    {"agent", "ID", "all open sessions of this agent", AT(agent), OPT_STR, false, 0, 0},
    {"user", "ID", "all open sessions on behalf of this user", AT(user), OPT_STR, false, 0, 0},
    {"session", "ID", "this session", AT(session), OPT_STR, false, 0, 0},
    {"cascade", NULL, "changes nothing: what was delegated always ends too", AT(cascade), OPT_FLAG, false, 0, 0},
};
#undef AT

/* The audience of the assertion. The broker's word is taken only where it names the address that was asked (RFC 8414
 * section 3.3): else whoever answers there could collect assertions that are good at another broker. */
static struct err find_issuer(struct cli *cli, struct str *out)
{
    const struct http_call call = {.method = "GET", .path = STR("/.well-known/oauth-authorization-server")};
    struct http_answer answer = {.json = NULL};
    TRY(http_json(cli, cli->arena, &call, &answer));
    const struct json *issuer = json_get(answer.json, "issuer");
    struct str url = http_base_url(cli);
    if (issuer == NULL || issuer->type != JSON_STR)
        return cli_fail(cli, CLI_UNAVAILABLE, NULL, "%.*s does not say its issuer: is it a broker?", STR_FMT(url));
    if (!str_eq(issuer->s, url)) {
        struct str name = output_clean(cli->arena, issuer->s);
        return cli_fail(
            cli, CLI_USAGE, NULL,
            "the broker at %.*s calls itself %.*s: if that is the broker you mean, use that address, or add "
            "--issuer %.*s",
            STR_FMT(url), STR_FMT(name), STR_FMT(name));
    }
    *out = issuer->s;
    return OK;
}

static struct err put_user_token(struct cli *cli, struct str file, struct json_writer *w)
{
    struct str token = {NULL, 0};
    TRY(cli_read_file(cli, "user token file", file, USER_TOKEN_MAX, &token));
    json_put_str(w, "user_context_token", str_trim(token));
    return OK;
}

static struct err open_body(struct cli *cli, const struct open_options *o, struct str *out)
{
    struct assertion_ask ask = {.agent_id = o->agent, .key_file = o->key_file, .kid = o->kid, .issuer = o->issuer};
    TRY(assertion_rsa_alg(cli, o->alg, &ask.rsa_alg));
    if (ask.issuer.p == NULL)
        TRY(find_issuer(cli, &ask.issuer));
    struct str assertion = {NULL, 0};
    TRY(assertion_make(cli, &ask, &assertion));
    struct buf b = buf_in(cli->arena, BODY_MAX);
    struct json_writer w = json_writer(&b);
    json_begin_object(&w, NULL);
    json_put_str(&w, "agent_id", o->agent);
    json_put_list(&w, "scopes", o->scopes);
    if (o->ttl.set)
        json_put_int(&w, "ttl_seconds", o->ttl.v);
    if (o->audience.p != NULL)
        json_put_str(&w, "audience", o->audience);
    json_put_str(&w, "client_assertion_type", STR(ASSERTION_TYPE));
    json_put_str(&w, "client_assertion", assertion);
    if (o->user_token_file.p != NULL)
        TRY(put_user_token(cli, o->user_token_file, &w));
    json_end_object(&w);
    struct err e = buf_status(&b);
    if (err_is(&e))
        return cli_fail(cli, CLI_USAGE, NULL, "the options are not UTF-8, or more than %d bytes", BODY_MAX);
    *out = buf_view(&b);
    return OK;
}

/* The session is open by now, so a token that cannot be kept must not go unsaid. */
static struct err keep_token(struct cli *cli, const struct open_options *o, const struct http_answer *answer)
{
    const struct json *token = json_get(answer->json, "session_token");
    const struct json *id = json_get(answer->json, "session_id");
    if (token == NULL || token->type != JSON_STR || id == NULL || id->type != JSON_STR)
        return cli_fail(cli, CLI_UNAVAILABLE, NULL, "the broker's answer has no session_token or no session_id");
    if (o->token_file.p != NULL) {
        struct err e = fd_write_file_durable(o->token_file.p, str_bytes(token->s));
        if (err_is(&e)) {
            struct str name = output_clean(cli->arena, id->s);
            return cli_fail(cli, CLI_UNAVAILABLE, NULL,
                            "session %.*s is open, but its token is lost: %s; `nexus sessions close %.*s` closes it",
                            STR_FMT(name), e.detail, STR_FMT(name));
        }
    }
    if (o->print_token && !cli->json)
        (void)printf("%.*s\n", STR_FMT(token->s));
    return OK;
}

static struct err sessions_open(struct cli *cli, const void *options)
{
    const struct open_options *o = options;
    if (o->token_file.p == NULL && !o->print_token && !cli->json)
        return cli_fail(cli, CLI_USAGE, NULL,
                        "where shall the token go? --token-file FILE, --print-token, or --json for the whole answer");
    struct http_call call = {.method = "POST", .path = STR(SESSIONS), .auth = AUTH_NONE};
    if (o->user_token_file.p != NULL)
        call.path = STR(SESSIONS "/obo");
    TRY(open_body(cli, o, &call.body));
    struct http_answer answer = {.json = NULL};
    TRY(http_json(cli, cli->arena, &call, &answer));
    TRY(keep_token(cli, o, &answer));
    if (cli->json)
        (void)printf("%.*s\n", STR_FMT(answer.body));
    else
        output_fields(o->print_token ? stderr : stdout, cli->arena, answer.json, session_lines, COUNT(session_lines));
    return OK;
}

static struct err sessions_list(struct cli *cli, const void *options)
{
    const struct list_options *o = options;
    if (o->active && o->inactive)
        return cli_fail(cli, CLI_USAGE, NULL,
                        "--active and --inactive exclude each other; without either, all are shown");
    struct buf query = buf_in(cli->arena, BODY_MAX);
    list_param(&query, "agent", o->agent);
    list_param(&query, "acting_for", o->acting_for);
    list_param(&query, "since", o->since);
    list_param(&query, "until", o->until);
    TRY(list_active(cli, &query, o->active, o->inactive));
    TRY(buf_status(&query));
    const struct list l = {"/admin/v1/sessions", "sessions", buf_view(&query), session_columns, COUNT(session_columns)};
    return list_run(cli, &l);
}

static struct err one_session(struct cli *cli, const char *method, const struct one_options *o)
{
    const struct http_call call = {.method = method,
                                   .path = http_path(cli->arena, SESSIONS "/", cli->words.v[0]),
                                   .auth = o->token_file.p != NULL ? AUTH_TOKEN : AUTH_KEY,
                                   .token_file = o->token_file};
    struct http_answer answer = {.json = NULL};
    TRY(http_json(cli, cli->arena, &call, &answer));
    output_result(cli, answer.body, answer.json, session_lines, COUNT(session_lines));
    return OK;
}

static struct err sessions_get(struct cli *cli, const void *options)
{
    return one_session(cli, "GET", options);
}

static struct err sessions_close(struct cli *cli, const void *options)
{
    return one_session(cli, "DELETE", options);
}

static struct err sessions_revoke(struct cli *cli, const void *options)
{
    static const struct column lines[] = {{"sessions closed", "sessions_closed", false},
                                          {"descendants closed", "descendants_closed", false}};
    const struct revoke_options *o = options;
    if ((o->agent.p != NULL) + (o->user.p != NULL) + (o->session.p != NULL) != 1)
        return cli_fail(cli, CLI_USAGE, NULL, "say whose sessions shall end: one of --agent, --user and --session");
    struct buf b = buf_in(cli->arena, BODY_MAX);
    struct json_writer w = json_writer(&b);
    json_begin_object(&w, NULL);
    if (o->agent.p != NULL)
        json_put_str(&w, "agent_id", o->agent);
    if (o->user.p != NULL)
        json_put_str(&w, "user_id", o->user);
    if (o->session.p != NULL)
        json_put_str(&w, "session_id", o->session);
    json_end_object(&w);
    struct err e = buf_status(&b);
    if (err_is(&e))
        return cli_fail(cli, CLI_USAGE, NULL, "the options are not UTF-8, or more than %d bytes", BODY_MAX);
    const struct http_call call = {
        .method = "POST", .path = STR("/admin/v1/sessions/revoke"), .body = buf_view(&b), .auth = AUTH_ADMIN};
    struct http_answer answer = {.json = NULL};
    TRY(http_json(cli, cli->arena, &call, &answer));
    output_result(cli, answer.body, answer.json, lines, COUNT(lines));
    return OK;
}

static const struct command commands[] = {
    {"open", "", "open a session with the agent's own key", sessions_open, USES_URL, 0,
     OPTS(open_options, struct open_options)},
    {"list", "", "show sessions (needs an admin's or auditor's key)", sessions_list, USES_BROKER | USES_PAGES, 0,
     OPTS(list_options, struct list_options)},
    {"get", "ID", "show one session", sessions_get, USES_BROKER, 1, OPTS(one_options, struct one_options)},
    {"close", "ID", "end a session", sessions_close, USES_BROKER, 1, OPTS(one_options, struct one_options)},
    {"revoke", "", "end all sessions of an agent or a user, or one (needs an admin key)", sessions_revoke, USES_BROKER,
     0, OPTS(revoke_options, struct revoke_options)},
};

const struct command_group sessions_group = {"sessions", "agents' sessions and their tokens", commands,
                                             COUNT(commands)};
