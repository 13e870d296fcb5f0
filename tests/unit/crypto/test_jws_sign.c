/* SPDX-License-Identifier: Apache-2.0 */
#include "crypto/jws.h"

#include "tests/unit/crypto/support.h"

struct self {
    struct fixture *f;
    struct test_key key;
    bool broken;
};

static struct err sign(void *self, struct str signing_input, struct buf *signature)
{
    struct self *s = self;
    if (s->broken)
        return FAIL(ERR_HSM_UNAVAILABLE, "no token");
    struct bytes sig = test_sign(s->f, &s->key, str_bytes(signing_input));
    buf_add(signature, sig.p, sig.n);
    return OK;
}

static void test_signed_tokens_verify(void **state)
{
    struct fixture *f = *state;
    for (int alg = 0; alg < JOSE_ALG_COUNT; alg++) {
        struct self self = {.f = f, .key = test_key_new(f, (enum jose_alg)alg)};
        const struct jws_signer s = {
            .alg = (enum jose_alg)alg, .kid = jwk_kid(self.key.jwk), .self = &self, .sign = sign};
        struct str token = {NULL, 0};
        assert_ok(jws_sign(f->arena, &s, STR("at+jwt"), str_bytes(STR("{\"sub\":\"a\"}")), &token));
        struct jws j = {0};
        assert_ok(read_token(f, self.key.jwk, token, &j));
        assert_str(j.typ, "at+jwt");
        assert_true(str_eq(j.kid, s.kid));
        assert_str(bytes_str(j.payload), "{\"sub\":\"a\"}");
        test_key_free(&self.key);
    }
}

static void test_the_signing_input_is_exact(void **state)
{
    struct fixture *f = *state;
    struct str input = {NULL, 0};
    assert_ok(jws_signing_input(f->arena, JOSE_ES256, STR("k1"), STR("at+jwt"), str_bytes(STR("{}")), &input));
    struct str header = test_b64u(f, STR("{\"alg\":\"ES256\",\"kid\":\"k1\",\"typ\":\"at+jwt\"}"));
    assert_str(input, arena_printf(f->arena, "%.*s.e30", STR_FMT(header)).p);
    const struct str none = {NULL, 0};
    assert_ok(jws_signing_input(f->arena, JOSE_EDDSA, none, none, str_bytes(STR("{}")), &input));
    header = test_b64u(f, STR("{\"alg\":\"EdDSA\"}"));
    assert_str(input, arena_printf(f->arena, "%.*s.e30", STR_FMT(header)).p);
}

static void test_a_signer_that_fails_gives_no_token(void **state)
{
    struct fixture *f = *state;
    struct self self = {.f = f, .broken = true};
    const struct jws_signer s = {.alg = JOSE_ES256, .kid = STR("k1"), .self = &self, .sign = sign};
    struct str token = {NULL, 0};
    assert_fails(ERR_HSM_UNAVAILABLE, jws_sign(f->arena, &s, STR("at+jwt"), str_bytes(STR("{}")), &token));
    assert_null(token.p);
}

static void test_a_token_too_long_to_read_is_not_made(void **state)
{
    struct fixture *f = *state;
    struct str input = {NULL, 0};
    char *p = arena_alloc(f->arena, JWS_MAX);
    assert_fails(ERR_TOO_LARGE,
                 jws_signing_input(f->arena, JOSE_ES256, STR("k"), STR("jwt"), bytes_of(p, JWS_MAX), &input));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_signed_tokens_verify),
        cmocka_unit_test(test_the_signing_input_is_exact),
        cmocka_unit_test(test_a_signer_that_fails_gives_no_token),
        cmocka_unit_test(test_a_token_too_long_to_read_is_not_made),
    };
    return cmocka_run_group_tests(tests, fixture_setup, fixture_teardown);
}
