// SPDX-License-Identifier: Apache-2.0
// Rules about the token: sessions, login, another token in the slot, flags, mechanisms.
#include "fixture.h"

#include <string.h>

static CK_STATE session_state(const struct fixture *f)
{
    CK_SESSION_INFO info;
    assert_int_equal(f->p11->C_GetSessionInfo(f->session, &info), CKR_OK);
    return info.state;
}

static void limit_bounds_the_open_sessions(void **state)
{
    const struct fixture *f = *state;
    CK_SESSION_HANDLE sessions[3]; // with the fixture's own: four
    CK_SESSION_HANDLE more = 0;
    fixture_script("C_OpenSession every limit=4");
    for (size_t i = 0; i < 3; i++)
        sessions[i] = fixture_open(f);
    assert_int_equal(f->p11->C_OpenSession(f->slot, CKF_SERIAL_SESSION, NULL, NULL, &more), CKR_SESSION_COUNT);
    assert_int_equal(fixture_log_count("C_OpenSession CKR_SESSION_COUNT shim\n"), 1);
    assert_int_equal(f->p11->C_CloseSession(sessions[1]), CKR_OK);
    more = fixture_open(f);
    assert_int_equal(f->p11->C_OpenSession(f->slot, CKF_SERIAL_SESSION, NULL, NULL, &more), CKR_SESSION_COUNT);
    assert_int_equal(f->p11->C_CloseAllSessions(f->slot), CKR_OK);
    for (size_t i = 0; i < 4; i++)
        fixture_open(f);
    assert_int_equal(f->p11->C_OpenSession(f->slot, CKF_SERIAL_SESSION, NULL, NULL, &more), CKR_SESSION_COUNT);
}

// After the login is lost: nothing works, a wrong PIN is still wrong, and the right one heals.
static void expect_lost_login(struct fixture *f)
{
    assert_int_equal(fixture_try_sign(f), CKR_USER_NOT_LOGGED_IN);
    assert_int_equal(session_state(f), CKS_RW_PUBLIC_SESSION);
    assert_int_equal(fixture_find(f, CKO_PRIVATE_KEY), CK_INVALID_HANDLE);
    assert_int_not_equal(fixture_find(f, CKO_PUBLIC_KEY), CK_INVALID_HANDLE);
    assert_int_equal(fixture_login(f, "1357"), CKR_PIN_INCORRECT);
    assert_int_equal(fixture_try_sign(f), CKR_USER_NOT_LOGGED_IN);
    assert_int_equal(fixture_login(f, FIXTURE_PIN), CKR_OK);
    assert_int_equal(session_state(f), CKS_RW_USER_FUNCTIONS);
    f->key = fixture_find(f, CKO_PRIVATE_KEY);
    assert_int_equal(fixture_try_sign(f), CKR_OK);
}

static void lost_login_lasts_until_the_next_login(void **state)
{
    struct fixture *f = *state;
    fixture_script("lost-login\n");
    expect_lost_login(f);
    // Taking the line away is no login.
    fixture_script("lost-login\n\n");
    assert_int_equal(fixture_try_sign(f), CKR_USER_NOT_LOGGED_IN);
    fixture_script(NULL);
    assert_int_equal(fixture_try_sign(f), CKR_USER_NOT_LOGGED_IN);
    assert_int_equal(fixture_login(f, FIXTURE_PIN), CKR_OK);
}

static void a_rule_loses_the_login_in_mid_operation(void **state)
{
    struct fixture *f = *state;
    fixture_script("C_Sign 2 lost-login\n");
    assert_int_equal(fixture_try_sign(f), CKR_OK);
    expect_lost_login(f);
}

static void refused_pins_do_not_reach_the_token(void **state)
{
    const struct fixture *f = *state;
    assert_int_equal(f->p11->C_Logout(f->session), CKR_OK);
    fixture_script("C_Login every rv=CKR_PIN_INCORRECT");
    assert_int_equal(fixture_login(f, FIXTURE_PIN), CKR_PIN_INCORRECT);
    fixture_script("C_Login every rv=CKR_PIN_LOCKED");
    assert_int_equal(fixture_login(f, FIXTURE_PIN), CKR_PIN_LOCKED);
    assert_int_equal(session_state(f), CKS_RW_PUBLIC_SESSION);
    assert_int_equal(fixture_log_count("C_Login CKR_PIN_INCORRECT shim\n"), 1);
}

static void token_flags_are_added(void **state)
{
    const struct fixture *f = *state;
    CK_TOKEN_INFO before;
    CK_TOKEN_INFO after;
    assert_int_equal(f->p11->C_GetTokenInfo(f->slot, &before), CKR_OK);
    fixture_script("token-flags=USER_PIN_COUNT_LOW|CKF_USER_PIN_FINAL_TRY|USER_PIN_LOCKED");
    assert_int_equal(f->p11->C_GetTokenInfo(f->slot, &after), CKR_OK);
    assert_int_equal(after.flags, before.flags | CKF_USER_PIN_COUNT_LOW | CKF_USER_PIN_FINAL_TRY | CKF_USER_PIN_LOCKED);
    assert_memory_equal(after.serialNumber, before.serialNumber, sizeof(after.serialNumber));
}

static void see_another_token(struct fixture *f)
{
    CK_SESSION_HANDLE before = f->session;
    assert_int_equal(fixture_try_sign(f), CKR_SESSION_HANDLE_INVALID);
    f->session = fixture_open(f);
    assert_int_equal(fixture_try_sign(f), CKR_USER_NOT_LOGGED_IN);
    assert_int_equal(fixture_login(f, FIXTURE_PIN), CKR_OK);
    assert_int_equal(fixture_try_sign(f), CKR_KEY_HANDLE_INVALID);
    assert_int_equal(fixture_find(f, CKO_PRIVATE_KEY), CK_INVALID_HANDLE);
    assert_int_equal(fixture_find(f, CKO_PUBLIC_KEY), CK_INVALID_HANDLE);
    assert_int_equal(f->p11->C_CloseSession(before), CKR_SESSION_HANDLE_INVALID);
}

static void token_swap_is_another_token(void **state)
{
    struct fixture *f = *state;
    CK_TOKEN_INFO mine;
    CK_TOKEN_INFO other;
    CK_SLOT_INFO slot;
    assert_int_equal(f->p11->C_GetTokenInfo(f->slot, &mine), CKR_OK);
    fixture_script("token-swap");
    assert_int_equal(f->p11->C_GetTokenInfo(f->slot, &other), CKR_OK);
    assert_memory_not_equal(mine.serialNumber, other.serialNumber, sizeof(mine.serialNumber));
    assert_memory_not_equal(mine.label, other.label, sizeof(mine.label));
    assert_int_equal(f->p11->C_GetSlotInfo(f->slot, &slot), CKR_OK);
    assert_memory_equal(slot.slotDescription, "Nexus shim", 10);
    see_another_token(f);

    fixture_script(NULL);
    assert_int_equal(f->p11->C_GetTokenInfo(f->slot, &other), CKR_OK);
    assert_memory_equal(mine.serialNumber, other.serialNumber, sizeof(mine.serialNumber));
    assert_int_equal(fixture_try_sign(f), CKR_SESSION_HANDLE_INVALID);
    f->session = fixture_open(f);
    assert_int_equal(fixture_login(f, FIXTURE_PIN), CKR_OK);
    f->key = fixture_find(f, CKO_PRIVATE_KEY);
    assert_int_equal(fixture_try_sign(f), CKR_OK);
}

static bool lists_mechanism(const struct fixture *f, CK_MECHANISM_TYPE type, CK_ULONG *count)
{
    CK_MECHANISM_TYPE types[512];
    CK_ULONG room = 512;
    bool found = false;
    assert_int_equal(f->p11->C_GetMechanismList(f->slot, NULL, count), CKR_OK);
    assert_int_equal(f->p11->C_GetMechanismList(f->slot, types, &room), CKR_OK);
    assert_int_equal(room, *count);
    for (CK_ULONG i = 0; i < room; i++)
        found = found || types[i] == type;
    room = *count - 1;
    assert_int_equal(f->p11->C_GetMechanismList(f->slot, types, &room), CKR_BUFFER_TOO_SMALL);
    assert_int_equal(room, *count);
    return found;
}

static void no_mechanism_hides_and_refuses(void **state)
{
    const struct fixture *f = *state;
    CK_MECHANISM wrap = {.mechanism = CKM_AES_KEY_WRAP};
    CK_MECHANISM_INFO info;
    CK_BYTE wrapped[64];
    CK_ULONG wrapped_len = sizeof(wrapped);
    CK_ULONG all = 0;
    CK_ULONG fewer = 0;
    assert_true(lists_mechanism(f, CKM_AES_KEY_WRAP, &all));
    fixture_script("no-mechanism=CKM_AES_KEY_WRAP\nno-mechanism=ECDSA\n");
    assert_false(lists_mechanism(f, CKM_AES_KEY_WRAP, &fewer));
    assert_int_equal(fewer, all - 2);
    assert_int_equal(f->p11->C_GetMechanismInfo(f->slot, CKM_AES_KEY_WRAP, &info), CKR_MECHANISM_INVALID);
    assert_int_equal(f->p11->C_GetMechanismInfo(f->slot, CKM_AES_GCM, &info), CKR_OK);
    assert_int_equal(f->p11->C_WrapKey(f->session, &wrap, f->key, f->key, wrapped, &wrapped_len),
                     CKR_MECHANISM_INVALID);
    assert_int_equal(fixture_try_sign(f), CKR_MECHANISM_INVALID);
    assert_int_equal(fixture_log_count("C_SignInit CKR_MECHANISM_INVALID shim\n"), 1);
}

int run_token_tests(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(limit_bounds_the_open_sessions, fixture_begin, fixture_end),
        cmocka_unit_test_setup_teardown(lost_login_lasts_until_the_next_login, fixture_begin, fixture_end),
        cmocka_unit_test_setup_teardown(a_rule_loses_the_login_in_mid_operation, fixture_begin, fixture_end),
        cmocka_unit_test_setup_teardown(refused_pins_do_not_reach_the_token, fixture_begin, fixture_end),
        cmocka_unit_test_setup_teardown(token_flags_are_added, fixture_begin, fixture_end),
        cmocka_unit_test_setup_teardown(token_swap_is_another_token, fixture_begin, fixture_end),
        cmocka_unit_test_setup_teardown(no_mechanism_hides_and_refuses, fixture_begin, fixture_end),
    };
    return cmocka_run_group_tests_name("shim: token", tests, fixture_make, fixture_remove);
}
