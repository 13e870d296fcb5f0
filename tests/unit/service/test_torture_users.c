/* SPDX-License-Identifier: Apache-2.0
 * Sessions on behalf of users, tortured: whoever vouches for the user, and the first pseudonym of a month. */
#include "tests/unit/service/torture.h"

#define AGENT "deputy"

/* No user of these has a session already. */
static struct answer check_opened(struct torture *t, struct answer a, const char *token, const char *user)
{
    static const struct sql sessions = {"torture_for_user",
                                        "SELECT count(*) FROM nexus.agent_sessions WHERE acting_for = $1"};
    static const struct sql intents = {
        "torture_intents_for",
        "SELECT count(*) FROM nexus.agent_sessions s JOIN nexus.audit_leaves l ON l.kind = 'intent' AND l.jti = s.jti "
        "WHERE acting_for = $1 AND char_length(convert_from(l.leaf, 'UTF8')::json ->> 'sub_p') = 22"};
    torture_check_effect(t, &a, torture_count(t, &sessions, user, NULL), torture_count(t, &intents, user, NULL));
    if (a.status < 300)
        torture_check_recorded(t, torture_member(t, a.body, token));
    return a;
}

static struct answer open_obo(struct torture *t)
{
    const char *user = torture_name(t, "user-");
    struct http_request req = torture_obo(t, AGENT, torture_user_token(t, user));
    return check_opened(t, torture_try(t, &req), "session_token", user);
}

static struct answer open_first_of_month(struct torture *t)
{
    static const struct sql none = {"torture_no_key", "WITH d AS (DELETE FROM nexus.pseudonym_keys RETURNING 1) "
                                                      "SELECT count(*) FROM d"};
    static const struct sql keys = {"torture_keys", "SELECT count(*) FROM nexus.pseudonym_keys"};
    (void)torture_count(t, &none, NULL, NULL);
    struct answer a = open_obo(t);
    assert_in_range(torture_count(t, &keys, NULL, NULL), a.status < 300 ? 1 : 0, 1);
    return a;
}

/* The issuer is not registered, so the back end is asked. */
static struct answer open_by_back_end(struct torture *t)
{
    const char *user = torture_name(t, "user-");
    struct str who = arena_printf(t->b->arena,
                                  "{\"user_id\":\"%s\",\"tenant_id\":\"acme\",\"clearance_level\":3,"
                                  "\"permissions\":[\"s:1\"]}",
                                  user);
    const struct web_page pages[] = {{"/api/auth/verify-agent-token", who}, {NULL, {NULL, 0}}};
    struct http_request req = torture_obo(t, AGENT, STR("opaque"));
    network_serve(pages);
    struct answer a = torture_try(t, &req);
    network_serve(NULL);
    return check_opened(t, a, "session_token", user);
}

/* The issuer's keys come by discovery. */
static struct answer open_by_discovery(struct torture *t)
{
    struct str metadata = STR("{\"issuer\":\"https://idp.example\",\"jwks_uri\":\"https://idp.example/keys\"}");
    struct str jwks = arena_printf(t->b->arena, "{\"keys\":[%.*s]}", STR_FMT(t->issuer.jwk));
    const struct web_page pages[] = {
        {"/.well-known/openid-configuration", metadata}, {"/keys", jwks}, {NULL, {NULL, 0}}};
    network_serve(pages);
    struct answer a = open_obo(t);
    network_serve(NULL);
    return a;
}

static struct answer grant_jwt_bearer(struct torture *t)
{
    const char *user = torture_name(t, "user-");
    struct str params =
        arena_printf(t->b->arena, "grant_type=urn:ietf:params:oauth:grant-type:jwt-bearer&scope=s:1&assertion=%.*s",
                     STR_FMT(torture_user_token(t, user)));
    struct http_request req = torture_form(t, "/oauth/token", AGENT, params);
    return check_opened(t, torture_try(t, &req), "access_token", user);
}

static void test_t10_an_obo_session_the_first_of_its_month(void **state)
{
    torture_agent(*state, AGENT, NULL);
    torture_issuer(*state);
    torture(*state, open_first_of_month);
}

static void test_t10_an_obo_session_by_the_back_end(void **state)
{
    torture(*state, open_by_back_end);
}

static void test_t10_jwt_bearer(void **state)
{
    torture(*state, grant_jwt_bearer);
}

static void test_t10_an_obo_session_by_discovery(void **state)
{
    struct torture *t = *state;
    static const struct sql change = {"torture_discover",
                                      "WITH u AS (UPDATE nexus.issuers SET jwks = NULL, discovery = true, "
                                      "version = version + 1 RETURNING 1) SELECT count(*) FROM u"};
    assert_int_equal(torture_count(t, &change, NULL, NULL), 1);
    torture(t, open_by_discovery);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_t10_an_obo_session_the_first_of_its_month),
        cmocka_unit_test(test_t10_an_obo_session_by_the_back_end),
        cmocka_unit_test(test_t10_jwt_bearer),
        cmocka_unit_test(test_t10_an_obo_session_by_discovery),
    };
    return cmocka_run_group_tests(tests, torture_open, torture_close);
}
