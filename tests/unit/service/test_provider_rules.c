/* SPDX-License-Identifier: Apache-2.0 */
#include "service/core/provider_rules.h"

#include "base/buf.h"
#include "service/core/uuid.h"
#include "tests/unit/base/check.h"

static int open_arena(void **state)
{
    struct arena *a = NULL;
    assert_ok(arena_new(4 << 20, &a));
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

static struct provider oauth2(void)
{
    return (struct provider){.id = STR("00000000-0000-4000-8000-000000000000"),
                             .name = STR("acme-mail"),
                             .auth = PROVIDER_OAUTH2,
                             .client_id = STR("client"),
                             .auth_url = STR("https://acme.example/authorize?prompt=consent"),
                             .token_url = STR("https://acme.example/token")};
}

static struct provider of_type(enum provider_auth auth)
{
    return (struct provider){.name = STR("acme"), .auth = auth};
}

static void names_lead_back(void **state)
{
    (void)state;
    for (int i = 0; i < PROVIDER_AUTH_COUNT; i++) {
        enum provider_auth got = PROVIDER_OAUTH2;
        assert_ok(provider_auth_parse(str_of(provider_auth_name((enum provider_auth)i)), &got));
        assert_int_equal(got, i);
    }
    for (int i = 0; i < DOWNSCOPE_COUNT; i++) {
        enum downscope got = DOWNSCOPE_NONE;
        assert_ok(downscope_parse(str_of(downscope_name((enum downscope)i)), &got));
        assert_int_equal(got, i);
    }
    enum provider_auth auth = PROVIDER_HEADER;
    enum downscope downscope = DOWNSCOPE_REFRESH;
    assert_ok(provider_auth_parse(STR(""), &auth));
    assert_ok(downscope_parse(STR(""), &downscope));
    assert_true(auth == PROVIDER_OAUTH2 && downscope == DOWNSCOPE_NONE);
    assert_fails_with(ERR_INVALID_REQUEST, "saml is not served", provider_auth_parse(STR("saml"), &auth));
    assert_fails_with(ERR_INVALID_REQUEST, "\"auth_type\"", provider_auth_parse(STR("OAuth2"), &auth));
    assert_fails_with(ERR_INVALID_REQUEST, "\"auth_type\"", provider_auth_parse(STR("mtls"), &auth));
    assert_fails_with(ERR_INVALID_REQUEST, "\"downscope\"", downscope_parse(STR("both"), &downscope));
}

static void names_of_providers(void **state)
{
    static const char *const good[] = {"a", "0", "-", "acme-mail", "google-2"};
    static const char *const bad[] = {"", "Acme", "a b", "a_b", "a.b", "a/b", "\xc3\xa4", "acme\n"};
    struct provider p = of_type(PROVIDER_API_KEY);
    for (size_t i = 0; i < COUNT(good); i++) {
        p.name = str_of(good[i]);
        assert_ok(provider_check(*state, false, &p));
    }
    for (size_t i = 0; i < COUNT(bad); i++) {
        p.name = str_of(bad[i]);
        assert_fails_with(ERR_INVALID_PROVIDER_NAME, "\"name\"", provider_check(*state, false, &p));
    }
    p.name = (struct str){NULL, 0};
    assert_fails(ERR_INVALID_PROVIDER_NAME, provider_check(*state, false, &p));
    p.name = long_text(*state, "", PROVIDER_NAME_MAX);
    assert_ok(provider_check(*state, false, &p));
    p.name = long_text(*state, "", PROVIDER_NAME_MAX + 1);
    assert_fails(ERR_INVALID_PROVIDER_NAME, provider_check(*state, false, &p));
}

static void oauth2_needs_its_client_and_endpoints(void **state)
{
    static const struct str none = {NULL, 0};
    struct provider p = oauth2();
    assert_ok(provider_check(*state, true, &p));
    assert_fails_with(ERR_INVALID_REQUEST, "\"client_secret\"", provider_check(*state, false, &p));
    p.client_id = none;
    assert_fails_with(ERR_INVALID_REQUEST, "\"client_id\"", provider_check(*state, true, &p));
    p = oauth2();
    p.auth_url = none;
    assert_fails_with(ERR_INVALID_REQUEST, "\"auth_url\"", provider_check(*state, true, &p));
    p = oauth2();
    p.token_url = none;
    assert_fails_with(ERR_INVALID_REQUEST, "\"token_url\"", provider_check(*state, true, &p));
    p.auth_url = none;
    p.issuer = STR("https://acme.example");
    assert_fails_with(ERR_INVALID_REQUEST, "enable_discovery", provider_check(*state, true, &p));
    /* An issuer beside the endpoints says whose id_tokens are accepted. */
    p = oauth2();
    p.issuer = STR("https://acme.example");
    assert_ok(provider_check(*state, true, &p));
    assert_str(p.auth_url, "https://acme.example/authorize?prompt=consent");
}

static void discovery_needs_an_issuer_alone(void **state)
{
    struct provider p = oauth2();
    p.enable_discovery = true;
    assert_fails_with(ERR_INVALID_REQUEST, "\"issuer\"", provider_check(*state, true, &p));
    p.issuer = STR("https://acme.example/tenant");
    assert_ok(provider_check(*state, true, &p));
    assert_true(p.auth_url.p == NULL && p.token_url.p == NULL);
}

static void other_types_need_a_name(void **state)
{
    for (int auth = PROVIDER_OAUTH2 + 1; auth < PROVIDER_AUTH_COUNT; auth++) {
        struct provider p = of_type((enum provider_auth)auth);
        assert_ok(provider_check(*state, false, &p));
        assert_ok(provider_check(*state, true, &p));
    }
}

static void auth_header_means_two_things(void **state)
{
    static const char *const ways[] = {"client_secret_post", "client_secret_basic", "Basic"};
    static const char *const headers[] = {"X-API-Key", "Authorization", "x_1"};
    static const char *const bad[] = {"X API", "X-Key:",         "\xc3\xa4",         "a\r\nb",
                                      "Host",  "content-length", "TRANSFER-ENCODING"};
    struct provider client = oauth2(), key = of_type(PROVIDER_API_KEY);
    for (size_t i = 0; i < COUNT(ways); i++) {
        client.auth_header = str_of(ways[i]);
        assert_ok(provider_check(*state, true, &client));
    }
    for (size_t i = 0; i < COUNT(headers); i++) {
        key.auth_header = client.auth_header = str_of(headers[i]);
        assert_ok(provider_check(*state, false, &key));
        assert_fails_with(ERR_INVALID_REQUEST, "\"auth_header\"", provider_check(*state, true, &client));
    }
    for (size_t i = 0; i < COUNT(bad); i++) {
        key.auth_header = str_of(bad[i]);
        assert_fails_with(ERR_INVALID_REQUEST, "\"auth_header\"", provider_check(*state, false, &key));
    }
}

static void texts_have_limits(void **state)
{
    const struct {
        const char *name;
        size_t offset, max;
        const char *prefix;
    } fields[] = {
        {"description", offsetof(struct provider, description), 1024, "\xc3\xa4\n"},
        {"category", offsetof(struct provider, category), PROVIDER_CATEGORY_MAX, ""},
        {"client_id", offsetof(struct provider, client_id), PROVIDER_CLIENT_ID_MAX, "a b~"},
        {"auth_url", offsetof(struct provider, auth_url), PROVIDER_URL_MAX, "https://a.example/?"},
        {"token_url", offsetof(struct provider, token_url), PROVIDER_URL_MAX, "https://a.example/?"},
        {"issuer", offsetof(struct provider, issuer), PROVIDER_URL_MAX, "https://a.example/"},
        {"api_base_url", offsetof(struct provider, api_base_url), PROVIDER_URL_MAX, "https://a.example/"},
        {"user_info_endpoint", offsetof(struct provider, user_info_endpoint), PROVIDER_URL_MAX, "/me?"},
    };
    for (size_t i = 0; i < COUNT(fields); i++) {
        struct provider p = oauth2();
        struct str longest = long_text(*state, fields[i].prefix, fields[i].max);
        memcpy((char *)&p + fields[i].offset, &longest, sizeof longest);
        assert_ok(provider_check(*state, true, &p));
        p = oauth2();
        struct str longer = long_text(*state, fields[i].prefix, fields[i].max + 1);
        memcpy((char *)&p + fields[i].offset, &longer, sizeof longer);
        assert_fails_with(ERR_INVALID_REQUEST, fields[i].name, provider_check(*state, true, &p));
    }
    struct provider p = oauth2();
    p.client_id = STR("a\tb");
    assert_fails_with(ERR_INVALID_REQUEST, "\"client_id\"", provider_check(*state, true, &p));
    p.client_id = STR("\xc3\xa4");
    assert_fails_with(ERR_INVALID_REQUEST, "\"client_id\"", provider_check(*state, true, &p));
    assert_ok(provider_secret_check(long_text(*state, " ~", PROVIDER_SECRET_MAX)));
    assert_fails_with(ERR_INVALID_REQUEST, "\"client_secret\"",
                      provider_secret_check(long_text(*state, "", PROVIDER_SECRET_MAX + 1)));
    assert_fails_with(ERR_INVALID_REQUEST, "\"client_secret\"", provider_secret_check(STR("a\nb")));
    struct str scopes[] = {STR(" read "), STR("read"), STR("https://a.example/x")};
    p = oauth2();
    p.scopes = (struct str_list){scopes, COUNT(scopes)};
    assert_ok(provider_check(*state, true, &p));
    assert_int_equal(p.scopes.n, 2);
    scopes[0] = STR("a b");
    p.scopes = (struct str_list){scopes, COUNT(scopes)};
    assert_fails_with(ERR_INVALID_SCOPE, "\"scopes\"", provider_check(*state, true, &p));
}

/* What the broker sets by itself cannot come in by another way. */
static const char *const reserved[] = {"client_id", "redirect_uri",   "response_type",         "state",
                                       "scope",     "code_challenge", "code_challenge_method", "nonce",
                                       "resource",  "request",        "request_uri",           "client_secret"};

static struct err with_auth_url(struct arena *a, struct str url)
{
    struct provider p = oauth2();
    p.auth_url = url;
    return provider_check(a, true, &p);
}

static void the_query_of_auth_url_overrides_nothing(void **state)
{
    struct arena *a = *state;
    for (size_t i = 0; i < COUNT(reserved); i++) {
        assert_fails_with(ERR_INVALID_REQUEST, "\"auth_url\"",
                          with_auth_url(a, arena_printf(a, "https://a.example/x?%s=1", reserved[i])));
        assert_fails_with(ERR_INVALID_REQUEST, reserved[i],
                          with_auth_url(a, arena_printf(a, "https://a.example?a=1&&%s", reserved[i])));
        assert_ok(
            with_auth_url(a, arena_printf(a, "https://a.example/%s?x%s=%s", reserved[i], reserved[i], reserved[i])));
    }
    assert_fails_with(ERR_INVALID_REQUEST, "state", with_auth_url(a, STR("https://a.example?STATE=1")));
    assert_fails_with(ERR_INVALID_REQUEST, "percent", with_auth_url(a, STR("https://a.example?st%61te=1")));
    assert_ok(with_auth_url(a, STR("https://a.example?")));
    assert_ok(with_auth_url(a, STR("https://a.example?a=st%61te&b=1&")));
}

static void issuer_and_api_have_no_query(void **state)
{
    struct provider p = oauth2();
    p.issuer = STR("https://a.example?x");
    assert_fails_with(ERR_INVALID_REQUEST, "\"issuer\"", provider_check(*state, true, &p));
    p = oauth2();
    p.api_base_url = STR("https://a.example/v1?x");
    assert_fails_with(ERR_INVALID_REQUEST, "\"api_base_url\"", provider_check(*state, true, &p));
}

static void user_info_is_a_url_or_a_path(void **state)
{
    static const char *const good[] = {"/", "/me?fields=a,b", "/users/{account_id}/{x-1}?k={K}", "/a/{b}"};
    static const char *const bad[] = {"/a b",   "/a#b",    "/\"",    "/{}",       "/{a", "/a}",
                                      "/{a b}", "/{a{b}}", "/{a/b}", "/\xc3\xa4", "/{"};
    struct provider p = of_type(PROVIDER_API_KEY);
    for (size_t i = 0; i < COUNT(good); i++) {
        p.user_info_endpoint = str_of(good[i]);
        assert_true(provider_user_info_is_path(&p));
        assert_ok(provider_check(*state, false, &p));
    }
    for (size_t i = 0; i < COUNT(bad); i++) {
        p.user_info_endpoint = str_of(bad[i]);
        assert_fails_with(ERR_INVALID_REQUEST, "\"user_info_endpoint\"", provider_check(*state, false, &p));
    }
    /* A URL is for net_url_check. */
    p.user_info_endpoint = STR("https://a.example/me");
    assert_false(provider_user_info_is_path(&p));
    assert_ok(provider_check(*state, false, &p));
}

/* --- params */

static struct err read_params(struct arena *a, const char *text, struct provider_params *out)
{
    const struct json *json = NULL;
    assert_ok(json_parse(a, str_bytes(str_of(text)), &json));
    return provider_params_read(a, json, out);
}

static void params_are_taken_apart(void **state)
{
    struct provider_params p;
    assert_ok(read_params(*state, "{}", &p));
    assert_true(!p.skip_scope_on_auth && !p.skip_scope_on_exchange && !p.json_token_request);
    assert_true(p.revocation_endpoint.p == NULL && p.auth_strategy == NULL && p.credential_schema == NULL &&
                p.validation == NULL && p.extra_names.n == 0);
    assert_ok(read_params(*state,
                          "{\"skip_scope_on_auth\":true,\"skip_scope_on_exchange\":true,\"token_request_format\":"
                          "\"json\",\"access_type\":\"offline\",\"revocation_endpoint\":\"https://a.example/r\","
                          "\"auth_strategy\":{\"type\":\"path\"},\"credential_schema\":{\"type\":\"object\"},"
                          "\"validation\":{\"skip\":true},\"prompt\":\"\"}",
                          &p));
    assert_true(p.skip_scope_on_auth && p.skip_scope_on_exchange && p.json_token_request);
    assert_str(p.revocation_endpoint, "https://a.example/r");
    assert_str(json_get(p.auth_strategy, "type")->s, "path");
    assert_true(json_get(p.credential_schema, "type") != NULL && json_get(p.validation, "skip")->b);
    assert_int_equal(p.extra_names.n, 2);
    assert_str(p.extra_names.v[0], "access_type");
    assert_str(p.extra_values.v[0], "offline");
    assert_str(p.extra_names.v[1], "prompt");
    assert_str(p.extra_values.v[1], "");
    assert_ok(read_params(*state, "{\"skip_scope_on_auth\":false,\"token_request_format\":\"form\"}", &p));
    assert_true(!p.skip_scope_on_auth && !p.json_token_request);
}

static void no_parameter_overrides_what_the_broker_sets(void **state)
{
    struct arena *a = *state;
    struct provider_params p;
    for (size_t i = 0; i < COUNT(reserved); i++) {
        assert_fails_with(ERR_INVALID_REQUEST, reserved[i],
                          read_params(a, arena_printf(a, "{\"%s\":\"x\"}", reserved[i]).p, &p));
        assert_ok(read_params(a, arena_printf(a, "{\"x_%s\":\"x\"}", reserved[i]).p, &p));
    }
    assert_fails_with(ERR_INVALID_REQUEST, "Redirect_URI", read_params(a, "{\"Redirect_URI\":\"x\"}", &p));
}

struct refusal {
    const char *text, *word;
};

static void params_that_are_refused(void **state)
{
    static const struct refusal bad[] = {
        {"{\"skip_scope_on_auth\":\"true\"}", "skip_scope_on_auth"},
        {"{\"skip_scope_on_exchange\":1}", "skip_scope_on_exchange"},
        {"{\"token_request_format\":\"xml\"}", "token_request_format"},
        {"{\"token_request_format\":true}", "token_request_format"},
        {"{\"revocation_endpoint\":\"\"}", "revocation_endpoint"},
        {"{\"revocation_endpoint\":{}}", "revocation_endpoint"},
        {"{\"credential_schema\":\"x\"}", "credential_schema"},
        {"{\"validation\":[]}", "validation"},
        {"{\"validation\":{\"skip\":\"no\"}}", "skip"},
        {"{\"validation\":{\"retries\":1}}", "retries"},
        {"{\"validation\":{\"failure_status\":[401,600]}}", "failure_status"},
        {"{\"validation\":{\"failure_status\":[99]}}", "failure_status"},
        {"{\"validation\":{\"failure_status\":[\"401\"]}}", "failure_status"},
        {"{\"validation\":{\"failure_status\":401}}", "failure_status"},
        {"{\"validation\":{\"failure_body_contains\":\"\"}}", "failure_body_contains"},
        {"{\"validation\":{\"success_body_contains\":7}}", "success_body_contains"},
        {"{\"access_type\":true}", "access_type"},
        {"{\"access_type\":null}", "access_type"},
        {"{\"access_type\":[\"a\"]}", "access_type"},
        {"{\"a b\":\"x\"}", "a b"},
        {"{\"a&b\":\"x\"}", "a&b"},
        {"{\"\":\"x\"}", "params"},
        {"{\"auth_strategy\":\"header\"}", "auth_strategy"},
        {"{\"auth_strategy\":{}}", "type"},
        {"{\"auth_strategy\":{\"type\":\"saml\"}}", "auth_strategy.type"},
        {"{\"auth_strategy\":{\"type\":\"header\",\"extra\":1}}", "extra"},
        {"{\"auth_strategy\":{\"type\":\"header\",\"config\":[]}}", "config"},
    };
    struct provider_params p;
    for (size_t i = 0; i < COUNT(bad); i++)
        assert_fails_with(ERR_INVALID_REQUEST, bad[i].word, read_params(*state, bad[i].text, &p));
}

static struct err read_strategy(struct arena *a, const char *type, const char *config)
{
    struct provider_params p;
    struct str text = arena_printf(a, "{\"auth_strategy\":{\"type\":\"%s\",\"config\":%s}}", type, config);
    assert_non_null(text.p);
    return read_params(a, text.p, &p);
}

static void strategies_that_are_accepted(void **state)
{
    static const char *const good[][2] = {
        {"oauth2", "{}"},
        {"path", "{}"},
        {"header", "{}"},
        {"header", "{\"header_name\":\"X-Key\",\"credential_field\":\"api_key\",\"value_prefix\":\"Token \"}"},
        {"header", "{\"value_prefix\":\"\"}"},
        {"query_param", "{\"param_name\":\"key\"}"},
        {"query_param", "{\"param_name\":\"auth[key]\",\"credential_field\":\"k\"}"},
        {"basic_auth", "{}"},
        {"basic_auth", "{\"username_field\":\"u\",\"password_field\":\"p\"}"},
        {"hmac_payload", "{\"header_name\":\"X-Signature\"}"},
        {"hmac_payload", "{\"header_name\":\"X-S\",\"secret_field\":\"s\",\"algo\":\"sha1\",\"encoding\":\"base64\"}"},
        {"hmac_payload", "{\"header_name\":\"X-S\",\"algo\":\"sha256\",\"encoding\":\"hex\"}"},
        {"aws_sigv4", "{\"service\":\"s3\"}"},
        {"aws_sigv4", "{\"service\":\"execute-api\",\"region\":\"eu-central-1\"}"},
    };
    for (size_t i = 0; i < COUNT(good); i++)
        assert_ok(read_strategy(*state, good[i][0], good[i][1]));
}

static void strategies_that_are_refused(void **state)
{
    static const char *const bad[][3] = {
        {"oauth2", "{\"header_name\":\"X\"}", "header_name"},
        {"path", "{\"field\":\"X\"}", "field"},
        {"header", "{\"header_name\":\"\"}", "header_name"},
        {"header", "{\"header_name\":\"X Y\"}", "header_name"},
        {"header", "{\"header_name\":\"host\"}", "header_name"},
        {"header", "{\"header_name\":7}", "header_name"},
        {"header", "{\"credential_field\":\"a b\"}", "credential_field"},
        {"header", "{\"value_prefix\":\"a\\r\\nb\"}", "value_prefix"},
        {"header", "{\"param_name\":\"k\"}", "param_name"},
        {"query_param", "{}", "param_name is missing"},
        {"query_param", "{\"param_name\":\"\"}", "param_name"},
        {"query_param", "{\"param_name\":\"a=b\"}", "param_name"},
        {"basic_auth", "{\"username_field\":\"\"}", "username_field"},
        {"basic_auth", "{\"password_field\":null}", "password_field"},
        {"hmac_payload", "{\"secret_field\":\"s\"}", "header_name is missing"},
        {"hmac_payload", "{\"header_name\":\"X\",\"algo\":\"md5\"}", "algo"},
        {"hmac_payload", "{\"header_name\":\"X\",\"encoding\":\"HEX\"}", "encoding"},
        {"hmac_payload", "{\"header_name\":\"X\",\"secret_field\":\"\"}", "secret_field"},
        {"aws_sigv4", "{\"region\":\"us-east-1\"}", "service is missing"},
        {"aws_sigv4", "{\"service\":\"s/3\"}", "service"},
        {"aws_sigv4", "{\"service\":\"s3\",\"region\":\"\"}", "region"},
    };
    for (size_t i = 0; i < COUNT(bad); i++)
        assert_fails_with(ERR_INVALID_REQUEST, bad[i][2], read_strategy(*state, bad[i][0], bad[i][1]));
    struct provider_params p;
    assert_fails_with(ERR_INVALID_REQUEST, "param_name is missing",
                      read_params(*state, "{\"auth_strategy\":{\"type\":\"query_param\"}}", &p));
}

static void parameters_have_limits(void **state)
{
    struct arena *a = *state;
    struct provider_params p;
    for (int n = 32; n <= 33; n++) {
        struct buf b = buf_in(a, 4096);
        buf_cstr(&b, "{\"skip_scope_on_auth\":true");
        for (int i = 0; i < n; i++)
            buf_printf(&b, ",\"p%d\":\"v\"", i);
        buf_add(&b, "}", 2);
        assert_ok(buf_status(&b));
        if (n == 32)
            assert_ok(read_params(a, buf_view(&b).p, &p));
        else
            assert_fails_with(ERR_INVALID_REQUEST, "32", read_params(a, buf_view(&b).p, &p));
    }
    struct str longest = long_text(a, "", 1024);
    assert_ok(read_params(a, arena_printf(a, "{\"p\":\"%.*s\"}", STR_FMT(longest)).p, &p));
    assert_fails_with(ERR_INVALID_REQUEST, "1024",
                      read_params(a, arena_printf(a, "{\"p\":\"y%.*s\"}", STR_FMT(longest)).p, &p));
}

static void uuids(void **state)
{
    (void)state;
    char made[UUID_TEXT], again[UUID_TEXT], other[UUID_TEXT];
    assert_ok(uuid_make(made));
    assert_ok(uuid_make(other));
    assert_string_not_equal(made, other);
    assert_true(uuid_parse(str_of(made), again));
    assert_string_equal(made, again);
    assert_true(made[14] == '4' && strchr("89ab", made[19]) != NULL);
    assert_true(uuid_parse(STR("0A1b2C3d-4E5f-1234-ABCD-0123456789aB"), again));
    assert_string_equal(again, "0a1b2c3d-4e5f-1234-abcd-0123456789ab");
    static const char *const bad[] = {"",
                                      "0a1b2c3d-4e5f-1234-abcd-0123456789a",
                                      "0a1b2c3d-4e5f-1234-abcd-0123456789abc",
                                      "0a1b2c3d04e5f-1234-abcd-0123456789ab",
                                      "0a1b2c3d-4e5f-1234-abcd-0123456789ag",
                                      "-a1b2c3d-4e5f-1234-abcd-0123456789ab",
                                      "{a1b2c3d-4e5f-1234-abcd-0123456789a}"};
    for (size_t i = 0; i < COUNT(bad); i++)
        assert_false(uuid_parse(str_of(bad[i]), again));
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, open_arena, close_arena)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(names_lead_back),
        TEST(names_of_providers),
        TEST(oauth2_needs_its_client_and_endpoints),
        TEST(discovery_needs_an_issuer_alone),
        TEST(other_types_need_a_name),
        TEST(auth_header_means_two_things),
        TEST(texts_have_limits),
        TEST(the_query_of_auth_url_overrides_nothing),
        TEST(issuer_and_api_have_no_query),
        TEST(user_info_is_a_url_or_a_path),
        TEST(params_are_taken_apart),
        TEST(no_parameter_overrides_what_the_broker_sets),
        TEST(params_that_are_refused),
        TEST(strategies_that_are_accepted),
        TEST(strategies_that_are_refused),
        TEST(parameters_have_limits),
        TEST(uuids),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
