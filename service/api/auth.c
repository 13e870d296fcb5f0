/* SPDX-License-Identifier: Apache-2.0 */
#include "service/api/auth.h"

#include "service/api/keyring.h"
#include "service/api/time_guard.h"
#include "service/core/agent_rules.h"
#include "service/core/assertion.h"
#include "service/core/policy.h"

/* API keys are "nxk_" and 43 characters of base64url: 256 random bits. */
#define API_KEY_PREFIX STR("nxk_")
enum { API_KEY_LEN = 47 };

struct err auth_admit(const struct call *c, struct str agent_id)
{
    int64_t retry = 0;
    if (buckets_take(c->api->app->agents, agent_id, clock_mono_us(), &retry))
        return OK;
    return FAIL(ERR_RATE_LIMITED, "agent %.*s sends more assertions than its rate allows", STR_FMT(agent_id));
}

/* Whoever cannot be checked costs as much time as a wrong signature, so that timing does not tell which ids exist
 * (I06). */
static void check_in_vain(const struct call *c, const struct jws *j)
{
    CLEANUP(keyset_release) const struct keyset *keys = keyring_take(c->api->app->keyring);
    if (keys->active == NULL)
        return;
    struct err ignored =
        jws_check_signature(c->api->app->crypto, keys->active, str_bytes(j->signing_input), j->signature);
    (void)ignored;
}

static struct err check_assertion(const struct call *c, const struct jws *j, const struct cached_agent *who,
                                  struct agent_auth *out)
{
    const struct app *app = c->api->app;
    const struct jwk *key = jwks_find(&who->keys, j->kid);
    if (key == NULL || jwk_alg(key) != j->alg)
        check_in_vain(c, j);
    if (key == NULL)
        return FAIL(ERR_JOSE_KEY, "agent %.*s has no key \"%.*s\"", STR_FMT(who->agent.id), STR_FMT(j->kid));
    TRY(jws_verify(app->crypto, j, key));
    struct jwt_claims claims;
    TRY(jwt_claims_parse(c->arena, j, &claims));
    struct jwt_rules rules = assertion_rules(who->agent.id, app->config->base_url);
    TRY(jwt_check(&rules, j, &claims, clock_now_s(&app->clock)));
    out->who = who;
    /* Remembered for as long as the same assertion could pass again, with a second skew as margin (attack J19). */
    out->id = (struct one_time){.space = who->agent.id, .until_us = (claims.exp.v + INT64_C(2) * SKEW_S) * 1000000};
    return crypto_sha256(app->crypto, str_bytes(claims.jti), out->id.hash);
}

/* What is the service's own trouble stays what it is; every other failure looks the same from outside. */
static struct err as_invalid_client(struct err e)
{
    return err_refused_as(e, ERR_INVALID_CLIENT);
}

struct err auth_assertion(const struct call *c, struct str agent_id, struct str assertion, bool must_be_fresh,
                          struct agent_auth *out)
{
    TRY(time_guard_trust(c->api->app));
    struct jws j;
    TRY(as_invalid_client(jws_parse(c->arena, assertion, &j)));
    const struct cached_agent *who = NULL;
    struct err e = agent_cache_get(c->api->cache, c, agent_id, must_be_fresh, &who);
    if (e.code == ERR_AGENT_NOT_FOUND) {
        check_in_vain(c, &j);
        return FAIL(ERR_INVALID_CLIENT, "no agent %.*s", STR_FMT(agent_id));
    }
    TRY(e);
    e = check_assertion(c, &j, who, out);
    if (err_is(&e) && !who->fresh) {
        /* The agent may have got a new key since its row was read; the same row would refuse again. */
        int64_t seen = who->agent.version;
        TRY(as_invalid_client(agent_cache_get(c->api->cache, c, agent_id, true, &who)));
        if (who->agent.version != seen)
            e = check_assertion(c, &j, who, out);
    }
    return as_invalid_client(e);
}

struct err auth_consume(const struct call *c, const struct agent_auth *a)
{
    struct store s = call_store(c);
    bool fresh = false;
    TRY(store_replay_consume(&s, &a->id, &fresh));
    return fresh ? OK : FAIL(ERR_INVALID_CLIENT, "the assertion's jti was used before");
}

struct err auth_assertion_issuer(const struct call *c, struct str assertion, struct str *agent_id)
{
    struct jws j;
    TRY(as_invalid_client(jws_parse(c->arena, assertion, &j)));
    struct jwt_claims claims;
    TRY(as_invalid_client(jwt_claims_parse(c->arena, &j, &claims)));
    return as_invalid_client(agent_id_check(claims.iss, agent_id));
}

struct err auth_session_token(const struct call *c, struct str token, struct session *out)
{
    const struct app *app = c->api->app;
    TRY(time_guard_trust(app));
    struct jws j;
    TRY(err_refused_as(jws_parse(c->arena, token, &j), ERR_INVALID_TOKEN));
    CLEANUP(keyset_release) const struct keyset *keys = keyring_take(app->keyring);
    const struct jwk *key = j.kid.p != NULL ? jwks_find(&keys->published, j.kid) : NULL;
    if (key == NULL)
        return FAIL(ERR_INVALID_TOKEN, "the token names no key of ours");
    TRY(err_refused_as(jws_verify(app->crypto, &j, key), ERR_INVALID_TOKEN));
    struct jwt_claims claims;
    TRY(err_refused_as(jwt_claims_parse(c->arena, &j, &claims), ERR_INVALID_TOKEN));
    struct jwt_rules rules = session_token_rules(app->config->base_url);
    TRY(err_refused_as(jwt_check(&rules, &j, &claims, clock_now_s(&app->clock)), ERR_INVALID_TOKEN));
    const struct json *sid = json_get(claims.all, "sid");
    if (sid == NULL || sid->type != JSON_STR)
        return FAIL(ERR_INVALID_TOKEN, "the token has no sid");
    struct store s = call_store(c);
    struct err e = store_session_get(&s, sid->s, out);
    if (e.code == ERR_SESSION_NOT_FOUND)
        return FAIL(ERR_INVALID_TOKEN, "session %.*s is gone", STR_FMT(sid->s));
    TRY(e);
    /* The row is the truth: a token that was signed for another jti of this session is not this session's token. */
    if (!str_eq(out->jti, claims.jti) || !session_is_active(out, clock_now_us(&app->clock)))
        return FAIL(ERR_INVALID_TOKEN, "session %.*s has ended", STR_FMT(sid->s));
    return OK;
}

struct err auth_credential(const struct http_request *req, enum credential *kind, struct str *token)
{
    struct str bearer = http_bearer(req), bound = http_dpop_token(req);
    if (req->authorization.p != NULL && bearer.p == NULL && bound.p == NULL)
        return FAIL(ERR_MISSING_API_KEY, "the Authorization header is not of the form Bearer <token>");
    if (req->api_key.p != NULL && req->authorization.p != NULL)
        return FAIL(ERR_INVALID_REQUEST, "send X-API-Key or Authorization, not both");
    *token = req->api_key.p != NULL ? req->api_key : bearer.p != NULL ? bearer : bound;
    if (token->p == NULL)
        *kind = CREDENTIAL_NONE;
    else if (bound.p != NULL)
        *kind = CREDENTIAL_BOUND_TOKEN;
    else if (req->api_key.p != NULL || str_starts(*token, API_KEY_PREFIX))
        *kind = CREDENTIAL_API_KEY;
    else {
        /* The typ of the header only chooses which full check comes next; that check looks at it again. */
        struct jws j;
        TRY(err_refused_as(jws_parse(req->arena, *token, &j), ERR_INVALID_TOKEN));
        *kind = j.typ.p != NULL && str_is(j.typ, TOKEN_TYP) ? CREDENTIAL_SESSION_TOKEN : CREDENTIAL_ASSERTION;
    }
    return OK;
}

struct err api_require_role(struct api *api, const struct http_request *req, unsigned roles, struct api_key *who)
{
    enum credential kind = CREDENTIAL_NONE;
    struct str token = {NULL, 0};
    struct err e = auth_credential(req, &kind, &token);
    /* Where only API keys open, a bearer token that is no JWT is a bad key, as one that is a JWT is. */
    TRY(e.code == ERR_INVALID_TOKEN ? err_as(e, ERR_INVALID_API_KEY) : e);
    if (kind == CREDENTIAL_NONE)
        return FAIL(ERR_MISSING_API_KEY, "none was sent");
    if (kind != CREDENTIAL_API_KEY || token.n != API_KEY_LEN)
        return FAIL(ERR_INVALID_API_KEY, "not of the form of an API key");
    uint8_t hash[SHA256_LEN];
    TRY(crypto_sha256(api->app->crypto, str_bytes(token), hash));
    struct store s = {.db = api->db, .arena = req->arena, .deadline_us = req->deadline_us};
    struct api_key key;
    TRY(store_api_key_use(&s, hash, &key));
    if (((unsigned)key.role & roles) == 0) {
        const struct call c = call_of(api, req);
        const struct leaf_fields f = {.op = "api.access", .actor = key.name, .target = req->path};
        return record_refusal(
            &c, &f,
            FAIL(ERR_ROLE_REQUIRED, "API key \"%.*s\" has the role %s", STR_FMT(key.name), role_name(key.role)));
    }
    api->caller = key;
    if (who != NULL)
        *who = key;
    return OK;
}
