/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/service/torture.h"

#include "base/rand.h"
#include "crypto/b64u.h"
#include "crypto/jwk.h"
#include "service/core/assertion.h"

#include <stdlib.h>

#define ISSUER "https://idp.example"
#define BROKER "https://broker.example"

static struct http_request request(struct torture *t, const char *path, const char *type, struct str body)
{
    assert_non_null(body.p);
    return (struct http_request){.arena = t->b->arena,
                                 .method = HTTP_POST,
                                 .path = str_of(path),
                                 .content_type = str_of(type),
                                 .body = body,
                                 .request_id = STR("torture"),
                                 .peer = STR("127.0.0.1"),
                                 .issuer = STR(BROKER)};
}

struct http_request torture_json(struct torture *t, const char *path, struct str body)
{
    return request(t, path, "application/json", body);
}

struct http_request torture_form(struct torture *t, const char *path, const char *agent, struct str params)
{
    struct str token = torture_assertion(t, agent);
    struct str body = arena_printf(t->b->arena, "%.*s&client_assertion_type=" ASSERTION_TYPE "&client_assertion=%.*s",
                                   STR_FMT(params), STR_FMT(token));
    return request(t, path, "application/x-www-form-urlencoded", body);
}

const char *torture_name(struct torture *t, const char *prefix)
{
    char id[ID_TEXT];
    assert_ok(rand_id(prefix, id));
    return arena_str(t->b->arena, str_of(id)).p;
}

static const struct json *member(struct torture *t, struct str json, const char *name)
{
    const struct json *obj = NULL;
    assert_ok(json_parse(t->b->arena, str_bytes(json), &obj));
    const struct json *m = json_get(obj, name);
    assert_non_null(m);
    return m;
}

struct str torture_member(struct torture *t, struct str json, const char *name)
{
    return member(t, json, name)->s;
}

bool torture_flag(struct torture *t, struct str json, const char *name)
{
    return member(t, json, name)->b;
}

/* --- What others sign. */

static struct str sign(struct torture *t, const struct torture_key *key, struct str typ, struct str claims)
{
    struct jws_signer signer = private_signer_jws(key->signer);
    struct str token;
    assert_ok(jws_sign(t->b->arena, &signer, typ, str_bytes(claims), &token));
    return token;
}

struct str torture_assertion(struct torture *t, const char *agent)
{
    long long now = (long long)clock_now_s(&t->b->app.clock);
    struct str claims = arena_printf(
        t->b->arena, "{\"iss\":\"%s\",\"sub\":\"%s\",\"aud\":\"" BROKER "\",\"jti\":\"%s\",\"iat\":%lld,\"exp\":%lld}",
        agent, agent, torture_name(t, ""), now, now + 60);
    return sign(t, &t->agents, STR("client-authentication+jwt"), claims);
}

struct str torture_user_token(struct torture *t, const char *user)
{
    long long now = (long long)clock_now_s(&t->b->app.clock);
    struct str claims = arena_printf(t->b->arena,
                                     "{\"iss\":\"" ISSUER "\",\"sub\":\"%s\",\"aud\":\"" BROKER
                                     "\",\"jti\":\"%s\",\"iat\":%lld,\"exp\":%lld,\"tenant_id\":\"acme\","
                                     "\"clearance_level\":3,\"permissions\":[\"s:1\",\"s:2\"]}",
                                     user, torture_name(t, ""), now, now + 600);
    return sign(t, &t->issuer, STR("JWT"), claims);
}

static struct str nonce_in_force(struct torture *t)
{
    struct call c = bench_call(t->b);
    struct store s = call_store(&c);
    struct store_nonces nonces;
    assert_ok(store_dpop_nonces(&s, str_of(torture_name(t, "")), &nonces));
    return arena_str(t->b->arena, str_of(nonces.current));
}

void torture_add_proof(struct torture *t, struct http_request *req)
{
    struct arena *a = t->b->arena;
    struct str header =
        arena_printf(a, "{\"typ\":\"dpop+jwt\",\"alg\":\"ES256\",\"jwk\":%.*s}", STR_FMT(t->agents.jwk));
    struct str claims = arena_printf(
        a, "{\"jti\":\"%s\",\"htm\":\"POST\",\"htu\":\"" BROKER "%.*s\",\"iat\":%lld,\"nonce\":\"%s\"}",
        torture_name(t, ""), STR_FMT(req->path), (long long)clock_now_s(&t->b->app.clock), nonce_in_force(t).p);
    struct str head = b64u_text(a, str_bytes(header)), payload = b64u_text(a, str_bytes(claims));
    struct str input = arena_printf(a, "%.*s.%.*s", STR_FMT(head), STR_FMT(payload));
    struct jws_signer signer = private_signer_jws(t->agents.signer);
    struct buf signature = buf_in(a, JOSE_SIG_MAX);
    assert_ok(signer.sign(signer.self, input, &signature));
    assert_ok(jws_join(a, input, buf_bytes(&signature), &req->dpop));
}

/* --- What a scenario begins with. */

void torture_agent(struct torture *t, const char *id, const char *delegates_to)
{
    struct str next = delegates_to != NULL ? arena_printf(t->b->arena, "\"%s\"", delegates_to) : STR("");
    struct str body = arena_printf(t->b->arena,
                                   "{\"agent_id\":\"%s\",\"allowed_scopes\":[\"s:1\"],\"delegates_to\":[%.*s],"
                                   "\"allowed_audiences\":[\"" BROKER "\"],\"jwks\":{\"keys\":[%.*s]}}",
                                   id, STR_FMT(next), STR_FMT(t->agents.jwk));
    struct http_request req = torture_json(t, "/admin/v1/agents", body);
    req.api_key = str_of(t->admin);
    (void)torture_do(t, &req, 201);
}

void torture_issuer(struct torture *t)
{
    struct str body = arena_printf(t->b->arena,
                                   "{\"issuer\":\"" ISSUER "\",\"algorithms\":[\"ES256\"],\"audience\":\"" BROKER
                                   "\",\"jwks\":{\"keys\":[%.*s]}}",
                                   STR_FMT(t->issuer.jwk));
    struct http_request req = torture_json(t, "/admin/v1/issuers", body);
    req.api_key = str_of(t->admin);
    (void)torture_do(t, &req, 201);
}

struct http_request torture_obo(struct torture *t, const char *agent, struct str user_token)
{
    struct str token = torture_assertion(t, agent);
    struct str body = arena_printf(t->b->arena,
                                   "{\"agent_id\":\"%s\",\"scopes\":[\"s:1\"],\"user_context_token\":\"%.*s\","
                                   "\"client_assertion_type\":\"" ASSERTION_TYPE "\",\"client_assertion\":\"%.*s\"}",
                                   agent, STR_FMT(user_token), STR_FMT(token));
    return torture_json(t, "/v1/agent-sessions/obo", body);
}

struct http_request torture_exchange(struct torture *t, const char *agent, struct str token)
{
    struct str params = arena_printf(t->b->arena,
                                     "grant_type=urn:ietf:params:oauth:grant-type:token-exchange&subject_token=%.*s"
                                     "&subject_token_type=urn:ietf:params:oauth:token-type:access_token",
                                     STR_FMT(token));
    return torture_form(t, "/oauth/token", agent, params);
}
