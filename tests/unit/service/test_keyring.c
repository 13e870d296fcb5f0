/* SPDX-License-Identifier: Apache-2.0
 * The snapshot of keys: which are published, which sign, and that the rings stay apart. */
#include "service/api/keyring.h"

#include "crypto/json.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

/* Public keys of RFC 7517 appendix A.1, RFC 7515 appendix A.3 and RFC 8037 appendix A.2, under names of our own. */
#define RFC7517                                                                                                        \
    "\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4\","                          \
    "\"y\":\"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM\""
#define RFC7515                                                                                                        \
    "\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU\","                          \
    "\"y\":\"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0\""
#define RFC8037 "\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\""

#define ROW(which, where, name, members)                                                                               \
    {                                                                                                                  \
        .id = {{(uint8_t)(name)[0], (uint8_t)(name)[1]}}, .purpose = (which), .state = (where), .kid = STR(name),      \
        .jwk = STR("{\"kid\":\"" name "\"," members "}")                                                               \
    }

struct bench {
    struct crypto *crypto;
    struct keyring *ring;
};

static void assert_code(struct err e, enum err_code code)
{
    if (e.code != code)
        fail_msg("expected %s, got %s: %s", err_name(code), err_name(e.code), e.detail);
}

static int open_bench(void **state)
{
    static struct bench b;
    assert_code(crypto_new("default", &b.crypto), ERR_NONE);
    assert_code(keyring_new(&b.ring), ERR_NONE);
    *state = &b;
    return 0;
}

static int close_bench(void **state)
{
    struct bench *b = *state;
    keyring_free(&b->ring);
    crypto_free(&b->crypto);
    return 0;
}

/* The kids of a JWKS in its order, with blanks between. */
static struct str kids(struct arena *a, struct str jwks)
{
    const struct json *set = NULL;
    assert_code(json_parse(a, str_bytes(jwks), &set), ERR_NONE);
    const struct json *keys = json_get(set, "keys");
    assert_non_null(keys);
    struct buf b = buf_in(a, 1024);
    for (size_t i = 0; i < keys->n; i++) {
        buf_str(&b, json_get(&keys->items[i], "kid")->s);
        buf_char(&b, ' ');
    }
    return buf_view(&b);
}

static void assert_body(const struct keyset *s, const char *expected)
{
    CLEANUP(arena_free) struct arena *a = NULL;
    assert_code(arena_new(1048576, &a), ERR_NONE);
    struct str got = kids(a, s->jwks_json);
    if (!str_is(got, expected))
        fail_msg("the JWKS has %.*s instead of %s", STR_FMT(got), expected);
}

static void test_rings_are_published_together_and_kept_apart(void **state)
{
    struct bench *b = *state;
    /* The rows stand in the order of their birth, which is not that of the JWKS. */
    const struct ring_key rows[] = {
        ROW(HSM_CALL, KEY_RETIRING, "c1", RFC7517),    {.purpose = HSM_KEK, .state = KEY_ACTIVE},
        ROW(HSM_SESSION, KEY_RETIRED, "s0", RFC8037),  ROW(HSM_SESSION, KEY_RETIRING, "s1", RFC8037),
        ROW(HSM_CALL, KEY_ACTIVE, "c2", RFC7515),      ROW(HSM_SESSION, KEY_ACTIVE, "s2", RFC7515),
        ROW(HSM_CALL, KEY_PENDING, "c3", RFC8037),     ROW(HSM_CALL, KEY_RETIRED, "c0", RFC8037),
        ROW(HSM_CHECKPOINT, KEY_ACTIVE, "k1", RFC8037)};
    assert_code(keyring_load(b->ring, b->crypto, rows, COUNT(rows)), ERR_NONE);
    CLEANUP(keyset_release) const struct keyset *s = keyring_take(b->ring);
    assert_body(s, "s1 s2 c1 c2 ");
    assert_true(str_is(jwk_kid(s->active), "s2") && s->active_id.v[0] == 's' && s->active_id.v[1] == '2');
    assert_true(str_is(jwk_kid(s->call), "c2") && s->call_id.v[0] == 'c' && s->call_id.v[1] == '2');
    static const char *const sessions[] = {"s1", "s2"}, *const calls[] = {"c1", "c2"},
                             *const none[] = {"s0", "c0", "c3", "k1"};
    for (size_t i = 0; i < COUNT(sessions); i++) {
        assert_non_null(jwks_find(&s->published, str_of(sessions[i])));
        assert_null(jwks_find(&s->calls, str_of(sessions[i])));
    }
    for (size_t i = 0; i < COUNT(calls); i++) {
        assert_non_null(jwks_find(&s->calls, str_of(calls[i])));
        assert_null(jwks_find(&s->published, str_of(calls[i])));
    }
    for (size_t i = 0; i < COUNT(none); i++)
        assert_true(jwks_find(&s->published, str_of(none[i])) == NULL && jwks_find(&s->calls, str_of(none[i])) == NULL);
}

static void test_a_ring_without_an_active_key(void **state)
{
    struct bench *b = *state;
    const struct ring_key session[] = {ROW(HSM_SESSION, KEY_ACTIVE, "s1", RFC7515)};
    assert_code(keyring_load(b->ring, b->crypto, session, COUNT(session)), ERR_NONE);
    CLEANUP(keyset_release) const struct keyset *s = keyring_take(b->ring);
    assert_true(s->active != NULL && s->call == NULL && s->calls.n == 0);
    assert_body(s, "s1 ");
    const struct ring_key call[] = {ROW(HSM_CALL, KEY_ACTIVE, "c1", RFC7515)};
    assert_code(keyring_load(b->ring, b->crypto, call, COUNT(call)), ERR_NONE);
    CLEANUP(keyset_release) const struct keyset *c = keyring_take(b->ring);
    assert_true(c->active == NULL && c->call != NULL && c->published.n == 0);
    assert_body(c, "c1 ");
    /* The one that was taken before stands. */
    assert_true(str_is(jwk_kid(s->active), "s1"));
    assert_true(!str_eq(s->etag, c->etag));
}

static void test_a_row_that_lies_changes_nothing(void **state)
{
    struct bench *b = *state;
    const struct ring_key good[] = {ROW(HSM_SESSION, KEY_ACTIVE, "s1", RFC7515)};
    assert_code(keyring_load(b->ring, b->crypto, good, COUNT(good)), ERR_NONE);
    struct ring_key bad[] = {ROW(HSM_SESSION, KEY_ACTIVE, "s2", RFC7515), ROW(HSM_CALL, KEY_ACTIVE, "c1", RFC7517)};
    bad[1].kid = STR("c2");
    assert_code(keyring_load(b->ring, b->crypto, bad, COUNT(bad)), ERR_DB);
    CLEANUP(keyset_release) const struct keyset *s = keyring_take(b->ring);
    assert_body(s, "s1 ");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_rings_are_published_together_and_kept_apart, open_bench, close_bench),
        cmocka_unit_test_setup_teardown(test_a_ring_without_an_active_key, open_bench, close_bench),
        cmocka_unit_test_setup_teardown(test_a_row_that_lies_changes_nothing, open_bench, close_bench),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
