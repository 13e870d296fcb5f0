/* SPDX-License-Identifier: Apache-2.0
 * What the back end says about a user context token: the one form that is believed, and everything else. */
#include "service/core/backend_answer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

enum { ARENA_BYTES = 4194304 };

/* 2026-01-02T03:04:05Z */
#define NOW_S  INT64_C(1767323045)
#define NOW_US (NOW_S * 1000000)

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

static void assert_code(struct err e, enum err_code code, const char *what)
{
    if (e.code != code)
        fail_msg("expected %s, got %s (%s) for %s", err_name(code), err_name(e.code), e.detail, what);
}

static struct err read(void **state, int status, struct str body, struct user *out)
{
    return backend_answer_read(status, str_bytes(body), NOW_US, *state, out);
}

#define MEMBERS "\"user_id\":\"alice\",\"tenant_id\":\"acme\",\"clearance_level\":3,\"permissions\":[\"a:b\",\"c\"]"

static void test_a_whole_answer_is_believed(void **state)
{
    struct user u;
    assert_code(read(state, 200, STR("{" MEMBERS ",\"name\":\"Alice\",\"roles\":[{\"x\":null}]}"), &u), ERR_NONE, "it");
    assert_true(str_is(u.id, "alice") && str_is(u.tenant_id, "acme") && u.issuer.p == NULL);
    assert_int_equal(u.clearance_level, 3);
    assert_int_equal(u.permissions.n, 2);
    assert_true(str_is(u.permissions.v[0], "a:b") && str_is(u.permissions.v[1], "c"));
    assert_int_equal(u.expires_us, 0);
}

static void test_statuses(void **state)
{
    static const struct {
        int status;
        enum err_code code;
    } cases[] = {{200, ERR_NONE},         {400, ERR_USER_TOKEN},   {401, ERR_USER_TOKEN},   {403, ERR_USER_TOKEN},
                 {201, ERR_BACKEND_AUTH}, {204, ERR_BACKEND_AUTH}, {301, ERR_BACKEND_AUTH}, {302, ERR_BACKEND_AUTH},
                 {404, ERR_BACKEND_AUTH}, {405, ERR_BACKEND_AUTH}, {408, ERR_BACKEND_AUTH}, {422, ERR_BACKEND_AUTH},
                 {429, ERR_BACKEND_AUTH}, {500, ERR_BACKEND_AUTH}, {503, ERR_BACKEND_AUTH}, {0, ERR_BACKEND_AUTH}};
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct user u = {.clearance_level = -1};
        char what[16];
        (void)snprintf(what, sizeof what, "%d", cases[i].status);
        assert_code(read(state, cases[i].status, STR("{" MEMBERS "}"), &u), cases[i].code, what);
        assert_int_equal(u.clearance_level, cases[i].status == 200 ? 3 : -1);
    }
}

static void test_every_member_must_be_well_formed(void **state)
{
    static const struct {
        const char *user_id, *tenant_id, *clearance, *permissions; /* as JSON; NULL: left out */
        enum err_code code;
    } cases[] = {
        {"\"u\"", "\"t\"", "0", "[]", ERR_NONE},
        {"\"u\"", "\"t\"", "1000000", "[\"!~\"]", ERR_NONE},
        {"\"m\xc3\xbcller|7\"", "\"t\"", "1", "[]", ERR_NONE},
        {NULL, "\"t\"", "1", "[]", ERR_BACKEND_AUTH},
        {"\"u\"", NULL, "1", "[]", ERR_BACKEND_AUTH},
        {"\"u\"", "\"t\"", NULL, "[]", ERR_BACKEND_AUTH},
        {"\"u\"", "\"t\"", "1", NULL, ERR_BACKEND_AUTH},
        {"\"\"", "\"t\"", "1", "[]", ERR_BACKEND_AUTH},
        {"\"u\"", "\"\"", "1", "[]", ERR_BACKEND_AUTH},
        {"7", "\"t\"", "1", "[]", ERR_BACKEND_AUTH},
        {"null", "\"t\"", "1", "[]", ERR_BACKEND_AUTH},
        {"[\"u\"]", "\"t\"", "1", "[]", ERR_BACKEND_AUTH},
        {"\"u\\n\"", "\"t\"", "1", "[]", ERR_BACKEND_AUTH},
        {"\"u\\u007f\"", "\"t\"", "1", "[]", ERR_BACKEND_AUTH},
        {"\"u\\u0000\"", "\"t\"", "1", "[]", ERR_BACKEND_AUTH},
        {"\"u\"", "\"\\tt\"", "1", "[]", ERR_BACKEND_AUTH},
        {"\"u\"", "null", "1", "[]", ERR_BACKEND_AUTH},
        {"\"u\"", "\"t\"", "-1", "[]", ERR_BACKEND_AUTH},
        {"\"u\"", "\"t\"", "1000001", "[]", ERR_BACKEND_AUTH},
        {"\"u\"", "\"t\"", "1.0", "[]", ERR_BACKEND_AUTH},
        {"\"u\"", "\"t\"", "\"1\"", "[]", ERR_BACKEND_AUTH},
        {"\"u\"", "\"t\"", "true", "[]", ERR_BACKEND_AUTH},
        {"\"u\"", "\"t\"", "null", "[]", ERR_BACKEND_AUTH},
        {"\"u\"", "\"t\"", "1", "\"a b\"", ERR_BACKEND_AUTH},
        {"\"u\"", "\"t\"", "1", "null", ERR_BACKEND_AUTH},
        {"\"u\"", "\"t\"", "1", "{}", ERR_BACKEND_AUTH},
        {"\"u\"", "\"t\"", "1", "[1]", ERR_BACKEND_AUTH},
        {"\"u\"", "\"t\"", "1", "[\"a\",null]", ERR_BACKEND_AUTH},
        {"\"u\"", "\"t\"", "1", "[\"\"]", ERR_BACKEND_AUTH},
        {"\"u\"", "\"t\"", "1", "[\"a b\"]", ERR_BACKEND_AUTH},
        {"\"u\"", "\"t\"", "1", "[\" a\"]", ERR_BACKEND_AUTH},
        {"\"u\"", "\"t\"", "1", "[\"a\\\"\"]", ERR_BACKEND_AUTH},
        {"\"u\"", "\"t\"", "1", "[\"\xc3\xa9\"]", ERR_BACKEND_AUTH},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        const char *const values[] = {cases[i].user_id, cases[i].tenant_id, cases[i].clearance, cases[i].permissions};
        static const char *const names[] = {"user_id", "tenant_id", "clearance_level", "permissions"};
        struct buf b = buf_in(*state, 4096);
        buf_cstr(&b, "{\"x\":0");
        for (size_t k = 0; k < COUNT(values); k++) {
            if (values[k] != NULL)
                buf_printf(&b, ",\"%s\":%s", names[k], values[k]);
        }
        buf_cstr(&b, "}");
        struct user u;
        char what[32];
        (void)snprintf(what, sizeof what, "case %zu", i);
        assert_code(read(state, 200, buf_view(&b), &u), cases[i].code, what);
    }
}

static void test_what_is_no_object_is_no_answer(void **state)
{
    static const char *const bodies[] = {"",
                                         " ",
                                         "null",
                                         "true",
                                         "[" MEMBERS "]",
                                         "[{" MEMBERS "}]",
                                         "\"alice\"",
                                         "{}",
                                         "{" MEMBERS,
                                         "{" MEMBERS "}x",
                                         "{" MEMBERS ",\"user_id\":\"bob\"}",
                                         "<html>",
                                         "{" MEMBERS ",\"x\":\"\xff\"}"};
    for (size_t i = 0; i < COUNT(bodies); i++) {
        struct user u;
        assert_code(read(state, 200, str_of(bodies[i]), &u), ERR_BACKEND_AUTH, bodies[i]);
    }
}

/* The longest of everything, and one more of each. */
static void test_limits(void **state)
{
    static const struct {
        int user_id, tenant_id, permissions, permission;
        enum err_code code;
    } cases[] = {{256, 256, 1024, 128, ERR_NONE},
                 {257, 256, 1024, 128, ERR_BACKEND_AUTH},
                 {256, 257, 1024, 128, ERR_BACKEND_AUTH},
                 {256, 256, 1025, 128, ERR_BACKEND_AUTH},
                 {256, 256, 1024, 129, ERR_BACKEND_AUTH}};
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct buf b = buf_in(*state, 262144);
        buf_printf(&b, "{\"user_id\":\"%0*d\",\"tenant_id\":\"%0*d\",\"clearance_level\":1,\"permissions\":[",
                   cases[i].user_id, 0, cases[i].tenant_id, 0);
        for (int k = 0; k < cases[i].permissions; k++)
            buf_printf(&b, "%s\"%0*d\"", k > 0 ? "," : "", cases[i].permission, k);
        buf_cstr(&b, "]}");
        struct user u = {.clearance_level = 0};
        char what[32];
        (void)snprintf(what, sizeof what, "case %zu", i);
        assert_code(read(state, 200, buf_view(&b), &u), cases[i].code, what);
        if (cases[i].code == ERR_NONE)
            assert_int_equal(u.permissions.n, PERMISSIONS_MAX);
        arena_reset(*state);
    }
}

static void test_expiry(void **state)
{
    static const struct {
        const char *value;
        enum err_code code;
        int64_t expires_s;
    } cases[] = {
        {"1767323046", ERR_NONE, NOW_S + 1},
        {"253402300799", ERR_NONE, INT64_C(253402300799)},
        {"\"2026-01-02T03:04:06Z\"", ERR_NONE, NOW_S + 1},
        {"\"2026-01-02t03:04:06z\"", ERR_NONE, NOW_S + 1},
        {"\"2026-01-02T03:04:06.999999999Z\"", ERR_NONE, NOW_S + 1},
        {"\"2026-01-02T05:04:06+02:00\"", ERR_NONE, NOW_S + 1},
        {"\"2026-01-01T21:34:06-05:30\"", ERR_NONE, NOW_S + 1},
        {"\"2028-02-29T00:00:00Z\"", ERR_NONE, INT64_C(1835395200)},
        {"\"2026-12-31T23:59:60Z\"", ERR_NONE, INT64_C(1798761600)},
        {"\"9999-12-31T23:59:59Z\"", ERR_NONE, INT64_C(253402300799)},
        {"1767323045", ERR_USER_TOKEN, 0},
        {"0", ERR_USER_TOKEN, 0},
        {"\"2026-01-02T03:04:05Z\"", ERR_USER_TOKEN, 0},
        {"\"2026-01-02T03:04:06+00:01\"", ERR_USER_TOKEN, 0},
        {"\"1969-12-31T23:59:59Z\"", ERR_USER_TOKEN, 0},
        {"\"0000-01-01T00:00:00Z\"", ERR_USER_TOKEN, 0},
        {"-1", ERR_BACKEND_AUTH, 0},
        {"253402300800", ERR_BACKEND_AUTH, 0},
        {"1767323046000", ERR_BACKEND_AUTH, 0},
        {"\"9999-12-31T23:59:59-00:01\"", ERR_BACKEND_AUTH, 0},
        {"\"1767323046\"", ERR_BACKEND_AUTH, 0},
        {"null", ERR_BACKEND_AUTH, 0},
        {"true", ERR_BACKEND_AUTH, 0},
        {"\"\"", ERR_BACKEND_AUTH, 0},
        {"\"tomorrow\"", ERR_BACKEND_AUTH, 0},
        {"\"2027-01-02\"", ERR_BACKEND_AUTH, 0},
        {"\"2027-01-02T03:04:05\"", ERR_BACKEND_AUTH, 0},
        {"\"2027-01-02 03:04:05Z\"", ERR_BACKEND_AUTH, 0},
        {"\"2027-01-02T03:04Z\"", ERR_BACKEND_AUTH, 0},
        {"\"2027-01-02T03:04:05.Z\"", ERR_BACKEND_AUTH, 0},
        {"\"2027-01-02T03:04:05Zz\"", ERR_BACKEND_AUTH, 0},
        {"\"2027-01-02T03:04:05+0200\"", ERR_BACKEND_AUTH, 0},
        {"\"2027-01-02T03:04:05+24:00\"", ERR_BACKEND_AUTH, 0},
        {"\"2027-01-02T03:04:05+02:60\"", ERR_BACKEND_AUTH, 0},
        {"\"2027-02-29T03:04:05Z\"", ERR_BACKEND_AUTH, 0},
        {"\"2027-00-01T03:04:05Z\"", ERR_BACKEND_AUTH, 0},
        {"\"2027-13-01T03:04:05Z\"", ERR_BACKEND_AUTH, 0},
        {"\"2027-01-00T03:04:05Z\"", ERR_BACKEND_AUTH, 0},
        {"\"2027-01-32T03:04:05Z\"", ERR_BACKEND_AUTH, 0},
        {"\"2027-01-02T24:00:00Z\"", ERR_BACKEND_AUTH, 0},
        {"\"2027-01-02T03:60:05Z\"", ERR_BACKEND_AUTH, 0},
        {"\"2027-01-02T03:04:61Z\"", ERR_BACKEND_AUTH, 0},
        {"\"+027-01-02T03:04:05Z\"", ERR_BACKEND_AUTH, 0},
        {"\"2027-1-02T03:04:05Z\"", ERR_BACKEND_AUTH, 0},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct str body = arena_printf(*state, "{" MEMBERS ",\"expires_at\":%s}", cases[i].value);
        struct user u = {.expires_us = 0};
        assert_code(read(state, 200, body, &u), cases[i].code, cases[i].value);
        assert_int_equal(u.expires_us, cases[i].expires_s * 1000000);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_whole_answer_is_believed, make_arena, drop_arena),
        cmocka_unit_test_setup_teardown(test_statuses, make_arena, drop_arena),
        cmocka_unit_test_setup_teardown(test_every_member_must_be_well_formed, make_arena, drop_arena),
        cmocka_unit_test_setup_teardown(test_what_is_no_object_is_no_answer, make_arena, drop_arena),
        cmocka_unit_test_setup_teardown(test_limits, make_arena, drop_arena),
        cmocka_unit_test_setup_teardown(test_expiry, make_arena, drop_arena),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
