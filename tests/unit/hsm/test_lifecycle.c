/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/hsm/fixture.h"

#include "base/clock.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* Calls hello until the connector gives up for good, and gives its error. */
static enum err_code settled_error(struct fx *f)
{
    int64_t end = clock_mono_us() + FX_WAIT_S * 1000000LL;
    for (;;) {
        struct hsm_info info;
        struct err e = hsm_hello(f->c, f->a, fx_deadline(), &info);
        if (e.code != ERR_HSM_UNAVAILABLE)
            return e.code;
        assert_true(clock_mono_us() < end);
        (void)poll(NULL, 0, 10);
    }
}

/* To the broker's callers a signer that cannot be configured is an outage; the detail tells the operator what to do. */
static void assert_config_refused(struct fx *f)
{
    int64_t end = clock_mono_us() + FX_WAIT_S * 1000000LL;
    for (;;) {
        struct hsm_info info;
        struct err e = hsm_hello(f->c, f->a, fx_deadline(), &info);
        assert_int_equal(e.code, ERR_HSM_UNAVAILABLE);
        if (strstr(e.detail, "refused its configuration") != NULL && strstr(e.detail, "restart the broker") != NULL)
            return;
        assert_true(clock_mono_us() < end);
        (void)poll(NULL, 0, 10);
    }
}

static void killed_signer_is_started_again(void **state)
{
    struct fx *f = *state;
    struct hsm_signature sig, later;
    fx_start(f);
    struct hsm_key k = fx_generate(f, 1, HSM_SESSION, HSM_EC_P256);
    assert_ok(fx_sign(f, f->c, &k, JOSE_ES256, &sig));
    for (int i = 0; i < 2; i++) {
        assert_int_equal(kill(fx_signer_pid(), SIGKILL), 0);
        (void)fx_sign_until_ok(f, &k, JOSE_ES256);
    }
    assert_ok(fx_sign(f, f->c, &k, JOSE_ES256, &later));
    assert_memory_not_equal(sig.mark.instance, later.mark.instance, HSM_INSTANCE_LEN);
}

static void signer_ends_with_its_broker(void **state)
{
    struct fx *f = *state;
    fx_start(f);
    pid_t pid = fx_signer_pid();
    fx_stop(f);
    assert_int_equal(kill(pid, 0), -1);
}

static void wrong_pin_stops_everything(void **state)
{
    struct fx *f = *state;
    fx_write(f, "pin", "0000\n");
    fx_spawn(f);
    assert_int_equal(settled_error(f), ERR_HSM_PIN);
    assert_int_equal(settled_error(f), ERR_HSM_PIN);
    fx_stop(f);
    /* The right PIN in the file arms the fuse again. */
    fx_write(f, "pin", FX_PIN "\n");
    fx_start(f);
}

static void bad_configuration_is_not_retried(void **state)
{
    struct fx *f = *state;
    fx_env(f, "NEXUS_PKCS11_URI", "pkcs11:token=unit?pin-value=4711");
    fx_spawn(f);
    assert_config_refused(f);
}

static void pin_source_is_honoured(void **state)
{
    struct fx *f = *state;
    struct str uri =
        arena_printf(f->a, "pkcs11:token=unit;manufacturer=SoftHSM%%20project?pin-source=file:%s", fx_path(f, "pin"));
    fx_env(f, "NEXUS_PKCS11_URI", uri.p);
    fx_env(f, "NEXUS_PKCS11_PIN_FILE", "");
    fx_start(f);
}

/* The broker hands any number on that its own setting takes; more than the signer has room for is no mistake. */
static void any_number_of_sessions_is_taken(void **state)
{
    struct fx *f = *state;
    static const char *const numbers[] = {"0", "1", "256", "100000"};
    for (size_t i = 0; i < COUNT(numbers); i++) {
        struct hsm_signature sig;
        fx_env(f, "NEXUS_SIGNER_MAX_SESSIONS", numbers[i]);
        fx_start(f);
        struct hsm_key k = fx_generate(f, 1, HSM_SESSION, HSM_EC_P256);
        assert_ok(fx_sign(f, f->c, &k, JOSE_ES256, &sig));
        fx_stop(f);
    }
}

static void two_tokens_of_one_name_are_refused(void **state)
{
    struct fx *f = *state;
    fx_shell(f, "softhsm2-util --init-token --free --label unit --so-pin 87654321 --pin " FX_PIN);
    fx_spawn(f);
    assert_config_refused(f);
}

static void missing_token_is_waited_for(void **state)
{
    struct fx *f = *state;
    struct hsm_info info;
    struct str tokens = arena_printf(f->a, "%s/tokens", f->dir), away = arena_printf(f->a, "%s/away", f->dir);
    assert_int_equal(rename(tokens.p, away.p), 0);
    fx_spawn(f);
    struct err e = hsm_hello(f->c, f->a, fx_deadline(), &info);
    assert_int_equal(e.code, ERR_HSM_UNAVAILABLE);
    assert_int_equal(rename(away.p, tokens.p), 0);
    assert_int_equal(settled_error(f), ERR_NONE);
}

static void token_that_leaves_and_returns_heals(void **state)
{
    struct fx *f = *state;
    struct hsm_signature sig;
    struct hsm_info before, after;
    struct str tokens = arena_printf(f->a, "%s/tokens", f->dir), away = arena_printf(f->a, "%s/away", f->dir);
    fx_start(f);
    struct hsm_key k = fx_generate(f, 1, HSM_SESSION, HSM_EC_P256);
    assert_ok(hsm_hello(f->c, f->a, fx_deadline(), &before));
    assert_int_equal(rename(tokens.p, away.p), 0);
    for (int i = 0; i < 5; i++)
        assert_err(fx_sign(f, f->c, &k, JOSE_ES256, &sig), ERR_HSM_UNAVAILABLE);
    assert_int_equal(rename(away.p, tokens.p), 0);
    assert_true(fx_sign_until_ok(f, &k, JOSE_ES256) > 0);
    assert_ok(hsm_hello(f->c, f->a, fx_deadline(), &after));
    /* The same process all along. */
    assert_memory_equal(before.mark.instance, after.mark.instance, HSM_INSTANCE_LEN);
}

#define IMPORT_TOOL "pkcs11-tool --module /usr/lib/softhsm/libsofthsm2.so --token-label unit --login --pin " FX_PIN " "

static void extractable_key_refuses_the_start(void **state)
{
    struct fx *f = *state;
    fx_shell(f, IMPORT_TOOL
             "--keypairgen --key-type EC:prime256v1 --usage-sign --extractable "
             "--id 01010101010101010101010101010101 --label nexus:session:01010101010101010101010101010101");
    /* No switch accepts a key that can leave. */
    fx_env(f, "NEXUS_INSECURE_ACCEPT_IMPORTED_KEYS", "on");
    fx_spawn(f);
    assert_config_refused(f);
}

static void make_imported_key(struct fx *f)
{
    struct str make =
        arena_printf(f->a,
                     "openssl ecparam -name prime256v1 -genkey -noout | openssl pkcs8 -topk8 -nocrypt -outform DER "
                     "-out %s/key.der && openssl pkey -inform DER -in %s/key.der -pubout -outform DER -out %s/pub.der",
                     f->dir, f->dir, f->dir);
    struct str import = arena_printf(
        f->a,
        IMPORT_TOOL
        "--write-object %s/key.der --type privkey --usage-sign --sensitive "
        "--id 02020202020202020202020202020202 --label nexus:session:02020202020202020202020202020202 && " IMPORT_TOOL
        "--write-object %s/pub.der --type pubkey --usage-sign "
        "--id 02020202020202020202020202020202 --label nexus:session:02020202020202020202020202020202",
        f->dir, f->dir);
    fx_shell(f, make.p);
    fx_shell(f, import.p);
    fx_sign_only(f);
}

static void imported_key_needs_the_switch(void **state)
{
    struct fx *f = *state;
    struct hsm_key *keys = NULL;
    struct hsm_signature sig;
    size_t n = 0;
    make_imported_key(f);
    fx_spawn(f);
    assert_config_refused(f);
    fx_stop(f);
    fx_env(f, "NEXUS_INSECURE_ACCEPT_IMPORTED_KEYS", "on");
    fx_start(f);
    assert_ok(hsm_keys(f->c, f->a, fx_deadline(), &keys, &n));
    assert_int_equal(n, 1);
    assert_false(keys[0].evidence.local);
    assert_ok(fx_sign(f, f->c, &keys[0], JOSE_ES256, &sig));
}

static void foreign_keys_are_left_alone(void **state)
{
    struct fx *f = *state;
    struct hsm_key *keys = NULL;
    size_t n = 1;
    fx_shell(f, IMPORT_TOOL "--keypairgen --key-type EC:prime256v1 --usage-sign --extractable --id 05 --label other");
    fx_shell(f, IMPORT_TOOL "--keypairgen --key-type EC:prime256v1 --usage-sign --id 06 "
                            "--label nexus:session:01010101010101010101010101010101");
    fx_start(f);
    assert_ok(hsm_keys(f->c, f->a, fx_deadline(), &keys, &n));
    assert_int_equal(n, 0);
}

/* pkcs11-tool does not deny what it is not asked for, and SoftHSM then allows it: the key signs and decrypts. */
static void key_of_many_uses_refuses_the_start(void **state)
{
    struct fx *f = *state;
    fx_shell(f, IMPORT_TOOL
             "--keypairgen --key-type rsa:2048 --usage-sign --usage-decrypt --id 01010101010101010101010101010101 "
             "--label nexus:session:01010101010101010101010101010101");
    fx_env(f, "NEXUS_INSECURE_ACCEPT_IMPORTED_KEYS", "on");
    fx_spawn(f);
    assert_config_refused(f);
}

static void kek_of_many_uses_refuses_the_start(void **state)
{
    struct fx *f = *state;
    fx_shell(f, IMPORT_TOOL "--keygen --key-type AES:32 --usage-wrap --usage-decrypt --sensitive --private "
                            "--id 01010101010101010101010101010101 "
                            "--label nexus:kek:01010101010101010101010101010101");
    fx_env(f, "NEXUS_INSECURE_ACCEPT_IMPORTED_KEYS", "on");
    fx_spawn(f);
    assert_config_refused(f);
}

static void two_keys_of_one_id_refuse_the_start(void **state)
{
    struct fx *f = *state;
    for (int i = 0; i < 2; i++)
        fx_shell(f,
                 IMPORT_TOOL "--keypairgen --key-type EC:prime256v1 --usage-sign --id 01010101010101010101010101010101 "
                             "--label nexus:session:01010101010101010101010101010101");
    fx_sign_only(f);
    fx_spawn(f);
    assert_config_refused(f);
}

static void foreign_user_may_not_connect(void **state)
{
    struct fx *f = *state;
    struct hsm_info info;
    const char *path = fx_path(f, "socket");
    fx_env(f, "NEXUS_SIGNER_SOCKET", path);
    fx_env(f, "NEXUS_SIGNER_PEER_UID", "54321");
    pid_t pid = fx_serve(f);
    while (access(path, F_OK) != 0)
        (void)poll(NULL, 0, 5);
    (void)poll(NULL, 0, 50);
    assert_ok(hsm_client_new(hsm_connector_path(path), &f->c));
    assert_err(hsm_hello(f->c, f->a, fx_deadline(), &info), ERR_HSM_UNAVAILABLE);
    assert_int_equal(kill(pid, SIGTERM), 0);
    (void)fx_wait_exit(pid);
}

static void wait_for_socket(struct fx *f, const char *path)
{
    struct hsm_info info;
    assert_ok(hsm_client_new(hsm_connector_path(path), &f->c));
    int64_t end = clock_mono_us() + FX_WAIT_S * 1000000LL;
    for (struct err e = hsm_hello(f->c, f->a, fx_deadline(), &info); err_is(&e);) {
        assert_true(clock_mono_us() < end);
        (void)poll(NULL, 0, 10);
        e = hsm_hello(f->c, f->a, fx_deadline(), &info);
    }
}

static void live_signer_keeps_its_socket(void **state)
{
    struct fx *f = *state;
    struct hsm_info info;
    const char *path = fx_path(f, "socket");
    fx_env(f, "NEXUS_SIGNER_SOCKET", path);
    pid_t first = fx_serve(f);
    wait_for_socket(f, path);
    assert_int_equal(fx_wait_exit(fx_serve(f)), SIGNER_EXIT_CONFIG);
    hsm_client_free(&f->c);
    assert_ok(hsm_client_new(hsm_connector_path(path), &f->c));
    assert_ok(hsm_hello(f->c, f->a, fx_deadline(), &info));
    /* One that was killed leaves its socket behind, which the next replaces. */
    assert_int_equal(kill(first, SIGKILL), 0);
    (void)fx_wait_exit(first);
    hsm_client_free(&f->c);
    assert_int_equal(access(path, F_OK), 0);
    pid_t second = fx_serve(f);
    wait_for_socket(f, path);
    /* A path that somebody else has taken over is left alone. */
    assert_int_equal(unlink(path), 0);
    fx_write(f, "socket", "another's");
    assert_int_equal(kill(second, SIGTERM), 0);
    assert_int_equal(fx_wait_exit(second), SIGNER_EXIT_OK);
    assert_int_equal(access(path, F_OK), 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, fx_make, fx_remove)
    const struct CMUnitTest tests[] = {
        TEST(killed_signer_is_started_again),
        TEST(signer_ends_with_its_broker),
        TEST(wrong_pin_stops_everything),
        TEST(bad_configuration_is_not_retried),
        TEST(pin_source_is_honoured),
        TEST(any_number_of_sessions_is_taken),
        TEST(two_tokens_of_one_name_are_refused),
        TEST(missing_token_is_waited_for),
        TEST(token_that_leaves_and_returns_heals),
        TEST(extractable_key_refuses_the_start),
        TEST(imported_key_needs_the_switch),
        TEST(foreign_keys_are_left_alone),
        TEST(key_of_many_uses_refuses_the_start),
        TEST(kek_of_many_uses_refuses_the_start),
        TEST(two_keys_of_one_id_refuse_the_start),
        TEST(foreign_user_may_not_connect),
        TEST(live_signer_keeps_its_socket),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
