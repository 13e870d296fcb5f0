/* SPDX-License-Identifier: Apache-2.0
 * Asking the back end, with a real token and database: what is sent, that it was recorded before it was signed, and
 * what comes of each end that the exchange can have. The linker sends net_call here. */
#include "tests/unit/service/api_support.h"

#include "crypto/b64u.h"
#include "crypto/jwt.h"
#include "service/api/auth.h"
#include "service/api/backend.h"
#include "service/api/bulkhead.h"
#include "service/api/health.h"
#include "service/api/keyring.h"
#include "service/core/assertion.h"
#include "service/net/net.h"

#define ANSWER "{\"user_id\":\"alice\",\"tenant_id\":\"acme\",\"clearance_level\":3,\"permissions\":[\"acme:read\"]}"

/* --- The network: what was asked last, and what it answers. */

static _Thread_local struct {
    size_t calls;
    struct net_request asked;
    struct err fails;
    struct net_reply answers;
} network;

struct err __wrap_net_call(struct net *n, const struct net_request *q, struct arena *a, struct net_reply *out);
struct err __wrap_net_call(struct net *n, const struct net_request *q, struct arena *a, struct net_reply *out)
{
    (void)a;
    assert_non_null(n);
    network.calls++;
    network.asked = *q;
    *out = network.answers;
    return network.fails;
}

static void answer(int status, const char *body)
{
    network.calls = 0;
    network.fails = OK;
    network.answers = (struct net_reply){.status = status, .body = str_bytes(str_of(body))};
}

static struct err ask(struct bench *b, const char *token, struct user *out)
{
    struct call c = bench_call(b);
    return backend_verify(&c, str_of(token), out);
}

/* --- What the record holds. */

static int64_t intents(struct bench *b)
{
    static const struct sql sql = {"t_intents", "SELECT count(*) FROM nexus.audit_leaves WHERE kind = 'intent' AND "
                                                "convert_from(leaf, 'UTF8')::json ->> 'detail' = 'call'"};
    return bench_number(b, &sql);
}

/* The last intent of a call: {the leaf}. */
static const struct json *last_intent(struct bench *b)
{
    static const struct sql sql = {
        "t_intent", "SELECT convert_from(leaf, 'UTF8') FROM nexus.audit_leaves WHERE kind = 'intent' AND "
                    "convert_from(leaf, 'UTF8')::json ->> 'detail' = 'call' ORDER BY t DESC LIMIT 1"};
    const struct json *leaf = NULL;
    assert_ok(json_parse(b->arena, str_bytes(bench_text(b, &sql)), &leaf));
    return leaf;
}

static struct str member(const struct json *obj, const char *name)
{
    const struct json *m = json_get(obj, name);
    if (m == NULL || m->type != JSON_STR)
        fail_msg("no text under %s", name);
    return m->s;
}

static struct str hash_text(struct bench *b, struct str text)
{
    uint8_t hash[SHA256_LEN];
    assert_ok(crypto_sha256(b->app.crypto, str_bytes(text), hash));
    return b64u_text(b->arena, bytes_of(hash, sizeof hash));
}

/* --- The tests; the first two come before there is a call key. */

static void test_without_a_call_key_only_the_call_fails(void **state)
{
    struct bench *b = *state;
    struct user u;
    answer(200, ANSWER);
    (void)bench_key(b, 1, HSM_SESSION);
    assert_err(ask(b, "a token", &u), ERR_NO_ACTIVE_KEY);
    assert_int_equal(network.calls, 0);
    assert_int_equal(intents(b), 0);
    struct call c = bench_call(b);
    assert_ok(record_selftest(&c, HSM_SESSION, "selftest"));
    assert_true(health_is_ok(b->app.health, PART_HSM) && health_is_ok(b->app.health, PART_KEY));
}

static void test_with_one_the_user_comes_back(void **state)
{
    struct bench *b = *state;
    struct user u;
    answer(200, ANSWER);
    (void)bench_key(b, 2, HSM_CALL);
    assert_ok(ask(b, "a token", &u));
    assert_true(str_is(u.id, "alice") && str_is(u.tenant_id, "acme") && u.issuer.p == NULL);
    assert_int_equal(network.calls, 1);
}

static void test_what_is_sent(void **state)
{
    struct bench *b = *state;
    struct user u;
    answer(200, ANSWER);
    assert_ok(ask(b, "so \"me\" \\ token", &u));
    const struct net_request *q = &network.asked;
    assert_true(q->reach == NET_OPERATOR && q->method == NET_POST);
    /* The slash that ends the setting is not there twice. */
    assert_true(str_is(q->url, "https://users.example/api/auth/verify-agent-token"));
    assert_true(str_is(q->body, "{\"token\":\"so \\\"me\\\" \\\\ token\"}"));
    assert_string_equal(q->content_type, "application/json");
    assert_int_equal(q->body_max, 65536);
    assert_true(str_starts(q->authorization, STR("Bearer ")));
}

static void test_the_callers_proof(void **state)
{
    struct bench *b = *state;
    struct user u;
    answer(200, ANSWER);
    assert_ok(ask(b, "some token", &u));
    struct str jwt = {network.asked.authorization.p + 7, network.asked.authorization.n - 7};
    struct jws j;
    struct jwt_claims claims;
    assert_ok(jws_parse(b->arena, jwt, &j));
    CLEANUP(keyset_release) const struct keyset *keys = keyring_take(b->app.keyring);
    assert_true(str_eq(j.kid, jwk_kid(keys->call)) && str_is(j.typ, "nexus-call+jwt"));
    assert_ok(jws_verify(b->app.crypto, &j, jwks_find(&keys->calls, j.kid)));
    assert_ok(jwt_claims_parse(b->arena, &j, &claims));
    assert_int_equal(claims.all->n, 6);
    assert_true(str_is(claims.iss, "https://broker.example"));
    assert_true(claims.aud.n == 1 && !claims.aud_is_array && str_is(claims.aud.v[0], "https://users.example/api"));
    assert_int_equal(claims.exp.v - claims.iat.v, 60);
    assert_in_range(clock_now_s(&b->app.clock) - claims.iat.v, 0, 30);
    assert_true(str_eq(member(claims.all, "token_sha256"), hash_text(b, STR("some token"))));
    /* It is no session token: its key is none of theirs. */
    assert_null(jwks_find(&keys->published, j.kid));
    struct session never;
    struct call c = bench_call(b);
    assert_err(auth_session_token(&c, jwt, &never), ERR_INVALID_TOKEN);
    /* And it is good once. */
    struct str first = claims.jti;
    assert_ok(ask(b, "some token", &u));
    struct str again = {network.asked.authorization.p + 7, network.asked.authorization.n - 7};
    assert_ok(jws_parse(b->arena, again, &j));
    assert_ok(jwt_claims_parse(b->arena, &j, &claims));
    assert_true(!str_eq(first, claims.jti));
}

static void test_it_is_recorded_before_it_is_signed(void **state)
{
    struct bench *b = *state;
    struct user u;
    int64_t before = intents(b);
    answer(200, ANSWER);
    assert_ok(ask(b, "another token", &u));
    assert_int_equal(intents(b), before + 1);
    struct str jwt = {network.asked.authorization.p + 7, network.asked.authorization.n - 7};
    struct jws j;
    struct jwt_claims claims;
    assert_ok(jws_parse(b->arena, jwt, &j));
    assert_ok(jwt_claims_parse(b->arena, &j, &claims));
    const struct json *leaf = last_intent(b);
    assert_true(str_is(member(leaf, "op"), "sign") && str_is(member(leaf, "actor"), "self"));
    assert_true(str_eq(member(leaf, "jti"), claims.jti) && str_eq(member(leaf, "kid"), j.kid));
    assert_true(str_is(member(leaf, "aud"), "https://users.example/api"));
    assert_true(str_is(member(leaf, "req_id"), "req-of-test"));
    assert_true(str_eq(member(leaf, "in_sha256"), hash_text(b, j.signing_input)));
    /* The outcome goes with the next write. */
    struct call c = bench_call(b);
    assert_ok(record_append(&c, NULL));
    static const struct sql open = {"t_open",
                                    "SELECT count(*) FROM nexus.audit_leaves i WHERE kind = 'intent' AND NOT EXISTS ("
                                    "SELECT FROM nexus.audit_leaves o WHERE o.kind = 'outcome' AND o.corr_writer = "
                                    "i.writer AND o.corr_seq = i.seq AND o.jti = i.jti)"};
    assert_int_equal(bench_number(b, &open), 0);
}

static void test_what_cannot_be_recorded_is_not_sent(void **state)
{
    struct bench *b = *state;
    struct user u;
    static const struct sql breakage = {"t_break",
                                        "ALTER TABLE nexus.audit_leaves ADD CONSTRAINT broken CHECK (false) NOT VALID"};
    static const struct sql repair = {"t_repair", "ALTER TABLE nexus.audit_leaves DROP CONSTRAINT broken"};
    answer(200, ANSWER);
    bench_exec(b, &breakage);
    struct err e = ask(b, "a token", &u);
    bench_exec(b, &repair);
    assert_err(e, ERR_DB);
    assert_int_equal(network.calls, 0);
    assert_ok(ask(b, "a token", &u));
}

static void test_how_long_it_may_take(void **state)
{
    struct bench *b = *state;
    struct user u;
    answer(200, ANSWER);
    struct call c = bench_call(b);
    int64_t before = clock_mono_us();
    assert_ok(backend_verify(&c, STR("a token"), &u));
    assert_true(network.asked.deadline_us >= before + 3000000 && network.asked.deadline_us < c.deadline_us);
    c.deadline_us = clock_mono_us() + 2900000;
    assert_ok(backend_verify(&c, STR("a token"), &u));
    assert_true(network.asked.deadline_us == c.deadline_us);
}

/* Refused before anything is signed; and whatever comes of a call, its place is free again. */
static void test_without_a_place_nobody_is_asked(void **state)
{
    struct bench *b = *state;
    struct user u;
    answer(200, ANSWER);
    int64_t before = intents(b);
    struct bulkhead *only = bulkhead_enter(b->app.outbound);
    assert_non_null(only);
    struct err e = ask(b, "a token", &u);
    bulkhead_leave(&only);
    assert_err(e, ERR_BACKEND_AUTH);
    assert_non_null(strstr(e.detail, "NEXUS_WORKERS"));
    assert_int_equal(network.calls, 0);
    assert_int_equal(intents(b), before);
    assert_ok(ask(b, "a token", &u));
    network.fails = FAIL(ERR_NET, "as planned");
    assert_err(ask(b, "a token", &u), ERR_BACKEND_AUTH);
    answer(200, ANSWER);
    assert_ok(ask(b, "a token", &u));
}

static void test_every_other_end(void **state)
{
    struct bench *b = *state;
    static const struct {
        enum err_code net;
        int status;
        const char *body;
        enum err_code code;
    } cases[] = {
        {ERR_NONE, 400, "{}", ERR_USER_TOKEN},     {ERR_NONE, 401, ANSWER, ERR_USER_TOKEN},
        {ERR_NONE, 403, "", ERR_USER_TOKEN},       {ERR_NONE, 302, ANSWER, ERR_BACKEND_AUTH},
        {ERR_NONE, 404, ANSWER, ERR_BACKEND_AUTH}, {ERR_NONE, 500, ANSWER, ERR_BACKEND_AUTH},
        {ERR_NONE, 200, "{}", ERR_BACKEND_AUTH},   {ERR_NONE, 200, "", ERR_BACKEND_AUTH},
        {ERR_NET, 0, "", ERR_BACKEND_AUTH},        {ERR_NET_REFUSED, 0, "", ERR_BACKEND_AUTH},
        {ERR_DEADLINE, 0, "", ERR_BACKEND_AUTH},   {ERR_NO_MEMORY, 0, "", ERR_NO_MEMORY},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct user u;
        answer(cases[i].status, cases[i].body);
        if (cases[i].net != ERR_NONE)
            network.fails = FAIL(cases[i].net, "as planned");
        struct err e = ask(b, "a token", &u);
        if (e.code != cases[i].code)
            fail_msg("case %zu: %s: %s", i, err_name(e.code), e.detail);
        assert_int_equal(network.calls, 1);
    }
}

/* The signer holds each key to its own kind of JWT; and a call key that is refused is not taken for an HSM that is
 * away. */
static void test_keys_do_not_stand_in_for_each_other(void **state)
{
    struct bench *b = *state;
    struct call c = bench_call(b);
    int64_t now = clock_now_s(&b->app.clock);
    struct str claims = arena_printf(b->arena, "{\"iss\":\"https://broker.example\",\"iat\":%lld,\"exp\":%lld}",
                                     (long long)now, (long long)now + 60);
    struct own_jwt o = {
        .purpose = HSM_CALL, .typ = STR(TOKEN_TYP), .payload = str_bytes(claims), .jti = STR("j1"), .op = "sign"};
    struct str token;
    assert_err(record_jwt(&c, &o, &token), ERR_HSM_REFUSED);
    assert_true(health_is_ok(b->app.health, PART_HSM));
    o.typ = STR(CALL_TYP);
    assert_ok(record_jwt(&c, &o, &token));
    o.purpose = HSM_SESSION;
    assert_err(record_jwt(&c, &o, &token), ERR_HSM_REFUSED);
    assert_false(health_is_ok(b->app.health, PART_HSM));
    assert_ok(record_selftest(&c, HSM_SESSION, "selftest"));
    assert_ok(record_selftest(&c, HSM_CALL, "selftest"));
    assert_true(health_is_ok(b->app.health, PART_HSM));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_without_a_call_key_only_the_call_fails, bench_reset),
        cmocka_unit_test_setup(test_with_one_the_user_comes_back, bench_reset),
        cmocka_unit_test_setup(test_what_is_sent, bench_reset),
        cmocka_unit_test_setup(test_the_callers_proof, bench_reset),
        cmocka_unit_test_setup(test_it_is_recorded_before_it_is_signed, bench_reset),
        cmocka_unit_test_setup(test_what_cannot_be_recorded_is_not_sent, bench_reset),
        cmocka_unit_test_setup(test_how_long_it_may_take, bench_reset),
        cmocka_unit_test_setup(test_without_a_place_nobody_is_asked, bench_reset),
        cmocka_unit_test_setup(test_every_other_end, bench_reset),
        cmocka_unit_test_setup(test_keys_do_not_stand_in_for_each_other, bench_reset),
    };
    return cmocka_run_group_tests(tests, bench_open, bench_close);
}
