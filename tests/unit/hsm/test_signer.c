/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/hsm/fixture.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>

static const struct {
    enum hsm_key_type type;
    enum jose_alg alg;
    size_t length;
} signing[] = {
    {HSM_EC_P256, JOSE_ES256, 64},   {HSM_EC_P384, JOSE_ES384, 96},   {HSM_RSA_2048, JOSE_PS256, 256},
    {HSM_RSA_2048, JOSE_RS256, 256}, {HSM_RSA_3072, JOSE_PS256, 384}, {HSM_ED25519, JOSE_EDDSA, 64},
};

static void each_type_signs_and_verifies(void **state)
{
    struct fx *f = *state;
    fx_start(f);
    for (size_t i = 0; i < COUNT(signing); i++) {
        struct hsm_signature sig;
        struct hsm_key k = fx_generate(f, (uint8_t)(i + 1), HSM_SESSION, signing[i].type);
        assert_ok(fx_sign(f, f->c, &k, signing[i].alg, &sig));
        assert_int_equal(sig.n, signing[i].length);
        assert_int_equal(sig.mark.counter, i + 1);
    }
}

static void generating_twice_makes_one_key(void **state)
{
    struct fx *f = *state;
    struct hsm_key *keys = NULL;
    struct hsm_key again;
    struct hsm_key_id id = fx_id(1);
    size_t n = 0;
    fx_start(f);
    struct hsm_key first = fx_generate(f, 1, HSM_SESSION, HSM_EC_P256);
    struct hsm_key second = fx_generate(f, 1, HSM_SESSION, HSM_EC_P256);
    assert_true(bytes_eq(first.point, second.point));
    assert_ok(hsm_keys(f->c, f->a, fx_deadline(), &keys, &n));
    assert_int_equal(n, 1);
    assert_err(hsm_generate(f->c, &id, HSM_CALL, HSM_EC_P256, f->a, fx_deadline(), &again), ERR_HSM_REFUSED);
    assert_err(hsm_generate(f->c, &id, HSM_SESSION, HSM_EC_P384, f->a, fx_deadline(), &again), ERR_HSM_REFUSED);
}

static void evidence_shows_a_key_born_in_the_token(void **state)
{
    struct fx *f = *state;
    fx_start(f);
    struct hsm_key keys[] = {fx_generate(f, 1, HSM_SESSION, HSM_EC_P256), fx_generate(f, 2, HSM_KEK, HSM_AES_256)};
    for (size_t i = 0; i < COUNT(keys); i++) {
        const struct hsm_evidence *e = &keys[i].evidence;
        assert_true(e->local && e->sensitive && e->always_sensitive && e->never_extractable);
        assert_true(e->private_object && e->token_object);
        assert_false(e->extractable);
    }
    assert_true(str_is(keys[0].label, "nexus:session:01010101010101010101010101010101"));
}

static void keys_survive_a_restart_and_are_paged(void **state)
{
    struct fx *f = *state;
    struct hsm_key *keys = NULL;
    struct hsm_signature sig;
    size_t n = 0;
    enum { KEYS = 70 };
    fx_start(f);
    for (int i = 1; i <= KEYS; i++)
        (void)fx_generate(f, (uint8_t)i, HSM_SESSION, HSM_EC_P256);
    fx_stop(f);
    fx_start(f);
    assert_ok(hsm_keys(f->c, f->a, fx_deadline(), &keys, &n));
    assert_int_equal(n, KEYS);
    assert_ok(fx_sign(f, f->c, &keys[KEYS - 1], JOSE_ES256, &sig));
}

static void dek_comes_back_and_tampering_shows(void **state)
{
    struct fx *f = *state;
    struct hsm_key_id id = fx_id(1), other = fx_id(2);
    uint8_t dek[HSM_DEK_LEN], bad[HSM_BLOB_MAX];
    struct bytes blob;
    CLEANUP(secret_free) struct secret *back = NULL;
    struct secret *never = NULL;
    memset(dek, 0x5a, sizeof dek);
    fx_start(f);
    (void)fx_generate(f, 1, HSM_KEK, HSM_AES_256);
    (void)fx_generate(f, 2, HSM_KEK, HSM_AES_256);
    assert_ok(hsm_wrap(f->c, &id, bytes_of(dek, sizeof dek), f->a, fx_deadline(), &blob));
    assert_int_equal(blob.n, 2 + HSM_DEK_LEN + 8);
    struct hsm_mark wrapped = hsm_last_mark(f->c);
    assert_ok(hsm_unwrap(f->c, &id, blob, fx_deadline(), &back));
    struct hsm_mark unwrapped = hsm_last_mark(f->c);
    assert_true(wrapped.counter > 0 && unwrapped.counter == wrapped.counter + 1);
    assert_memory_equal(wrapped.instance, unwrapped.instance, sizeof wrapped.instance);
    assert_true(secret_eq(secret_bytes(back), bytes_of(dek, sizeof dek)));
    for (size_t i = 0; i < blob.n; i++) {
        memcpy(bad, blob.p, blob.n);
        bad[i] ^= 1;
        assert_err(hsm_unwrap(f->c, &id, bytes_of(bad, blob.n), fx_deadline(), &never), ERR_HSM_REFUSED);
    }
    /* A use that fails has its number too. */
    assert_int_equal(hsm_last_mark(f->c).counter, unwrapped.counter + blob.n);
    assert_err(hsm_unwrap(f->c, &id, bytes_of(blob.p, blob.n - 1), fx_deadline(), &never), ERR_HSM_REFUSED);
    assert_err(hsm_unwrap(f->c, &other, blob, fx_deadline(), &never), ERR_HSM_REFUSED);
    assert_ok(hsm_unwrap(f->c, &id, blob, fx_deadline(), &never));
    secret_free(&never);
}

static void each_purpose_has_its_operations_only(void **state)
{
    struct fx *f = *state;
    struct hsm_signature sig;
    struct bytes blob;
    uint8_t dek[HSM_DEK_LEN] = {0};
    struct hsm_key made;
    struct hsm_key_id id = fx_id(9), none = fx_id(99);
    fx_start(f);
    struct hsm_key session = fx_generate(f, 1, HSM_SESSION, HSM_EC_P256);
    struct hsm_key kek = fx_generate(f, 2, HSM_KEK, HSM_AES_256);
    struct hsm_key checkpoint = fx_generate(f, 3, HSM_CHECKPOINT, HSM_EC_P256);
    struct hsm_key call = fx_generate(f, 4, HSM_CALL, HSM_EC_P256);
    struct str token = fx_input(f, JOSE_ES256, "at+jwt", 0, 900),
               called = fx_input(f, JOSE_ES256, "nexus-call+jwt", 0, 60);
    assert_err(hsm_sign(f->c, &kek.id, JOSE_ES256, str_bytes(token), fx_deadline(), &sig), ERR_HSM_REFUSED);
    assert_err(hsm_sign(f->c, &checkpoint.id, JOSE_ES256, str_bytes(token), fx_deadline(), &sig), ERR_HSM_REFUSED);
    assert_err(hsm_sign(f->c, &call.id, JOSE_ES256, str_bytes(token), fx_deadline(), &sig), ERR_HSM_REFUSED);
    assert_err(hsm_sign(f->c, &session.id, JOSE_ES256, str_bytes(called), fx_deadline(), &sig), ERR_HSM_REFUSED);
    assert_err(hsm_sign(f->c, &session.id, JOSE_ES384, str_bytes(token), fx_deadline(), &sig), ERR_HSM_REFUSED);
    assert_err(hsm_sign(f->c, &none, JOSE_ES256, str_bytes(token), fx_deadline(), &sig), ERR_HSM_REFUSED);
    assert_err(hsm_wrap(f->c, &session.id, bytes_of(dek, sizeof dek), f->a, fx_deadline(), &blob), ERR_HSM_REFUSED);
    assert_err(hsm_generate(f->c, &id, HSM_KEK, HSM_EC_P256, f->a, fx_deadline(), &made), ERR_HSM_REFUSED);
    assert_err(hsm_generate(f->c, &id, HSM_SESSION, HSM_AES_256, f->a, fx_deadline(), &made), ERR_HSM_REFUSED);
    assert_ok(hsm_sign(f->c, &call.id, JOSE_ES256, str_bytes(called), fx_deadline(), &sig));
    /* Refusals are not uses of a key. */
    assert_int_equal(sig.mark.counter, 1);
}

static void random_and_hello(void **state)
{
    struct fx *f = *state;
    struct hsm_info info, again;
    uint8_t a[256] = {0}, b[256] = {0};
    fx_start(f);
    assert_ok(hsm_random(f->c, a, sizeof a, fx_deadline()));
    assert_ok(hsm_random(f->c, b, sizeof b, fx_deadline()));
    assert_memory_not_equal(a, b, sizeof a);
    assert_ok(hsm_hello(f->c, f->a, fx_deadline(), &info));
    assert_true(str_is(info.token_label, "unit"));
    assert_true(str_is(info.wrap_alg, "A256KW"));
    assert_int_equal(info.sign_algs, (1U << JOSE_ALG_COUNT) - 1);
    assert_int_equal(info.key_types, (1U << HSM_KEY_TYPE_COUNT) - 1);
    fx_stop(f);
    fx_start(f);
    assert_ok(hsm_hello(f->c, f->a, fx_deadline(), &again));
    assert_memory_not_equal(info.mark.instance, again.mark.instance, HSM_INSTANCE_LEN);
}

enum { THREADS = 6, ROUNDS = 40 };

struct counting {
    struct fx *f;
    struct hsm_key key;
    struct str input;
    uint64_t seen[ROUNDS];
};

static void *count_thread(void *arg)
{
    struct counting *w = arg;
    CLEANUP(hsm_client_free) struct hsm_client *c = NULL;
    struct err e = hsm_client_new(hsm_supervisor_connector(w->f->sup), &c);
    for (size_t i = 0; i < ROUNDS && !err_is(&e); i++) {
        struct hsm_signature sig = {0};
        e = hsm_sign(c, &w->key.id, JOSE_ES256, str_bytes(w->input), fx_deadline(), &sig);
        w->seen[i] = sig.mark.counter;
    }
    return NULL;
}

static void counter_is_gapless_over_threads(void **state)
{
    struct fx *f = *state;
    static struct counting w[THREADS];
    pthread_t t[THREADS];
    bool seen[THREADS * ROUNDS + 1] = {false};
    fx_start(f);
    struct hsm_key k = fx_generate(f, 1, HSM_SESSION, HSM_EC_P256);
    for (size_t i = 0; i < THREADS; i++) {
        w[i] = (struct counting){.f = f, .key = k, .input = fx_input(f, JOSE_ES256, "at+jwt", 0, 60)};
        assert_int_equal(pthread_create(&t[i], NULL, count_thread, &w[i]), 0);
    }
    for (size_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_join(t[i], NULL), 0);
    for (size_t i = 0; i < THREADS * ROUNDS; i++) {
        uint64_t c = w[i / ROUNDS].seen[i % ROUNDS];
        assert_in_range(c, 1, THREADS * ROUNDS);
        assert_false(seen[c]);
        seen[c] = true;
    }
}

static void serves_on_a_socket_of_its_own(void **state)
{
    struct fx *f = *state;
    const char *path = fx_path(f, "socket");
    struct hsm_info info;
    struct err e = OK;
    fx_env(f, "NEXUS_SIGNER_SOCKET", path);
    pid_t pid = fx_serve(f);
    assert_ok(hsm_client_new(hsm_connector_path(path), &f->c));
    for (int64_t end = fx_deadline(); fx_deadline() < end + 10000000;) {
        e = hsm_hello(f->c, f->a, fx_deadline(), &info);
        if (!err_is(&e))
            break;
    }
    assert_ok(e);
    assert_int_equal(kill(pid, SIGTERM), 0);
    assert_int_equal(fx_wait_exit(pid), SIGNER_EXIT_OK);
    assert_err(hsm_hello(f->c, f->a, fx_deadline(), &info), ERR_HSM_UNAVAILABLE);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, fx_make, fx_remove)
    const struct CMUnitTest tests[] = {
        TEST(each_type_signs_and_verifies),
        TEST(generating_twice_makes_one_key),
        TEST(evidence_shows_a_key_born_in_the_token),
        TEST(keys_survive_a_restart_and_are_paged),
        TEST(dek_comes_back_and_tampering_shows),
        TEST(each_purpose_has_its_operations_only),
        TEST(random_and_hello),
        TEST(counter_is_gapless_over_threads),
        TEST(serves_on_a_socket_of_its_own),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
