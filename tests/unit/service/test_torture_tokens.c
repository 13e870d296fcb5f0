/* SPDX-License-Identifier: Apache-2.0
 * What becomes of a user's token, tortured: a delegation of depth 2 with a DPoP proof, introspection, revocation. */
#include "tests/unit/service/torture.h"

#include "service/core/assertion.h"

static struct str obo_token(struct torture *t)
{
    struct http_request req = torture_obo(t, "first", torture_user_token(t, "alice"));
    return torture_member(t, torture_do(t, &req, 201), "session_token");
}

static struct str exchanged(struct torture *t, const char *agent, struct str token)
{
    struct http_request req = torture_exchange(t, agent, token);
    return torture_member(t, torture_do(t, &req, 200), "access_token");
}

/* first has a session, which second took up: so the third one in the line. */
static struct answer exchange(struct torture *t)
{
    static const struct sql third = {"torture_third", "SELECT count(*) FROM nexus.agent_sessions WHERE session_id = $1 "
                                                      "AND chain = '{third,second,first}' AND "
                                                      "cardinality(ancestors) = 2 AND cnf_jkt IS NOT NULL"};
    struct http_request req = torture_exchange(t, "third", t->token);
    torture_add_proof(t, &req);
    struct answer a = torture_try(t, &req);
    if (a.status >= 300)
        return a;
    torture_check_recorded(t, torture_member(t, a.body, "access_token"));
    assert_true(str_is(torture_member(t, a.body, "token_type"), "DPoP"));
    struct str id = torture_member(t, a.body, "session_id");
    assert_int_equal(torture_count(t, &third, arena_str(t->b->arena, id).p, NULL), 1);
    return a;
}

/* A token that is in force never looks as if it were not, whatever fails. */
static struct answer introspect(struct torture *t)
{
    struct str body = arena_printf(t->b->arena, "token=%.*s", STR_FMT(t->token));
    struct http_request req = torture_json(t, "/oauth/introspect", body);
    req.content_type = STR("application/x-www-form-urlencoded");
    req.api_key = str_of(t->gateway);
    struct answer a = torture_try(t, &req);
    if (a.status < 300)
        assert_true(torture_flag(t, a.body, "active"));
    return a;
}

static struct answer introspect_signed(struct torture *t)
{
    struct str params = arena_printf(t->b->arena, "token=%.*s", STR_FMT(t->token));
    struct http_request req = torture_form(t, "/oauth/introspect", "third", params);
    req.accept = STR("application/" INTROSPECTION_TYP);
    struct answer a = torture_try(t, &req);
    if (a.status >= 300)
        return a;
    torture_check_recorded(t, a.body);
    struct jws j;
    const struct json *claims = NULL;
    assert_ok(jws_parse(t->b->arena, a.body, &j));
    assert_ok(json_parse(t->b->arena, j.payload, &claims));
    assert_true(json_get(json_get(claims, "token_introspection"), "active")->b);
    return a;
}

/* Of the second agent's token; the third one's session, which came of it, ends too. */
static struct answer revoke(struct torture *t)
{
    static const struct sql closed = {
        "torture_revoked", "SELECT count(*) / 2 FROM nexus.agent_sessions WHERE closed_at IS NOT NULL AND "
                           "ancestors @> (SELECT ancestors FROM nexus.agent_sessions WHERE session_id = $1)"};
    struct http_request req = torture_exchange(t, "second", obo_token(t));
    struct str granted = torture_do(t, &req, 200), token = torture_member(t, granted, "access_token");
    const char *id = arena_str(t->b->arena, torture_member(t, granted, "session_id")).p;
    (void)exchanged(t, "third", token);
    req = torture_form(t, "/oauth/revoke", "second", arena_printf(t->b->arena, "token=%.*s", STR_FMT(token)));
    struct answer a = torture_try(t, &req);
    torture_check_effect(t, &a, torture_count(t, &closed, id, NULL), torture_leaves(t, "token.revoke", id));
    return a;
}

static void test_t10_token_exchange(void **state)
{
    struct torture *t = *state;
    torture_agent(t, "first", "second");
    torture_agent(t, "second", "third");
    torture_agent(t, "third", NULL);
    torture_issuer(t);
    t->token = arena_str(t->b->fx->a, exchanged(t, "second", obo_token(t)));
    torture(t, exchange);
}

static void test_t10_introspection(void **state)
{
    torture(*state, introspect);
}

static void test_t10_signed_introspection(void **state)
{
    torture(*state, introspect_signed);
}

static void test_t10_revocation(void **state)
{
    torture(*state, revoke);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_t10_token_exchange),
        cmocka_unit_test(test_t10_introspection),
        cmocka_unit_test(test_t10_signed_introspection),
        cmocka_unit_test(test_t10_revocation),
    };
    return cmocka_run_group_tests(tests, torture_open, torture_close);
}
