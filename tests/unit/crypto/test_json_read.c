/* SPDX-License-Identifier: Apache-2.0 */
#include "crypto/json.h"

#include "tests/unit/crypto/support.h"

static struct err parse(struct fixture *f, struct str text, const struct json **out)
{
    return json_parse(f->arena, str_bytes(text), out);
}

static void refused(struct fixture *f, struct str text, const char *why)
{
    const struct json *out = NULL;
    assert_fails_with(ERR_INVALID_JSON, why, parse(f, text, &out));
    assert_null(out);
}

static void test_all_types(void **state)
{
    struct fixture *f = *state;
    const struct json *j = json_of(f, " {\"s\":\"a\\u00e9\\n\",\"i\":-42,\"t\":true,\"f\":false,\"n\":null,"
                                      "\"a\":[1,\"x\",{}],\"o\":{\"k\":[]}}\r\n");
    assert_int_equal(JSON_OBJECT, j->type);
    assert_int_equal(7, j->n);
    assert_str(json_get(j, "s")->s, "a\xc3\xa9\n");
    assert_int_equal(-42, json_get(j, "i")->i);
    assert_true(json_get(j, "t")->b);
    assert_false(json_get(j, "f")->b);
    assert_int_equal(JSON_BOOL, json_get(j, "f")->type);
    assert_int_equal(JSON_NULL, json_get(j, "n")->type);
    const struct json *a = json_get(j, "a");
    assert_int_equal(JSON_ARRAY, a->type);
    assert_int_equal(3, a->n);
    assert_str(a->items[1].s, "x");
    assert_int_equal(JSON_OBJECT, a->items[2].type);
    assert_int_equal(JSON_ARRAY, json_get(json_get(j, "o"), "k")->type);
    assert_null(json_get(j, "absent"));
    assert_null(json_get(a, "k"));
    assert_null(json_get(NULL, "k"));
}

static void test_members_keep_the_order_of_the_text(void **state)
{
    struct fixture *f = *state;
    const struct json *j = json_of(f, "{\"z\":1,\"a\":2,\"m\":3,\"\":4}");
    static const char *const names[] = {"z", "a", "m", ""};
    for (size_t i = 0; i < COUNT(names); i++)
        assert_str(j->names[i], names[i]);
}

static void test_scalars_at_the_top(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(7, json_of(f, "7")->i);
    assert_str(json_of(f, "\"x\"")->s, "x");
    assert_int_equal(JSON_NULL, json_of(f, "null")->type);
}

static void test_j08_duplicate_members(void **state)
{
    struct fixture *f = *state;
    refused(f, STR("{\"sub\":1,\"sub\":1}"), "twice");
    refused(f, STR("{\"sub\":1,\"\\u0073ub\":2}"), "twice");
    refused(f, STR("{\"a\":{\"b\":[{\"c\":1,\"\\u0063\":1}]}}"), "twice");
    const struct json *j = json_of(f, "{\"alg\":1,\"Alg\":2,\"ALG\":3}");
    assert_int_equal(1, json_get(j, "alg")->i);
    assert_int_equal(2, json_get(j, "Alg")->i);
}

static void test_j14_numbers(void **state)
{
    struct fixture *f = *state;
    assert_true(json_of(f, "9007199254740991")->i == JSON_INT_MAX);
    assert_true(json_of(f, "-9007199254740991")->i == -JSON_INT_MAX);
    assert_int_equal(0, json_of(f, "0")->i);
    static const char *const out_of_range[] = {"9007199254740992",
                                               "-9007199254740992",
                                               "9223372036854775807",
                                               "9223372036854775808",
                                               "18446744073709551616",
                                               "-9223372036854775809",
                                               "1e400"};
    for (size_t i = 0; i < COUNT(out_of_range); i++)
        refused(f, str_of(out_of_range[i]), "out of range");
    static const char *const not_integers[] = {"1.0", "1e3", "1E3", "1.5", "-0.0", "1e308", "1e-400", "1300819380.0"};
    for (size_t i = 0; i < COUNT(not_integers); i++)
        refused(f, str_of(not_integers[i]), "not an integer");
    static const char *const not_json[] = {"NaN", "Infinity", "-Infinity", "0x10", "01", "+1", ".5", "1.", "-", "1_0"};
    for (size_t i = 0; i < COUNT(not_json); i++)
        refused(f, str_of(not_json[i]), "");
}

static struct str nested(struct fixture *f, size_t depth, char open, char close)
{
    char *p = arena_alloc(f->arena, 2 * depth);
    assert_non_null(p);
    memset(p, open, depth);
    memset(p + depth, close, depth);
    return (struct str){p, 2 * depth};
}

static void test_j13_depth(void **state)
{
    struct fixture *f = *state;
    const struct json *out = NULL;
    assert_ok(parse(f, nested(f, JSON_DEPTH, '[', ']'), &out));
    refused(f, nested(f, JSON_DEPTH + 1, '[', ']'), "nested deeper");
    refused(f, nested(f, 500, '[', ']'), "nested deeper");
    refused(f, nested(f, 100000, '[', ']'), "nested deeper");
    refused(f, (struct str){nested(f, 100000, '[', ']').p, 100000}, "nested deeper");
    struct buf objects = buf_in(f->arena, 4096);
    for (int i = 0; i <= JSON_DEPTH; i++)
        buf_cstr(&objects, "{\"a\":");
    refused(f, buf_view(&objects), "nested deeper");
}

static void test_brackets_in_strings_do_not_nest(void **state)
{
    struct fixture *f = *state;
    assert_str(json_of(f, "\"[[[[[[[[[[[[[[[[[[[[[[[[\"")->s, "[[[[[[[[[[[[[[[[[[[[[[[[");
    assert_str(json_of(f, "\"\\\"[[[[[[[[[[[[[[[[[[[[[[[\"")->s, "\"[[[[[[[[[[[[[[[[[[[[[[[");
    assert_str(json_of(f, "[\"\\\\\",[[\"]]]]]]\"]]]")->items[0].s, "\\");
    /* Siblings are not depth. */
    assert_int_equal(20, json_of(f, "[[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],[]]")->n);
}

static void test_j13_size(void **state)
{
    struct fixture *f = *state;
    const struct json *out = NULL;
    size_t n = JSON_TEXT_MAX + 1;
    char *p = arena_alloc(f->arena, n);
    memset(p, '1', n);
    refused(f, (struct str){p, n}, "longer than");
    refused(f, (struct str){p, 100000}, "out of range");
    p[0] = '"';
    p[JSON_TEXT_MAX - 1] = '"';
    assert_ok(parse(f, (struct str){p, JSON_TEXT_MAX}, &out));
    assert_int_equal(JSON_TEXT_MAX - 2, out->s.n);
}

static void test_a_full_arena_is_an_error(void **state)
{
    struct fixture *f = *state;
    struct arena *small = NULL;
    const struct json *out = NULL;
    assert_ok(arena_new(4096, &small));
    char *p = arena_alloc(f->arena, 20001);
    memset(p, '[', 1);
    for (size_t i = 0; i < 10000; i++)
        memcpy(p + 2 * i, i == 0 ? "[1" : ",1", 2);
    p[20000] = ']';
    assert_fails(ERR_NO_MEMORY, json_parse(small, bytes_of(p, 20001), &out));
    arena_free(&small);
    assert_ok(json_parse(f->arena, bytes_of(p, 20001), &out));
    assert_int_equal(10000, out->n);
}

static void test_j25_utf8(void **state)
{
    struct fixture *f = *state;
    static const char *const bad[] = {
        "\"\x80\"",             /* continuation alone */
        "\"\xc3\"",             /* cut short */
        "\"\xc0\xaf\"",         /* overlong */
        "\"\xe0\x80\xaf\"",     /* overlong */
        "\"\xed\xa0\x80\"",     /* surrogate */
        "\"\xf4\x90\x80\x80\"", /* above U+10FFFF */
        "\"\xff\"",
        "{\"\xc0\x80\":1}",
    };
    for (size_t i = 0; i < COUNT(bad); i++)
        refused(f, str_of(bad[i]), "UTF-8");
    static const char *const bad_escapes[] = {"\"\\ud800\"", "\"\\udc00\"", "\"\\ud800\\u0041\"", "\"\\u12\"",
                                              "\"\\x41\""};
    for (size_t i = 0; i < COUNT(bad_escapes); i++)
        refused(f, str_of(bad_escapes[i]), "");
    assert_str(json_of(f, "\"\\ud83d\\ude00\"")->s, "\xf0\x9f\x98\x80");
    refused(f, STR("\xef\xbb\xbf{}"), "byte order mark");
    refused(f, STR("\xff\xfe{\0}\0"), "");
}

static void test_j21_nul(void **state)
{
    struct fixture *f = *state;
    refused(f, STR("\"admin\\u0000\""), "U+0000");
    refused(f, STR("{\"a\\u0000b\":1}"), "U+0000");
    refused(f, STR("\"a\0b\""), "NUL");
    /* jansson 2.14 by itself takes this one. */
    refused(f, STR("123\0"), "NUL");
}

static void test_syntax(void **state)
{
    struct fixture *f = *state;
    static const char *const bad[] = {"",      " ",       "{",       "}",      "[1,]",       "{\"a\":1,}", "{\"a\" 1}",
                                      "{a:1}", "{'a':1}", "[1 2]",   "tru",    "True",       "nul",        "\"abc",
                                      "// x",  "[1]x",    "{} {}",   "\"\t\"", "\"\n\"",     "{1:2}",      "{\"a\"}",
                                      "[,1]",  "[1]]",    "[\"a\"}", "1 1",    "\"a\"\"b\"", "/**/1"};
    for (size_t i = 0; i < COUNT(bad); i++)
        refused(f, str_of(bad[i]), "");
    refused(f, (struct str){NULL, 0}, "");
}

static void test_errors_name_the_place_and_quote_nothing(void **state)
{
    struct fixture *f = *state;
    const struct json *out = NULL;
    struct err e = parse(f, STR("{\"pin\":\n  s3cret}"), &out);
    assert_int_equal(ERR_INVALID_JSON, e.code);
    assert_non_null(strstr(e.detail, "line 2"));
    assert_null(strstr(e.detail, "s3cret"));
}

#define T(fn) cmocka_unit_test_setup(fn, fixture_reset)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_all_types),
        T(test_members_keep_the_order_of_the_text),
        T(test_scalars_at_the_top),
        T(test_j08_duplicate_members),
        T(test_j14_numbers),
        T(test_j13_depth),
        T(test_brackets_in_strings_do_not_nest),
        T(test_j13_size),
        T(test_a_full_arena_is_an_error),
        T(test_j25_utf8),
        T(test_j21_nul),
        T(test_syntax),
        T(test_errors_name_the_place_and_quote_nothing),
    };
    return cmocka_run_group_tests(tests, fixture_setup, fixture_teardown);
}
