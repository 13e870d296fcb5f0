/* SPDX-License-Identifier: Apache-2.0
 * The token misbehaves by a script (tests/shim/README.md). Names tell the ids of the attack catalogue. */
#include "tests/unit/hsm/fixture.h"

#include "base/clock.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>

static struct hsm_key start_with_key(struct fx *f)
{
    fx_start(f);
    return fx_generate(f, 1, HSM_SESSION, HSM_EC_P256);
}

static struct hsm_mark mark_of(struct fx *f)
{
    struct hsm_info info;
    assert_ok(hsm_hello(f->c, f->a, fx_deadline(), &info));
    return info.mark;
}

static bool same_process(const struct hsm_mark *a, const struct hsm_mark *b)
{
    return memcmp(a->instance, b->instance, sizeof a->instance) == 0;
}

/* K01: each code, once, costs at most one request and no restart; the next ones sign. */
static void k01_one_failure_is_survived(void **state)
{
    struct fx *f = *state;
    struct hsm_key k = start_with_key(f);
    struct hsm_mark before = mark_of(f);
    static const char *const codes[] = {"DEVICE_REMOVED",     "DEVICE_ERROR",      "SESSION_HANDLE_INVALID",
                                        "USER_NOT_LOGGED_IN", "GENERAL_ERROR",     "HOST_MEMORY",
                                        "FUNCTION_FAILED",    "OPERATION_ACTIVE",  "BUFFER_TOO_SMALL",
                                        "KEY_HANDLE_INVALID", "TOKEN_NOT_PRESENT", "SESSION_CLOSED"};
    static const char *const calls[] = {"C_Sign", "C_SignInit"};
    for (size_t i = 0; i < COUNT(codes) * COUNT(calls); i++) {
        char script[96];
        (void)snprintf(script, sizeof script, "%s 1 rv=CKR_%s\n", calls[i % COUNT(calls)], codes[i / COUNT(calls)]);
        fx_script(f, script);
        (void)fx_sign_until_ok(f, &k, JOSE_ES256);
    }
    struct hsm_mark after = mark_of(f);
    assert_true(same_process(&before, &after));
}

/* Codes of the lower rungs do not even cost the request. */
static void k01_lower_rungs_cost_nothing(void **state)
{
    struct fx *f = *state;
    struct hsm_key k = start_with_key(f);
    static const char *const codes[] = {"SESSION_HANDLE_INVALID", "USER_NOT_LOGGED_IN", "GENERAL_ERROR", "HOST_MEMORY",
                                        "OPERATION_ACTIVE",       "KEY_HANDLE_INVALID"};
    for (size_t i = 0; i < COUNT(codes); i++) {
        char script[96];
        struct hsm_signature sig;
        (void)snprintf(script, sizeof script, "C_Sign 1 rv=CKR_%s\n", codes[i]);
        fx_script(f, script);
        assert_ok(fx_sign(f, f->c, &k, JOSE_ES256, &sig));
    }
    assert_int_equal(fx_log_count(f, "C_Finalize"), 0);
}

static void k01_general_error_on_unwrap_is_the_blobs_fault(void **state)
{
    struct fx *f = *state;
    struct hsm_key k = start_with_key(f);
    struct hsm_key_id kek = fx_id(2);
    struct hsm_signature sig;
    struct bytes blob;
    struct secret *dek = NULL;
    uint8_t value[HSM_DEK_LEN] = {1};
    (void)fx_generate(f, 2, HSM_KEK, HSM_AES_256);
    assert_ok(hsm_wrap(f->c, &kek, bytes_of(value, sizeof value), f->a, fx_deadline(), &blob));
    fx_script(f, "C_UnwrapKey every rv=CKR_GENERAL_ERROR\n");
    for (int i = 0; i < 5; i++)
        assert_err(hsm_unwrap(f->c, &kek, blob, fx_deadline(), &dek), ERR_HSM_REFUSED);
    assert_ok(fx_sign(f, f->c, &k, JOSE_ES256, &sig));
    assert_int_equal(fx_log_count(f, "C_Finalize"), 0);
    assert_int_equal(fx_log_count(f, "C_UnwrapKey CKR_GENERAL_ERROR"), 5);
}

/* A token that stays away is asked about twice a second at most, while requests are refused at once. */
static void k01_outage_has_no_storm(void **state)
{
    struct fx *f = *state;
    struct hsm_key k = start_with_key(f);
    struct hsm_signature sig;
    size_t initialized = fx_log_count(f, "C_Initialize");
    fx_script(f, "C_Sign every rv=CKR_DEVICE_ERROR\nC_OpenSession every rv=CKR_DEVICE_ERROR\n");
    int64_t began = clock_mono_us();
    int refused = 0;
    while (clock_mono_us() - began < 1500000) {
        assert_err(fx_sign(f, f->c, &k, JOSE_ES256, &sig), ERR_HSM_UNAVAILABLE);
        refused++;
    }
    assert_true(refused > 100);
    assert_in_range(fx_log_count(f, "C_Initialize") - initialized, 1, 6);
    fx_script(f, "\n");
    (void)fx_sign_until_ok(f, &k, JOSE_ES256);
}

/* K02: one hung call fails by its deadline, the others go on; a hopeless one replaces the process. */
static void k02_hang_costs_one_request_then_the_process(void **state)
{
    struct fx *f = *state;
    CLEANUP(hsm_client_free) struct hsm_client *other = NULL;
    CLEANUP(hsm_client_free) struct hsm_client *third = NULL;
    struct hsm_signature sig;
    fx_env(f, "NEXUS_HSM_TIMEOUT_MS", "400");
    struct hsm_key k = start_with_key(f);
    struct hsm_mark before = mark_of(f);
    struct str input = fx_input(f, JOSE_ES256, "at+jwt", 0, 60);
    assert_ok(hsm_client_new(hsm_supervisor_connector(f->sup), &other));
    assert_ok(hsm_client_new(hsm_supervisor_connector(f->sup), &third));
    assert_ok(fx_sign(f, other, &k, JOSE_ES256, &sig));
    assert_ok(fx_sign(f, third, &k, JOSE_ES256, &sig));
    fx_script(f, "C_Sign 1 hang once\n");
    int64_t began = clock_mono_us();
    assert_err(hsm_sign(f->c, &k.id, JOSE_ES256, str_bytes(input), began + 200000, &sig), ERR_DEADLINE);
    assert_in_range(clock_mono_us() - began, 200000, 400000);
    assert_ok(fx_sign(f, other, &k, JOSE_ES256, &sig));
    assert_ok(fx_sign(f, f->c, &k, JOSE_ES256, &sig));
    for (int64_t end = clock_mono_us() + FX_WAIT_S * 1000000LL; clock_mono_us() < end; (void)poll(NULL, 0, 20)) {
        (void)fx_sign_until_ok(f, &k, JOSE_ES256);
        struct hsm_mark now = mark_of(f);
        if (!same_process(&before, &now))
            return;
    }
    fail_msg("a call that hangs for ever did not replace the signer");
}

/* A request that was given up while the signer stood still is not signed when it goes on, and has no number. */
static void request_of_a_client_that_hung_up_is_not_signed(void **state)
{
    struct fx *f = *state;
    struct hsm_signature sig, late, next;
    struct hsm_key k = start_with_key(f);
    pid_t pid = fx_signer_pid();
    assert_ok(fx_sign(f, f->c, &k, JOSE_ES256, &sig));
    size_t signs = fx_log_count(f, "C_Sign ");
    struct str input = fx_input(f, JOSE_ES256, "at+jwt", 0, 60);
    siginfo_t stopped;
    assert_int_equal(kill(pid, SIGSTOP), 0);
    /* Told once all of its threads stand still. */
    assert_int_equal(waitid(P_PID, (id_t)pid, &stopped, WSTOPPED), 0);
    struct err e = hsm_sign(f->c, &k.id, JOSE_ES256, str_bytes(input), clock_mono_us() + 200000, &late);
    assert_int_equal(kill(pid, SIGCONT), 0);
    assert_int_equal(e.code, ERR_DEADLINE);
    assert_int_equal(late.mark.counter, 0);
    (void)poll(NULL, 0, 300);
    assert_int_equal(fx_log_count(f, "C_Sign "), signs);
    assert_ok(fx_sign(f, f->c, &k, JOSE_ES256, &next));
    assert_int_equal(next.mark.counter, sig.mark.counter + 1);
    assert_true(same_process(&sig.mark, &next.mark));
}

/* Each counted use has its number, failed or not; what was refused before has none. */
static void only_counted_uses_have_a_number(void **state)
{
    struct fx *f = *state;
    struct hsm_signature sig;
    struct hsm_key k = start_with_key(f);
    struct str input = fx_input(f, JOSE_ES256, "at+jwt", 0, 60);
    assert_ok(fx_sign(f, f->c, &k, JOSE_ES256, &sig));
    assert_int_equal(sig.mark.counter, 1);
    assert_err(hsm_sign(f->c, &k.id, JOSE_ES384, str_bytes(input), fx_deadline(), &sig), ERR_HSM_REFUSED);
    assert_int_equal(sig.mark.counter, 0);
    fx_script(f, "C_Sign 1 rv=CKR_DEVICE_ERROR\n");
    assert_err(hsm_sign(f->c, &k.id, JOSE_ES256, str_bytes(input), fx_deadline(), &sig), ERR_HSM_UNAVAILABLE);
    assert_int_equal(sig.mark.counter, 2);
    assert_int_equal(mark_of(f).counter, 2);
}

/* A token that refuses every denial of a use makes a key that may do everything; it is not kept. */
static void generated_key_of_many_uses_is_destroyed(void **state)
{
    struct fx *f = *state;
    struct hsm_key_id id = fx_id(1);
    struct hsm_key made, *keys = NULL;
    size_t n = 1;
    fx_script(f, "C_GenerateKeyPair 1-7 rv=CKR_TEMPLATE_INCONSISTENT\n");
    fx_start(f);
    size_t destroyed = fx_log_count(f, "C_DestroyObject CKR_OK");
    assert_err(hsm_generate(f->c, &id, HSM_SESSION, HSM_RSA_2048, f->a, fx_deadline(), &made), ERR_HSM_REFUSED);
    assert_int_equal(fx_log_count(f, "C_GenerateKeyPair CKR_OK"), 1);
    assert_int_equal(fx_log_count(f, "C_DestroyObject CKR_OK"), destroyed + 2);
    assert_ok(hsm_keys(f->c, f->a, fx_deadline(), &keys, &n));
    assert_int_equal(n, 0);
    (void)fx_generate(f, 1, HSM_SESSION, HSM_EC_P256);
}

/* K04: fewer sessions than clients: all of them are served. */
static void k04_few_sessions_serve_many_clients(void **state)
{
    struct fx *f = *state;
    enum { CLIENTS = 6 };
    struct hsm_client *c[CLIENTS];
    struct hsm_key k = start_with_key(f);
    fx_stop(f);
    fx_script(f, "C_OpenSession every limit=2\n");
    fx_start(f);
    for (int i = 0; i < CLIENTS; i++)
        assert_ok(hsm_client_new(hsm_supervisor_connector(f->sup), &c[i]));
    for (int i = 0; i < 3 * CLIENTS; i++) {
        struct hsm_signature sig;
        assert_ok(fx_sign(f, c[i % CLIENTS], &k, JOSE_ES256, &sig));
    }
    for (int i = 0; i < CLIENTS; i++)
        hsm_client_free(&c[i]);
}

static void k04_no_session_at_all_is_unavailable(void **state)
{
    struct fx *f = *state;
    struct hsm_signature sig;
    struct hsm_key k = start_with_key(f);
    struct hsm_mark before = mark_of(f);
    fx_stop(f);
    fx_script(f, "C_OpenSession every limit=1\n");
    fx_start(f);
    before = mark_of(f);
    for (int i = 0; i < 3; i++)
        assert_err(fx_sign(f, f->c, &k, JOSE_ES256, &sig), ERR_HSM_UNAVAILABLE);
    fx_script(f, "\n");
    (void)fx_sign_until_ok(f, &k, JOSE_ES256);
    struct hsm_mark after = mark_of(f);
    assert_true(same_process(&before, &after));
}

/* K05: another token in the slot gets neither the PIN nor a request to sign. */
static void k05_another_token_in_the_slot_is_not_used(void **state)
{
    struct fx *f = *state;
    struct hsm_signature sig;
    struct hsm_key k = start_with_key(f);
    size_t logins = fx_log_count(f, "C_Login"), signs = fx_log_count(f, "C_Sign CKR_OK");
    fx_script(f, "token-swap\n");
    int64_t end = clock_mono_us() + 1500000;
    while (clock_mono_us() < end)
        assert_err(fx_sign(f, f->c, &k, JOSE_ES256, &sig), ERR_HSM_UNAVAILABLE);
    assert_int_equal(fx_log_count(f, "C_Login"), logins);
    assert_int_equal(fx_log_count(f, "C_Sign CKR_OK"), signs);
    fx_script(f, "\n");
    (void)fx_sign_until_ok(f, &k, JOSE_ES256);
}

/* K06: however often the signer starts, a wrong PIN is tried once. */
static void k06_wrong_pin_is_tried_once(void **state)
{
    struct fx *f = *state;
    fx_write(f, "pin", "0000\n");
    for (int i = 0; i < 5; i++)
        assert_int_equal(fx_wait_exit(fx_child(f)), SIGNER_EXIT_PIN);
    assert_int_equal(fx_log_count(f, "C_Login"), 1);
    fx_write(f, "pin", FX_PIN "\n");
    fx_start(f);
    assert_int_equal(fx_log_count(f, "C_Login"), 2);
}

static void k06_wrong_pins_in_turn_are_tried_once_each(void **state)
{
    struct fx *f = *state;
    static const char *const pins[] = {"0000\n", "1111\n", "0000\n", "1111\n"};
    for (size_t i = 0; i < COUNT(pins); i++) {
        fx_write(f, "pin", pins[i]);
        assert_int_equal(fx_wait_exit(fx_child(f)), SIGNER_EXIT_PIN);
    }
    assert_int_equal(fx_log_count(f, "C_Login"), 2);
}

static void k06_pin_flags_are_obeyed(void **state)
{
    struct fx *f = *state;
    static const char *const flags[] = {"USER_PIN_COUNT_LOW", "USER_PIN_FINAL_TRY", "USER_PIN_LOCKED"};
    for (size_t i = 0; i < COUNT(flags); i++) {
        struct str script = arena_printf(f->a, "token-flags=%s\n", flags[i]);
        fx_script(f, script.p);
        assert_int_equal(fx_wait_exit(fx_child(f)), SIGNER_EXIT_PIN);
    }
    assert_int_equal(fx_log_count(f, "C_Login"), 0);
    fx_script(f, "\n");
    fx_start(f);
    fx_stop(f);
    /* Proved good since: a low count is somebody else's doing. */
    fx_script(f, "token-flags=USER_PIN_COUNT_LOW\n");
    fx_start(f);
}

static void k06_pin_that_turns_wrong_stops_the_signer(void **state)
{
    struct fx *f = *state;
    struct hsm_signature sig;
    struct hsm_key k = start_with_key(f);
    fx_script(f, "C_Sign 1 rv=CKR_DEVICE_ERROR\nC_Login every rv=CKR_PIN_INCORRECT\n");
    struct err e = OK;
    for (int64_t end = clock_mono_us() + FX_WAIT_S * 1000000LL; clock_mono_us() < end && e.code != ERR_HSM_PIN;) {
        e = fx_sign(f, f->c, &k, JOSE_ES256, &sig);
        (void)poll(NULL, 0, 20);
    }
    assert_int_equal(e.code, ERR_HSM_PIN);
    assert_int_equal(fx_log_count(f, "C_Login CKR_PIN_INCORRECT"), 1);
}

static void k06_login_killed_midway_is_repeated_once(void **state)
{
    struct fx *f = *state;
    fx_script(f, "C_Login every crash\n");
    for (int i = 0; i < 2; i++) {
        int status = fx_wait_exit(fx_child(f));
        assert_true(status != SIGNER_EXIT_OK && status != SIGNER_EXIT_PIN);
    }
    for (int i = 0; i < 3; i++)
        assert_int_equal(fx_wait_exit(fx_child(f)), SIGNER_EXIT_PIN);
    assert_int_equal(fx_log_count(f, "C_Login"), 2);
}

/* K07: what the module spoils is the broker's to find, by its own check; the signer finds lengths. */
static void k07_long_signature_replaces_the_signer(void **state)
{
    struct fx *f = *state;
    struct hsm_signature sig;
    struct hsm_key k = start_with_key(f);
    struct hsm_mark before = mark_of(f);
    fx_script(f, "C_Sign 1 overlong once\n");
    assert_err(fx_sign(f, f->c, &k, JOSE_ES256, &sig), ERR_HSM_UNAVAILABLE);
    (void)fx_sign_until_ok(f, &k, JOSE_ES256);
    struct hsm_mark after = mark_of(f);
    assert_false(same_process(&before, &after));
}

/* K09: a crash of the module is a crash of the signer only. */
static void k09_crash_is_survived(void **state)
{
    struct fx *f = *state;
    struct hsm_signature sig;
    struct hsm_key k = start_with_key(f);
    fx_script(f, "C_Sign 1 crash once\n");
    assert_err(fx_sign(f, f->c, &k, JOSE_ES256, &sig), ERR_HSM_UNAVAILABLE);
    (void)fx_sign_until_ok(f, &k, JOSE_ES256);
}

/* K12: somebody logs the process out. */
static void k12_lost_login_is_renewed(void **state)
{
    struct fx *f = *state;
    struct hsm_signature sig;
    struct hsm_key k = start_with_key(f);
    fx_script(f, "C_SignInit 1 lost-login\n");
    assert_ok(fx_sign(f, f->c, &k, JOSE_ES256, &sig));
    assert_int_equal(fx_log_count(f, "C_Finalize"), 0);
}

/* A key that somebody destroys fails alone: the token is re-initialised for it once, not at each request. */
static void destroyed_key_does_not_take_the_token_down(void **state)
{
    struct fx *f = *state;
    struct hsm_signature sig;
    struct hsm_key k = start_with_key(f);
    struct hsm_key other = fx_generate(f, 2, HSM_SESSION, HSM_EC_P256);
    fx_shell(f, "pkcs11-tool --module /usr/lib/softhsm/libsofthsm2.so --token-label unit --login --pin " FX_PIN
                " --delete-object --type privkey --id 01010101010101010101010101010101");
    assert_err(fx_sign(f, f->c, &k, JOSE_ES256, &sig), ERR_HSM_UNAVAILABLE);
    (void)fx_sign_until_ok(f, &other, JOSE_ES256);
    for (int i = 0; i < 5; i++) {
        assert_err(fx_sign(f, f->c, &k, JOSE_ES256, &sig), ERR_HSM_UNAVAILABLE);
        assert_ok(fx_sign(f, f->c, &other, JOSE_ES256, &sig));
    }
    assert_int_equal(fx_log_count(f, "C_Finalize"), 1);
}

/* Another key under the same name and id is not signed with: the one at start is remembered by its public part. */
static void replaced_key_is_refused(void **state)
{
    struct fx *f = *state;
    struct hsm_signature sig;
    struct hsm_key k = start_with_key(f);
    struct str tool =
        STR("pkcs11-tool --module /usr/lib/softhsm/libsofthsm2.so --token-label unit --login --pin " FX_PIN);
    struct str replace =
        arena_printf(f->a,
                     "%.*s --delete-object --type privkey --id 01010101010101010101010101010101 && "
                     "%.*s --delete-object --type pubkey --id 01010101010101010101010101010101 && "
                     "%.*s --keypairgen --key-type EC:prime256v1 --usage-sign --id 01010101010101010101010101010101 "
                     "--label nexus:session:01010101010101010101010101010101",
                     STR_FMT(tool), STR_FMT(tool), STR_FMT(tool));
    fx_shell(f, replace.p);
    fx_sign_only(f);
    size_t signs = fx_log_count(f, "C_Sign CKR_OK");
    for (int i = 0; i < 3; i++)
        assert_err(fx_sign(f, f->c, &k, JOSE_ES256, &sig), ERR_HSM_REFUSED);
    assert_int_equal(fx_log_count(f, "C_Sign CKR_OK"), signs);
}

static void wrapping_falls_back_to_gcm(void **state)
{
    struct fx *f = *state;
    struct hsm_info info;
    struct hsm_key_id kek = fx_id(2), other = fx_id(3);
    struct bytes blob, again;
    CLEANUP(secret_free) struct secret *dek = NULL;
    uint8_t value[HSM_DEK_LEN] = {1}, bad[HSM_BLOB_MAX];
    fx_script(f, "no-mechanism=CKM_AES_KEY_WRAP\n");
    fx_start(f);
    assert_ok(hsm_hello(f->c, f->a, fx_deadline(), &info));
    assert_true(str_is(info.wrap_alg, "A256GCM"));
    (void)fx_generate(f, 2, HSM_KEK, HSM_AES_256);
    (void)fx_generate(f, 3, HSM_KEK, HSM_AES_256);
    assert_ok(hsm_wrap(f->c, &kek, bytes_of(value, sizeof value), f->a, fx_deadline(), &blob));
    assert_ok(hsm_wrap(f->c, &kek, bytes_of(value, sizeof value), f->a, fx_deadline(), &again));
    assert_false(bytes_eq(blob, again));
    for (size_t i = 0; i < blob.n; i++) {
        memcpy(bad, blob.p, blob.n);
        bad[i] ^= 1;
        assert_err(hsm_unwrap(f->c, &kek, bytes_of(bad, blob.n), fx_deadline(), &dek), ERR_HSM_REFUSED);
    }
    assert_err(hsm_unwrap(f->c, &other, blob, fx_deadline(), &dek), ERR_HSM_REFUSED);
    assert_ok(hsm_unwrap(f->c, &kek, blob, fx_deadline(), &dek));
    assert_true(secret_eq(secret_bytes(dek), bytes_of(value, sizeof value)));
}

/* Fails each call of a whole life in turn: a start, a key, a signature. Whatever fails, nothing hangs or is left over.
 */
static void every_call_may_fail_once(void **state)
{
    struct fx *f = *state;
    struct hsm_key k = start_with_key(f);
    fx_stop(f);
    size_t before = fx_log_count(f, "C_");
    fx_start(f);
    (void)fx_sign_until_ok(f, &k, JOSE_ES256);
    fx_stop(f);
    size_t calls = fx_log_count(f, "C_") - before;
    assert_in_range(calls, 20, 200);
    /* The first is C_GetFunctionList: a library that has none is a mistake of configuration. */
    for (size_t n = 2; n <= calls; n++) {
        struct str script = arena_printf(f->a, "* %zu rv=CKR_FUNCTION_FAILED once\n", n);
        fx_script(f, script.p);
        fx_spawn(f);
        (void)fx_sign_until_ok(f, &k, JOSE_ES256);
        fx_stop(f);
    }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, fx_make_shim, fx_remove)
    const struct CMUnitTest tests[] = {
        TEST(k01_one_failure_is_survived),
        TEST(k01_lower_rungs_cost_nothing),
        TEST(k01_general_error_on_unwrap_is_the_blobs_fault),
        TEST(k01_outage_has_no_storm),
        TEST(k02_hang_costs_one_request_then_the_process),
        TEST(request_of_a_client_that_hung_up_is_not_signed),
        TEST(only_counted_uses_have_a_number),
        TEST(generated_key_of_many_uses_is_destroyed),
        TEST(k04_few_sessions_serve_many_clients),
        TEST(k04_no_session_at_all_is_unavailable),
        TEST(k05_another_token_in_the_slot_is_not_used),
        TEST(k06_wrong_pin_is_tried_once),
        TEST(k06_wrong_pins_in_turn_are_tried_once_each),
        TEST(k06_pin_flags_are_obeyed),
        TEST(k06_pin_that_turns_wrong_stops_the_signer),
        TEST(k06_login_killed_midway_is_repeated_once),
        TEST(k07_long_signature_replaces_the_signer),
        TEST(k09_crash_is_survived),
        TEST(k12_lost_login_is_renewed),
        TEST(destroyed_key_does_not_take_the_token_down),
        TEST(replaced_key_is_refused),
        TEST(wrapping_falls_back_to_gcm),
        TEST(every_call_may_fail_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
