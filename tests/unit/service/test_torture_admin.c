/* SPDX-License-Identifier: Apache-2.0
 * What administrators do, tortured: issuers, scopes, and the kill switch. */
#include "tests/unit/service/torture.h"

/* Each of these takes back what it finds, since there may be so many of them only. */
static const struct sql forget_issuer = {"torture_no_issuer", "WITH d AS (DELETE FROM nexus.issuers WHERE issuer = $1 "
                                                              "RETURNING 1) SELECT count(*) FROM d"};
static const struct sql forget_scope = {"torture_no_scope", "WITH d AS (DELETE FROM nexus.scopes WHERE name = $1 "
                                                            "RETURNING 1) SELECT count(*) FROM d"};

static struct answer as_admin(struct torture *t, const char *path, struct str body)
{
    struct http_request req = torture_json(t, path, body);
    req.api_key = str_of(t->admin);
    return torture_try(t, &req);
}

static struct answer register_issuer(struct torture *t)
{
    const char *url = arena_printf(t->b->arena, "https://%s.example", torture_name(t, "idp-")).p;
    struct str body = arena_printf(t->b->arena,
                                   "{\"issuer\":\"%s\",\"algorithms\":[\"ES256\"],\"audience\":\"us\","
                                   "\"claims\":{\"permissions\":\"/may\"},\"jwks\":{\"keys\":[%.*s]}}",
                                   url, STR_FMT(t->issuer.jwk));
    struct answer a = as_admin(t, "/admin/v1/issuers", body);
    torture_check_effect(t, &a, torture_count(t, &forget_issuer, url, NULL), torture_leaves(t, "issuer.register", url));
    return a;
}

static struct answer define_scope(struct torture *t)
{
    const char *name = torture_name(t, "scope:");
    struct str body = arena_printf(t->b->arena, "{\"name\":\"%s\",\"min_clearance\":2,\"requires_obo\":true}", name);
    struct answer a = as_admin(t, "/admin/v1/scopes", body);
    torture_check_effect(t, &a, torture_count(t, &forget_scope, name, NULL), torture_leaves(t, "scope.define", name));
    return a;
}

/* A user with a session of one agent, which another one took up: both end. */
static struct answer revoke_user(struct torture *t)
{
    static const struct sql closed = {
        "torture_user_closed",
        "SELECT count(*) / 2 FROM nexus.agent_sessions WHERE acting_for = $1 AND closed_at IS NOT NULL"};
    const char *user = torture_name(t, "user-");
    struct http_request req = torture_obo(t, "deputy", torture_user_token(t, user));
    struct str token = torture_member(t, torture_do(t, &req, 201), "session_token");
    req = torture_exchange(t, "helper", token);
    (void)torture_do(t, &req, 200);
    int64_t leaves = torture_leaves(t, "sessions.revoke", NULL);
    struct str body = arena_printf(t->b->arena, "{\"user_id\":\"%s\"}", user);
    struct answer a = as_admin(t, "/admin/v1/sessions/revoke", body);
    torture_check_effect(t, &a, torture_count(t, &closed, user, NULL),
                         torture_leaves(t, "sessions.revoke", NULL) - leaves);
    return a;
}

static struct answer revoke_agent(struct torture *t)
{
    static const struct sql closed = {
        "torture_agent_closed",
        "SELECT count(*) FROM nexus.agent_sessions WHERE acting_for = $1 AND closed_at IS NOT NULL"};
    const char *user = torture_name(t, "user-");
    struct http_request req = torture_obo(t, "deputy", torture_user_token(t, user));
    (void)torture_do(t, &req, 201);
    int64_t leaves = torture_leaves(t, "sessions.revoke", "agent:deputy");
    struct answer a = as_admin(t, "/admin/v1/sessions/revoke", STR("{\"agent_id\":\"deputy\"}"));
    torture_check_effect(t, &a, torture_count(t, &closed, user, NULL),
                         torture_leaves(t, "sessions.revoke", "agent:deputy") - leaves);
    return a;
}

static void test_t10_registering_an_issuer(void **state)
{
    torture(*state, register_issuer);
}

static void test_t10_defining_a_scope(void **state)
{
    torture(*state, define_scope);
}

static void test_t10_the_kill_switch_for_a_user(void **state)
{
    torture_agent(*state, "deputy", "helper");
    torture_agent(*state, "helper", NULL);
    torture_issuer(*state);
    torture(*state, revoke_user);
}

static void test_t10_the_kill_switch_for_an_agent(void **state)
{
    torture(*state, revoke_agent);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_t10_registering_an_issuer),
        cmocka_unit_test(test_t10_defining_a_scope),
        cmocka_unit_test(test_t10_the_kill_switch_for_a_user),
        cmocka_unit_test(test_t10_the_kill_switch_for_an_agent),
    };
    return cmocka_run_group_tests(tests, torture_open, torture_close);
}
