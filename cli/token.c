/* SPDX-License-Identifier: Apache-2.0
 * nexus token: what a resource server does with a session token, by the same rules. */
#include "cli/http_client.h"
#include "cli/output.h"
#include "crypto/jwt.h"

enum { SKEW_S = 30 };

static const struct column token_lines[] = {
    {"issuer", "iss", false},           {"subject", "sub", false},  {"agent", "client_id", false},
    {"acting party", "act.sub", false}, {"audience", "aud", false}, {"scopes", "scope", false},
    {"session", "sid", false},          {"issued", "iat", true},    {"expires", "exp", true},
};

struct verify_options {
    struct str jwks, issuer, audience;
    struct str_list scopes;
};

#define AT(member) offsetof(struct verify_options, member)
static const struct opt verify_options[] = {
    {"jwks", "FILE|URL", "the issuer's keys (else those of the broker's URL)", AT(jwks), OPT_STR, false, 0, 0},
    {"issuer", "URL", "who must have issued it", AT(issuer), OPT_STR, false, 0, 0},
    {"audience", "URI", "who it must be for", AT(audience), OPT_STR, false, 0, 0},
    {"scope", "SCOPE", "a scope that it must grant; repeat for more", AT(scopes), OPT_LIST, false, 0, 0},
};

static bool is_url(struct str s)
{
    return str_starts(s, STR("https://")) || str_starts(s, STR("http://"));
}

static struct err get_keys(struct cli *cli, struct str from, struct jwks *out)
{
    if (from.p == NULL)
        from = arena_printf(cli->arena, "%.*s/.well-known/jwks.json", STR_FMT(http_base_url(cli)));
    if (from.p == NULL)
        return FAIL(ERR_NO_MEMORY, "URL");
    const struct json *json = NULL;
    if (is_url(from)) {
        struct http_answer answer = {.json = NULL};
        TRY(http_get_url(cli, cli->arena, from, &answer));
        json = answer.json;
    } else {
        TRY(cli_read_json(cli, "key set", from, &json));
    }
    struct err e = jwks_parse(cli->crypto, json, 1, JWKS_MAX, false, out);
    if (err_is(&e))
        return cli_fail(cli, CLI_UNAVAILABLE, NULL, "no usable keys in %s: %s", from.p, e.detail);
    return OK;
}

/* RFC 6749 section 3.3: scope values are separated by single blanks. */
static bool grants(struct str granted, struct str scope)
{
    for (size_t start = 0; start <= granted.n;) {
        const char *p = granted.p + start;
        const char *end = memchr(p, ' ', granted.n - start);
        size_t n = end != NULL ? (size_t)(end - p) : granted.n - start;
        if (str_eq((struct str){p, n}, scope))
            return true;
        start += n + 1;
    }
    return false;
}

static struct err check_scopes(const struct jwt_claims *claims, struct str_list wanted)
{
    const struct json *scope = json_get(claims->all, "scope");
    for (size_t i = 0; i < wanted.n; i++) {
        if (scope == NULL || scope->type != JSON_STR || !grants(scope->s, wanted.v[i]))
            return FAIL(ERR_JOSE_CLAIM, "scope does not hold %.*s", STR_FMT(wanted.v[i]));
    }
    return OK;
}

/* RFC 9068 section 4. */
static struct err check(const struct cli *cli, const struct jwks *keys, const struct jws *j,
                        const struct verify_options *o, struct jwt_claims *claims)
{
    static const char *const typ[] = {"at+jwt", NULL};
    const struct jwt_rules rules = {
        .typ = typ, .iss = o->issuer, .aud = o->audience, .need_jti = true, .need_iat = true, .skew_s = SKEW_S};
    const struct jwk *key = jwks_find(keys, j->kid);
    if (key == NULL)
        return FAIL(ERR_JOSE_KEY, "none of the issuer's keys has the token's kid \"%.*s\"", STR_FMT(j->kid));
    TRY(jws_verify(cli->crypto, j, key));
    TRY(jwt_claims_parse(cli->arena, j, claims));
    TRY(jwt_check(&rules, j, claims, clock_now_s(&cli->clock)));
    return check_scopes(claims, o->scopes);
}

static struct err token_verify(struct cli *cli, const void *options)
{
    const struct verify_options *o = options;
    CLEANUP(jwks_free) struct jwks keys = {.n = 0};
    TRY(get_keys(cli, o->jwks, &keys));
    struct str token = {NULL, 0};
    TRY(cli_read_token(cli, &token));
    struct jws j = {.alg = JOSE_ES256};
    struct jwt_claims claims = {.all = NULL};
    struct err e = jws_parse(cli->arena, token, &j);
    if (!err_is(&e))
        e = check(cli, &keys, &j, o, &claims);
    if (err_is(&e))
        return cli_fail(cli, CLI_REFUSED, "invalid_token", "the token is not valid: %s", e.detail);
    if (o->issuer.p == NULL)
        cli_note("the issuer was not checked: name the one that you expect by --issuer");
    if (o->audience.p == NULL)
        cli_note("the audience was not checked: name yourself by --audience");
    output_result(cli, bytes_str(j.payload), claims.all, token_lines, COUNT(token_lines));
    return OK;
}

static const struct command commands[] = {
    {"verify", "", "check the session token on stdin, without asking the broker", token_verify, USES_URL, 0,
     OPTS(verify_options, struct verify_options)},
};

const struct command_group token_group = {"token", "session tokens (RFC 9068)", commands, COUNT(commands)};
