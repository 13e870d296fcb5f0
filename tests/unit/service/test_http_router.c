/* SPDX-License-Identifier: Apache-2.0 */
#include "service/server/router.h"

#include "service/server/server.h"
#include "tests/unit/base/check.h"

#include <stdio.h>

static struct route_table table(void)
{
    struct route_table t;
    t.v = server_routes(&t.n);
    return t;
}

static struct route_match find(enum http_method m, const char *path)
{
    struct route_table t = table();
    struct route_match out;
    router_find(&t, m, str_of(path), &out);
    return out;
}

static void test_every_route_is_found_and_well_formed(void **state)
{
    (void)state;
    struct route_table t = table();
    assert_true(t.n > 0);
    for (size_t i = 0; i < t.n; i++) {
        const struct api_route *r = &t.v[i];
        struct route_match m = find(r->method, r->pattern);
        assert_ptr_equal(r, m.route);
        assert_true((r->handler == NULL) != (r->inline_handler == NULL));
        /* Only a worker can look up an API key. */
        assert_true(r->roles == 0 || r->handler != NULL);
        assert_true(strncmp(r->pattern, "/admin/", 7) != 0 || r->roles != 0);
    }
}

static void test_arguments(void **state)
{
    (void)state;
    struct route_match m = find(HTTP_PATCH, "/admin/v1/agents/a%20b");
    assert_non_null(m.route);
    assert_str(m.args[0], "a%20b");
    assert_null(m.args[1].p);
}

static void test_what_the_open_end_of_a_pattern_fits(void **state)
{
    (void)state;
    static const struct api_route routes[] = {{HTTP_GET, "/a", 0, .handler = NULL},
                                              {HTTP_GET, "/a/*", 0, .handler = NULL},
                                              {HTTP_GET, "/b/{id}", 0, .handler = NULL}};
    const struct route_table t = {routes, COUNT(routes)};
    static const struct {
        const char *path;
        int route;
    } cases[] = {{"/a", 0},   {"/a/x", 1}, {"/a/x/y", 1}, {"/a/x/", 1},  {"/a/%2f", 1},  {"/a//", 1},
                 {"/a/", -1}, {"/ab", -1}, {"/ab/x", -1}, {"//a/x", -1}, {"/b/x/y", -1}, {"a/x", -1}};
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct route_match m;
        router_find(&t, HTTP_GET, str_of(cases[i].path), &m);
        const struct api_route *want = cases[i].route >= 0 ? &routes[cases[i].route] : NULL;
        if (m.route != want || m.args[0].p != NULL)
            fail_msg("%s fits %s", cases[i].path, m.route != NULL ? m.route->pattern : "nothing");
    }
}

/* Whatever is wrong with a request to such a path, the refusal has OAuth's form. */
static void test_oauth_endpoints_are_known_by_their_path(void **state)
{
    (void)state;
    assert_true(find(HTTP_POST, "/oauth/token").oauth);
    assert_true(find(HTTP_OTHER, "/oauth/token").oauth);
    assert_null(find(HTTP_GET, "/oauth/token").route);
    assert_true(find(HTTP_GET, "/oauth/introspect").oauth);
    assert_true(find(HTTP_POST, "/oauth/revoke").oauth);
    static const char *const others[] = {"/oauth", "/oauth/", "/oauth/other", "/v1/agent-sessions", "/health"};
    for (size_t i = 0; i < COUNT(others); i++)
        assert_false(find(HTTP_POST, others[i]).oauth);
}

static void test_other_paths_are_not_found(void **state)
{
    (void)state;
    static const char *const paths[] = {"/",
                                        "",
                                        "/admin",
                                        "/admin/v1/agents/",
                                        "/admin/v1/agents//",
                                        "/admin/v1/agents/a/b",
                                        "/admin//v1/agents",
                                        "/Admin/v1/agents",
                                        "/%61dmin/v1/agents",
                                        "//health",
                                        "/health/",
                                        "/healthy",
                                        "/healt",
                                        "health"};
    for (size_t i = 0; i < COUNT(paths); i++) {
        struct route_match m = find(HTTP_GET, paths[i]);
        if (m.route != NULL || m.allow[0] != '\0')
            fail_msg("found: %s", paths[i]);
    }
}

static void test_head_is_served_by_get_and_allow_is_complete(void **state)
{
    (void)state;
    assert_ptr_equal(find(HTTP_GET, "/health").route, find(HTTP_HEAD, "/health").route);
    assert_null(find(HTTP_HEAD, "/v1/agent-sessions").route);
    struct route_match m = find(HTTP_OTHER, "/admin/v1/agents/x");
    assert_null(m.route);
    assert_string_equal("GET, HEAD, PATCH, DELETE", m.allow);
    assert_string_equal("POST", find(HTTP_GET, "/v1/agent-sessions").allow);
}

static void test_methods_are_case_sensitive(void **state)
{
    (void)state;
    assert_int_equal(HTTP_GET, router_method(STR("GET")));
    assert_int_equal(HTTP_DELETE, router_method(STR("DELETE")));
    assert_int_equal(HTTP_OTHER, router_method(STR("get")));
    assert_int_equal(HTTP_OTHER, router_method(STR("OTHER")));
    assert_int_equal(HTTP_OTHER, router_method(STR("")));
}

static void test_decoding_arguments(void **state)
{
    (void)state;
    struct arena *a CLEANUP(arena_free) = NULL;
    assert_ok(arena_new(65536, &a));
    struct str out;
    assert_ok(router_decode_arg(a, STR("a%20b+%c3%A4"), &out));
    assert_str(out, "a b+\xc3\xa4");
    static const char *const bad[] = {"",   "a%2fb", "a%2Fb", "%00",    "%0a",       "%7F",          "%",
                                      "%2", "%2g",   "%ff",   "%c0%af", "%ed%a0%80", "%f4%90%80%80", "%e4"};
    for (size_t i = 0; i < COUNT(bad); i++)
        assert_fails(ERR_INVALID_REQUEST, router_decode_arg(a, str_of(bad[i]), &out));
    char text[2 * ROUTE_SEGMENT_MAX];
    memset(text, 'a', sizeof text);
    assert_ok(router_decode_arg(a, (struct str){text, ROUTE_SEGMENT_MAX}, &out));
    assert_fails(ERR_INVALID_REQUEST, router_decode_arg(a, (struct str){text, ROUTE_SEGMENT_MAX + 1}, &out));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_route_is_found_and_well_formed),
        cmocka_unit_test(test_arguments),
        cmocka_unit_test(test_what_the_open_end_of_a_pattern_fits),
        cmocka_unit_test(test_oauth_endpoints_are_known_by_their_path),
        cmocka_unit_test(test_other_paths_are_not_found),
        cmocka_unit_test(test_head_is_served_by_get_and_allow_is_complete),
        cmocka_unit_test(test_methods_are_case_sensitive),
        cmocka_unit_test(test_decoding_arguments),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
