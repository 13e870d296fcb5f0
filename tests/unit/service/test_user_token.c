/* SPDX-License-Identifier: Apache-2.0
 * What a token of a registered issuer must look like, claim by claim, and the user that comes of it. Signatures are not
 * looked at here. */
#include "service/core/user_token.h"

#include "tests/unit/base/check.h"

#include <stdio.h>

enum { NOW = 1800000000, ARENA_BYTES = 1 << 20 };
#define US  "https://broker.example"
#define IDP "https://idp.example"
#define JKT "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"

static int make_arena(void **state)
{
    struct arena *a = NULL;
    assert_ok(arena_new(ARENA_BYTES, &a));
    *state = a;
    return 0;
}

static int drop_arena(void **state)
{
    struct arena *a = *state;
    arena_free(&a);
    return 0;
}

/* A claim, its value as JSON. A later one of the same name takes the place of an earlier; NULL takes it out. */
struct member {
    const char *name, *value;
};

static struct issuer some_issuer(void)
{
    static struct str algorithms[] = {{"ES256", 5}, {"PS256", 5}};
    return (struct issuer){.id = STR("iss_1"),
                           .issuer = STR(IDP),
                           .algorithms = {algorithms, COUNT(algorithms)},
                           .audience = STR("crm"),
                           .claim_user_id = STR("/sub"),
                           .claim_tenant_id = STR("/tenant_id"),
                           .claim_clearance = STR("/clearance_level"),
                           .claim_permissions = STR("/permissions"),
                           .active = true};
}

static const struct user_token_terms ordinary = {
    .agent_id = {"crm-agent", 9}, .issuer = {US, sizeof US - 1}, .now_s = NOW};

static const struct member user_claims[] = {
    {"iss", "\"" IDP "\""},   {"aud", "\"crm\""},       {"sub", "\"u-17\""},   {"exp", "1800000600"},
    {"tenant_id", "\"t-1\""}, {"clearance_level", "3"}, {"iat", "1799999990"}, {"permissions", "[\"a:r\",\"a:w\"]"}};

static const struct member jag_claims[] = {
    {"iss", "\"" IDP "\""}, {"aud", "\"" US "\""}, {"sub", "\"u-17\""}, {"client_id", "\"crm-agent\""},
    {"exp", "1800000300"},  {"iat", "1799999990"}, {"jti", "\"j-1\""},  {"scope", "\"a:r a:w\""}};

static void put(struct buf *b, const struct member *m)
{
    if (m->value == NULL)
        return;
    buf_printf(b, "%s\"%s\":%s", b->n > 1 ? "," : "", m->name, m->value);
}

/* The claims of base with one changed or added. */
static struct str payload_of(struct arena *a, const struct member *base, size_t n, const struct member *change)
{
    struct buf b = buf_in(a, 65536);
    buf_char(&b, '{');
    bool changed = change == NULL;
    for (size_t i = 0; i < n; i++) {
        bool here = change != NULL && strcmp(base[i].name, change->name) == 0;
        put(&b, here ? change : &base[i]);
        changed = changed || here;
    }
    if (!changed)
        put(&b, change);
    buf_char(&b, '}');
    assert_ok(buf_status(&b));
    return buf_view(&b);
}

/* One way to show a token: what it says, how its header looks, and whose it is. */
struct showing {
    bool id_jag, as_grant;
    const struct member *base;
    size_t n;
    struct issuer issuer;
    enum jose_alg alg;
    struct str typ;
};

static struct showing as_user(void)
{
    return (struct showing){false, false, user_claims, COUNT(user_claims), some_issuer(), JOSE_ES256, {NULL, 0}};
}

static struct showing as_id_jag(void)
{
    return (struct showing){
        true, false, jag_claims, COUNT(jag_claims), some_issuer(), JOSE_ES256, STR("oauth-id-jag+jwt")};
}

static struct err show(struct arena *a, const struct showing *s, const struct member *change, struct user_token *out)
{
    const struct jws j = {.alg = s->alg, .typ = s->typ, .payload = str_bytes(payload_of(a, s->base, s->n, change))};
    struct user_token_terms terms = ordinary;
    terms.as_grant = s->as_grant;
    struct jwt_claims claims;
    *out = (struct user_token){.resources = {NULL, 0}};
    TRY(jwt_claims_parse(a, &j, &claims));
    return s->id_jag ? id_jag_read(&s->issuer, &j, &claims, &terms, a, out)
                     : user_token_read(&s->issuer, &j, &claims, &terms, a, out);
}

/* want: part of the refusal's detail; NULL: the token is good. */
struct row {
    struct member change;
    const char *want;
};

static void check_rows(struct arena *a, const struct showing *s, const struct row *rows, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct user_token t;
        struct err e = show(a, s, &rows[i].change, &t);
        bool as_wanted = rows[i].want == NULL ? !err_is(&e) : err_is(&e) && strstr(e.detail, rows[i].want) != NULL;
        /* What jwt_claims_parse refuses is its own (test_jwt.c); all else is one code for the caller. */
        if (e.code == ERR_JOSE_CLAIM || e.code == ERR_JOSE_MALFORMED)
            e.code = ERR_USER_TOKEN;
        if (!as_wanted || (err_is(&e) && e.code != ERR_USER_TOKEN))
            fail_msg("row %zu (%s: %s): %s %s", i, rows[i].change.name,
                     rows[i].change.value != NULL ? rows[i].change.value : "left out", err_name(e.code), e.detail);
    }
}

/* The items with | between. */
static void assert_list(struct str_list l, const char *want)
{
    char is[256] = "";
    size_t n = 0;
    for (size_t i = 0; i < l.n && n < sizeof is; i++)
        n += (size_t)snprintf(is + n, sizeof is - n, "%s%.*s", i > 0 ? "|" : "", STR_FMT(l.v[i]));
    assert_string_equal(is, want);
}

static void test_the_user_that_a_token_names(void **state)
{
    const struct showing s = as_user();
    struct user_token t;
    assert_ok(show(*state, &s, NULL, &t));
    assert_str(t.user.id, "u-17");
    assert_str(t.user.tenant_id, "t-1");
    assert_str(t.user.issuer, IDP);
    assert_int_equal(t.user.clearance_level, 3);
    assert_list(t.user.permissions, "a:r|a:w");
    assert_int_equal(t.user.expires_us, INT64_C(1800000600000000));
    assert_null(t.must_bind.p);
    assert_list(t.resources, "");
}

static void test_what_is_absent_grants_nothing(void **state)
{
    struct arena *a = *state;
    static const struct member bare[] = {
        {"iss", "\"" IDP "\""}, {"aud", "\"crm\""}, {"sub", "\"u\""}, {"exp", "1800000600"}};
    struct showing s = as_user();
    s.base = bare;
    s.n = COUNT(bare);
    struct user_token t;
    assert_ok(show(a, &s, NULL, &t));
    assert_null(t.user.tenant_id.p);
    assert_int_equal(t.user.clearance_level, 0);
    assert_list(t.user.permissions, "");
}

#define STR_256                                                                                                        \
    "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef" \
    "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef" \
    "0123456789abcdef0123456789abcdef"

static void test_registered_claims(void **state)
{
    static const struct row rows[] = {
        /* RFC 7519 sections 4.1.1 and 4.1.3, byte for byte; J17. */
        {{"iss", NULL}, "iss is missing"},
        {{"iss", "\"" IDP "/\""}, "iss is not"},
        {{"iss", "\"HTTPS://idp.example\""}, "iss is not"},
        {{"iss", "7"}, "iss"},
        {{"aud", NULL}, "aud is missing"},
        {{"aud", "\"crm2\""}, "aud is not"},
        {{"aud", "\"" US "\""}, "aud is not"},
        {{"aud", "[\"other\",\"crm\"]"}, NULL},
        {{"aud", "[\"crm\"]"}, NULL},
        {{"aud", "[\"other\",\"CRM\"]"}, "aud is not"},
        {{"aud", "[]"}, "aud"},
        {{"aud", "{\"crm\":1}"}, "aud"},
        {{"sub", NULL}, "sub is missing"},
        /* Times, with 30 s of skew. */
        {{"exp", NULL}, "exp is missing"},
        {{"exp", "1799999970"}, "exp"},
        {{"exp", "1799999991"}, NULL},
        {{"exp", "\"1800000600\""}, "exp"},
        {{"exp", "1800000600.5"}, "number"},
        {{"exp", "253402300799"}, NULL},
        {{"exp", "253402300800"}, "year 9999"},
        {{"exp", "1800000600000"}, "milliseconds"},
        {{"exp", "9007199254740991"}, "year 9999"},
        {{"nbf", "1800000030"}, NULL},
        {{"nbf", "1800000031"}, "nbf"},
        {{"iat", "1800000030"}, NULL},
        {{"iat", "1800000031"}, "iat"},
        {{"iat", NULL}, NULL},
    };
    const struct showing s = as_user();
    check_rows(*state, &s, rows, COUNT(rows));
}

static void test_claims_about_the_user(void **state)
{
    static const struct row rows[] = {
        {{"sub", "\"" STR_256 "\""}, NULL},
        {{"sub", "\"" STR_256 "x\""}, "the user's id"},
        {{"sub", "17"}, "sub"},
        {{"sub", "\"\""}, "sub"},
        {{"sub", "\"a\\nb\""}, "control"},
        {{"sub", "\"crm-agent\""}, "the agent's"},
        {{"sub", "\"CRM-agent\""}, NULL},
        {{"tenant_id", NULL}, NULL},
        {{"tenant_id", "\"" STR_256 "\""}, NULL},
        {{"tenant_id", "\"" STR_256 "x\""}, "the tenant's id"},
        {{"tenant_id", "\"\""}, "the tenant's id"},
        {{"tenant_id", "\"a\\u007fb\""}, "the tenant's id"},
        {{"tenant_id", "\"a\\u0001b\""}, "the tenant's id"},
        {{"tenant_id", "7"}, "the tenant's id"},
        {{"tenant_id", "null"}, "the tenant's id"},
        {{"tenant_id", "[\"t\"]"}, "the tenant's id"},
        {{"clearance_level", "0"}, NULL},
        {{"clearance_level", "1000000"}, NULL},
        {{"clearance_level", "1000001"}, "the clearance"},
        {{"clearance_level", "-1"}, "the clearance"},
        {{"clearance_level", "\"3\""}, "the clearance"},
        {{"clearance_level", "true"}, "the clearance"},
        {{"clearance_level", "null"}, "the clearance"},
        {{"clearance_level", "3.5"}, "number"},
        {{"permissions", "[]"}, NULL},
        {{"permissions", "\"\""}, NULL},
        {{"permissions", "\"a:r\""}, NULL},
        {{"permissions", "\"a:r  a:w\""}, "one space"},
        {{"permissions", "\" a:r\""}, "one space"},
        {{"permissions", "[\"a:r\",7]"}, "item 1"},
        {{"permissions", "[\"a:r\",null]"}, "item 1"},
        {{"permissions", "[[\"a:r\"]]"}, "item 0"},
        {{"permissions", "{\"a:r\":true}"}, "the permissions"},
        {{"permissions", "7"}, "the permissions"},
        {{"permissions", "null"}, "the permissions"},
    };
    const struct showing s = as_user();
    check_rows(*state, &s, rows, COUNT(rows));
}

/* Attack J21, RFC 8693 sections 4.1 and 4.4; RFC 7800. */
static const struct row delegation_rows[] = {
    {{"act", "{\"sub\":\"crm-agent\"}"}, "act"},
    {{"act", "{}"}, "act"},
    {{"act", "null"}, "act"},
    {{"act", "\"crm-agent\""}, "act"},
    {{"may_act", "{\"sub\":\"crm-agent\"}"}, NULL},
    {{"may_act", "{\"client_id\":\"crm-agent\"}"}, NULL},
    {{"may_act", "{\"sub\":\"crm-agent\",\"client_id\":\"crm-agent\",\"iss\":\"" US "\"}"}, NULL},
    {{"may_act", "{\"sub\":\"crm-agent\",\"exp\":1}"}, NULL},
    {{"may_act", "{\"sub\":\"crm-agent2\"}"}, "may_act"},
    {{"may_act", "{\"sub\":\"crm-agent\",\"client_id\":\"other\"}"}, "may_act"},
    {{"may_act", "{\"sub\":\"other\",\"client_id\":\"crm-agent\"}"}, "may_act"},
    {{"may_act", "{\"sub\":\"crm-agent\",\"iss\":\"" IDP "\"}"}, "may_act"},
    {{"may_act", "{\"sub\":\"crm-agent\",\"iss\":null}"}, "may_act"},
    {{"may_act", "{\"sub\":[\"crm-agent\"]}"}, "may_act"},
    {{"may_act", "{\"iss\":\"" US "\"}"}, "may_act"},
    {{"may_act", "{}"}, "may_act"},
    {{"may_act", "[{\"sub\":\"crm-agent\"}]"}, "may_act"},
    {{"may_act", "\"crm-agent\""}, "may_act"},
    {{"may_act", "null"}, "may_act"},
    {{"cnf", "{\"jkt\":\"" JKT "\"}"}, NULL},
    {{"cnf", "{\"jkt\":\"" JKT "A\"}"}, "cnf"},
    {{"cnf", "{\"jkt\":\"\"}"}, "cnf"},
    {{"cnf", "{\"jkt\":7}"}, "cnf"},
    {{"cnf", "{\"jkt\":\"" JKT "\",\"kid\":\"k\"}"}, "cnf"},
    {{"cnf", "{\"x5t#S256\":\"" JKT "\"}"}, "cnf"},
    {{"cnf", "{\"jwk\":{\"kty\":\"EC\"}}"}, "cnf"},
    {{"cnf", "{}"}, "cnf"},
    {{"cnf", "null"}, "cnf"},
    {{"cnf", "\"" JKT "\""}, "cnf"},
};

static void test_who_may_act(void **state)
{
    const struct showing user = as_user(), jag = as_id_jag();
    check_rows(*state, &user, delegation_rows, COUNT(delegation_rows));
    check_rows(*state, &jag, delegation_rows, COUNT(delegation_rows));
}

static void test_a_binding_is_handed_on(void **state)
{
    const struct member bound = {"cnf", "{\"jkt\":\"" JKT "\"}"};
    const struct showing user = as_user(), jag = as_id_jag();
    struct user_token t;
    assert_ok(show(*state, &user, &bound, &t));
    assert_str(t.must_bind, JKT);
    assert_ok(show(*state, &jag, &bound, &t));
    assert_str(t.must_bind, JKT);
}

static void test_age_and_one_time_ids(void **state)
{
    static const struct row aged[] = {
        {{"iat", NULL}, "iat is missing"}, {{"iat", "1799999400"}, NULL}, {{"iat", "1799999399"}, "max_age"},
        {{"iat", "0"}, "max_age"},         {{"iat", "1800000030"}, NULL},
    };
    struct showing s = as_user();
    s.issuer.max_age_s = 600;
    check_rows(*state, &s, aged, COUNT(aged));
    static const struct row once[] = {
        {{"jti", NULL}, "jti is missing"},  {{"jti", "\"j\""}, NULL},
        {{"jti", "\"" STR_256 "\""}, NULL}, {{"jti", "\"" STR_256 "x\""}, "jti is longer"},
        {{"jti", "\"\""}, "jti"},           {{"jti", "7"}, "jti"},
    };
    s = as_user();
    s.issuer.one_time_jti = true;
    check_rows(*state, &s, once, COUNT(once));
    s = as_id_jag();
    check_rows(*state, &s, once, COUNT(once));
}

static void test_an_id_is_remembered_past_every_skew(void **state)
{
    (void)state;
    const struct jwt_claims claims = {.exp = {true, NOW}};
    /* Good until exp + 30 by one clock, which another's may be 30 s behind. */
    assert_int_equal(user_token_remember_s(&claims), NOW + 60);
}

static void test_algorithms_are_the_registered_ones(void **state)
{
    static const bool good[JOSE_ALG_COUNT] = {[JOSE_ES256] = true, [JOSE_PS256] = true};
    for (int alg = 0; alg < JOSE_ALG_COUNT; alg++) {
        struct user_token t;
        struct showing user = as_user(), jag = as_id_jag();
        user.alg = jag.alg = (enum jose_alg)alg;
        struct err e = show(*state, &user, NULL, &t), f = show(*state, &jag, NULL, &t);
        assert_int_equal(e.code, good[alg] ? ERR_NONE : ERR_USER_TOKEN);
        assert_int_equal(f.code, good[alg] ? ERR_NONE : ERR_USER_TOKEN);
    }
}

/* RFC 8725 section 3.11 and attack J18. jws_parse gives typ in lower case, without "application/". */
static void test_types(void **state)
{
    static const struct {
        const char *registered, *typ; /* NULL: none */
        bool good;
    } rows[] = {
        {NULL, NULL, true},
        {NULL, "jwt", true},
        {NULL, "at+jwt", true},
        {NULL, "jose", false},
        {NULL, "", false},
        {NULL, "client-authentication+jwt", false},
        {NULL, "dpop+jwt", false},
        {NULL, "oauth-id-jag+jwt", false},
        {NULL, "token-introspection+jwt", false},
        {NULL, "nexus-selftest+jwt", false},
        {NULL, "nexus-broker+jwt", false},
        {NULL, "logout+jwt", false},
        {"at+jwt", "at+jwt", true},
        {"at+jwt", "jwt", false},
        {"at+jwt", NULL, false},
        {"user-context+jwt", "user-context+jwt", true},
        {"user-context+jwt", "user-context+jw", false},
        {"user-context+jwt", "user-context+jwtx", false},
        {"dpop+jwt", "dpop+jwt", false},
        {"oauth-id-jag+jwt", "oauth-id-jag+jwt", false},
        {"nexus-mine+jwt", "nexus-mine+jwt", false},
        {"client-authentication+jwt", "client-authentication+jwt", false},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct showing s = as_user();
        s.issuer.typ = str_of(rows[i].registered);
        s.typ = str_of(rows[i].typ);
        struct user_token t;
        struct err e = show(*state, &s, NULL, &t);
        if (e.code != (rows[i].good ? ERR_NONE : ERR_USER_TOKEN))
            fail_msg("row %zu: %s %s", i, err_name(e.code), e.detail);
    }
    static const char *const not_jag[] = {NULL, "jwt", "at+jwt", "client-authentication+jwt", "oauth-id-jag"};
    for (size_t i = 0; i < COUNT(not_jag); i++) {
        struct showing s = as_id_jag();
        /* Not even an issuer that is registered with that typ. */
        s.issuer.typ = str_of(not_jag[i]);
        s.typ = str_of(not_jag[i]);
        struct user_token t;
        assert_fails_with(ERR_USER_TOKEN, "typ", show(*state, &s, NULL, &t));
    }
}

static void test_claims_by_pointer(void **state)
{
    struct arena *a = *state;
    struct showing s = as_user();
    s.issuer.claim_user_id = STR("/ids/1/value");
    s.issuer.claim_tenant_id = STR("/https:~1~1acme.example~1tenant~0id");
    s.issuer.claim_clearance = STR("/ext/clearance/0");
    s.issuer.claim_permissions = STR("/realm_access/roles");
    static const struct member claims[] = {{"iss", "\"" IDP "\""},
                                           {"aud", "\"crm\""},
                                           {"sub", "\"not-this\""},
                                           {"exp", "1800000600"},
                                           {"tenant_id", "\"not-this\""},
                                           {"clearance_level", "9"},
                                           {"permissions", "[\"not:this\"]"},
                                           {"ids", "[{\"value\":\"a\"},{\"value\":\"u-18\"}]"},
                                           {"https://acme.example/tenant~id", "\"t-2\""},
                                           {"ext", "{\"clearance\":[5]}"},
                                           {"realm_access", "{\"roles\":[\"a:x\"]}"}};
    s.base = claims;
    s.n = COUNT(claims);
    struct user_token t;
    assert_ok(show(a, &s, NULL, &t));
    assert_str(t.user.id, "u-18");
    assert_str(t.user.tenant_id, "t-2");
    assert_int_equal(t.user.clearance_level, 5);
    assert_list(t.user.permissions, "a:x");

    static const struct row rows[] = {
        {{"ids", "[{\"value\":\"a\"}]"}, "the user's id is missing"},
        {{"ids", "[{\"value\":\"a\"},{\"value\":18}]"}, "the user's id"},
        {{"ids", "[{\"value\":\"a\"},{\"value\":\"crm-agent\"}]"}, "the agent's"},
        {{"ids", "[{\"value\":\"a\"},{\"value\":\"\"}]"}, "the user's id"},
        {{"ids", "[{\"value\":\"a\"},{\"value\":\"b\\tc\"}]"}, "the user's id"},
        {{"ids", "[{\"value\":\"a\"},{\"value\":null}]"}, "the user's id"},
        {{"ids", "\"text\""}, "the user's id is missing"},
        {{"ext", "{\"clearance\":[]}"}, NULL},
        {{"ext", "{\"clearance\":[\"5\"]}"}, "the clearance"},
        {{"realm_access", "\"roles\""}, NULL},
    };
    check_rows(a, &s, rows, COUNT(rows));
    s.issuer.claim_user_id = STR("");
    assert_fails_with(ERR_USER_TOKEN, "the user's id", show(a, &s, NULL, &t));
}

static void test_claims_of_an_id_jag(void **state)
{
    static const struct row rows[] = {
        {{"iss", "\"" IDP "/\""}, "iss is not"},
        {{"aud", NULL}, "aud is missing"},
        {{"aud", "\"crm\""}, "aud is not"},
        {{"aud", "\"" US "/\""}, "aud is not"},
        {{"aud", "[\"" US "\"]"}, "aud is an array"},
        {{"aud", "[\"" US "\",\"https://other.example\"]"}, "aud is an array"},
        {{"client_id", NULL}, "client_id"},
        {{"client_id", "\"other\""}, "client_id"},
        {{"client_id", "\"CRM-agent\""}, "client_id"},
        {{"client_id", "[\"crm-agent\"]"}, "client_id"},
        {{"client_id", "null"}, "client_id"},
        {{"exp", NULL}, "exp is missing"},
        {{"exp", "1799999970"}, "exp"},
        {{"exp", "1800086400"}, NULL},
        {{"exp", "1800086401"}, "exp is more than 86400 s ahead"},
        {{"exp", "253402300799"}, "exp is more than"},
        {{"iat", NULL}, "iat is missing"},
        {{"iat", "1800000031"}, "iat"},
        {{"sub", NULL}, "sub is missing"},
        {{"sub", "\"crm-agent\""}, "the agent's"},
        {{"scope", "\"\""}, NULL},
        {{"scope", "[\"a:r\"]"}, "scope is not a string"},
        {{"scope", "7"}, "scope is not a string"},
        {{"scope", "null"}, "scope is not a string"},
        {{"scope", "\"a:r  a:w\""}, "one space"},
        {{"authorization_details", "[{\"type\":\"x\"}]"}, "authorization_details"},
        {{"resource", "\"https://a.example\""}, NULL},
        {{"resource", "[\"https://a.example\",\"https://b.example\"]"}, NULL},
        {{"resource", "[]"}, "resource"},
        {{"resource", "[7]"}, "resource"},
        {{"resource", "{}"}, "resource"},
        {{"resource", "null"}, "resource"},
    };
    const struct showing s = as_id_jag();
    check_rows(*state, &s, rows, COUNT(rows));
}

/* RFC 7523 section 3 item 4. The same token is no grant in another role, and may live longer there. */
static void test_a_grant_ends_within_a_day(void **state)
{
    static const struct row rows[] = {
        {{"exp", "1800086400"}, NULL},
        {{"exp", "1800086401"}, "exp is more than 86400 s ahead"},
        {{"exp", "253402300799"}, "exp is more than"},
        {{"exp", "253402300800"}, "year 9999"},
    };
    struct showing s = as_user();
    s.as_grant = true;
    check_rows(*state, &s, rows, COUNT(rows));
    struct user_token t;
    s.as_grant = false;
    assert_ok(show(*state, &s, &rows[1].change, &t));
}

static void test_what_an_id_jag_grants(void **state)
{
    struct arena *a = *state;
    const struct showing s = as_id_jag();
    struct user_token t;
    assert_ok(show(a, &s, NULL, &t));
    assert_str(t.user.id, "u-17");
    assert_str(t.user.issuer, IDP);
    assert_list(t.user.permissions, "a:r|a:w");
    assert_int_equal(t.user.expires_us, INT64_C(1800000300000000));
    /* Where scope and permissions are both said, what is in both. */
    static const struct {
        const char *permissions, *common;
    } rows[] = {
        {"[\"a:w\",\"a:x\"]", "a:w"},
        {"[\"a:w\",\"a:r\"]", "a:r|a:w"},
        {"\"a:x a:r\"", "a:r"},
        {"[\"a:all\"]", ""},
        {"[]", ""},
        {"\"\"", ""},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        assert_ok(show(a, &s, &(struct member){"permissions", rows[i].permissions}, &t));
        assert_list(t.user.permissions, rows[i].common);
    }
    assert_fails(ERR_USER_TOKEN, show(a, &s, &(struct member){"permissions", "7"}, &t));
    assert_ok(show(a, &s, &(struct member){"scope", "\"\""}, &t));
    assert_list(t.user.permissions, "");
    /* An issuer may have its permissions in the scope. */
    struct showing roles = as_id_jag();
    roles.issuer.claim_permissions = STR("/scope");
    assert_ok(show(a, &roles, NULL, &t));
    assert_list(t.user.permissions, "a:r|a:w");
    roles.issuer.claim_permissions = STR("/roles");
    assert_ok(show(a, &roles, &(struct member){"roles", "[\"a:x\",\"a:w\"]"}, &t));
    assert_list(t.user.permissions, "a:w");
    roles.n--; /* no scope */
    assert_ok(show(a, &roles, &(struct member){"roles", "[\"a:x\"]"}, &t));
    assert_list(t.user.permissions, "a:x");
    assert_ok(show(a, &roles, NULL, &t));
    assert_list(t.user.permissions, "");
}

static void test_resources_of_an_id_jag(void **state)
{
    struct arena *a = *state;
    const struct showing s = as_id_jag();
    struct user_token t;
    assert_ok(show(a, &s, &(struct member){"resource", "\"https://a.example\""}, &t));
    assert_list(t.resources, "https://a.example");
    assert_ok(show(a, &s, &(struct member){"resource", "[\"https://a.example\",\"urn:b\"]"}, &t));
    assert_list(t.resources, "https://a.example|urn:b");
    /* One string is one resource, whatever stands in it. */
    assert_ok(show(a, &s, &(struct member){"resource", "\"https://a.example https://b.example\""}, &t));
    assert_list(t.resources, "https://a.example https://b.example");
}

/* Neither kind passes as the other, even when all claims fit both. */
static void test_the_kinds_are_disjoint(void **state)
{
    struct showing s = as_id_jag();
    s.issuer.audience = STR(US);
    struct user_token t;
    assert_ok(show(*state, &s, NULL, &t));
    s.id_jag = false;
    assert_fails_with(ERR_USER_TOKEN, "typ", show(*state, &s, NULL, &t));
    s.typ = STR("jwt");
    assert_ok(show(*state, &s, NULL, &t));
    s.id_jag = true;
    assert_fails_with(ERR_USER_TOKEN, "typ", show(*state, &s, NULL, &t));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_user_that_a_token_names),
        cmocka_unit_test(test_what_is_absent_grants_nothing),
        cmocka_unit_test(test_registered_claims),
        cmocka_unit_test(test_claims_about_the_user),
        cmocka_unit_test(test_who_may_act),
        cmocka_unit_test(test_a_binding_is_handed_on),
        cmocka_unit_test(test_age_and_one_time_ids),
        cmocka_unit_test(test_an_id_is_remembered_past_every_skew),
        cmocka_unit_test(test_algorithms_are_the_registered_ones),
        cmocka_unit_test(test_types),
        cmocka_unit_test(test_claims_by_pointer),
        cmocka_unit_test(test_claims_of_an_id_jag),
        cmocka_unit_test(test_a_grant_ends_within_a_day),
        cmocka_unit_test(test_what_an_id_jag_grants),
        cmocka_unit_test(test_resources_of_an_id_jag),
        cmocka_unit_test(test_the_kinds_are_disjoint),
    };
    return cmocka_run_group_tests(tests, make_arena, drop_arena);
}
