/* SPDX-License-Identifier: Apache-2.0
 * Never more than everyone allows: what a session on behalf of a user, and one that was delegated, may hold. */
#include "service/core/policy.h"
#include "service/core/resource.h"
#include "service/core/scope.h"
#include "tests/unit/base/check.h"

#define LIST(...) ((struct str_list){(struct str[]){__VA_ARGS__}, COUNT(((struct str[]){__VA_ARGS__}))})
#define NONE      ((struct str_list){NULL, 0})
#define ISSUER    STR("https://broker.example")
#define NOW_S     INT64_C(1700000000)
#define AT(s)     ((NOW_S + (s)) * 1000000)

static int with_arena(void **state)
{
    struct arena *a = NULL;
    assert_ok(arena_new(1 << 20, &a));
    *state = a;
    return 0;
}

static int without_arena(void **state)
{
    struct arena *a = *state;
    arena_free(&a);
    return 0;
}

static struct agent agent_named(struct str id)
{
    static struct str scopes[] = {{"read", 4}, {"write", 5}, {"pay", 3}};
    static struct str audiences[] = {{"https://ledger.example", 22}};
    static struct str successors[] = {{"planner", 7}, {"payer", 5}};
    return (struct agent){.id = id,
                          .allowed_scopes = {scopes, COUNT(scopes)},
                          .allowed_audiences = {audiences, COUNT(audiences)},
                          .delegates_to = {successors, COUNT(successors)},
                          .max_ttl_s = 1800,
                          .active = true};
}

static struct user some_user(void)
{
    static struct str permissions[] = {{"read", 4}, {"write", 5}, {"admin", 5}};
    return (struct user){.id = STR("alice"),
                         .tenant_id = STR("acme"),
                         .issuer = STR("https://idp.example"),
                         .clearance_level = 2,
                         .permissions = {permissions, COUNT(permissions)},
                         .expires_us = AT(600)};
}

static const struct scope_rule rules[] = {
    {.name = {"pay", 3}, .min_clearance = 3, .requires_obo = true},
    {.name = {"write", 5}, .min_clearance = 2, .max_ttl_s = 300},
};

struct test_case {
    struct agent agent;
    struct session_ask ask;
    struct user user;
    bool has_user;
    struct session parent;
    bool has_parent;
};

static struct err decide(struct arena *a, const struct test_case *t, struct session *out)
{
    const struct policy_case in = {.agent = &t->agent,
                                   .ask = &t->ask,
                                   .user = t->has_user ? &t->user : NULL,
                                   .parent = t->has_parent ? &t->parent : NULL,
                                   .rules = rules,
                                   .n_rules = COUNT(rules),
                                   .issuer = ISSUER,
                                   .now_us = AT(0) + 7};
    return policy_session(&in, a, out);
}

static struct test_case for_user(struct str_list scopes)
{
    return (struct test_case){
        .agent = agent_named(STR("crm")), .ask = {.scopes = scopes}, .user = some_user(), .has_user = true};
}

static void a_session_for_a_user_names_both(void **state)
{
    struct session s;
    struct test_case t = for_user(LIST(STR("read")));
    assert_ok(decide(*state, &t, &s));
    assert_true(s.obo && str_is(s.acting_for, "alice") && str_is(s.tenant_id, "acme"));
    assert_true(str_is(s.user_issuer, "https://idp.example"));
    assert_int_equal(s.clearance_level, 2);
    assert_true(s.chain.n == 1 && str_is(s.chain.v[0], "crm"));
    assert_int_equal(s.ancestors.n, 0);
}

static void each_gate_refuses_by_its_own_code(void **state)
{
    struct session s;
    struct test_case t = for_user(LIST(STR("read"), STR("admin")));
    /* The agent's ceiling comes first, also where the user lacks the scope too. */
    assert_fails(ERR_AGENT_SCOPE, decide(*state, &t, &s));
    t.ask.scopes = LIST(STR("nobody"));
    assert_fails(ERR_AGENT_SCOPE, decide(*state, &t, &s));
    t.ask.scopes = LIST(STR("read"), STR("pay"));
    assert_fails(ERR_USER_SCOPE, decide(*state, &t, &s));
    t.user.permissions = LIST(STR("read"), STR("pay"));
    assert_fails(ERR_CLEARANCE, decide(*state, &t, &s));
    t.user.clearance_level = 3;
    assert_ok(decide(*state, &t, &s));
    t.agent.active = false;
    assert_fails(ERR_AGENT_INACTIVE, decide(*state, &t, &s));
    t = for_user(NONE);
    assert_fails(ERR_MISSING_SCOPES, decide(*state, &t, &s));
}

static void conditions_hold_for_agents_alone_too(void **state)
{
    struct session s;
    struct test_case t = {.agent = agent_named(STR("crm")), .ask = {.scopes = LIST(STR("pay"))}};
    assert_fails(ERR_OBO_REQUIRED, decide(*state, &t, &s));
    /* Its own clearance is 1. */
    t.ask.scopes = LIST(STR("write"));
    assert_fails(ERR_CLEARANCE, decide(*state, &t, &s));
    t.ask.scopes = LIST(STR("read"));
    assert_ok(decide(*state, &t, &s));
    /* All scopes at once is for those who act for somebody. */
    t.ask = (struct session_ask){.all_scopes = true};
    assert_fails(ERR_MISSING_SCOPES, decide(*state, &t, &s));
}

static void no_session_outlives_what_it_rests_on(void **state)
{
    struct session s;
    struct test_case t = for_user(LIST(STR("read")));
    assert_ok(decide(*state, &t, &s));
    assert_true(s.expires_us == AT(600));
    t.user.expires_us = 0; /* not said */
    assert_ok(decide(*state, &t, &s));
    assert_true(s.expires_us == AT(TTL_DEFAULT_S));
    t.user.expires_us = AT(0) + 999999;
    assert_fails(ERR_USER_TOKEN, decide(*state, &t, &s));
    t.user = some_user();
    t.ask.scopes = LIST(STR("write"));
    assert_ok(decide(*state, &t, &s));
    assert_true(s.expires_us == AT(300)); /* the scope's own maximum is the default, and a limit */
    t.ask.ttl_s = 301;
    assert_fails(ERR_INVALID_TTL, decide(*state, &t, &s));
}

static struct session parent_session(struct str_list chain, bool obo)
{
    static struct str scopes[] = {{"read", 4}, {"write", 5}};
    static struct str roots[] = {{"obo_root", 8}};
    static struct str audiences[] = {{"https://other.example", 21}, {"https://broker.example", 22}};
    return (struct session){.id = STR("obo_parent"),
                            .agent_id = chain.v[0],
                            .scopes = {scopes, COUNT(scopes)},
                            .audiences = {audiences, COUNT(audiences)},
                            .expires_us = AT(120),
                            .obo = obo,
                            .acting_for = obo ? STR("alice") : (struct str){NULL, 0},
                            .clearance_level = obo ? 2 : 1,
                            .chain = chain,
                            .ancestors = {roots, COUNT(roots)}};
}

static void a_delegated_session_lies_within_its_parent(void **state)
{
    struct session s;
    struct str names[] = {STR("crm")};
    struct test_case t = {.agent = agent_named(STR("planner")),
                          .ask = {.all_scopes = true},
                          .parent = parent_session((struct str_list){names, 1}, true),
                          .has_parent = true};
    assert_ok(decide(*state, &t, &s));
    assert_true(s.scopes.n == 2 && str_is(s.scopes.v[0], "read") && str_is(s.scopes.v[1], "write"));
    assert_true(s.chain.n == 2 && str_is(s.chain.v[0], "planner") && str_is(s.chain.v[1], "crm"));
    assert_true(s.ancestors.n == 2 && str_is(s.ancestors.v[0], "obo_parent") && str_is(s.ancestors.v[1], "obo_root"));
    assert_true(s.obo && str_is(s.acting_for, "alice") && s.expires_us == AT(120));
    /* In the agent's ceiling, not in the token: all or nothing. */
    t.ask = (struct session_ask){.scopes = LIST(STR("read"), STR("pay"))};
    assert_fails(ERR_USER_SCOPE, decide(*state, &t, &s));
    t.ask = (struct session_ask){.scopes = LIST(STR("read"))};
    /* Only a token that is for us, or for what the agent stands for. */
    t.parent.audiences = LIST(STR("https://other.example"), STR("https://ledger.example"));
    assert_ok(decide(*state, &t, &s));
    t.parent.audiences = LIST(STR("https://other.example"));
    assert_fails(ERR_SUBJECT_TOKEN, decide(*state, &t, &s));
    t.parent.audiences = LIST(ISSUER);
    t.parent.expires_us = AT(0);
    assert_fails(ERR_SUBJECT_TOKEN, decide(*state, &t, &s));
}

static void nothing_in_common_is_no_session(void **state)
{
    struct session s;
    struct test_case t = for_user(NONE);
    t.ask = (struct session_ask){.all_scopes = true};
    t.user.permissions = LIST(STR("other"));
    assert_fails(ERR_MISSING_SCOPES, decide(*state, &t, &s));
}

static void several_audiences_are_each_allowed_or_none_is(void **state)
{
    struct session s;
    struct test_case t = for_user(LIST(STR("read")));
    t.ask.audiences = LIST(STR("https://ledger.example"), ISSUER, STR("https://ledger.example"));
    assert_ok(decide(*state, &t, &s));
    assert_int_equal(s.audiences.n, 2);
    t.ask.audiences = LIST(STR("https://ledger.example"), STR("https://other.example"));
    assert_fails(ERR_INVALID_AUDIENCE, decide(*state, &t, &s));
}

static void who_may_follow_whom(void **state)
{
    (void)state;
    struct agent crm = agent_named(STR("crm")), planner = agent_named(STR("planner")),
                 payer = agent_named(STR("payer"));
    struct str names[] = {STR("planner"), STR("crm")};
    struct session parent = parent_session((struct str_list){names, 2}, true);
    const struct agent *actors[] = {&planner, &crm};
    const struct str_list read = LIST(STR("read"));
    enum { DEEP = 4 };
    assert_ok(policy_delegation(&payer, &parent, actors, read, DEEP));
    /* A cycle, anywhere in the chain. */
    assert_fails(ERR_DELEGATION, policy_delegation(&crm, &parent, actors, read, DEEP));
    assert_fails(ERR_DELEGATION, policy_delegation(&planner, &parent, actors, read, DEEP));
    assert_fails(ERR_DELEGATION, policy_delegation(&payer, &parent, actors, read, 2));
    /* The current actor decides who follows, not an earlier one. */
    planner.delegates_to = LIST(STR("crm"));
    assert_fails(ERR_DELEGATION, policy_delegation(&payer, &parent, actors, read, DEEP));
    planner = agent_named(STR("planner"));
    /* Nor may an earlier one have taken back what it handed on. */
    crm.delegates_to = NONE;
    assert_fails(ERR_DELEGATION, policy_delegation(&payer, &parent, actors, read, DEEP));
    crm = agent_named(STR("crm"));
    assert_ok(policy_delegation(&payer, &parent, actors, read, DEEP));
    crm.active = false;
    assert_fails(ERR_SUBJECT_TOKEN, policy_delegation(&payer, &parent, actors, read, DEEP));
    crm.active = true;
    crm.allowed_scopes = LIST(STR("write"));
    assert_fails(ERR_SUBJECT_TOKEN, policy_delegation(&payer, &parent, actors, read, DEEP));
    actors[1] = NULL;
    assert_fails(ERR_SUBJECT_TOKEN, policy_delegation(&payer, &parent, actors, read, DEEP));
}

static void a_scope_parameter_is_taken_apart_strictly(void **state)
{
    struct str_list out;
    assert_ok(scopes_split(*state, STR("a b c"), &out));
    assert_true(out.n == 3 && str_is(out.v[0], "a") && str_is(out.v[2], "c"));
    const struct str bad[] = {STR(""), STR(" "), STR("a  b"), STR(" a"), STR("a ")};
    for (size_t i = 0; i < COUNT(bad); i++)
        assert_fails(ERR_INVALID_SCOPE, scopes_split(*state, bad[i], &out));
}

static void a_resource_is_an_absolute_uri_without_fragment(void **state)
{
    (void)state;
    const struct str good[] = {STR("https://a.example"), STR("urn:x:y"), STR("http://a/b?c=d")};
    const struct str bad[] = {
        STR("https://a.example#f"), STR("//a.example"), STR("/a"), STR("a"), STR(":a"), STR("1a:b"), STR("https:"),
        STR("ht tp://a"),           STR("a:b c"),       STR("")};
    for (size_t i = 0; i < COUNT(good); i++)
        assert_ok(resource_check(good[i]));
    for (size_t i = 0; i < COUNT(bad); i++)
        assert_fails(ERR_INVALID_AUDIENCE, resource_check(bad[i]));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_session_for_a_user_names_both, with_arena, without_arena),
        cmocka_unit_test_setup_teardown(each_gate_refuses_by_its_own_code, with_arena, without_arena),
        cmocka_unit_test_setup_teardown(conditions_hold_for_agents_alone_too, with_arena, without_arena),
        cmocka_unit_test_setup_teardown(no_session_outlives_what_it_rests_on, with_arena, without_arena),
        cmocka_unit_test_setup_teardown(a_delegated_session_lies_within_its_parent, with_arena, without_arena),
        cmocka_unit_test_setup_teardown(nothing_in_common_is_no_session, with_arena, without_arena),
        cmocka_unit_test_setup_teardown(several_audiences_are_each_allowed_or_none_is, with_arena, without_arena),
        cmocka_unit_test(who_may_follow_whom),
        cmocka_unit_test_setup_teardown(a_scope_parameter_is_taken_apart_strictly, with_arena, without_arena),
        cmocka_unit_test(a_resource_is_an_absolute_uri_without_fragment),
    };
    return cmocka_run_group_tests_name("policy", tests, NULL, NULL);
}
