/* SPDX-License-Identifier: Apache-2.0
 * Forms as OAuth sends them: what is read from one, and what is refused (attack H09). */
#include "service/http/http.h"

#include "tests/unit/base/check.h"

#include <stddef.h>
#include <stdio.h>

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

struct bound {
    struct str grant_type, scope;
    struct str_list resource, audience;
};

#define AT(member) offsetof(struct bound, member)
static const struct json_field table[] = {{"grant_type", BIND_STR, AT(grant_type), false, 0, 64, 0},
                                          {"scope", BIND_STR, AT(scope), false, 0, 64, 0},
                                          {"resource", BIND_STR_LIST, AT(resource), false, 0, 4, 64},
                                          {"audience", BIND_STR_LIST, AT(audience), false, 0, 4, 64}};
#undef AT
static const char *const repeatable[] = {"resource", "audience", NULL};

#define FORM "application/x-www-form-urlencoded"

static struct http_request request(void **state, const char *type, struct str body)
{
    return (struct http_request){.arena = *state, .content_type = str_of(type), .body = body};
}

static struct err bind_n(void **state, struct str body, struct bound *out)
{
    struct http_request r = request(state, FORM, body);
    *out = (struct bound){.scope = {NULL, 0}};
    return http_bind_form(&r, table, COUNT(table), repeatable, out);
}

static struct err bind(void **state, const char *body, struct bound *out)
{
    return bind_n(state, str_of(body), out);
}

static void test_values_are_decoded(void **state)
{
    struct bound b;
    assert_ok(bind(
        state, "grant_type=urn%3Aietf%3aparams&scope=a+b%20c%2B%26%3d&resource=https%3A%2F%2Fx.example%2F%C3%A4", &b));
    assert_str(b.grant_type, "urn:ietf:params");
    assert_str(b.scope, "a b c+&=");
    assert_int_equal(1, b.resource.n);
    assert_str(b.resource.v[0], "https://x.example/\xc3\xa4");
    assert_null(b.audience.v);
    /* Everything behind the first '=' is the value, and names are encoded too. */
    assert_ok(bind(state, "grant%5Ftype=a=b==", &b));
    assert_str(b.grant_type, "a=b==");
}

static void test_repeatable_parameters_keep_their_order(void **state)
{
    struct bound b;
    assert_ok(bind(state, "resource=r1&audience=a1&scope=s&resource=r2&audience=&resource=r1&resource", &b));
    assert_int_equal(3, b.resource.n);
    assert_str(b.resource.v[0], "r1");
    assert_str(b.resource.v[1], "r2");
    assert_str(b.resource.v[2], "r1");
    assert_int_equal(1, b.audience.n);
    assert_str(b.audience.v[0], "a1");
    assert_str(b.scope, "s");
}

/* RFC 6749 section 3.1: sent without a value, treated as if omitted. */
static void test_what_has_no_value_is_left_out(void **state)
{
    static const char *const forms[] = {"", "scope=", "scope", "scope&resource=&audience&resource",
                                        "grant_type=&scope="};
    for (size_t i = 0; i < COUNT(forms); i++) {
        struct bound b;
        assert_ok(bind(state, forms[i], &b));
        if (b.scope.p != NULL || b.grant_type.p != NULL || b.resource.v != NULL || b.audience.v != NULL)
            fail_msg("not left out: %s", forms[i]);
    }
}

static void test_unknown_parameters_are_ignored(void **state)
{
    struct bound b;
    assert_ok(bind(state, "foo=1&scope=s&Scope=t&scope%20=u&bar", &b));
    assert_str(b.scope, "s");
}

static void test_repeated_parameters_are_refused_by_name(void **state)
{
    static const struct {
        const char *form, *name;
    } cases[] = {{"scope=a&scope=a", "'scope'"},
                 {"scope=a&grant_type=x&scope=b", "'scope'"},
                 {"scope=a&%73cope=b", "'scope'"},
                 {"scope=&scope=a", "'scope'"},
                 {"scope&scope", "'scope'"},
                 {"scope=a&scope", "'scope'"},
                 {"foo=1&foo=2", "'foo'"},
                 {"resource=a&foo&resource=b&foo=", "'foo'"},
                 {"resources=a&resources=b", "'resources'"},
                 {"f%22%0A%C3%A4=1&f%22%0a%c3%a4=2", "'f\"??"
                                                     "?'"}};
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct bound b;
        assert_fails_with(ERR_INVALID_REQUEST, cases[i].name, bind(state, cases[i].form, &b));
    }
}

static void test_a_name_is_quoted_in_part_only(void **state)
{
    enum { LONG = 300, QUOTED = 64 };
    char form[2 * LONG + 8], quoted[QUOTED + 2], more[QUOTED + 2];
    memset(form, 'n', sizeof form);
    form[LONG] = '&';
    form[2 * LONG + 1] = '\0';
    (void)snprintf(quoted, sizeof quoted, "%.*s'", QUOTED, form);
    (void)snprintf(more, sizeof more, "%.*s", QUOTED + 1, form);
    struct bound b;
    struct err e = bind(state, form, &b);
    assert_int_equal(ERR_INVALID_REQUEST, e.code);
    assert_non_null(strstr(e.detail, quoted));
    assert_null(strstr(e.detail, more));
}

static void test_ill_formed_text_is_refused(void **state)
{
    static const char *const bad[] = {"scope=%",
                                      "scope=%2",
                                      "scope=%zz",
                                      "scope=%2g",
                                      "scope=%00",
                                      "scope=a%00b",
                                      "scope=%ff",
                                      "scope=%c0%af",
                                      "scope=%c0%80",
                                      "scope=\xe4",
                                      "scope=\xc3",
                                      "scope=%ed%a0%80",
                                      "unknown=%",
                                      "unknown=%00",
                                      "%=a",
                                      "%00=a",
                                      "%ff=a",
                                      "scope%=a",
                                      "=a",
                                      "=",
                                      "&",
                                      "scope=a&",
                                      "&scope=a",
                                      "scope=a&&grant_type=b",
                                      "scope=a%26%zz",
                                      "a=1&resource=%f4%90%80%80"};
    for (size_t i = 0; i < COUNT(bad); i++) {
        struct bound b;
        struct err e = bind(state, bad[i], &b);
        if (e.code != ERR_INVALID_REQUEST)
            fail_msg("%s: %s", bad[i], err_name(e.code));
    }
    struct bound b;
    assert_fails_with(ERR_INVALID_REQUEST, "'resource'", bind(state, "resource=%f4%90%80%80", &b));
    assert_fails_with(ERR_INVALID_REQUEST, "'scope'", bind_n(state, STR("scope=a\0b"), &b));
    assert_fails(ERR_INVALID_REQUEST, bind_n(state, STR("sco\0pe=a"), &b));
}

static void test_limits(void **state)
{
    struct bound b;
    char form[4096];
    size_t n = 0;
    for (int i = 0; i < 64; i++)
        n += (size_t)snprintf(form + n, sizeof form - n, "%sp%d=%d", i > 0 ? "&" : "", i, i);
    assert_ok(bind(state, form, &b));
    (void)snprintf(form + n, sizeof form - n, "&last");
    assert_fails_with(ERR_INVALID_REQUEST, "64", bind(state, form, &b));
    /* Those of the table, with the name. */
    assert_fails_with(ERR_INVALID_REQUEST, "resource",
                      bind(state, "resource=1&resource=2&resource=3&resource=4&resource=5", &b));
    memset(form, 's', 128);
    memcpy(form, "scope=", 6);
    form[128] = '\0';
    assert_fails_with(ERR_INVALID_REQUEST, "scope", bind(state, form, &b));
}

static void test_content_types(void **state)
{
    static const char *const good[] = {FORM, "Application/X-WWW-Form-Urlencoded", FORM "; charset=UTF-8",
                                       FORM ";charset=\"utf-8\""};
    static const char *const bad[] = {NULL,
                                      "",
                                      "application/json",
                                      "multipart/form-data; boundary=x",
                                      "text/plain",
                                      FORM ";",
                                      FORM "; charset=iso-8859-1",
                                      FORM "; charset=utf-7",
                                      FORM "; charset=utf-8; charset=utf-16",
                                      FORM ", application/json",
                                      FORM "x",
                                      "x" FORM};
    struct bound b = {.scope = {NULL, 0}};
    for (size_t i = 0; i < COUNT(good); i++) {
        struct http_request r = request(state, good[i], STR("scope=a"));
        assert_ok(http_bind_form(&r, table, COUNT(table), repeatable, &b));
    }
    for (size_t i = 0; i < COUNT(bad); i++) {
        struct http_request r = request(state, bad[i], STR("scope=a"));
        assert_fails_with(ERR_UNSUPPORTED_MEDIA, FORM, http_bind_form(&r, table, COUNT(table), repeatable, &b));
    }
}

static void test_parameters_in_the_query_are_refused(void **state)
{
    struct bound b = {.scope = {NULL, 0}};
    struct http_request r = request(state, FORM, STR("scope=a"));
    r.query = STR("grant_type=client_credentials");
    assert_fails_with(ERR_INVALID_REQUEST, "query", http_bind_form(&r, table, COUNT(table), repeatable, &b));
    assert_null(b.scope.p);
}

static void test_an_exhausted_arena(void **state)
{
    struct arena *a = *state;
    assert_non_null(arena_alloc(a, arena_max(a) - arena_used(a) - 256));
    struct bound b;
    assert_fails(ERR_NO_MEMORY, bind(state, "scope=a&grant_type=b&resource=c&audience=d&e=f", &b));
}

#define FORM_TEST(name) cmocka_unit_test_setup_teardown(name, make_arena, drop_arena)

int main(void)
{
    const struct CMUnitTest tests[] = {
        FORM_TEST(test_values_are_decoded),
        FORM_TEST(test_repeatable_parameters_keep_their_order),
        FORM_TEST(test_what_has_no_value_is_left_out),
        FORM_TEST(test_unknown_parameters_are_ignored),
        FORM_TEST(test_repeated_parameters_are_refused_by_name),
        FORM_TEST(test_a_name_is_quoted_in_part_only),
        FORM_TEST(test_ill_formed_text_is_refused),
        FORM_TEST(test_limits),
        FORM_TEST(test_content_types),
        FORM_TEST(test_parameters_in_the_query_are_refused),
        FORM_TEST(test_an_exhausted_arena),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
