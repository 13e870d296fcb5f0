/* SPDX-License-Identifier: Apache-2.0
 * Requests and replies as values: bodies, queries, credentials, error replies. */
#include "service/http/http.h"

#include "tests/unit/base/check.h"

#include <stddef.h>

enum { ARENA_BYTES = 1 << 20 };

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

static struct http_request request(void **state, const char *query)
{
    return (struct http_request){.arena = *state, .query = str_of(query)};
}

struct bound {
    struct str name;
};
static const struct json_field table[] = {{"name", BIND_STR, offsetof(struct bound, name), true, 1, 8, 0}};

static struct err bind(void **state, const char *type, const char *body)
{
    struct http_request r = request(state, NULL);
    r.content_type = str_of(type);
    r.body = str_of(body);
    struct bound out = {.name = {NULL, 0}};
    return http_bind_json(&r, table, COUNT(table), JSON_UNKNOWN_REFUSED, &out);
}

static void test_content_types(void **state)
{
    static const char *const good[] = {"application/json", "APPLICATION/JSON", "application/json; charset=utf-8",
                                       "application/json;charset=UTF-8", "application/json ; charset=\"utf-8\""};
    static const char *const bad[] = {NULL,
                                      "",
                                      "text/json",
                                      "application/json; charset=utf-16",
                                      "application/json; charset=utf-7",
                                      "application/json; charset=utf-8; a=b",
                                      "application/json;",
                                      "application/json, text/html",
                                      "application/jsonp",
                                      "application/problem+json",
                                      "multipart/json",
                                      "application/json; a=b"};
    for (size_t i = 0; i < COUNT(good); i++)
        assert_ok(bind(state, good[i], "{\"name\":\"a\"}"));
    for (size_t i = 0; i < COUNT(bad); i++)
        assert_fails(ERR_UNSUPPORTED_MEDIA, bind(state, bad[i], "{\"name\":\"a\"}"));
}

static void test_bodies_must_be_one_object(void **state)
{
    static const char *const bad[] = {
        "", " ", "[]", "\"a\"", "1", "null", "{", "{}x", "{\"name\":\"a\",\"name\":\"b\"}"};
    for (size_t i = 0; i < COUNT(bad); i++)
        assert_fails(ERR_INVALID_JSON, bind(state, "application/json", bad[i]));
    assert_fails_with(ERR_INVALID_REQUEST, "name", bind(state, "application/json", "{}"));
    assert_fails_with(ERR_INVALID_REQUEST, "other", bind(state, "application/json", "{\"name\":\"a\",\"other\":1}"));
}

static void test_query_parameters(void **state)
{
    struct http_request r = request(state, "a=1&b=x%20y+z&empty=&flag&a%62=2");
    struct str v;
    assert_ok(http_query(&r, "a", &v));
    assert_str(v, "1");
    assert_ok(http_query(&r, "b", &v));
    assert_str(v, "x y z");
    assert_ok(http_query(&r, "empty", &v));
    assert_true(v.p != NULL && v.n == 0);
    assert_ok(http_query(&r, "ab", &v));
    assert_str(v, "2");
    assert_ok(http_query(&r, "none", &v));
    assert_null(v.p);
    assert_fails_with(ERR_INVALID_REQUEST, "no value", http_query(&r, "flag", &v));
    struct http_request none = request(state, NULL);
    assert_ok(http_query(&none, "a", &v));
    assert_null(v.p);
}

static void test_bad_query_parameters(void **state)
{
    static const char *const bad[] = {"a=1&a=1", "a=1&%61=1", "a=%",      "a=%2", "a=%zz",
                                      "a=%00",   "a=%ff",     "a=%c0%80", "a"};
    struct str v;
    for (size_t i = 0; i < COUNT(bad); i++) {
        struct http_request r = request(state, bad[i]);
        struct err e = http_query(&r, "a", &v);
        if (e.code != ERR_INVALID_REQUEST || v.p != NULL)
            fail_msg("passed: %s", bad[i]);
    }
}

static void test_only_known_parameters(void **state)
{
    static const char *const known[] = {"a", "b"};
    struct http_request r = request(state, "a=1&%62=2");
    assert_ok(http_query_only(&r, known, COUNT(known)));
    r = request(state, "a=1&c=2");
    assert_fails_with(ERR_INVALID_REQUEST, "'c'", http_query_only(&r, known, COUNT(known)));
    r = request(state, "a=1&&b=2");
    assert_fails(ERR_INVALID_REQUEST, http_query_only(&r, known, COUNT(known)));
    char many[512] = "a=1";
    for (size_t i = 3; i + 4 < sizeof many; i += 4)
        memcpy(many + i, "&a=1", 5);
    r = request(state, many);
    assert_fails_with(ERR_INVALID_REQUEST, "more than", http_query_only(&r, known, COUNT(known)));
    r = request(state, NULL);
    assert_ok(http_query_only(&r, NULL, 0));
}

static void assert_token(struct str token, const char *want)
{
    if (want == NULL)
        assert_null(token.p);
    else
        assert_str(token, want);
}

static void test_schemes(void **state)
{
    static const struct {
        const char *header, *bearer, *dpop;
    } cases[] = {{"Bearer abc", "abc", NULL}, {"bearer  abc ", "abc", NULL}, {"Bearer", NULL, NULL},
                 {"Bearer ", NULL, NULL},     {"Bearerabc", NULL, NULL},     {"Basic abc", NULL, NULL},
                 {"DPoP abc", NULL, "abc"},   {"dpop  abc ", NULL, "abc"},   {"DPoP", NULL, NULL},
                 {"DPoP ", NULL, NULL},       {"DPoPabc", NULL, NULL},       {"DPoP\tabc", NULL, NULL},
                 {NULL, NULL, NULL}};
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct http_request r = request(state, NULL);
        r.authorization = str_of(cases[i].header);
        assert_token(http_bearer(&r), cases[i].bearer);
        assert_token(http_dpop_token(&r), cases[i].dpop);
    }
}

static struct str header_of(const struct http_reply *r, const char *name)
{
    for (size_t i = 0; i < r->n_headers; i++) {
        if (strcmp(r->headers[i].name, name) == 0)
            return r->headers[i].value;
    }
    return (struct str){NULL, 0};
}

static void test_error_replies(void **state)
{
    struct http_request r = request(state, NULL);
    struct http_reply out;
    struct err e = FAIL(ERR_INVALID_SCOPE, "scopes[1] holds \"x\" \xff");
    http_reply_error(&r, &e, &out);
    assert_int_equal(400, out.status);
    assert_string_equal("invalid_scope", out.outcome);
    assert_string_equal("application/json", out.content_type);
    assert_str(out.body,
               "{\"error\":\"invalid_scope\",\"message\":\"A scope is not well formed: scopes[1] holds \\\"x\\\" ?\"}");
    assert_int_equal(0, out.n_headers);
}

static void test_hidden_details_stay_hidden(void **state)
{
    struct http_request r = request(state, NULL);
    struct http_reply out;
    struct err e = FAIL(ERR_DB, "relation secret_table");
    http_reply_error(&r, &e, &out);
    assert_int_equal(500, out.status);
    assert_null(memmem(out.body.p, out.body.n, "secret_table", strlen("secret_table")));
    assert_null(memmem(out.body.p, out.body.n, __FILE__, strlen(__FILE__)));
}

static void test_unauthorized_names_the_scheme(void **state)
{
    struct http_request r = request(state, NULL);
    struct http_reply out;
    struct err e = FAIL(ERR_INVALID_TOKEN, "x");
    http_reply_error(&r, &e, &out);
    assert_str(header_of(&out, "WWW-Authenticate"), "Bearer realm=\"nexus\"");
    r.authorization = STR("Bearer abc");
    http_reply_error(&r, &e, &out);
    assert_str(header_of(&out, "WWW-Authenticate"), "Bearer realm=\"nexus\", error=\"invalid_token\"");
}

static void test_come_again_later(void **state)
{
    struct http_request r = request(state, NULL);
    struct http_reply out;
    struct err e = FAIL(ERR_OVERLOADED, "x");
    http_reply_error(&r, &e, &out);
    assert_str(header_of(&out, "Retry-After"), "1");
    http_set_header(&out, "retry-after", STR("7"));
    assert_int_equal(1, out.n_headers);
    assert_str(out.headers[0].value, "7");
}

/* When nothing is left in the arena, the caller still gets a well-formed refusal. */
static void test_an_exhausted_arena(void **state)
{
    struct http_request r = request(state, NULL);
    assert_non_null(arena_alloc(r.arena, arena_max(r.arena) - arena_used(r.arena) - 64));
    struct http_reply out;
    struct err e = FAIL(ERR_INVALID_SCOPE, "a detail");
    http_reply_error(&r, &e, &out);
    assert_non_null(memmem(out.body.p, out.body.n, "\"error\":", 8));
    struct buf body = http_body(&r);
    for (int i = 0; i < 100; i++)
        buf_cstr(&body, "0123456789");
    assert_fails(ERR_NO_MEMORY, http_reply_json(200, &body, &out));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_content_types, make_arena, drop_arena),
        cmocka_unit_test_setup_teardown(test_bodies_must_be_one_object, make_arena, drop_arena),
        cmocka_unit_test_setup_teardown(test_query_parameters, make_arena, drop_arena),
        cmocka_unit_test_setup_teardown(test_bad_query_parameters, make_arena, drop_arena),
        cmocka_unit_test_setup_teardown(test_only_known_parameters, make_arena, drop_arena),
        cmocka_unit_test_setup_teardown(test_schemes, make_arena, drop_arena),
        cmocka_unit_test_setup_teardown(test_error_replies, make_arena, drop_arena),
        cmocka_unit_test_setup_teardown(test_hidden_details_stay_hidden, make_arena, drop_arena),
        cmocka_unit_test_setup_teardown(test_unauthorized_names_the_scheme, make_arena, drop_arena),
        cmocka_unit_test_setup_teardown(test_come_again_later, make_arena, drop_arena),
        cmocka_unit_test_setup_teardown(test_an_exhausted_arena, make_arena, drop_arena),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
