/* SPDX-License-Identifier: Apache-2.0
 * Agents and their own sessions, tortured: torture.h. */
#include "tests/unit/service/torture.h"

#include "service/core/assertion.h"

#define AGENT "torture"

static const struct sql closed_sessions = {"torture_closed", "SELECT count(*) FROM nexus.agent_sessions "
                                                             "WHERE session_id = $1 AND closed_at IS NOT NULL"};

static struct answer register_agent(struct torture *t)
{
    static const struct sql rows = {"torture_agents", "SELECT count(*) FROM nexus.agents WHERE id = $1"};
    const char *id = torture_name(t, "a-");
    struct str body =
        arena_printf(t->b->arena, "{\"agent_id\":\"%s\",\"allowed_scopes\":[\"s:1\"],\"jwks\":{\"keys\":[%.*s]}}", id,
                     STR_FMT(t->agents.jwk));
    struct http_request req = torture_json(t, "/admin/v1/agents", body);
    req.api_key = str_of(t->admin);
    struct answer a = torture_try(t, &req);
    torture_check_effect(t, &a, torture_count(t, &rows, id, NULL), torture_leaves(t, "agent.register", id));
    return a;
}

static struct http_request opening(struct torture *t)
{
    struct str token = torture_assertion(t, AGENT);
    struct str body = arena_printf(t->b->arena,
                                   "{\"agent_id\":\"" AGENT "\",\"scopes\":[\"s:1\"],\"client_assertion_type\":"
                                   "\"" ASSERTION_TYPE "\",\"client_assertion\":\"%.*s\"}",
                                   STR_FMT(token));
    return torture_json(t, "/v1/agent-sessions", body);
}

static struct answer open_session(struct torture *t)
{
    struct http_request req = opening(t);
    struct answer a = torture_try(t, &req);
    if (a.status < 300)
        torture_check_recorded(t, torture_member(t, a.body, "session_token"));
    return a;
}

/* A request with the token of a session that has just been opened, about that session. */
static struct http_request on_session(struct torture *t, enum http_method method, struct str *id)
{
    struct http_request req = opening(t);
    struct str session = torture_do(t, &req, 201);
    *id = torture_member(t, session, "session_id");
    req = torture_json(t, arena_printf(t->b->arena, "/v1/agent-sessions/%.*s", STR_FMT(*id)).p, STR(""));
    req.method = method;
    req.authorization = arena_printf(t->b->arena, "Bearer %.*s", STR_FMT(torture_member(t, session, "session_token")));
    return req;
}

static struct answer read_session(struct torture *t)
{
    struct str id;
    struct http_request req = on_session(t, HTTP_GET, &id);
    struct answer a = torture_try(t, &req);
    if (a.status < 300)
        assert_true(torture_flag(t, a.body, "active"));
    return a;
}

static struct answer close_session(struct torture *t)
{
    struct str id;
    struct http_request req = on_session(t, HTTP_DELETE, &id);
    struct answer a = torture_try(t, &req);
    torture_check_effect(t, &a, torture_count(t, &closed_sessions, id.p, NULL),
                         torture_leaves(t, "session.close", id.p));
    return a;
}

static void test_t10_registering_an_agent(void **state)
{
    torture(*state, register_agent);
}

static void test_t10_opening_a_session(void **state)
{
    torture_agent(*state, AGENT, NULL);
    torture(*state, open_session);
}

static void test_t10_reading_a_session(void **state)
{
    torture(*state, read_session);
}

static void test_t10_closing_a_session(void **state)
{
    torture(*state, close_session);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_t10_registering_an_agent),
        cmocka_unit_test(test_t10_opening_a_session),
        cmocka_unit_test(test_t10_reading_a_session),
        cmocka_unit_test(test_t10_closing_a_session),
    };
    return cmocka_run_group_tests(tests, torture_open, torture_close);
}
