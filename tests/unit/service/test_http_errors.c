/* SPDX-License-Identifier: Apache-2.0
 * Refusals as OAuth wants them: of its endpoints (RFC 6749 section 5.2), and of resources that take bound tokens (RFC
 * 9449 section 7.1) and say where their metadata is (RFC 9728 section 5.1). */
#include "service/http/http.h"

#include "tests/unit/base/check.h"

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

static struct str header_of(const struct http_reply *r, const char *name)
{
    for (size_t i = 0; i < r->n_headers; i++) {
        if (strcmp(r->headers[i].name, name) == 0)
            return r->headers[i].value;
    }
    return (struct str){NULL, 0};
}

/* A refusal without detail; authorization may be NULL. */
static struct http_reply refuse(void **state, enum err_code code, bool oauth, const char *authorization)
{
    const struct http_request r = {.arena = *state,
                                   .oauth = oauth,
                                   .issuer = STR("https://broker.example/x"),
                                   .authorization = str_of(authorization)};
    struct err e = {.code = code};
    struct http_reply out;
    http_reply_error(&r, &e, &out);
    return out;
}

static const struct {
    enum err_code code;
    int status;
    const char *oauth;
} oauth_forms[] = {
    /* Their own codes. */
    {ERR_INVALID_REQUEST, 400, "invalid_request"},
    {ERR_INVALID_CLIENT, 401, "invalid_client"},
    {ERR_INVALID_TOKEN, 401, "invalid_token"},
    {ERR_GRANT, 400, "invalid_grant"},
    {ERR_UNSUPPORTED_GRANT, 400, "unsupported_grant_type"},
    {ERR_INVALID_SCOPE, 400, "invalid_scope"},
    {ERR_INVALID_AUDIENCE, 400, "invalid_target"},
    {ERR_DPOP_PROOF, 400, "invalid_dpop_proof"},
    {ERR_DPOP_NONCE, 400, "use_dpop_nonce"},
    {ERR_DPOP_MISSING, 400, "invalid_dpop_proof"},
    {ERR_SUBJECT_TOKEN, 400, "invalid_request"},
    {ERR_DELEGATION, 400, "invalid_request"},
    /* Named by the table. */
    {ERR_MISSING_SCOPES, 400, "invalid_scope"},
    {ERR_SCOPE_NOT_ALLOWED, 400, "invalid_scope"},
    {ERR_AGENT_SCOPE, 400, "invalid_scope"},
    {ERR_USER_SCOPE, 400, "invalid_scope"},
    {ERR_CLEARANCE, 400, "invalid_scope"},
    {ERR_OBO_REQUIRED, 400, "invalid_scope"},
    {ERR_AGENT_INACTIVE, 401, "invalid_client"},
    {ERR_INVALID_AGENT_ID, 401, "invalid_client"},
    {ERR_MISSING_AGENT_ID, 401, "invalid_client"},
    {ERR_USER_TOKEN, 400, "invalid_grant"},
    /* By their status. */
    {ERR_INVALID_TTL, 400, "invalid_request"},
    {ERR_INVALID_JSON, 400, "invalid_request"},
    {ERR_BAD_HTTP, 400, "invalid_request"},
    {ERR_MISSING_API_KEY, 401, "invalid_client"},
    {ERR_INVALID_API_KEY, 400, "invalid_request"},
    {ERR_ROLE_REQUIRED, 400, "invalid_request"},
    {ERR_NOT_FOUND, 400, "invalid_request"},
    {ERR_CONFLICT, 400, "invalid_request"},
    {ERR_METHOD_NOT_ALLOWED, 405, "invalid_request"},
    {ERR_REQUEST_TIMEOUT, 408, "invalid_request"},
    {ERR_BODY_TOO_LARGE, 413, "invalid_request"},
    {ERR_URI_TOO_LONG, 414, "invalid_request"},
    {ERR_UNSUPPORTED_MEDIA, 415, "invalid_request"},
    {ERR_HEADERS_TOO_LARGE, 431, "invalid_request"},
    {ERR_RATE_LIMITED, 429, "temporarily_unavailable"},
    {ERR_OVERLOADED, 503, "temporarily_unavailable"},
    {ERR_DEADLINE, 503, "temporarily_unavailable"},
    {ERR_HSM_UNAVAILABLE, 503, "temporarily_unavailable"},
    {ERR_DB, 500, "server_error"},
    {ERR_INTERNAL, 500, "server_error"},
};

static void test_oauth_endpoints_have_codes_of_their_own(void **state)
{
    for (size_t i = 0; i < COUNT(oauth_forms); i++) {
        struct http_reply r = refuse(state, oauth_forms[i].code, true, NULL);
        if (r.status != oauth_forms[i].status || strcmp(r.outcome, oauth_forms[i].oauth) != 0)
            fail_msg("%s: %d %s", err_name(oauth_forms[i].code), r.status, r.outcome);
        struct str want = arena_printf(*state, "{\"error\":\"%s\",\"error_description\":\"%s\"}", oauth_forms[i].oauth,
                                       err_public(oauth_forms[i].code)->text);
        assert_str(r.body, want.p);
    }
    assert_int_equal(500, err_oauth((enum err_code)9999).status);
}

/* RFC 6749 section 5.2: %x20-21 / %x23-5B / %x5D-7E. Replies that are not written by the JSON writer rely on it, too.
 */
static void test_every_public_text_may_be_a_description(void **state)
{
    (void)state;
    for (int code = 1; code < ERR_CODE_COUNT; code++) {
        const struct err_public *p = err_public((enum err_code)code);
        struct err_public o = err_oauth((enum err_code)code);
        assert_ptr_equal(p->text, o.text);
        assert_int_equal(p->show_detail, o.show_detail);
        assert_in_range(o.status, 400, 599);
        for (const char *c = p->text; *c != '\0'; c++) {
            if (*c < 0x20 || *c >= 0x7f || *c == '"' || *c == '\\')
                fail_msg("%s: %s", err_name((enum err_code)code), p->text);
        }
        for (const char *c = o.code; *c != '\0'; c++)
            assert_true((*c >= 'a' && *c <= 'z') || *c == '_');
    }
}

static void test_descriptions_hold_no_forbidden_byte(void **state)
{
    const struct http_request r = {.arena = *state, .oauth = true};
    struct err e = FAIL(ERR_INVALID_SCOPE, "field \"scope\": a\\b");
    struct http_reply out;
    http_reply_error(&r, &e, &out);
    assert_str(out.body, "{\"error\":\"invalid_scope\",\"error_description\":\"A scope is not well formed: "
                         "field 'scope': a'b\"}");
    e = FAIL(ERR_GRANT, "kid is unknown");
    http_reply_error(&r, &e, &out);
    assert_null(memmem(out.body.p, out.body.n, "kid", 3));
}

static void test_an_exhausted_arena_keeps_the_form(void **state)
{
    struct arena *a = *state;
    assert_non_null(arena_alloc(a, arena_max(a) - arena_used(a) - 64));
    struct http_reply r = refuse(state, ERR_INVALID_CLIENT, true, NULL);
    assert_non_null(memmem(r.body.p, r.body.n, "\"error_description\":", 20));
    assert_str(header_of(&r, "WWW-Authenticate"), "Bearer realm=\"nexus\"");
}

#define METADATA "resource_metadata=\"https://broker.example/.well-known/oauth-protected-resource/x\""
#define ALGS     "algs=\"ES256 ES384 PS256 RS256 EdDSA\""

static void test_challenges(void **state)
{
    static const struct {
        enum err_code code;
        bool oauth;
        const char *authorization, *challenge;
    } cases[] = {
        {ERR_MISSING_API_KEY, false, NULL, "Bearer realm=\"nexus\", " METADATA},
        {ERR_INVALID_TOKEN, false, "Bearer t", "Bearer realm=\"nexus\", error=\"invalid_token\", " METADATA},
        {ERR_INVALID_TOKEN, false, "DPoP t", "DPoP realm=\"nexus\", error=\"invalid_token\", " ALGS ", " METADATA},
        {ERR_DPOP_NONCE, false, "DPoP t", "DPoP realm=\"nexus\", error=\"use_dpop_nonce\", " ALGS ", " METADATA},
        {ERR_DPOP_PROOF, false, "dpop t", "DPoP realm=\"nexus\", error=\"invalid_dpop_proof\", " ALGS ", " METADATA},
        {ERR_DPOP_MISSING, false, "DPoP t", "DPoP realm=\"nexus\", error=\"invalid_dpop_proof\", " ALGS ", " METADATA},
        {ERR_INVALID_CLIENT, true, NULL, "Bearer realm=\"nexus\""},
        {ERR_INVALID_CLIENT, true, "Bearer k", "Bearer realm=\"nexus\", error=\"invalid_token\""},
        {ERR_INVALID_CLIENT, true, "DPoP t", "Bearer realm=\"nexus\""},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct http_reply r = refuse(state, cases[i].code, cases[i].oauth, cases[i].authorization);
        assert_int_equal(401, r.status);
        assert_str(header_of(&r, "WWW-Authenticate"), cases[i].challenge);
    }
}

/* RFC 9449: 400 where a token is asked for (section 5), 401 where one is used (sections 7.1 and 9). */
static void test_the_status_of_a_bad_proof_depends_on_the_token(void **state)
{
    static const enum err_code codes[] = {ERR_DPOP_PROOF, ERR_DPOP_NONCE, ERR_DPOP_MISSING};
    for (size_t i = 0; i < COUNT(codes); i++) {
        assert_int_equal(401, refuse(state, codes[i], false, "DPoP t").status);
        static const char *const others[] = {NULL, "Bearer t", "DPoP", "DPoP ", "DPoPt"};
        for (size_t k = 0; k < COUNT(others); k++) {
            struct http_reply r = refuse(state, codes[i], false, others[k]);
            assert_int_equal(400, r.status);
            assert_null(header_of(&r, "WWW-Authenticate").p);
        }
        assert_int_equal(400, refuse(state, codes[i], true, "DPoP t").status);
        struct http_reply r = refuse(state, codes[i], false, "DPoP t");
        assert_string_equal(err_public(codes[i])->code, r.outcome);
    }
}

static void test_a_very_long_issuer_does_not_break_the_challenge(void **state)
{
    char url[2048];
    memset(url, 'a', sizeof url);
    memcpy(url, "https://", 8);
    const struct http_request r = {.arena = *state, .issuer = {url, sizeof url}};
    struct err e = {.code = ERR_INVALID_TOKEN};
    struct http_reply out;
    http_reply_error(&r, &e, &out);
    assert_str(header_of(&out, "WWW-Authenticate"), "Bearer realm=\"nexus\"");
}

static void test_origins(void **state)
{
    (void)state;
    static const struct {
        const char *url, *origin, *path;
    } cases[] = {{"https://a.example", "https://a.example", ""},
                 {"https://a.example/x/y", "https://a.example", "/x/y"},
                 {"http://[::1]:8080/x", "http://[::1]:8080", "/x"},
                 {"http://127.0.0.1:1", "http://127.0.0.1:1", ""}};
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct str origin, path;
        http_split_origin(str_of(cases[i].url), &origin, &path);
        assert_str(origin, cases[i].origin);
        assert_str(path, cases[i].path);
    }
}

#define ERROR_TEST(name) cmocka_unit_test_setup_teardown(name, make_arena, drop_arena)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ERROR_TEST(test_oauth_endpoints_have_codes_of_their_own),
        ERROR_TEST(test_every_public_text_may_be_a_description),
        ERROR_TEST(test_descriptions_hold_no_forbidden_byte),
        ERROR_TEST(test_an_exhausted_arena_keeps_the_form),
        ERROR_TEST(test_challenges),
        ERROR_TEST(test_the_status_of_a_bad_proof_depends_on_the_token),
        ERROR_TEST(test_a_very_long_issuer_does_not_break_the_challenge),
        ERROR_TEST(test_origins),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
