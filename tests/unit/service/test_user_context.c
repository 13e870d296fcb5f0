/* SPDX-License-Identifier: Apache-2.0
 * Who judges the token that vouches for a user, and what is handed on of it. The catalogue, the back end and the
 * pseudonyms are this test's own; keys, signatures and rules are real. */
#include "service/api/user_context.h"

#include "service/api/backend.h"
#include "service/api/catalogue.h"
#include "service/api/issuer_keys.h"
#include "service/api/pseudonym.h"
#include "tests/unit/crypto/support.h"

#include <stdlib.h>

enum { NOW = 1800000000, ISSUERS = 4 };
#define US  "https://broker.example"
#define IDP "https://idp.example"

static const struct metric_def metric_defs[] = {
#define M(id, name, type, help, ...) {name, type, help, {__VA_ARGS__}},
#include "service/metrics.def"
#undef M
};

/* What the stand-ins below answer, and what they were asked. */
static struct {
    struct catalogue copy, database; /* what a worker has, and what a fresh look finds */
    int fresh_looks;
    enum err_code back_end; /* its refusal */
    const char *back_end_user;
    int back_end_calls;
} world;

struct err catalogue_get(struct catalogue_cache *cache, const struct call *c, bool must_be_fresh,
                         const struct catalogue **out)
{
    (void)cache;
    (void)c;
    world.fresh_looks += must_be_fresh;
    world.database.fresh = true;
    *out = must_be_fresh ? &world.database : &world.copy;
    return OK;
}

struct err backend_verify(const struct call *c, struct str token, struct user *out)
{
    (void)c;
    (void)token;
    world.back_end_calls++;
    *out = (struct user){.id = str_of(world.back_end_user)};
    return world.back_end == ERR_NONE ? OK : FAIL(world.back_end, "as the test wants it");
}

struct err pseudonym_of(const struct call *c, struct str issuer, struct str user_id, struct str *out)
{
    *out = arena_printf(c->arena, "p(%.*s,%.*s)", STR_FMT(issuer), STR_FMT(user_id));
    return OK;
}

struct bench {
    struct fixture *f;
    struct config config;
    struct app app;
    struct api api;
    struct cached_agent agent;
    struct test_key key, stranger; /* of one kid */
    struct issuer issuers[ISSUERS];
    struct issuing i;
    struct subject out;
};

static const char *jwks_of(struct bench *b, const struct test_key *k)
{
    struct buf out = buf_in(b->f->arena, 4096);
    struct json_writer w = json_writer(&out);
    jwk_write(k->jwk, &w, NULL);
    return arena_printf(b->f->arena, "{\"keys\":[%.*s]}", STR_FMT(buf_view(&out))).p;
}

static struct issuer issuer_of(struct bench *b, const char *id, const char *name, const struct test_key *k)
{
    static struct str algorithms[] = {{"ES256", 5}};
    return (struct issuer){.id = str_of(id),
                           .issuer = str_of(name),
                           .jwks = str_of(jwks_of(b, k)),
                           .algorithms = {algorithms, 1},
                           .audience = STR("crm"),
                           .claim_user_id = STR("/sub"),
                           .claim_tenant_id = STR("/tenant_id"),
                           .claim_clearance = STR("/clearance_level"),
                           .claim_permissions = STR("/permissions"),
                           .active = true,
                           .version = 1};
}

static int setup(void **state)
{
    void *f = NULL;
    (void)fixture_setup(&f);
    struct bench *b = calloc(1, sizeof *b);
    assert_non_null(b);
    b->f = f;
    b->key = test_key_new(b->f, JOSE_ES256);
    b->stranger = test_key_new(b->f, JOSE_ES256);
    *state = b;
    return 0;
}

static int teardown(void **state)
{
    struct bench *b = *state;
    test_key_free(&b->key);
    test_key_free(&b->stranger);
    void *f = b->f;
    (void)fixture_teardown(&f);
    free(b);
    return 0;
}

/* One active issuer, known to copy and database; no back end. */
static int each(void **state)
{
    struct bench *b = *state;
    arena_reset(b->f->arena);
    b->config = (struct config){.base_url = STR(US), .jwks_cache_s = 300, .jwks_stale_s = 3600};
    b->app = (struct app){.config = &b->config, .crypto = b->f->crypto, .clock = clock_fixed(NOW * INT64_C(1000000))};
    b->api = (struct api){.app = &b->app};
    b->agent = (struct cached_agent){.agent = {.id = STR("crm-agent"), .active = true}};
    b->i = (struct issuing){
        .call = {.api = &b->api, .arena = b->f->arena, .deadline_us = clock_mono_us() + INT64_C(60000000)},
        .auth = {.who = &b->agent}};
    b->out = (struct subject){.user = NULL};
    assert_ok(metrics_new(metric_defs, COUNT(metric_defs), &b->app.metrics));
    assert_ok(issuer_keys_new(&b->app.issuer_keys));
    b->issuers[0] = issuer_of(b, "iss_1", IDP, &b->key);
    const struct catalogue known = {.revision = 1, .issuers = b->issuers, .n_issuers = 1};
    world.copy = world.database = known;
    world.fresh_looks = world.back_end_calls = 0;
    world.back_end = ERR_NONE;
    world.back_end_user = "u-from-back-end";
    return 0;
}

static int after_each(void **state)
{
    struct bench *b = *state;
    issuer_keys_free(&b->app.issuer_keys);
    metrics_free(&b->app.metrics);
    return 0;
}

static struct str token_with(struct bench *b, const struct test_key *k, const char *typ, const char *claims)
{
    struct str kid = jwk_kid(b->key.jwk);
    struct str header =
        arena_printf(b->f->arena, "{\"alg\":\"ES256\",\"kid\":\"%.*s\",\"typ\":\"%s\"}", STR_FMT(kid), typ);
    return test_token(b->f, k, header, str_of(claims));
}

#define CLAIMS_OF(iss) "\"iss\":\"" iss "\",\"aud\":\"crm\",\"sub\":\"u-17\",\"exp\":1800000600"
#define CLAIMS         CLAIMS_OF(IDP)

static struct str good_token(struct bench *b)
{
    return token_with(b, &b->key, "JWT", "{" CLAIMS ",\"permissions\":[\"a:r\"],\"jti\":\"j-1\"}");
}

static struct err as_context(struct bench *b, struct str token)
{
    return user_context_check(&b->i, token, &b->out);
}

static struct err as_grant(struct bench *b, struct str token)
{
    return assertion_check(&b->i, token, &b->out);
}

static void test_a_registered_issuers_user(void **state)
{
    struct bench *b = *state;
    assert_ok(as_context(b, good_token(b)));
    assert_non_null(b->out.user);
    assert_str(b->out.user->id, "u-17");
    assert_str(b->out.user->issuer, IDP);
    assert_int_equal(b->out.user->permissions.n, 1);
    assert_str(b->out.sub_p, "p(" IDP ",u-17)");
    assert_null(b->out.id.space.p); /* jti or not: it may be shown again */
    assert_null(b->out.must_bind.p);
    assert_null(b->out.parent);
    b->out = (struct subject){.user = NULL};
    assert_ok(issuer_token_check(&b->i, good_token(b), &b->out));
    assert_str(b->out.user->id, "u-17");
    /* Never by a copy of the register, and the issuing statement can tell which one it was. */
    assert_int_equal(world.fresh_looks, 2);
    assert_int_equal(b->out.revision, world.database.revision);
}

static void test_no_registered_issuers_word(void **state)
{
    struct bench *b = *state;
    b->config.backend_auth_url = STR("https://back.example");
    struct str good = good_token(b);
    struct str cut = {good.p, good.n - 4};
    const struct str bad[] = {
        token_with(b, &b->stranger, "JWT", "{" CLAIMS "}"), /* signed by another key of that kid */
        cut,
        token_with(b, &b->key, "dpop+jwt", "{" CLAIMS "}"),
        token_with(b, &b->key, "JWT", "{" CLAIMS ",\"act\":{\"sub\":\"crm-agent\"}}"),
        token_with(b, &b->key, "JWT", "{\"iss\":\"" IDP "\",\"aud\":\"crm\",\"sub\":\"u-17\"}"),
        test_token(b->f, &b->key, STR("{\"alg\":\"ES256\",\"kid\":\"other\"}"), STR("{" CLAIMS "}")),
        test_token(b->f, &b->key, STR("{\"alg\":\"PS256\"}"), STR("{" CLAIMS "}")),
        /* What we cannot even read is still the issuer's, and no matter for the back end. */
        test_token(b->f, &b->key, STR("{\"alg\":\"HS256\"}"), STR("{" CLAIMS "}")),
        test_token(b->f, &b->key, STR("{\"alg\":\"none\"}"), STR("{" CLAIMS "}")),
        test_token(b->f, &b->key, STR("{\"alg\":\"ES256\",\"crit\":[\"x\"]}"), STR("{" CLAIMS "}")),
        test_token(b->f, &b->key, STR("no header"), STR("{" CLAIMS "}")),
        token_with(b, &b->key, "JWT", "{" CLAIMS ",\"jti\":7}"),
    };
    for (size_t n = 0; n < COUNT(bad); n++) {
        struct err e = as_context(b, bad[n]);
        if (e.code != ERR_USER_TOKEN || b->out.user != NULL || b->out.sub_p.p != NULL)
            fail_msg("row %zu: %s (%s)", n, err_name(e.code), e.detail);
        assert_fails(ERR_USER_TOKEN, issuer_token_check(&b->i, bad[n], &b->out));
        assert_fails(ERR_GRANT, as_grant(b, bad[n]));
    }
    assert_int_equal(world.back_end_calls, 0);
}

/* Attack J17: two issuers with keys of the same kid. */
static void test_each_issuer_by_its_own_keys(void **state)
{
    struct bench *b = *state;
    struct str own = jwk_kid(b->key.jwk), other = jwk_kid(b->stranger.jwk);
    b->issuers[1] = issuer_of(b, "iss_2", "https://two.example", &b->stranger);
    /* The same kid in both sets. */
    char *jwks = malloc(b->issuers[1].jwks.n + 1);
    assert_non_null(jwks);
    memcpy(jwks, b->issuers[1].jwks.p, b->issuers[1].jwks.n + 1);
    char *at = memmem(jwks, b->issuers[1].jwks.n, other.p, other.n);
    assert_non_null(at);
    memcpy(at, own.p, own.n);
    b->issuers[1].jwks.p = jwks;
    world.copy.n_issuers = world.database.n_issuers = 2;
    assert_ok(as_context(b, token_with(b, &b->key, "JWT", "{" CLAIMS "}")));
    assert_ok(as_context(b, token_with(b, &b->stranger, "JWT", "{" CLAIMS_OF("https://two.example") "}")));
    assert_str(b->out.user->issuer, "https://two.example");
    assert_fails(ERR_USER_TOKEN, as_context(b, token_with(b, &b->stranger, "JWT", "{" CLAIMS "}")));
    assert_fails(ERR_USER_TOKEN,
                 as_context(b, token_with(b, &b->key, "JWT", "{" CLAIMS_OF("https://two.example") "}")));
    free(jwks);
}

static void test_our_own_tokens_vouch_for_nobody(void **state)
{
    struct bench *b = *state;
    b->config.backend_auth_url = STR("https://back.example");
    b->issuers[1] = issuer_of(b, "iss_2", US, &b->key); /* not even when somebody registered us */
    world.copy.n_issuers = world.database.n_issuers = 2;
    struct str ours = token_with(b, &b->key, "JWT", "{" CLAIMS_OF(US) "}");
    assert_fails(ERR_USER_TOKEN, as_context(b, ours));
    assert_fails(ERR_USER_TOKEN, issuer_token_check(&b->i, ours, &b->out));
    assert_fails(ERR_GRANT, as_grant(b, ours));
    assert_fails(ERR_USER_TOKEN,
                 as_context(b, test_token(b->f, &b->key, STR("{\"alg\":\"HS256\"}"), STR("{" CLAIMS_OF(US) "}"))));
    assert_int_equal(world.back_end_calls, 0);
}

static void test_an_inactive_issuer(void **state)
{
    struct bench *b = *state;
    b->config.backend_auth_url = STR("https://back.example");
    b->issuers[0].active = false;
    assert_fails(ERR_USER_TOKEN, as_context(b, good_token(b)));
    assert_fails(ERR_GRANT, as_grant(b, good_token(b)));
    assert_int_equal(world.back_end_calls, 0);
    b->config.backend_auth_url = STR("");
    assert_fails(ERR_USER_TOKEN, as_context(b, good_token(b)));
}

static void test_the_back_end_judges_all_others(void **state)
{
    struct bench *b = *state;
    const struct str others[] = {
        token_with(b, &b->key, "JWT", "{" CLAIMS_OF("https://unknown.example") "}"),
        token_with(b, &b->key, "JWT", "{" CLAIMS_OF("https://idp.example/") "}"),
        token_with(b, &b->key, "JWT", "{\"sub\":\"u-17\"}"),
        token_with(b, &b->key, "JWT", "[]"),
        STR("opaque"),
        STR("a.b"),
        STR("..."),
        STR("eyJ.eyJ.x"),
    };
    for (size_t n = 0; n < COUNT(others); n++) {
        b->config.backend_auth_url = STR("https://back.example");
        b->out = (struct subject){.user = NULL};
        assert_ok(as_context(b, others[n]));
        assert_str(b->out.user->id, "u-from-back-end");
        assert_null(b->out.user->issuer.p);
        assert_str(b->out.sub_p, "p(,u-from-back-end)");
        assert_null(b->out.id.space.p);
        assert_int_equal(world.back_end_calls, n + 1);
        /* It speaks for user context tokens alone. */
        assert_fails(ERR_USER_TOKEN, issuer_token_check(&b->i, others[n], &b->out));
        assert_fails(ERR_GRANT, as_grant(b, others[n]));
        assert_int_equal(world.back_end_calls, n + 1);
        b->config.backend_auth_url = STR("");
        assert_fails(ERR_USER_TOKEN, as_context(b, others[n]));
        assert_int_equal(world.back_end_calls, n + 1);
    }
    b->config.backend_auth_url = STR("https://back.example");
    world.back_end_user = "crm-agent";
    assert_fails(ERR_USER_TOKEN, as_context(b, STR("opaque")));
    world.back_end = ERR_BACKEND_AUTH;
    assert_fails(ERR_BACKEND_AUTH, as_context(b, STR("opaque")));
    world.back_end = ERR_USER_TOKEN;
    assert_fails(ERR_USER_TOKEN, as_context(b, STR("opaque")));
}

static void test_nobody_vouches_here(void **state)
{
    struct bench *b = *state;
    struct str unknown = token_with(b, &b->key, "JWT", "{" CLAIMS_OF("https://unknown.example") "}");
    b->issuers[0].active = false;
    assert_fails(ERR_OBO_NOT_CONFIGURED, as_context(b, unknown));
    world.copy.n_issuers = world.database.n_issuers = 0;
    assert_fails(ERR_OBO_NOT_CONFIGURED, as_context(b, unknown));
    assert_fails(ERR_OBO_NOT_CONFIGURED, as_context(b, STR("opaque")));
}

static void test_a_copy_that_is_out_of_date_is_not_asked(void **state)
{
    struct bench *b = *state;
    struct issuer before = b->issuers[0];
    before.audience = STR("old");
    world.copy.issuers = &before;
    world.database.revision = 2;
    assert_ok(as_context(b, good_token(b)));
    assert_int_equal(b->out.revision, 2);
    /* Taken off the register since: as if it had never been there. */
    world.copy.issuers = b->issuers;
    world.database.n_issuers = 0;
    assert_fails(ERR_OBO_NOT_CONFIGURED, as_context(b, good_token(b)));
    assert_fails(ERR_USER_TOKEN, issuer_token_check(&b->i, good_token(b), &b->out));
    b->config.backend_auth_url = STR("https://back.example");
    assert_ok(as_context(b, good_token(b)));
    assert_int_equal(world.back_end_calls, 1);
}

static void test_trouble_of_the_service_stays_what_it_is(void **state)
{
    struct bench *b = *state;
    b->issuers[0].jwks = STR("{\"keys\":[]}");
    assert_fails(ERR_ISSUER_KEYS, as_context(b, good_token(b)));
    assert_fails(ERR_ISSUER_KEYS, issuer_token_check(&b->i, good_token(b), &b->out));
    assert_fails(ERR_ISSUER_KEYS, as_grant(b, good_token(b)));
    /* A token that would not pass anyway has no keys fetched for it. */
    assert_fails(ERR_USER_TOKEN, as_context(b, token_with(b, &b->key, "JWT", "{\"iss\":\"" IDP "\"}")));
}

static void test_one_time_ids(void **state)
{
    struct bench *b = *state;
    uint8_t hash[SHA256_LEN];
    assert_ok(crypto_sha256(b->f->crypto, str_bytes(STR("j-1")), hash));
    b->issuers[0].one_time_jti = true;
    assert_ok(as_context(b, good_token(b)));
    assert_str(b->out.id.space, "@iss/iss_1");
    assert_memory_equal(b->out.id.hash, hash, sizeof hash);
    assert_int_equal(b->out.id.until_us, INT64_C(1800000660000000));
    b->issuers[0].one_time_jti = false;
    /* RFC 7523 section 3: jti is optional, and counts when it is there. */
    b->out = (struct subject){.user = NULL};
    assert_ok(as_grant(b, good_token(b)));
    assert_str(b->out.id.space, "@iss/iss_1");
    assert_memory_equal(b->out.id.hash, hash, sizeof hash);
    b->out = (struct subject){.user = NULL};
    assert_ok(as_grant(b, token_with(b, &b->key, "JWT", "{" CLAIMS "}")));
    assert_null(b->out.id.space.p);
}

#define JAG                                                                                                            \
    "\"iss\":\"" IDP "\",\"aud\":\"" US "\",\"sub\":\"u-17\",\"client_id\":\"crm-agent\",\"jti\":\"j-2\","             \
    "\"iat\":1800000000,\"exp\":1800000300,\"scope\":\"a:r\""
#define JKT "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"

static void test_an_id_jag_is_a_grant_alone(void **state)
{
    struct bench *b = *state;
    struct str jag = token_with(b, &b->key, "oauth-id-jag+jwt", "{" JAG ",\"cnf\":{\"jkt\":\"" JKT "\"}}");
    assert_fails(ERR_USER_TOKEN, as_context(b, jag));
    assert_fails(ERR_USER_TOKEN, issuer_token_check(&b->i, jag, &b->out));
    assert_ok(as_grant(b, jag));
    assert_str(b->out.user->id, "u-17");
    assert_str(b->out.must_bind, JKT);
    assert_str(b->out.id.space, "@iss/iss_1");
    assert_int_equal(b->i.ask.audiences.n, 0);
    b->out = (struct subject){.user = NULL};
    assert_fails(ERR_GRANT, as_grant(b, token_with(b, &b->stranger, "oauth-id-jag+jwt", "{" JAG "}")));
    assert_null(b->out.user);
}

/* RFC 7523 section 3 item 4. */
static void test_a_grant_is_not_remembered_for_ever(void **state)
{
    struct bench *b = *state;
    struct str token =
        token_with(b, &b->key, "JWT",
                   "{\"iss\":\"" IDP "\",\"aud\":\"crm\",\"sub\":\"u-17\",\"jti\":\"j-3\",\"exp\":253402300799}");
    assert_fails(ERR_GRANT, as_grant(b, token));
    assert_null(b->out.id.space.p);
    assert_ok(as_context(b, token));
    assert_ok(issuer_token_check(&b->i, token, &b->out));
}

/* RFC 8707 section 2. */
static void test_an_id_jags_resources_bound_what_is_asked(void **state)
{
    struct bench *b = *state;
    struct str jag = token_with(b, &b->key, "oauth-id-jag+jwt", "{" JAG ",\"resource\":[\"urn:a\",\"urn:b\"]}");
    struct str asked[] = {STR("urn:b")}, beyond[] = {STR("urn:b"), STR("urn:c")};
    b->i.ask.audiences = (struct str_list){asked, 1};
    assert_ok(as_grant(b, jag));
    assert_int_equal(b->i.ask.audiences.n, 1);
    assert_str(b->i.ask.audiences.v[0], "urn:b");
    b->i.ask.audiences = (struct str_list){beyond, 2};
    assert_fails(ERR_INVALID_AUDIENCE, as_grant(b, jag));
    b->i.ask.audiences = (struct str_list){NULL, 0};
    assert_ok(as_grant(b, jag));
    assert_int_equal(b->i.ask.audiences.n, 2);
    assert_str(b->i.ask.audiences.v[1], "urn:b");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, each, after_each)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_a_registered_issuers_user),
        TEST(test_no_registered_issuers_word),
        TEST(test_each_issuer_by_its_own_keys),
        TEST(test_our_own_tokens_vouch_for_nobody),
        TEST(test_an_inactive_issuer),
        TEST(test_the_back_end_judges_all_others),
        TEST(test_nobody_vouches_here),
        TEST(test_a_copy_that_is_out_of_date_is_not_asked),
        TEST(test_trouble_of_the_service_stays_what_it_is),
        TEST(test_one_time_ids),
        TEST(test_an_id_jag_is_a_grant_alone),
        TEST(test_a_grant_is_not_remembered_for_ever),
        TEST(test_an_id_jags_resources_bound_what_is_asked),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
