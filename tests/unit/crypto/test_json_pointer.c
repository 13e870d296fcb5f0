/* SPDX-License-Identifier: Apache-2.0 */
#include "crypto/json_pointer.h"

#include "tests/unit/crypto/support.h"

static struct str of(const char *text)
{
    return str_of(text);
}

/* The document and the pointers of RFC 6901 section 5. */
static const char example[] =
    "{\"foo\":[\"bar\",\"baz\"],\"\":0,\"a/b\":1,\"c%d\":2,\"e^f\":3,\"g|h\":4,\"i\\\\j\":5,\"k\\\"l\":6,\" \":7,"
    "\"m~n\":8}";

static void test_rfc6901_section_5(void **state)
{
    struct fixture *f = *state;
    const struct json *doc = json_of(f, example);
    static const struct {
        const char *pointer;
        int64_t value;
    } numbers[] = {{"/", 0},     {"/a~1b", 1}, {"/c%d", 2}, {"/e^f", 3}, {"/g|h", 4},
                   {"/i\\j", 5}, {"/k\"l", 6}, {"/ ", 7},   {"/m~0n", 8}};
    for (size_t i = 0; i < COUNT(numbers); i++) {
        const struct json *v = json_pointer_get(doc, of(numbers[i].pointer));
        if (v == NULL || v->type != JSON_INT || v->i != numbers[i].value)
            fail_msg("%s", numbers[i].pointer);
    }
    assert_ptr_equal(json_pointer_get(doc, STR("")), doc);
    assert_int_equal(json_pointer_get(doc, STR("/foo"))->type, JSON_ARRAY);
    assert_str(json_pointer_get(doc, STR("/foo/0"))->s, "bar");
    assert_str(json_pointer_get(doc, STR("/foo/1"))->s, "baz");
}

static void test_escapes(void **state)
{
    struct fixture *f = *state;
    const struct json *doc = json_of(f, "{\"~1\":1,\"~\":2,\"/\":3,\"~/\":4,\"a\":{\"~0\":5},\"~01\":6}");
    static const struct {
        const char *pointer;
        int64_t value;
    } rows[] = {{"/~01", 1}, {"/~0", 2}, {"/~1", 3}, {"/~0~1", 4}, {"/a/~00", 5}, {"/~001", 6}};
    for (size_t i = 0; i < COUNT(rows); i++) {
        const struct json *v = json_pointer_get(doc, of(rows[i].pointer));
        if (v == NULL || v->i != rows[i].value)
            fail_msg("%s", rows[i].pointer);
    }
}

static void test_leads_nowhere(void **state)
{
    struct fixture *f = *state;
    const struct json *doc =
        json_of(f, "{\"a\":[1,[2,3]],\"b\":\"text\",\"c\":{\"0\":1},\"d\":[],\"01\":1,\"n\":null}");
    static const char *const rows[] = {"/x",
                                       "/a/2",
                                       "/a/-",
                                       "/a/00",
                                       "/a/01",
                                       "/a/+1",
                                       "/a/ 1",
                                       "/a/1/2",
                                       "/a/",
                                       "/b/0",
                                       "/b/",
                                       "/c/1",
                                       "/d/0",
                                       "/A",
                                       "/a/1/",
                                       "/n/0",
                                       "/a/1x",
                                       "/c/0/",
                                       "/c/00",
                                       "/a/18446744073709551616",
                                       "/a/18446744073709551617"};
    for (size_t i = 0; i < COUNT(rows); i++) {
        if (json_pointer_get(doc, of(rows[i])) != NULL)
            fail_msg("%s", rows[i]);
    }
    assert_int_equal(json_pointer_get(doc, STR("/a/1/1"))->i, 3);
    assert_int_equal(json_pointer_get(doc, STR("/c/0"))->i, 1);
    assert_int_equal(json_pointer_get(doc, STR("/01"))->i, 1);
    assert_int_equal(json_pointer_get(doc, STR("/n"))->type, JSON_NULL);
}

static void test_texts_that_are_no_pointer(void **state)
{
    struct fixture *f = *state;
    const struct json *doc = json_of(f, "{\"a\":1,\"~\":2,\"~2\":3,\"#\":4}");
    static const char *const bad[] = {"a", "a/", "~0", "/~", "/~2", "/a~", "/~~0", "#/a", " /a", "/~/"};
    for (size_t i = 0; i < COUNT(bad); i++) {
        if (json_pointer_ok(of(bad[i])) || json_pointer_get(doc, of(bad[i])) != NULL)
            fail_msg("%s", bad[i]);
    }
    static const char *const good[] = {"", "/", "//", "/a", "/~0~1", "/a/0/-", "/\xc3\xa9"};
    for (size_t i = 0; i < COUNT(good); i++) {
        if (!json_pointer_ok(of(good[i])))
            fail_msg("%s", good[i]);
    }
}

static void test_scalars_and_arrays_as_root(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(json_pointer_get(json_of(f, "7"), STR(""))->i, 7);
    assert_null(json_pointer_get(json_of(f, "7"), STR("/")));
    assert_int_equal(json_pointer_get(json_of(f, "[7,8,9,10,11,12,13,14,15,16,17]"), STR("/10"))->i, 17);
    assert_null(json_pointer_get(json_of(f, "[7]"), STR("/1")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_rfc6901_section_5, fixture_reset),
        cmocka_unit_test_setup(test_escapes, fixture_reset),
        cmocka_unit_test_setup(test_leads_nowhere, fixture_reset),
        cmocka_unit_test_setup(test_texts_that_are_no_pointer, fixture_reset),
        cmocka_unit_test_setup(test_scalars_and_arrays_as_root, fixture_reset),
    };
    return cmocka_run_group_tests(tests, fixture_setup, fixture_teardown);
}
