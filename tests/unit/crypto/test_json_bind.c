/* SPDX-License-Identifier: Apache-2.0 */
#include "crypto/json.h"

#include "tests/unit/crypto/support.h"

struct target {
    struct str name;
    struct json_int ttl, any;
    struct json_bool active;
    struct str_list scopes;
    const struct json *jwks, *list;
};

static const struct json_field table[] = {
    {"name", BIND_STR, offsetof(struct target, name), .required = true, .min = 2, .max = 8},
    {"ttl", BIND_INT, offsetof(struct target, ttl), .min = 60, .max = 3600},
    {"any", BIND_INT, offsetof(struct target, any), .required = false},
    {"active", BIND_BOOL, offsetof(struct target, active), .required = false},
    {"scopes", BIND_STR_LIST, offsetof(struct target, scopes), .min = 1, .max = 3, .item_max = 4},
    {"jwks", BIND_OBJECT, offsetof(struct target, jwks), .required = false},
    {"list", BIND_ARRAY, offsetof(struct target, list), .max = 2},
};

static struct err bind(struct fixture *f, const char *text, enum json_unknown unknown, struct target *out)
{
    *out = (struct target){0};
    return json_bind_object(json_of(f, text), table, COUNT(table), unknown, f->arena, out);
}

static void test_everything_present(void **state)
{
    struct fixture *f = *state;
    struct target t;
    assert_ok(bind(f,
                   "{\"list\":[1,2],\"jwks\":{\"keys\":[]},\"scopes\":[\"a\",\"bcde\"],\"active\":false,\"any\":-5,"
                   "\"ttl\":60,\"name\":\"ab\"}",
                   JSON_UNKNOWN_REFUSED, &t));
    assert_str(t.name, "ab");
    assert_true(t.ttl.set && t.ttl.v == 60);
    assert_true(t.any.set && t.any.v == -5);
    assert_true(t.active.set && !t.active.v);
    assert_int_equal(2, t.scopes.n);
    assert_str(t.scopes.v[1], "bcde");
    assert_non_null(json_get(t.jwks, "keys"));
    assert_int_equal(2, t.list->n);
}

static void test_absent_members_stay_unset(void **state)
{
    struct fixture *f = *state;
    struct target t;
    assert_ok(bind(f, "{\"name\":\"abc\"}", JSON_UNKNOWN_REFUSED, &t));
    assert_false(t.ttl.set || t.active.set);
    assert_null(t.scopes.v);
    assert_null(t.jwks);
}

static void test_refusals_name_the_field(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *text, *detail;
    } bad[] = {
        {"{}", "field \"name\": is missing"},
        {"{\"name\":null}", "field \"name\": must be a string"},
        {"{\"name\":7}", "field \"name\": must be a string"},
        {"{\"name\":\"a\"}", "field \"name\": must be at least 2 bytes long"},
        {"{\"name\":\"123456789\"}", "field \"name\": must be at most 8 bytes long"},
        {"{\"name\":\"ab\",\"ttl\":\"60\"}", "field \"ttl\": must be an integer"},
        {"{\"name\":\"ab\",\"ttl\":59}", "field \"ttl\": must be from 60 to 3600"},
        {"{\"name\":\"ab\",\"ttl\":3601}", "field \"ttl\": must be from 60 to 3600"},
        {"{\"name\":\"ab\",\"ttl\":true}", "field \"ttl\": must be an integer"},
        {"{\"name\":\"ab\",\"active\":1}", "field \"active\": must be true or false"},
        {"{\"name\":\"ab\",\"active\":\"true\"}", "field \"active\": must be true or false"},
        {"{\"name\":\"ab\",\"scopes\":\"a\"}", "field \"scopes\": must be an array of strings"},
        {"{\"name\":\"ab\",\"scopes\":[1]}", "field \"scopes\": must be an array of strings"},
        {"{\"name\":\"ab\",\"scopes\":[\"a\",[\"b\"]]}", "field \"scopes\": must be an array of strings"},
        {"{\"name\":\"ab\",\"scopes\":[]}", "field \"scopes\": must have at least 1 items"},
        {"{\"name\":\"ab\",\"scopes\":[\"a\",\"b\",\"c\",\"d\"]}", "field \"scopes\": must have at most 3 items"},
        {"{\"name\":\"ab\",\"scopes\":[\"a\",\"bcdef\"]}", "field \"scopes\": item 1 must be at most 4 bytes long"},
        {"{\"name\":\"ab\",\"jwks\":[]}", "field \"jwks\": must be an object"},
        {"{\"name\":\"ab\",\"list\":{}}", "field \"list\": must be an array"},
        {"{\"name\":\"ab\",\"list\":[1,2,3]}", "field \"list\": must have at most 2 items"},
        {"{\"name\":\"ab\",\"nmae\":1}", "field \"nmae\": is not known here"},
        {"[]", "must be an object"},
        {"null", "must be an object"},
    };
    for (size_t i = 0; i < COUNT(bad); i++) {
        struct target t;
        assert_fails_with(ERR_INVALID_REQUEST, bad[i].detail, bind(f, bad[i].text, JSON_UNKNOWN_REFUSED, &t));
    }
}

static void test_unknown_members_can_be_ignored(void **state)
{
    struct fixture *f = *state;
    struct target t;
    assert_ok(bind(f, "{\"name\":\"ab\",\"nmae\":1}", JSON_UNKNOWN_IGNORED, &t));
}

/* The name of an unknown member is the caller's: whatever it is, the detail stays short, printable ASCII. */
static void test_an_unknown_name_is_quoted_harmlessly(void **state)
{
    struct fixture *f = *state;
    struct target t;
    struct err e = bind(f, "{\"name\":\"ab\",\"\\u001b[2J\\n\xe2\x80\xa8\xc3\xa9\":1}", JSON_UNKNOWN_REFUSED, &t);
    assert_int_equal(ERR_INVALID_REQUEST, e.code);
    for (const char *p = e.detail; *p != '\0'; p++)
        assert_in_range(*p, 0x20, 0x7e);
    struct buf longer = buf_in(f->arena, 4096);
    buf_cstr(&longer, "{\"");
    for (int i = 0; i < 500; i++)
        buf_cstr(&longer, "\xc3\xa9");
    buf_cstr(&longer, "\":1}");
    buf_char(&longer, '\0');
    assert_fails_with(ERR_INVALID_REQUEST, "is not known here", bind(f, longer.p, JSON_UNKNOWN_REFUSED, &t));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_everything_present),
        cmocka_unit_test(test_absent_members_stay_unset),
        cmocka_unit_test(test_refusals_name_the_field),
        cmocka_unit_test(test_unknown_members_can_be_ignored),
        cmocka_unit_test(test_an_unknown_name_is_quoted_harmlessly),
    };
    return cmocka_run_group_tests(tests, fixture_setup, fixture_teardown);
}
