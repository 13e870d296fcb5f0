/* SPDX-License-Identifier: Apache-2.0 */
#include "crypto/jwt.h"

#include "tests/unit/crypto/support.h"
#include "tests/unit/crypto/vectors.h"

enum { NOW = 1800000000 };
#define ISSUER "https://broker.example"

static const char *const assertion_typ[] = {"jwt", "client-authentication+jwt", NULL};

/* A client assertion as RFC 7523 and its successor want it. */
static struct jwt_rules assertion_rules(void)
{
    return (struct jwt_rules){.typ = assertion_typ,
                              .typ_may_be_absent = true,
                              .iss = STR("agent"),
                              .sub = STR("agent"),
                              .aud = STR(ISSUER),
                              .aud_must_be_sole = true,
                              .need_jti = true,
                              .jti_max = 16,
                              .max_lifetime_s = 300,
                              .skew_s = 30};
}

static struct err claims_of(struct fixture *f, struct str payload, struct jwt_claims *out)
{
    const struct jws j = {.payload = str_bytes(payload)};
    return jwt_claims_parse(f->arena, &j, out);
}

static struct err check_with(struct fixture *f, const struct jwt_rules *r, struct str typ, const char *payload)
{
    const struct jws j = {.payload = str_bytes(str_of(payload)), .typ = typ};
    struct jwt_claims c = {0};
    TRY(jwt_claims_parse(f->arena, &j, &c));
    return jwt_check(r, &j, &c, NOW);
}

static struct err check(struct fixture *f, const char *payload)
{
    const struct jwt_rules r = assertion_rules();
    return check_with(f, &r, (struct str){NULL, 0}, payload);
}

/* An assertion that is right in all but what the format adds or says about time. */
static struct err check_times(struct fixture *f, const char *times)
{
    struct str p =
        arena_printf(f->arena, "{\"iss\":\"agent\",\"sub\":\"agent\",\"aud\":\"" ISSUER "\",\"jti\":\"j1\"%s}", times);
    return check(f, p.p);
}

static void test_rfc7519_section_3_1(void **state)
{
    struct fixture *f = *state;
    struct jws j = {0};
    struct jwt_claims c = {0};
    assert_ok(jws_parse(f->arena, str_of(rfc7515_a3_token), &j));
    assert_ok(jwt_claims_parse(f->arena, &j, &c));
    assert_str(c.iss, "joe");
    assert_true(c.exp.set && c.exp.v == 1300819380);
    assert_true(json_get(c.all, "http://example.com/is_root")->b);
    assert_null(c.sub.p);
    assert_false(c.iat.set);
    assert_int_equal(0, c.aud.n);
}

static void test_all_claims(void **state)
{
    struct fixture *f = *state;
    struct jwt_claims c = {0};
    assert_ok(claims_of(f,
                        STR("{\"iss\":\"i\",\"sub\":\"s\",\"aud\":[\"a\",\"b\"],\"jti\":\"j\",\"exp\":3,\"nbf\":1,"
                            "\"iat\":2,\"act\":{\"sub\":\"x\"}}"),
                        &c));
    assert_str(c.iss, "i");
    assert_str(c.sub, "s");
    assert_str(c.jti, "j");
    assert_true(c.aud_is_array);
    assert_int_equal(2, c.aud.n);
    assert_str(c.aud.v[1], "b");
    assert_true(c.exp.v == 3 && c.nbf.v == 1 && c.iat.v == 2);
    assert_non_null(json_get(c.all, "act"));
    assert_ok(claims_of(f, STR("{\"aud\":\"a\"}"), &c));
    assert_false(c.aud_is_array);
    assert_str(c.aud.v[0], "a");
}

static void test_a_right_assertion(void **state)
{
    struct fixture *f = *state;
    assert_ok(check_times(f, ",\"exp\":1800000060"));
    assert_ok(check_times(f, ",\"exp\":1800000300,\"iat\":1800000000,\"nbf\":1800000000"));
}

static void test_j14_dates(void **state)
{
    struct fixture *f = *state;
    static const char *const claims[] = {"exp", "nbf", "iat"};
    static const char *const bad[] = {"\"123\"",
                                      "true",
                                      "null",
                                      "-1",
                                      "[1800000060]",
                                      "{}",
                                      "1e308",
                                      "1e400",
                                      "1.5",
                                      "1800000060.0",
                                      "9007199254740992",
                                      "9223372036854775807",
                                      "9223372036854775808",
                                      "18446744073709551616",
                                      "NaN"};
    for (size_t i = 0; i < COUNT(claims); i++) {
        for (size_t k = 0; k < COUNT(bad); k++) {
            struct jwt_claims c = {0};
            struct err e = claims_of(f, arena_printf(f->arena, "{\"%s\":%s}", claims[i], bad[k]), &c);
            assert_true(e.code == ERR_JOSE_CLAIM || e.code == ERR_JOSE_MALFORMED);
        }
        struct jwt_claims c = {0};
        assert_ok(claims_of(f, arena_printf(f->arena, "{\"%s\":9007199254740991}", claims[i]), &c));
        assert_ok(claims_of(f, arena_printf(f->arena, "{\"%s\":0}", claims[i]), &c));
    }
    assert_fails_with(ERR_JOSE_CLAIM, "exp", check_times(f, ""));
}

static void test_j14_dates_at_the_end_of_time(void **state)
{
    struct fixture *f = *state;
    assert_fails_with(ERR_JOSE_EXPIRED, "ahead", check_times(f, ",\"exp\":9007199254740991"));
    assert_fails_with(ERR_JOSE_EXPIRED, "nbf", check_times(f, ",\"exp\":1800000060,\"nbf\":9007199254740991"));
    assert_fails_with(ERR_JOSE_EXPIRED, "iat", check_times(f, ",\"exp\":9007199254740991,\"iat\":9007199254740990"));
    /* Rules and clocks of absurd size wrap nothing around. */
    struct jwt_rules r = assertion_rules();
    r.skew_s = INT64_MAX;
    r.max_lifetime_s = INT64_MAX;
    const struct jws j = {.payload = str_bytes(STR("{\"iss\":\"agent\",\"sub\":\"agent\",\"aud\":\"" ISSUER
                                                   "\",\"jti\":\"j\",\"exp\":9007199254740991,\"iat\":0,\"nbf\":0}"))};
    struct jwt_claims c = {0};
    assert_ok(jwt_claims_parse(f->arena, &j, &c));
    assert_ok(jwt_check(&r, &j, &c, NOW));
    assert_ok(jwt_check(&r, &j, &c, INT64_MAX - 1));
    r.skew_s = 30;
    assert_fails(ERR_JOSE_EXPIRED, jwt_check(&r, &j, &c, INT64_MAX));
    assert_fails(ERR_JOSE_EXPIRED, jwt_check(&r, &j, &c, INT64_MIN));
}

static void test_j15_skew_and_lifetime(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *times;
        enum err_code code;
    } cases[] = {
        {",\"exp\":1799999999", ERR_NONE},
        {",\"exp\":1799999971", ERR_NONE},
        {",\"exp\":1799999970", ERR_JOSE_EXPIRED},
        {",\"exp\":1799999939", ERR_JOSE_EXPIRED},
        {",\"exp\":1800000300", ERR_NONE},
        {",\"exp\":1800000301", ERR_JOSE_EXPIRED},
        {",\"exp\":1800000060,\"nbf\":1800000010", ERR_NONE},
        {",\"exp\":1800000060,\"nbf\":1800000030", ERR_NONE},
        {",\"exp\":1800000060,\"nbf\":1800000031", ERR_JOSE_EXPIRED},
        {",\"exp\":1800000120,\"iat\":1800000010", ERR_NONE},
        {",\"exp\":1800000120,\"iat\":1800000030", ERR_NONE},
        {",\"exp\":1800000120,\"iat\":1800000031", ERR_JOSE_EXPIRED},
        {",\"exp\":1800000120,\"iat\":1800000061", ERR_JOSE_EXPIRED},
        /* exp - iat: 300, 301; and a token that is valid now but was made too long ago */
        {",\"exp\":1800000060,\"iat\":1799999760", ERR_NONE},
        {",\"exp\":1800000060,\"iat\":1799999759", ERR_JOSE_EXPIRED},
        {",\"exp\":1800000060,\"iat\":0", ERR_JOSE_EXPIRED},
        {",\"exp\":1800000010,\"iat\":1800000010", ERR_JOSE_EXPIRED},
        {",\"exp\":1800000010,\"iat\":1800000011", ERR_JOSE_EXPIRED},
    };
    for (size_t i = 0; i < COUNT(cases); i++)
        assert_fails(cases[i].code, check_times(f, cases[i].times));
    struct jwt_rules r = assertion_rules();
    r.max_lifetime_s = 0;
    assert_ok(check_with(f, &r, (struct str){NULL, 0},
                         "{\"iss\":\"agent\",\"sub\":\"agent\",\"aud\":\"" ISSUER
                         "\",\"jti\":\"j\",\"exp\":9007199254740991}"));
    r.need_iat = true;
    assert_fails_with(ERR_JOSE_CLAIM, "iat is missing",
                      check_with(f, &r, (struct str){NULL, 0},
                                 "{\"iss\":\"agent\",\"sub\":\"agent\",\"aud\":\"" ISSUER
                                 "\",\"jti\":\"j\",\"exp\":1800000060}"));
}

static struct err check_aud(struct fixture *f, bool sole, const char *aud)
{
    struct jwt_rules r = assertion_rules();
    r.aud_must_be_sole = sole;
    struct str p = arena_printf(f->arena, "{\"iss\":\"agent\",\"sub\":\"agent\",\"jti\":\"j1\",\"exp\":1800000060%s%s}",
                                aud[0] != '\0' ? ",\"aud\":" : "", aud);
    return check_with(f, &r, (struct str){NULL, 0}, p.p);
}

static void test_j16_aud(void **state)
{
    struct fixture *f = *state;
    static const char *const bad[] = {"",
                                      "[]",
                                      "7",
                                      "null",
                                      "{}",
                                      "\"\"",
                                      "[[\"" ISSUER "\"]]",
                                      "[\"" ISSUER "\",7]",
                                      "[\"" ISSUER "\",\"\"]",
                                      "\"" ISSUER "/\"",
                                      "\"" ISSUER ":443\"",
                                      "\"HTTPS://broker.example\"",
                                      "\"https://Broker.example\"",
                                      "\"" ISSUER "/v1/agent-sessions\"",
                                      "\"https://broker.example.evil\"",
                                      "\"https://br\xc3\xb6ker.example\"",
                                      "[\"https://other.example\"]"};
    for (size_t i = 0; i < COUNT(bad); i++) {
        assert_fails(ERR_JOSE_CLAIM, check_aud(f, true, bad[i]));
        assert_fails(ERR_JOSE_CLAIM, check_aud(f, false, bad[i]));
    }
    static const char *const arrays[] = {"[\"" ISSUER "\"]", "[\"https://other.example\",\"" ISSUER "\"]"};
    for (size_t i = 0; i < COUNT(arrays); i++) {
        assert_fails_with(ERR_JOSE_CLAIM, "array", check_aud(f, true, arrays[i]));
        assert_ok(check_aud(f, false, arrays[i]));
    }
    assert_ok(check_aud(f, true, "\"" ISSUER "\""));
    assert_ok(check_aud(f, false, "\"" ISSUER "\""));
    /* A rule set that names no audience still wants one: a session token is read by its issuer, whoever it is for. */
    struct jwt_rules r = assertion_rules();
    r.aud = (struct str){NULL, 0};
    assert_ok(check_with(f, &r, (struct str){NULL, 0},
                         "{\"iss\":\"agent\",\"sub\":\"agent\",\"aud\":\"x\",\"jti\":\"j\",\"exp\":1800000060}"));
    assert_fails_with(ERR_JOSE_CLAIM, "aud is missing",
                      check_with(f, &r, (struct str){NULL, 0},
                                 "{\"iss\":\"agent\",\"sub\":\"agent\",\"jti\":\"j\",\"exp\":1800000060}"));
}

static void test_j17_j19_iss_sub_jti(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *payload, *why;
    } bad[] = {
        {"{\"sub\":\"agent\",\"aud\":\"" ISSUER "\",\"jti\":\"j\",\"exp\":1800000060}", "iss is missing"},
        {"{\"iss\":\"agent2\",\"sub\":\"agent\",\"aud\":\"" ISSUER "\",\"jti\":\"j\",\"exp\":1800000060}",
         "iss is not"},
        {"{\"iss\":\"agent/\",\"sub\":\"agent\",\"aud\":\"" ISSUER "\",\"jti\":\"j\",\"exp\":1800000060}",
         "iss is not"},
        {"{\"iss\":\"Agent\",\"sub\":\"agent\",\"aud\":\"" ISSUER "\",\"jti\":\"j\",\"exp\":1800000060}", "iss is not"},
        {"{\"iss\":\"agent\",\"aud\":\"" ISSUER "\",\"jti\":\"j\",\"exp\":1800000060}", "sub is missing"},
        {"{\"iss\":\"agent\",\"sub\":\"user\",\"aud\":\"" ISSUER "\",\"jti\":\"j\",\"exp\":1800000060}", "sub is not"},
        {"{\"iss\":\"agent\",\"sub\":\"agent\",\"aud\":\"" ISSUER "\",\"exp\":1800000060}", "jti is missing"},
        {"{\"iss\":\"agent\",\"sub\":\"agent\",\"aud\":\"" ISSUER
         "\",\"jti\":\"0123456789abcdefX\",\"exp\":1800000060}",
         "jti is longer"},
        {"{\"iss\":\"agent\",\"sub\":\"agent\",\"aud\":\"" ISSUER "\",\"jti\":\"\",\"exp\":1800000060}", "jti"},
        {"{\"iss\":[\"agent\"],\"sub\":\"agent\",\"aud\":\"" ISSUER "\",\"jti\":\"j\",\"exp\":1800000060}", "iss"},
    };
    for (size_t i = 0; i < COUNT(bad); i++)
        assert_fails_with(ERR_JOSE_CLAIM, bad[i].why, check(f, bad[i].payload));
}

static void test_j18_typ(void **state)
{
    struct fixture *f = *state;
    const char *payload =
        "{\"iss\":\"agent\",\"sub\":\"agent\",\"aud\":\"" ISSUER "\",\"jti\":\"j\",\"exp\":1800000060}";
    struct jwt_rules r = assertion_rules();
    assert_ok(check_with(f, &r, STR("jwt"), payload));
    assert_ok(check_with(f, &r, STR("client-authentication+jwt"), payload));
    static const char *const bad[] = {"at+jwt", "dpop+jwt", "logout+jwt", "", "jw", "jwt ", "JWT"};
    for (size_t i = 0; i < COUNT(bad); i++)
        assert_fails_with(ERR_JOSE_CLAIM, "typ", check_with(f, &r, str_of(bad[i]), payload));
    r.typ_may_be_absent = false;
    assert_fails_with(ERR_JOSE_CLAIM, "typ is missing", check_with(f, &r, (struct str){NULL, 0}, payload));
}

static void test_j21_names(void **state)
{
    struct fixture *f = *state;
    static const char *const claims[] = {"iss", "sub", "jti", "aud"};
    static const char *const bad[] = {"\"a\\nb\"", "\"a\\u001b[31m\"", "\"\\u007f\"", "\"\\t\""};
    struct jwt_claims c = {0};
    char *longest = arena_alloc(f->arena, JWT_NAME_MAX + 2);
    memset(longest, 'x', JWT_NAME_MAX + 1);
    for (size_t i = 0; i < COUNT(claims); i++) {
        for (size_t k = 0; k < COUNT(bad); k++)
            assert_fails(ERR_JOSE_CLAIM, claims_of(f, arena_printf(f->arena, "{\"%s\":%s}", claims[i], bad[k]), &c));
        assert_fails(ERR_JOSE_MALFORMED,
                     claims_of(f, arena_printf(f->arena, "{\"%s\":\"admin\\u0000\"}", claims[i]), &c));
        assert_fails(ERR_JOSE_CLAIM, claims_of(f, arena_printf(f->arena, "{\"%s\":\"%s\"}", claims[i], longest), &c));
        assert_ok(claims_of(f, arena_printf(f->arena, "{\"%s\":\"%s\"}", claims[i], longest + 1), &c));
    }
    assert_fails(ERR_JOSE_CLAIM, claims_of(f, STR("{\"aud\":[\"a\",\"b\\n\"]}"), &c));
    /* The composed and the decomposed e-acute are two names. */
    const struct jwt_rules r = {.typ_may_be_absent = true, .iss = STR("\xc3\xa9"), .aud = STR("a")};
    assert_fails_with(ERR_JOSE_CLAIM, "iss is not",
                      check_with(f, &r, (struct str){NULL, 0},
                                 "{\"iss\":\"e\xcc\x81\",\"sub\":\"s\",\"aud\":\"a\",\"exp\":1800000060}"));
    assert_ok(check_with(f, &r, (struct str){NULL, 0},
                         "{\"iss\":\"\\u00e9\",\"sub\":\"s\",\"aud\":\"a\",\"exp\":1800000060}"));
}

static void test_j08_j22_j25_payloads(void **state)
{
    struct fixture *f = *state;
    static const char *const bad[] = {"",
                                      "[]",
                                      "\"eyJhbGciOiJFUzI1NiJ9.e30.AAAA\"",
                                      "eyJhbGciOiJFUzI1NiJ9.e30.AAAA",
                                      "null",
                                      "{\"sub\":\"a\",\"sub\":\"b\"}",
                                      "{\"sub\":\"a\",\"\\u0073ub\":\"b\"}",
                                      "{\"aud\":\"a\",\"aud\":\"a\"}",
                                      "{\"iss\":\"\xff\"}",
                                      "\xef\xbb\xbf{}",
                                      "{} {}",
                                      "{\"other\":1.5}"};
    for (size_t i = 0; i < COUNT(bad); i++) {
        struct jwt_claims c = {0};
        assert_fails(ERR_JOSE_MALFORMED, claims_of(f, str_of(bad[i]), &c));
    }
    struct jwt_claims c = {0};
    assert_ok(claims_of(f, STR("{\"Sub\":\"b\",\"SUB\":\"c\"}"), &c));
    assert_null(c.sub.p);
}

#define T(fn) cmocka_unit_test_setup(fn, fixture_reset)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_rfc7519_section_3_1),
        T(test_all_claims),
        T(test_a_right_assertion),
        T(test_j14_dates),
        T(test_j14_dates_at_the_end_of_time),
        T(test_j15_skew_and_lifetime),
        T(test_j16_aud),
        T(test_j17_j19_iss_sub_jti),
        T(test_j18_typ),
        T(test_j21_names),
        T(test_j08_j22_j25_payloads),
    };
    return cmocka_run_group_tests(tests, fixture_setup, fixture_teardown);
}
