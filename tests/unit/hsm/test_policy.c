/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/hsm/fixture.h"

#include "crypto/b64u.h"
#include "hsm/signer/ckr.h"
#include "hsm/signer/identity.h"
#include "hsm/signer/permit.h"
#include "hsm/signer/shape.h"
#include "hsm/signer/watch.h"

#include <stdio.h>
#include <stdlib.h>

enum { ARENA_MAX = 1 << 20 };

static const int64_t now_s = 1700000000;

#define INTROSPECTION "{\"alg\":\"ES256\",\"kid\":\"k\",\"typ\":\"token-introspection+jwt\"}"
#define GOOD_HEADER   "{\"alg\":\"ES256\",\"kid\":\"k-1\",\"typ\":\"at+jwt\"}"
#define GOOD_PAYLOAD  "{\"iss\":\"https://b\",\"iat\":1700000000,\"exp\":1700000900}"

static struct err check_raw(enum hsm_purpose p, struct str input)
{
    CLEANUP(arena_free) struct arena *a = NULL;
    assert_ok(arena_new(ARENA_MAX, &a));
    return shape_check(p, JOSE_ES256, str_bytes(input), now_s, a);
}

static struct err check(enum hsm_purpose p, const char *header, const char *payload)
{
    CLEANUP(arena_free) struct arena *a = NULL;
    assert_ok(arena_new(ARENA_MAX, &a));
    struct str h = b64u_text(a, str_bytes(str_of(header))), b = b64u_text(a, str_bytes(str_of(payload)));
    return check_raw(p, arena_printf(a, "%.*s.%.*s", STR_FMT(h), STR_FMT(b)));
}

static void own_tokens_have_the_shape(void **state)
{
    (void)state;
    assert_ok(check(HSM_SESSION, GOOD_HEADER, GOOD_PAYLOAD));
    assert_ok(check(HSM_SESSION, "{\"alg\":\"ES256\",\"kid\":\"k\",\"typ\":\"nexus-selftest+jwt\"}",
                    "{\"iss\":\"b\",\"iat\":1700000000,\"exp\":1700000060}"));
    assert_ok(check(HSM_SESSION, GOOD_HEADER, "{\"iss\":\"b\",\"iat\":1700000120,\"exp\":1700003720,\"any\":[1]}"));
    assert_ok(check(HSM_CALL, "{\"alg\":\"ES256\",\"kid\":\"k\",\"typ\":\"nexus-call+jwt\"}",
                    "{\"iss\":\"b\",\"iat\":1699999880,\"exp\":1700000180}"));
    assert_ok(check(HSM_CALL, "{\"alg\":\"ES256\",\"kid\":\"k\",\"typ\":\"nexus-selftest+jwt\"}",
                    "{\"iss\":\"b\",\"iat\":1700000000,\"exp\":1700000060}"));
    assert_ok(check(HSM_CALL, INTROSPECTION, "{\"iss\":\"b\",\"iat\":1700000000,\"token_introspection\":{}}"));
}

static void other_headers_are_refused(void **state)
{
    (void)state;
    static const char *const headers[] = {
        "{\"alg\":\"ES384\",\"kid\":\"k\",\"typ\":\"at+jwt\"}",
        "{\"alg\":\"none\",\"kid\":\"k\",\"typ\":\"at+jwt\"}",
        "{\"alg\":\"ES256\",\"kid\":\"k\",\"typ\":\"JWT\"}",
        "{\"alg\":\"ES256\",\"kid\":\"k\",\"typ\":\"nexus-call+jwt\"}",
        "{\"alg\":\"ES256\",\"kid\":\"k\"}",
        "{\"alg\":\"ES256\",\"typ\":\"at+jwt\"}",
        "{\"alg\":\"ES256\",\"kid\":\"a b\",\"typ\":\"at+jwt\"}",
        "{\"alg\":\"ES256\",\"kid\":\"\",\"typ\":\"at+jwt\"}",
        "{\"alg\":\"ES256\",\"kid\":\"k\",\"typ\":\"at+jwt\",\"jwk\":{}}",
        "{\"alg\":\"ES256\",\"alg\":\"ES256\",\"kid\":\"k\",\"typ\":\"at+jwt\"}",
        "[]",
        "",
    };
    for (size_t i = 0; i < COUNT(headers); i++)
        assert_err(check(HSM_SESSION, headers[i], GOOD_PAYLOAD), ERR_HSM_REFUSED);
}

static void other_payloads_are_refused(void **state)
{
    (void)state;
    static const char *const payloads[] = {
        "{\"iss\":\"b\",\"iat\":1700000000,\"exp\":1700000000}",
        "{\"iss\":\"b\",\"iat\":1700000000,\"exp\":1699999999}",
        "{\"iss\":\"b\",\"iat\":1700000000,\"exp\":1700003601}",
        "{\"iss\":\"b\",\"iat\":1699999879,\"exp\":1700000900}",
        "{\"iss\":\"b\",\"iat\":1700000121,\"exp\":1700000900}",
        "{\"iss\":\"b\",\"iat\":1700000000}",
        "{\"iss\":\"b\",\"exp\":1700000900}",
        "{\"iat\":1700000000,\"exp\":1700000900}",
        "{\"iss\":1,\"iat\":1700000000,\"exp\":1700000900}",
        "{\"iss\":\"b\",\"iat\":\"1700000000\",\"exp\":1700000900}",
        "{\"iss\":\"b\",\"iat\":1700000000.5,\"exp\":1700000900}",
        "{\"iss\":\"b\",\"iat\":1700000000,\"exp\":1e99}",
        "{\"iss\":\"b\",\"iat\":1700000000,\"exp\":1700000900,\"exp\":9700000900}",
        "{\"iss\":\"b\",\"iat\":1700000000,\"exp\":1700000900} ",
        "not json",
        "",
    };
    for (size_t i = 0; i < COUNT(payloads); i++) {
        /* White space behind the object is JSON still. */
        bool fine = payloads[i][0] != '\0' && payloads[i][strlen(payloads[i]) - 1] == ' ';
        assert_err(check(HSM_SESSION, GOOD_HEADER, payloads[i]), fine ? ERR_NONE : ERR_HSM_REFUSED);
    }
}

static void calls_are_short_and_other_purposes_sign_nothing(void **state)
{
    (void)state;
    static const char call[] = "{\"alg\":\"ES256\",\"kid\":\"k\",\"typ\":\"nexus-call+jwt\"}";
    assert_err(check(HSM_CALL, call, "{\"iss\":\"b\",\"iat\":1700000000,\"exp\":1700000301}"), ERR_HSM_REFUSED);
    assert_err(check(HSM_CALL, GOOD_HEADER, "{\"iss\":\"b\",\"iat\":1700000000,\"exp\":1700000060}"), ERR_HSM_REFUSED);
    /* An answer of RFC 9701 has no exp: with one it could be taken for something else. */
    assert_err(check(HSM_CALL, INTROSPECTION, "{\"iss\":\"b\",\"iat\":1700000000,\"exp\":1700000060}"),
               ERR_HSM_REFUSED);
    assert_err(check(HSM_SESSION, INTROSPECTION, "{\"iss\":\"b\",\"iat\":1700000000}"), ERR_HSM_REFUSED);
    assert_err(check(HSM_CALL, call, "{\"iss\":\"b\",\"iat\":1700000000}"), ERR_HSM_REFUSED);
    assert_err(check(HSM_CHECKPOINT, GOOD_HEADER, GOOD_PAYLOAD), ERR_HSM_REFUSED);
    assert_err(check(HSM_KEK, GOOD_HEADER, GOOD_PAYLOAD), ERR_HSM_REFUSED);
}

static void only_two_canonical_segments_are_signed(void **state)
{
    (void)state;
    CLEANUP(arena_free) struct arena *a = NULL;
    assert_ok(arena_new(ARENA_MAX, &a));
    struct str h = b64u_text(a, str_bytes(STR(GOOD_HEADER))), p = b64u_text(a, str_bytes(STR(GOOD_PAYLOAD)));
    assert_ok(check_raw(HSM_SESSION, arena_printf(a, "%.*s.%.*s", STR_FMT(h), STR_FMT(p))));
    static const char *const forms[] = {"%.*s.%.*s.", "%.*s.%.*s.AA", ".%.*s.%.*s", "%.*s..%.*s",
                                        "%.*s%.*s",   "%.*s.%.*s=",   "%.*s. %.*s"};
    for (size_t i = 0; i < COUNT(forms); i++) {
        char text[1024];
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
        int n = snprintf(text, sizeof text, forms[i], STR_FMT(h), STR_FMT(p));
#pragma GCC diagnostic pop
        assert_err(check_raw(HSM_SESSION, (struct str){text, (size_t)n}), ERR_HSM_REFUSED);
    }
    assert_err(check_raw(HSM_SESSION, STR("")), ERR_HSM_REFUSED);
    assert_err(check_raw(HSM_SESSION, STR(".")), ERR_HSM_REFUSED);
}

static void permissions_are_the_table(void **state)
{
    (void)state;
    static const struct {
        enum hsm_purpose purpose;
        const char *ops; /* of s(ign) w(rap) u(nwrap) */
    } want[] = {{HSM_SESSION, "s"}, {HSM_KEK, "wu"}, {HSM_CHECKPOINT, ""}, {HSM_CALL, "s"}};
    static const struct {
        char c;
        enum proto_op op;
    } ops[] = {{'s', PROTO_SIGN}, {'w', PROTO_WRAP}, {'u', PROTO_UNWRAP}};
    for (size_t i = 0; i < COUNT(want); i++) {
        for (size_t o = 0; o < COUNT(ops); o++) {
            bool allowed = strchr(want[i].ops, ops[o].c) != NULL;
            assert_err(permit_use(want[i].purpose, ops[o].op), allowed ? ERR_NONE : ERR_HSM_REFUSED);
        }
    }
    for (int t = 0; t < HSM_KEY_TYPE_COUNT; t++)
        assert_err(permit_type(HSM_KEK, (enum hsm_key_type)t), t == HSM_AES_256 ? ERR_NONE : ERR_HSM_REFUSED);
    for (int alg = 0; alg < JOSE_ALG_COUNT; alg++) {
        assert_err(permit_alg(HSM_AES_256, (enum jose_alg)alg), ERR_HSM_REFUSED);
        assert_err(permit_alg(HSM_EC_P256, (enum jose_alg)alg), alg == JOSE_ES256 ? ERR_NONE : ERR_HSM_REFUSED);
    }
}

static void codes_have_their_actions(void **state)
{
    (void)state;
    static const struct {
        CK_RV rv;
        enum ckr_action action;
    } want[] = {{CKR_OK, ACT_NONE},
                {CKR_DEVICE_REMOVED, ACT_REINIT},
                {CKR_SESSION_HANDLE_INVALID, ACT_RETRY},
                {CKR_USER_NOT_LOGGED_IN, ACT_LOGIN},
                {CKR_OBJECT_HANDLE_INVALID, ACT_REFIND},
                {CKR_GENERAL_ERROR, ACT_CONFIRM},
                {CKR_SESSION_COUNT, ACT_WAIT},
                {CKR_PIN_INCORRECT, ACT_PIN},
                {CKR_WRAPPED_KEY_INVALID, ACT_REFUSE},
                {CKR_VENDOR_DEFINED + 77, ACT_CONFIRM},
                {CKR_USER_ALREADY_LOGGED_IN, ACT_CONFIRM}};
    for (size_t i = 0; i < COUNT(want); i++)
        assert_int_equal(ckr_find(want[i].rv)->action, want[i].action);
    assert_string_equal(ckr_find(CKR_DEVICE_ERROR)->name, "CKR_DEVICE_ERROR");
}

static void watch_counts_stuck_calls(void **state)
{
    (void)state;
    struct watch *w = calloc(1, sizeof *w);
    struct watch_slot *s[10];
    assert_non_null(w);
    w->timeout_us = 100;
    for (size_t i = 0; i < COUNT(s); i++)
        s[i] = watch_join(w);
    for (size_t i = 0; i < 4; i++)
        atomic_store(&s[i]->since_us, 1000);
    assert_null(watch_judge(w, 1100));
    assert_null(watch_judge(w, 1200));
    atomic_store(&s[4]->since_us, 1000);
    assert_non_null(watch_judge(w, 1200));
    for (size_t i = 1; i < 5; i++)
        watch_end(s[i]);
    assert_null(watch_judge(w, 1300));
    assert_non_null(watch_judge(w, 1301));
    watch_end(s[0]);
    for (size_t i = 1; i < COUNT(s); i++)
        watch_quit(s[i]);
    atomic_store(&s[0]->since_us, 1000);
    assert_non_null(watch_judge(w, 1101));
    free(w);
}

/* 256 workers and two more, each with a thread that is stuck for a request given up. */
static void watch_has_room_for_all_workers(void **state)
{
    (void)state;
    struct watch *w = calloc(1, sizeof *w);
    assert_non_null(w);
    for (int i = 0; i < 2 * 258; i++)
        assert_non_null(watch_join(w));
    free(w);
}

static void tokens_tell_how_many_sessions_they_allow(void **state)
{
    (void)state;
    static const struct {
        CK_ULONG all, rw, want;
    } rows[] = {{CK_EFFECTIVELY_INFINITE, CK_EFFECTIVELY_INFINITE, 0},
                {CK_UNAVAILABLE_INFORMATION, CK_UNAVAILABLE_INFORMATION, 0},
                {40, CK_UNAVAILABLE_INFORMATION, 40},
                {CK_EFFECTIVELY_INFINITE, 8, 8},
                {40, 8, 8},
                {8, 40, 8}};
    for (size_t i = 0; i < COUNT(rows); i++) {
        CK_TOKEN_INFO info = {.ulMaxSessionCount = rows[i].all, .ulMaxRwSessionCount = rows[i].rw};
        struct token_identity id;
        memset(info.label, ' ', sizeof info.label);
        memset(info.serialNumber, ' ', sizeof info.serialNumber);
        memset(info.manufacturerID, ' ', sizeof info.manufacturerID);
        memset(info.model, ' ', sizeof info.model);
        identity_of(1, &info, &id);
        assert_int_equal(id.max_sessions, rows[i].want);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(own_tokens_have_the_shape),
        cmocka_unit_test(other_headers_are_refused),
        cmocka_unit_test(other_payloads_are_refused),
        cmocka_unit_test(calls_are_short_and_other_purposes_sign_nothing),
        cmocka_unit_test(only_two_canonical_segments_are_signed),
        cmocka_unit_test(permissions_are_the_table),
        cmocka_unit_test(codes_have_their_actions),
        cmocka_unit_test(watch_counts_stuck_calls),
        cmocka_unit_test(watch_has_room_for_all_workers),
        cmocka_unit_test(tokens_tell_how_many_sessions_they_allow),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
