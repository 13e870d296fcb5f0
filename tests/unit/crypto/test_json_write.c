/* SPDX-License-Identifier: Apache-2.0 */
#include "crypto/json.h"

#include "tests/unit/crypto/support.h"

enum { TEXT_MAX = 65536 };

static void test_a_document(void **state)
{
    struct fixture *f = *state;
    struct str v[] = {STR("a"), STR("b")};
    struct buf b = buf_in(f->arena, TEXT_MAX);
    struct json_writer w = json_writer(&b);
    json_begin_object(&w, NULL);
    json_put_str(&w, "z", STR("1"));
    json_put_int(&w, "i", -7);
    json_put_bool(&w, "t", true);
    json_put_bool(&w, "f", false);
    json_put_null(&w, "n");
    json_put_list(&w, "l", (struct str_list){v, 2});
    json_put_list(&w, "e", (struct str_list){NULL, 0});
    json_begin_array(&w, "a");
    json_put_int(&w, NULL, 1);
    json_begin_object(&w, NULL);
    json_end_object(&w);
    json_end_array(&w);
    json_put_raw(&w, "r", STR("{\"x\":1}"));
    json_put_json(&w, "j", json_of(f, "[null,{\"k\":\"v\"},2,true]"));
    json_end_object(&w);
    assert_ok(buf_status(&b));
    assert_str(buf_view(&b), "{\"z\":\"1\",\"i\":-7,\"t\":true,\"f\":false,\"n\":null,\"l\":[\"a\",\"b\"],\"e\":[],"
                             "\"a\":[1,{}],\"r\":{\"x\":1},\"j\":[null,{\"k\":\"v\"},2,true]}");
}

static struct str quoted(struct fixture *f, struct str s, bool *failed)
{
    struct buf b = buf_in(f->arena, TEXT_MAX);
    struct json_writer w = json_writer(&b);
    json_put_str(&w, NULL, s);
    *failed = b.failed;
    return buf_view(&b);
}

/* RFC 8785 section 3.2.2.2, over every character that is escaped or could be. */
static void test_escapes_are_the_shortest(void **state)
{
    struct fixture *f = *state;
    bool failed = true;
    assert_str(quoted(f, STR("\b\t\n\f\r\"\\/\x7f\x1f\x01\x0b\x0f<>&'"), &failed),
               "\"\\b\\t\\n\\f\\r\\\"\\\\/\x7f\\u001f\\u0001\\u000b\\u000f<>&'\"");
    assert_false(failed);
    /* U+2028, U+20AC, U+1F600 and a decomposed A-ring stay as they are. */
    assert_str(quoted(f, STR("\xe2\x80\xa8\xe2\x82\xac\xf0\x9f\x98\x80\x41\xcc\x8a"), &failed),
               "\"\xe2\x80\xa8\xe2\x82\xac\xf0\x9f\x98\x80\x41\xcc\x8a\"");
    assert_false(failed);
}

static void test_j25_invalid_utf8_fails_the_buffer(void **state)
{
    struct fixture *f = *state;
    static const char *const bad[] = {
        "\x80",         "\xc3",         "\xc0\xaf",         "\xc1\xbf",         "\xe0\x80\xaf",
        "\xe0\x9f\xbf", "\xed\xa0\x80", "\xf0\x8f\xbf\xbf", "\xf4\x90\x80\x80", "\xf5\x80\x80\x80",
        "\xff",         "a\xe2\x82",    "\xe2\x28\xa1"};
    for (size_t i = 0; i < COUNT(bad); i++) {
        bool failed = false;
        (void)quoted(f, str_of(bad[i]), &failed);
        assert_true(failed);
    }
    static const char *const good[] = {"\xc2\x80",     "\xdf\xbf",         "\xe0\xa0\x80",     "\xed\x9f\xbf",
                                       "\xee\x80\x80", "\xf0\x90\x80\x80", "\xf4\x8f\xbf\xbf", ""};
    for (size_t i = 0; i < COUNT(good); i++) {
        bool failed = true;
        (void)quoted(f, str_of(good[i]), &failed);
        assert_false(failed);
    }
    bool failed = false;
    (void)quoted(f, (struct str){"a\0b", 3}, &failed);
    assert_true(failed);
}

/* What one canonical writer makes of a tree. */
static struct err canonical(struct fixture *f, const char *text, struct str *out)
{
    struct buf b = buf_in(f->arena, TEXT_MAX);
    struct json_writer w = json_writer_canonical(&b);
    json_put_json(&w, NULL, json_of(f, text));
    *out = buf_view(&b);
    return buf_status(&b);
}

/* The published test data of RFC 8785 (arrays, structures, values, unicode), in their canonical form; members with
 * numbers that are no integers or with names beyond ASCII are left out, since this writer refuses both. */
static void test_rfc8785_vectors(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *in, *out;
    } vectors[] = {
        {"[\n  56,\n  {\n    \"1\": [ ],\n    \"10\": null,\n    \"d\": true\n  }\n]",
         "[56,{\"1\":[],\"10\":null,\"d\":true}]"},
        {"{ \"\": \"empty\", \"1\": {\"\\n\": 56, \"f\": {\"F\": 5, \"f\": \"hi\"}}, \"10\": { },"
         " \"111\": [ {\"E\": \"no\", \"e\": \"yes\"} ], \"A\": { }, \"a\": { } }",
         "{\"\":\"empty\",\"1\":{\"\\n\":56,\"f\":{\"F\":5,\"f\":\"hi\"}},\"10\":{},\"111\":[{\"E\":\"no\",\"e\":"
         "\"yes\"}],\"A\":{},\"a\":{}}"},
        {"{ \"literals\": [null, true, false], \"string\": "
         "\"\\u20ac$\\u000F\\u000aA'\\u0042\\u0022\\u005c\\\\\\\"\\/\" }",
         "{\"literals\":[null,true,false],\"string\":\"\xe2\x82\xac$\\u000f\\nA'B\\\"\\\\\\\\\\\"/\"}"},
        {"{\"Unnormalized Unicode\":\"A\\u030a\"}", "{\"Unnormalized Unicode\":\"A\xcc\x8a\"}"},
        {"{\"\\r\":\"Carriage Return\",\"1\":\"One\",\"</script>\":\"Browser Challenge\"}",
         "{\"\\r\":\"Carriage Return\",\"1\":\"One\",\"</script>\":\"Browser Challenge\"}"},
    };
    for (size_t i = 0; i < COUNT(vectors); i++) {
        struct str out = {NULL, 0};
        assert_ok(canonical(f, vectors[i].in, &out));
        assert_str(out, vectors[i].out);
    }
}

static void test_a_canonical_writer_refuses_disorder(void **state)
{
    struct fixture *f = *state;
    static const char *const bad[] = {
        "{\"b\":1,\"a\":2}", "{\"a\":1,\"B\":2}", "{\"aa\":1,\"a\":2}", "[{\"x\":{\"2\":1,\"10\":2}}]",
        "{\"\xc3\xa9\":1}", /* U+00E9: its order in UTF-16 and in bytes may differ from others */
    };
    for (size_t i = 0; i < COUNT(bad); i++) {
        struct str out = {NULL, 0};
        struct err e = canonical(f, bad[i], &out);
        assert_true(err_is(&e));
    }
    /* The same name twice. */
    struct buf b = buf_in(f->arena, TEXT_MAX);
    struct json_writer w = json_writer_canonical(&b);
    json_begin_object(&w, NULL);
    json_put_int(&w, "a", 1);
    json_put_int(&w, "a", 1);
    assert_true(b.failed);
    /* Each object has an order of its own, and going back up does not forget it. */
    struct str out = {NULL, 0};
    assert_ok(canonical(f, "{\"m\":{\"a\":1},\"n\":[{\"a\":1},{\"a\":2}],\"o\":1}", &out));
    b = buf_in(f->arena, TEXT_MAX);
    w = json_writer_canonical(&b);
    json_begin_object(&w, NULL);
    json_begin_object(&w, "m");
    json_end_object(&w);
    json_put_int(&w, "l", 1);
    assert_true(b.failed);
}

static void test_what_is_not_json_fails(void **state)
{
    struct fixture *f = *state;
    struct buf b = buf_in(f->arena, TEXT_MAX);
    struct json_writer w = json_writer(&b);
    json_put_int(&w, NULL, JSON_INT_MAX + 1);
    assert_true(b.failed);

    b = buf_in(f->arena, TEXT_MAX);
    w = json_writer(&b);
    json_put_int(&w, NULL, 1);
    json_put_int(&w, NULL, 2);
    assert_true(b.failed);

    b = buf_in(f->arena, TEXT_MAX);
    w = json_writer(&b);
    json_begin_object(&w, NULL);
    json_put_int(&w, NULL, 1);
    assert_true(b.failed);

    b = buf_in(f->arena, TEXT_MAX);
    w = json_writer(&b);
    json_begin_array(&w, NULL);
    json_put_int(&w, "name", 1);
    assert_true(b.failed);

    b = buf_in(f->arena, TEXT_MAX);
    w = json_writer(&b);
    json_begin_array(&w, NULL);
    json_end_object(&w);
    assert_true(b.failed);

    b = buf_in(f->arena, TEXT_MAX);
    w = json_writer(&b);
    json_end_array(&w);
    assert_true(b.failed);
}

static void test_depth_and_size_are_bounded(void **state)
{
    struct fixture *f = *state;
    struct buf b = buf_in(f->arena, TEXT_MAX);
    struct json_writer w = json_writer(&b);
    for (int i = 0; i < JSON_DEPTH; i++)
        json_begin_array(&w, NULL);
    assert_ok(buf_status(&b));
    json_begin_array(&w, NULL);
    assert_true(b.failed);
    b = buf_in(f->arena, 8);
    w = json_writer(&b);
    json_put_str(&w, NULL, STR("longer than that"));
    assert_fails(ERR_TOO_LARGE, buf_status(&b));
}

#define T(fn) cmocka_unit_test_setup(fn, fixture_reset)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_a_document),
        T(test_escapes_are_the_shortest),
        T(test_j25_invalid_utf8_fails_the_buffer),
        T(test_rfc8785_vectors),
        T(test_a_canonical_writer_refuses_disorder),
        T(test_what_is_not_json_fails),
        T(test_depth_and_size_are_bounded),
    };
    return cmocka_run_group_tests(tests, fixture_setup, fixture_teardown);
}
