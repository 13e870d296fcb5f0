/* SPDX-License-Identifier: Apache-2.0 */
#include "service/core/issuer_rules.h"

#include "base/buf.h"
#include "tests/unit/base/check.h"

static const struct issuer_site away = {{"https://broker.example", 22}, false};
static const struct issuer_site home = {{"http://127.0.0.1:8080", 21}, true};

static int open_arena(void **state)
{
    struct arena *a = NULL;
    assert_ok(arena_new(1 << 20, &a));
    *state = a;
    return 0;
}

static int close_arena(void **state)
{
    struct arena *a = *state;
    arena_free(&a);
    return 0;
}

/* prefix, then as many letters as make n bytes. */
static struct str long_text(struct arena *a, const char *prefix, size_t n)
{
    struct buf b = buf_in(a, n);
    buf_cstr(&b, prefix);
    while (b.n < n)
        buf_char(&b, 'x');
    assert_ok(buf_status(&b));
    return buf_view(&b);
}

static struct err issuer_at(const struct issuer_site *site, struct arena *a, struct str url)
{
    struct issuer i = {.issuer = url};
    return issuer_check(site, a, &i);
}

static struct err uri_at(const struct issuer_site *site, struct arena *a, struct str url)
{
    struct issuer i = {.jwks_uri = url};
    return issuer_check(site, a, &i);
}

static void urls_that_are_accepted(void **state)
{
    static const char *const good[] = {
        "https://accounts.example.com",
        "https://login.example/0a1b/v2.0",
        "https://tenant.eu.example/",
        "https://LOGIN.Example:8443/a%20b",
        "https://10.0.0.1/realm",
        "https://[2001:db8::1]:8443",
        "https://my_idp",
        "https://xn--bcher-kva.example",
        "https://a.example:65535/~user/@x:y",
        "https://localhost",
    };
    static const char *const loopback[] = {
        "http://localhost",        "http://LOCALHOST:9000/x", "http://127.0.0.1:1",
        "http://127.255.255.254/", "http://[::1]:80",
    };
    for (size_t i = 0; i < COUNT(good); i++) {
        assert_ok(issuer_at(&away, *state, str_of(good[i])));
        assert_ok(uri_at(&home, *state, str_of(good[i])));
    }
    for (size_t i = 0; i < COUNT(loopback); i++) {
        assert_ok(issuer_at(&home, *state, str_of(loopback[i])));
        assert_fails_with(ERR_INVALID_ISSUER, "https://", issuer_at(&away, *state, str_of(loopback[i])));
        assert_fails_with(ERR_INVALID_REQUEST, "\"jwks_uri\"", uri_at(&away, *state, str_of(loopback[i])));
    }
    assert_ok(issuer_at(&away, *state, long_text(*state, "https://a.example/", ISSUER_URL_MAX)));
    assert_ok(uri_at(&away, *state, long_text(*state, "https://a.example/?", ISSUER_JWKS_URI_MAX)));
}

static const char *const bad_urls[] = {
    "",
    "https://",
    "https:///x",
    "https://?x",
    "https:/a.example",
    "HTTPS://a.example",
    "a.example",
    "ftp://a.example",
    "file:///etc/passwd",
    "http://a.example",
    "http://localhost.example",
    "http://127.0.0.1.example",
    "http://128.0.0.1",
    "http://[::2]",
    "http://0.0.0.0",
    "https://a.example#x",
    "https://user@a.example",
    "https://user:pass@a.example",
    "https://a.example:",
    "https://a.example:0",
    "https://a.example:65536",
    "https://a.example:000001",
    "https://a.example:8o",
    "https://a.example:1:2",
    "https://a%2eexample",
    "https://.example",
    "https://a..example",
    "https://a.example.",
    "https://127.1",
    "https://2130706433",
    "https://0x7f.1",
    "https://1.2.3.256",
    "https://[::1",
    "https://::1",
    "https://[::1]x",
    "https://[]",
    "https://[1.2.3.4]",
    "https://[fe80::1%25eth0]",
    "https://a.example/a b",
    "https://a.example/\"",
    "https://a.example/<",
    "https://a.example\\b",
    "https://a.example/{x}",
    "https://a.example/\x7f",
    "https://a.example/\xc3\xa4",
    "https://\xc3\xa4.example",
    "https://a.example/\n",
    " https://a.example",
};

static void urls_that_are_refused(void **state)
{
    for (size_t i = 0; i < COUNT(bad_urls); i++) {
        assert_fails_with(ERR_INVALID_ISSUER, "field \"issuer\"", issuer_at(&home, *state, str_of(bad_urls[i])));
        assert_fails_with(ERR_INVALID_REQUEST, "field \"jwks_uri\"", uri_at(&home, *state, str_of(bad_urls[i])));
    }
    assert_fails_with(ERR_INVALID_ISSUER, "query", issuer_at(&away, *state, STR("https://a.example?x")));
    assert_fails_with(ERR_INVALID_ISSUER, "query", issuer_at(&away, *state, STR("https://a.example/?")));
    assert_fails_with(ERR_INVALID_ISSUER, "itself", issuer_at(&away, *state, away.own));
    assert_fails_with(ERR_INVALID_ISSUER, "itself", issuer_at(&home, *state, home.own));
    assert_fails_with(ERR_INVALID_ISSUER, "512",
                      issuer_at(&away, *state, long_text(*state, "https://a.example/", ISSUER_URL_MAX + 1)));
    assert_fails_with(ERR_INVALID_REQUEST, "1024",
                      uri_at(&away, *state, long_text(*state, "https://a.example/", ISSUER_JWKS_URI_MAX + 1)));
    struct str host = long_text(*state, "https://", 8 + 254);
    assert_fails(ERR_INVALID_ISSUER, issuer_at(&away, *state, host));
}

static void algorithms_are_ours_and_each_once(void **state)
{
    struct str all[] = {STR("ES256"), STR("ES384"), STR("PS256"), STR("RS256"), STR("EdDSA")};
    struct issuer i = {.algorithms = {all, COUNT(all)}};
    assert_ok(issuer_check(&away, *state, &i));
    static const char *const bad[] = {"none", "HS256", "es256", "RS512", "ES256 ", "", "ES256"};
    for (size_t k = 0; k < COUNT(bad); k++) {
        struct str two[] = {STR("ES256"), str_of(bad[k])};
        i.algorithms = (struct str_list){two, 2};
        assert_fails_with(ERR_INVALID_REQUEST, "\"algorithms\": item 1", issuer_check(&away, *state, &i));
    }
}

static void the_audience_is_visible(void **state)
{
    struct str good[] = {STR("a"), STR("https://broker.example"), long_text(*state, "", AUDIENCE_MAX)};
    struct str bad[] = {STR(""),         STR("a b"),   STR("a\t"),
                        STR("\xc3\xa4"), STR("a\x7f"), long_text(*state, "", AUDIENCE_MAX + 1)};
    for (size_t k = 0; k < COUNT(good); k++) {
        struct issuer i = {.audience = good[k]};
        assert_ok(issuer_check(&away, *state, &i));
    }
    for (size_t k = 0; k < COUNT(bad); k++) {
        struct issuer i = {.audience = bad[k]};
        assert_fails_with(ERR_INVALID_REQUEST, "\"audience\"", issuer_check(&away, *state, &i));
    }
}

static void typ_is_of_users_tokens(void **state)
{
    struct issuer i = {.typ = STR("AT+JWT")};
    assert_ok(issuer_check(&away, *state, &i));
    assert_str(i.typ, "at+jwt");
    i.typ = long_text(*state, "", ISSUER_TYP_MAX);
    assert_ok(issuer_check(&away, *state, &i));
    struct str bad[] = {STR(""),
                        STR("application/jwt"),
                        STR("a b"),
                        STR("a_b"),
                        STR("\xc3\xa4"),
                        long_text(*state, "", ISSUER_TYP_MAX + 1),
                        STR("client-authentication+jwt"),
                        STR("DPoP+jwt"),
                        STR("nexus-call+jwt"),
                        STR("nexus-selftest+jwt"),
                        STR("Nexus-else"),
                        STR("token-introspection+jwt"),
                        STR("OAuth-ID-JAG+JWT")};
    for (size_t k = 0; k < COUNT(bad); k++) {
        i.typ = bad[k];
        assert_fails_with(ERR_INVALID_REQUEST, "\"typ\"", issuer_check(&away, *state, &i));
    }
}

static void claims_are_found_by_pointers(void **state)
{
    struct issuer i = {.claim_user_id = STR("/sub"),
                       .claim_tenant_id = STR("/https:~1~1a.example~1tenant"),
                       .claim_clearance = STR("/a/0/"),
                       .claim_permissions = long_text(*state, "/", POINTER_MAX)};
    assert_ok(issuer_check(&away, *state, &i));
    struct str bad[] = {STR(""),      STR("sub"),   STR("/a~"),
                        STR("/a~2b"), STR("#/sub"), long_text(*state, "/", POINTER_MAX + 1)};
    for (size_t k = 0; k < COUNT(bad); k++) {
        struct issuer u = {.claim_user_id = bad[k]}, t = {.claim_tenant_id = bad[k]}, c = {.claim_clearance = bad[k]},
                      p = {.claim_permissions = bad[k]};
        assert_fails_with(ERR_INVALID_REQUEST, "\"user_id\"", issuer_check(&away, *state, &u));
        assert_fails_with(ERR_INVALID_REQUEST, "\"tenant_id\"", issuer_check(&away, *state, &t));
        assert_fails_with(ERR_INVALID_REQUEST, "\"clearance_level\"", issuer_check(&away, *state, &c));
        assert_fails_with(ERR_INVALID_REQUEST, "\"permissions\"", issuer_check(&away, *state, &p));
    }
}

static void scopes_have_names_for_a_path(void **state)
{
    struct str out;
    assert_ok(scope_name_check(*state, STR(" acme:fly? "), &out));
    assert_str(out, "acme:fly?");
    assert_ok(scope_name_check(*state, STR("..."), &out));
    assert_ok(scope_name_check(*state, long_text(*state, "", 128), &out));
    struct str bad[] = {STR(""),    STR(" "),        STR("a b"), STR("a\"b"), STR("a\\b"),
                        STR("a/b"), STR("\xc3\xa4"), STR("."),   STR(".."),   long_text(*state, "", 129)};
    for (size_t k = 0; k < COUNT(bad); k++)
        assert_fails_with(ERR_INVALID_SCOPE, "\"name\"", scope_name_check(*state, bad[k], &out));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(urls_that_are_accepted),
        cmocka_unit_test(urls_that_are_refused),
        cmocka_unit_test(algorithms_are_ours_and_each_once),
        cmocka_unit_test(the_audience_is_visible),
        cmocka_unit_test(typ_is_of_users_tokens),
        cmocka_unit_test(claims_are_found_by_pointers),
        cmocka_unit_test(scopes_have_names_for_a_path),
    };
    return cmocka_run_group_tests(tests, open_arena, close_arena);
}
