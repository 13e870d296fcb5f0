// SPDX-License-Identifier: Apache-2.0
// The shim's self test: rules for single calls here, rules about the token in test_token.c, about waiting, threads and
// processes in test_process.c.
#include "fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void passes_everything_through(void **state)
{
    const struct fixture *f = *state;
    CK_BYTE signature[SIGNATURE_LEN];
    CK_ULONG len = sizeof(signature);
    CK_FUNCTION_LIST *list = NULL;
    assert_int_equal(f->p11->C_GetFunctionList(&list), CKR_OK);
    assert_ptr_equal(list, f->p11);
    assert_int_equal(fixture_sign(f, f->session, NULL, &len), CKR_OK);
    len = sizeof(signature);
    CK_BYTE digest[32] = {1, 2, 3};
    assert_int_equal(f->p11->C_Sign(f->session, digest, sizeof(digest), signature, &len), CKR_OK);
    assert_int_equal(fixture_verify(f, signature, len), CKR_OK);
    assert_int_equal(fixture_log_count("C_Sign CKR_OK size\n"), 1);
    assert_int_equal(fixture_log_count("C_Sign CKR_OK\n"), 1);
    assert_int_equal(fixture_log_count("C_Verify CKR_OK\n"), 1);
    assert_int_equal(f->p11->C_Sign(f->session, digest, sizeof(digest), signature, &len),
                     CKR_OPERATION_NOT_INITIALIZED);
    assert_int_equal(fixture_log_count("C_Sign CKR_OPERATION_NOT_INITIALIZED\n"), 1);
}

static void every_function_is_there(void **state)
{
    const struct fixture *f = *state;
    const unsigned char *bytes = (const unsigned char *)f->p11;
    size_t first = offsetof(CK_FUNCTION_LIST, C_Initialize);
    assert_int_equal(f->p11->version.major, 2);
    assert_int_equal(f->p11->version.minor, 40);
    assert_int_equal((sizeof(CK_FUNCTION_LIST) - first) / sizeof(CK_C_Initialize), 68);
    for (size_t at = first; at < sizeof(CK_FUNCTION_LIST); at += sizeof(CK_C_Initialize)) {
        CK_C_Initialize function = NULL;
        memcpy(&function, bytes + at, sizeof(function));
        assert_non_null(function);
    }
}

struct when {
    const char *script;
    const char *failing; // one letter per call: 'x' fails, '.' does not
};

static void counts_calls_as_the_rule_says(void **state)
{
    const struct fixture *f = *state;
    static const struct when whens[] = {
        {"C_Sign 3 rv=CKR_DEVICE_ERROR\n", "..x..."},
        {"# a comment\n\n  C_Sign 2-4 rv=DEVICE_ERROR # and one more", ".xxx.."},
        {"C_Sign 4- rv=0x30", "...xxx"},
        {"C_Sign every rv=CKR_DEVICE_ERROR\r\n", "xxxxxx"},
        {"C_Sign every/2 rv=CKR_DEVICE_ERROR", ".x.x.x"},
        {"C_SignInit 1 rv=CKR_DEVICE_ERROR\nC_Sign 5 rv=CKR_DEVICE_ERROR", "x....x"},
        {"* 4 rv=CKR_DEVICE_ERROR", ".x...."},
    };
    for (size_t i = 0; i < sizeof(whens) / sizeof(whens[0]); i++) {
        fixture_script(whens[i].script);
        for (const char *expect = whens[i].failing; *expect != '\0'; expect++)
            assert_int_equal(fixture_try_sign(f), *expect == 'x' ? CKR_DEVICE_ERROR : CKR_OK);
    }
    assert_int_equal(fixture_log_count("C_Sign CKR_DEVICE_ERROR shim\n"), 18);
}

static void a_new_script_counts_from_one(void **state)
{
    const struct fixture *f = *state;
    for (int i = 0; i < 3; i++) {
        fixture_script("C_Sign 2 rv=CKR_HOST_MEMORY\n");
        assert_int_equal(fixture_try_sign(f), CKR_OK);
        assert_int_equal(fixture_try_sign(f), CKR_HOST_MEMORY);
    }
    fixture_script(NULL);
    assert_int_equal(fixture_try_sign(f), CKR_OK);
    assert_int_equal(fixture_try_sign(f), CKR_OK);
}

static void a_failed_sign_ends_the_operation(void **state)
{
    const struct fixture *f = *state;
    CK_BYTE signature[SIGNATURE_LEN] = {0};
    CK_BYTE untouched[SIGNATURE_LEN] = {0};
    CK_ULONG len = sizeof(signature);
    fixture_script("C_Sign 1 rv=CKR_FUNCTION_FAILED\nC_Sign 3 rv=CKR_BUFFER_TOO_SMALL\n");
    assert_int_equal(fixture_sign(f, f->session, signature, &len), CKR_FUNCTION_FAILED);
    assert_memory_equal(signature, untouched, sizeof(signature));
    assert_int_equal(fixture_try_sign(f), CKR_OK); // not CKR_OPERATION_ACTIVE
    assert_int_equal(fixture_sign(f, f->session, signature, &len), CKR_BUFFER_TOO_SMALL);
    assert_int_equal(fixture_try_sign(f), CKR_OPERATION_ACTIVE);
}

static void corrupt_flips_a_bit(void **state)
{
    const struct fixture *f = *state;
    CK_BYTE signature[SIGNATURE_LEN];
    CK_ULONG len = sizeof(signature);
    fixture_script("C_Sign 1 corrupt");
    assert_int_equal(fixture_sign(f, f->session, signature, &len), CKR_OK);
    assert_int_equal(fixture_verify(f, signature, len), CKR_SIGNATURE_INVALID);
    signature[len / 2] ^= 1;
    assert_int_equal(fixture_verify(f, signature, len), CKR_OK);
    assert_int_equal(fixture_log_count("C_Sign CKR_OK shim\n"), 1);
}

static void overlong_claims_more_than_the_buffer(void **state)
{
    const struct fixture *f = *state;
    CK_BYTE signature[SIGNATURE_LEN];
    CK_ULONG len = sizeof(signature);
    fixture_script("C_Sign 1 overlong");
    assert_int_equal(fixture_sign(f, f->session, signature, &len), CKR_OK);
    assert_true(len > sizeof(signature));
    assert_int_equal(fixture_verify(f, signature, sizeof(signature)), CKR_OK);
}

static void samer_repeats_the_last_signature(void **state)
{
    const struct fixture *f = *state;
    CK_BYTE signatures[3][SIGNATURE_LEN];
    fixture_script("C_Sign 2 samer");
    for (size_t i = 0; i < 3; i++) {
        CK_ULONG len = SIGNATURE_LEN;
        assert_int_equal(fixture_sign(f, f->session, signatures[i], &len), CKR_OK);
        assert_int_equal(fixture_verify(f, signatures[i], len), CKR_OK);
    }
    assert_memory_equal(signatures[0], signatures[1], SIGNATURE_LEN);
    assert_memory_not_equal(signatures[1], signatures[2], SIGNATURE_LEN);
}

static void delay_delays(void **state)
{
    const struct fixture *f = *state;
    fixture_script("C_Sign 1 delay=60\nC_Sign every delay=40\n");
    long before = fixture_now_ms();
    assert_int_equal(fixture_try_sign(f), CKR_OK);
    assert_true(fixture_now_ms() - before >= 100);
}

// One run of the usual calls; returns how many of them failed, and cleans up what it can.
static int run_scenario(const struct fixture *f)
{
    CK_SESSION_HANDLE session = 0;
    CK_BYTE signature[SIGNATURE_LEN];
    CK_ULONG len = sizeof(signature);
    CK_TOKEN_INFO info;
    int failed = f->p11->C_GetTokenInfo(f->slot, &info) == CKR_FUNCTION_FAILED;
    CK_RV rv = f->p11->C_OpenSession(f->slot, CKF_SERIAL_SESSION, NULL, NULL, &session);
    if (rv != CKR_OK)
        return failed + (rv == CKR_FUNCTION_FAILED);
    failed += fixture_sign(f, session, signature, &len) == CKR_FUNCTION_FAILED;
    failed += f->p11->C_CloseSession(session) == CKR_FUNCTION_FAILED;
    return failed;
}

static void fail_nth_fails_each_call_in_turn(void **state)
{
    const struct fixture *f = *state;
    char script[32];
    for (int nth = 1; nth <= 5; nth++) {
        snprintf(script, sizeof(script), "fail-nth=%d", nth);
        fixture_script(script);
        assert_int_equal(run_scenario(f), 1);
    }
    fixture_script("fail-nth=6");
    assert_int_equal(run_scenario(f), 0);
}

static void names_of_return_values(void **state)
{
    const struct fixture *f = *state;
    static const struct {
        const char *script;
        CK_RV rv;
    } names[] = {
        {"C_SignInit 1 rv=CKR_UNWRAPPING_KEY_HANDLE_INVALID", CKR_UNWRAPPING_KEY_HANDLE_INVALID},
        {"C_SignInit 1 rv=CKR_FUNCTION_REJECTED", CKR_FUNCTION_REJECTED},
        {"C_SignInit 1 rv=CKR_PUBLIC_KEY_INVALID", CKR_PUBLIC_KEY_INVALID},
        {"C_SignInit 1 rv=CKR_CANCEL", CKR_CANCEL},
        {"C_SignInit 1 rv=0x80000123", 0x80000123},
    };
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        fixture_script(names[i].script);
        assert_int_equal(fixture_try_sign(f), names[i].rv);
    }
    assert_int_equal(fixture_log_count("C_SignInit CKR_FUNCTION_REJECTED shim\n"), 1);
    assert_int_equal(fixture_log_count("C_SignInit 0x80000123 shim\n"), 1);
}

static void a_script_with_a_mistake_fails_every_call(void **state)
{
    const struct fixture *f = *state;
    static const char *const mistakes[] = {
        "C_Sing 1 hang",
        "C_Sign",
        "C_Sign 1",
        "C_Sign 0 hang",
        "C_Sign 3-2 hang",
        "C_Sign every/0 hang",
        "C_Sign x hang",
        "C_Sign 1 rv=CKR_NO_SUCH",
        "C_Sign 1 rv",
        "C_Sign 1 delay=-5",
        "C_Sign 1 delay=5s",
        "C_Sign 1 hang=1",
        "C_Sign 1 limit=4",
        "C_Login 1 corrupt",
        "C_Encrypt 1 samer",
        "* 1 overlong",
        "C_Sign 1 explode",
        "lost-logins",
        "token-flags=",
        "token-flags=CKF_NO_SUCH",
        "no-mechanism=CKM_NO_SUCH",
        "fail-nth=0",
        "latency=x",
        "token-swap=1",
    };
    for (size_t i = 0; i < sizeof(mistakes) / sizeof(mistakes[0]); i++) {
        fixture_script(mistakes[i]);
        CK_RV rv = fixture_try_sign(f);
        if (rv != CKR_GENERAL_ERROR)
            print_error("%s\n", mistakes[i]);
        assert_int_equal(rv, CKR_GENERAL_ERROR);
    }
    fixture_script("# nothing to do\n");
    assert_int_equal(fixture_try_sign(f), CKR_OK);
}

int main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "--child") == 0)
        return run_child((int)strtol(argv[2], NULL, 10));
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(passes_everything_through, fixture_begin, fixture_end),
        cmocka_unit_test_setup_teardown(every_function_is_there, fixture_begin, fixture_end),
        cmocka_unit_test_setup_teardown(counts_calls_as_the_rule_says, fixture_begin, fixture_end),
        cmocka_unit_test_setup_teardown(a_new_script_counts_from_one, fixture_begin, fixture_end),
        cmocka_unit_test_setup_teardown(a_failed_sign_ends_the_operation, fixture_begin, fixture_end),
        cmocka_unit_test_setup_teardown(corrupt_flips_a_bit, fixture_begin, fixture_end),
        cmocka_unit_test_setup_teardown(overlong_claims_more_than_the_buffer, fixture_begin, fixture_end),
        cmocka_unit_test_setup_teardown(samer_repeats_the_last_signature, fixture_begin, fixture_end),
        cmocka_unit_test_setup_teardown(delay_delays, fixture_begin, fixture_end),
        cmocka_unit_test_setup_teardown(fail_nth_fails_each_call_in_turn, fixture_begin, fixture_end),
        cmocka_unit_test_setup_teardown(names_of_return_values, fixture_begin, fixture_end),
        cmocka_unit_test_setup_teardown(a_script_with_a_mistake_fails_every_call, fixture_begin, fixture_end),
    };
    int failed = cmocka_run_group_tests_name("shim: calls", tests, fixture_make, fixture_remove);
    failed += run_token_tests();
    failed += run_process_tests();
    return failed == 0 ? 0 : 1;
}
