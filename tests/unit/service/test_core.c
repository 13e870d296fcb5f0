/* SPDX-License-Identifier: Apache-2.0
 * The pure decisions: scopes, agents, sessions, leaves, claims. */
#include "base/clock.h"
#include "crypto/json.h"
#include "service/core/agent_rules.h"
#include "service/core/assertion.h"
#include "service/core/leaf.h"
#include "service/core/policy.h"
#include "service/core/scope.h"
#include "service/core/token.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

enum { ARENA_BYTES = 1048576 };

static int make_arena(void **state)
{
    struct arena *a = NULL;
    struct err e = arena_new(ARENA_BYTES, &a);
    *state = a;
    return err_is(&e) ? -1 : 0;
}

static int drop_arena(void **state)
{
    struct arena *a = *state;
    arena_free(&a);
    return 0;
}

#define LIST(...) ((struct str_list){(struct str[]){__VA_ARGS__}, COUNT(((struct str[]){__VA_ARGS__}))})

static void assert_ok(struct err e)
{
    if (err_is(&e))
        fail_msg("%s: %s", err_name(e.code), e.detail);
}

static void assert_code(struct err e, enum err_code code)
{
    if (e.code != code)
        fail_msg("expected %s, got %s: %s", err_name(code), err_name(e.code), e.detail);
}

static void test_scopes_are_trimmed_and_repeats_collapse(void **state)
{
    struct str_list out;
    assert_ok(scopes_normalise(*state, LIST(STR(" a "), STR("b"), STR("a")), &out));
    assert_int_equal(out.n, 2);
    assert_true(str_is(out.v[0], "a"));
    assert_true(str_is(out.v[1], "b"));
}

static void test_scopes_refuse_what_rfc6749_refuses(void **state)
{
    const struct str bad[] = {STR(""),     STR("  "),    STR("a b"),      STR("a\"b"),
                              STR("a\\b"), STR("a\x7f"), STR("\xc3\xa9"), STR("a\tb")};
    for (size_t i = 0; i < COUNT(bad); i++) {
        struct str_list out;
        assert_code(scopes_normalise(*state, LIST(STR("fine"), bad[i]), &out), ERR_INVALID_SCOPE);
    }
    char longest[SCOPE_MAX + 1];
    memset(longest, 'x', sizeof longest);
    struct str_list out;
    assert_ok(scopes_normalise(*state, LIST(((struct str){longest, SCOPE_MAX})), &out));
    assert_code(scopes_normalise(*state, LIST(((struct str){longest, SCOPE_MAX + 1})), &out), ERR_INVALID_SCOPE);
}

static void test_agent_ids(void **state)
{
    (void)state;
    struct str out;
    const struct str good[] = {STR("a"), STR("9"), STR(" crm-agent "), STR("a.b_c:d-e")};
    for (size_t i = 0; i < COUNT(good); i++)
        assert_ok(agent_id_check(good[i], &out));
    const struct str bad[] = {STR(""),    STR("-x"),       STR(".x"),     STR("a/b"),
                              STR("a b"), STR("\xc3\xa9"), STR("a\n\"b"), STR("a%")};
    for (size_t i = 0; i < COUNT(bad); i++)
        assert_code(agent_id_check(bad[i], &out), ERR_INVALID_AGENT_ID);
    char longest[AGENT_ID_MAX + 1];
    memset(longest, 'x', sizeof longest);
    assert_ok(agent_id_check((struct str){longest, AGENT_ID_MAX}, &out));
    assert_code(agent_id_check((struct str){longest, AGENT_ID_MAX + 1}, &out), ERR_INVALID_AGENT_ID);
}

static struct agent some_agent(void)
{
    static struct str scopes[] = {{"acme:read", 9}, {"acme:write", 10}};
    static struct str audiences[] = {{"https://ledger.example", 22}};
    return (struct agent){.id = STR("crm"),
                          .allowed_scopes = {scopes, COUNT(scopes)},
                          .allowed_audiences = {audiences, COUNT(audiences)},
                          .max_ttl_s = 1800,
                          .active = true};
}

static struct err decide(struct arena *a, const struct agent *agent, struct session_ask ask, struct session *out)
{
    const struct policy_case in = {
        .agent = agent, .ask = &ask, .issuer = STR("https://broker.example"), .now_us = INT64_C(1700000000123456)};
    return policy_session(&in, a, out);
}

static void test_a_session_within_everything_is_granted_whole(void **state)
{
    struct agent agent = some_agent();
    struct session s;
    assert_ok(decide(*state, &agent, (struct session_ask){.scopes = LIST(STR("acme:write")), .ttl_s = 60}, &s));
    assert_int_equal(s.scopes.n, 1);
    assert_true(str_is(s.scopes.v[0], "acme:write"));
    assert_int_equal(s.audiences.n, 1);
    assert_true(str_is(s.audiences.v[0], "https://broker.example"));
    assert_int_equal(s.created_us, INT64_C(1700000000000000));
    assert_int_equal(s.expires_us - s.created_us, 60000000);
}

static void test_a_scope_outside_the_ceiling_refuses_all(void **state)
{
    struct agent agent = some_agent();
    struct session s;
    struct err e =
        decide(*state, &agent, (struct session_ask){.scopes = LIST(STR("acme:read"), STR("acme:admin"))}, &s);
    assert_code(e, ERR_SCOPE_NOT_ALLOWED);
    assert_non_null(strstr(e.detail, "acme:admin"));
    assert_code(decide(*state, &agent, (struct session_ask){.scopes = LIST(STR("acme:*"))}, &s), ERR_SCOPE_NOT_ALLOWED);
    assert_code(decide(*state, &agent, (struct session_ask){.scopes = LIST(STR("ACME:READ"))}, &s),
                ERR_SCOPE_NOT_ALLOWED);
}

static void test_ttl_limits(void **state)
{
    struct agent agent = some_agent();
    struct session s;
    const struct str_list scopes = LIST(STR("acme:read"));
    assert_ok(decide(*state, &agent, (struct session_ask){.scopes = scopes}, &s));
    assert_int_equal((s.expires_us - s.created_us) / 1000000, TTL_DEFAULT_S);
    assert_code(decide(*state, &agent, (struct session_ask){.scopes = scopes, .ttl_s = -1}, &s), ERR_INVALID_TTL);
    assert_ok(decide(*state, &agent, (struct session_ask){.scopes = scopes, .ttl_s = 1800}, &s));
    assert_code(decide(*state, &agent, (struct session_ask){.scopes = scopes, .ttl_s = 1801}, &s), ERR_INVALID_TTL);
    agent.max_ttl_s = 60;
    assert_ok(decide(*state, &agent, (struct session_ask){.scopes = scopes}, &s));
    assert_int_equal((s.expires_us - s.created_us) / 1000000, 60);
    agent.max_ttl_s = TTL_MAX_S;
    assert_ok(decide(*state, &agent, (struct session_ask){.scopes = scopes, .ttl_s = 3600}, &s));
    assert_code(decide(*state, &agent, (struct session_ask){.scopes = scopes, .ttl_s = 3601}, &s), ERR_INVALID_TTL);
    assert_code(decide(*state, &agent, (struct session_ask){.scopes = scopes, .ttl_s = INT64_MAX}, &s),
                ERR_INVALID_TTL);
}

static void test_order_of_refusals_is_upstreams(void **state)
{
    struct agent agent = some_agent();
    agent.active = false;
    struct session s;
    const struct str_list none = {NULL, 0}, outside = LIST(STR("x"));
    assert_code(decide(*state, &agent, (struct session_ask){.scopes = none, .ttl_s = -1}, &s), ERR_MISSING_SCOPES);
    assert_code(decide(*state, &agent, (struct session_ask){.scopes = outside, .ttl_s = -1}, &s), ERR_INVALID_TTL);
    assert_code(decide(*state, &agent, (struct session_ask){.scopes = outside}, &s), ERR_AGENT_INACTIVE);
    agent.active = true;
    struct session_ask both = {.scopes = outside, .audiences = LIST(STR("https://other.example"))};
    assert_code(decide(*state, &agent, both, &s), ERR_SCOPE_NOT_ALLOWED);
    both.scopes = LIST(STR("acme:read"));
    assert_code(decide(*state, &agent, both, &s), ERR_INVALID_AUDIENCE);
    both.audiences = LIST(STR("https://ledger.example"));
    assert_ok(decide(*state, &agent, both, &s));
    both.audiences = LIST(STR("https://ledger.example/"));
    assert_code(decide(*state, &agent, both, &s), ERR_INVALID_AUDIENCE);
}

static void test_a_session_ends_when_it_says(void **state)
{
    (void)state;
    const struct session s = {.expires_us = 100};
    assert_true(session_is_active(&s, 99));
    assert_false(session_is_active(&s, 100));
    const struct session closed = {.expires_us = 100, .closed_us = 5};
    assert_false(session_is_active(&closed, 1));
}

static void test_claims_of_a_token(void **state)
{
    struct agent agent = some_agent();
    struct session s;
    assert_ok(decide(*state, &agent, (struct session_ask){.scopes = LIST(STR("acme:read"), STR("acme:write"))}, &s));
    s.id = STR("sess_1");
    s.jti = STR("j1");
    struct bytes payload;
    assert_ok(token_session_claims(*state, &s, STR("https://broker.example"), &payload));
    const char want[] =
        "{\"iss\":\"https://broker.example\",\"sub\":\"crm\",\"aud\":\"https://broker.example\",\"client_id\":\"crm\","
        "\"scope\":\"acme:read acme:write\",\"iat\":1700000000,\"nbf\":1700000000,\"exp\":1700000900,\"jti\":\"j1\","
        "\"sid\":\"sess_1\"}";
    assert_int_equal(payload.n, sizeof want - 1);
    assert_memory_equal(payload.p, want, payload.n);
}

static void test_leaves_chain(void **state)
{
    struct crypto *c = NULL;
    assert_ok(crypto_new("default", &c));
    struct leaf_writer w;
    assert_ok(leaf_writer_init(&w));
    const struct leaf_writer start = w;
    const struct leaf_fields f = {
        .kind = LEAF_HEARTBEAT, .op = "heartbeat", .actor = STR("self"), .at_us = 1, .exp = -1};
    struct leaf one, two, again;
    assert_ok(leaf_make(c, &w, &f, *state, &one));
    assert_ok(leaf_make(c, &w, &f, *state, &two));
    assert_int_equal(one.seq, 0);
    assert_int_equal(two.seq, 1);
    assert_memory_equal(w.prev, two.hash, SHA256_LEN);
    /* An insert that did not happen: the same number and the same bytes again. */
    w = start;
    assert_ok(leaf_make(c, &w, &f, *state, &again));
    assert_int_equal(again.seq, 0);
    assert_true(bytes_eq(again.bytes, one.bytes));
    const struct json *obj = NULL;
    assert_ok(json_parse(*state, two.bytes, &obj));
    assert_int_equal(json_get(obj, "iseq")->i, 1);
    assert_true(str_is(json_get(obj, "inst")->s, w.id));
    assert_true(str_is(json_get(obj, "kind")->s, "heartbeat"));
    assert_true(str_is(json_get(obj, "t")->s, "1970-01-01T00:00:00.000001Z"));
    crypto_free(&c);
}

static void test_a_full_leaf_is_canonical_and_fits(void **state)
{
    struct crypto *c = NULL;
    assert_ok(crypto_new("default", &c));
    struct leaf_writer w;
    assert_ok(leaf_writer_init(&w));
    struct str scopes[SCOPES_MAX];
    char scope[SCOPE_MAX];
    memset(scope, 's', sizeof scope);
    for (size_t i = 0; i < SCOPES_MAX; i++)
        scopes[i] = (struct str){scope, sizeof scope};
    const uint8_t hash[SHA256_LEN] = {7};
    const struct hsm_mark mark = {.counter = 9};
    const struct leaf_fields f = {.kind = LEAF_INTENT,
                                  .at_us = 5,
                                  .op = "sign",
                                  .kid = STR("k"),
                                  .key_id = STR("00"),
                                  .mech = "ES256",
                                  .in_sha256 = hash,
                                  .jti = STR("j"),
                                  .session = STR("sess_1"),
                                  .iss = STR("i"),
                                  .aud = LIST(STR("a")),
                                  .client = STR("c"),
                                  .sub_p = STR("p"),
                                  .scope = {scopes, SCOPES_MAX},
                                  .exp = 10,
                                  .policy = "granted",
                                  .reason = "r",
                                  .req_id = STR("q"),
                                  .actor = STR("x"),
                                  .target = STR("t"),
                                  .detail = STR("d"),
                                  .corr_writer = STR("w"),
                                  .corr_seq = 1,
                                  .mark = &mark,
                                  .sig_sha256 = hash,
                                  .cfg_sha256 = hash};
    struct leaf l;
    /* The canonical writer fails on members that are out of order, so OK means that they are in order. */
    assert_ok(leaf_make(c, &w, &f, *state, &l));
    assert_true(l.bytes.n <= LEAF_MAX);
    crypto_free(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_scopes_are_trimmed_and_repeats_collapse),
        cmocka_unit_test(test_scopes_refuse_what_rfc6749_refuses),
        cmocka_unit_test(test_agent_ids),
        cmocka_unit_test(test_a_session_within_everything_is_granted_whole),
        cmocka_unit_test(test_a_scope_outside_the_ceiling_refuses_all),
        cmocka_unit_test(test_ttl_limits),
        cmocka_unit_test(test_order_of_refusals_is_upstreams),
        cmocka_unit_test(test_a_session_ends_when_it_says),
        cmocka_unit_test(test_claims_of_a_token),
        cmocka_unit_test(test_leaves_chain),
        cmocka_unit_test(test_a_full_leaf_is_canonical_and_fits),
    };
    return cmocka_run_group_tests(tests, make_arena, drop_arena);
}
