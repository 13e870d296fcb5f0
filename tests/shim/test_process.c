// SPDX-License-Identifier: Apache-2.0
// Rules that wait or kill, and the shim under several threads and processes.
#include "fixture.h"

#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#define MAX_WORKERS 4
#define LOAD_SIGNS  200

extern char **environ;

struct worker {
    const struct fixture *f;
    pthread_t thread;
    CK_SESSION_HANDLE session;
    int signs;
    int failed;
    CK_RV last;
};

// No cmocka assertions here: they are for the main thread.
static void *work(void *arg)
{
    struct worker *w = arg;
    for (int i = 0; i < w->signs; i++) {
        CK_BYTE signature[SIGNATURE_LEN];
        CK_ULONG len = sizeof(signature);
        w->last = fixture_sign(w->f, w->session, signature, &len);
        w->failed += w->last != CKR_OK;
    }
    return NULL;
}

static void start_worker(struct worker *w, const struct fixture *f, int signs)
{
    *w = (struct worker){.f = f, .session = fixture_open(f), .signs = signs};
    assert_int_equal(pthread_create(&w->thread, NULL, work, w), 0);
}

static void hang_lasts_until_the_script_changes(void **state)
{
    const struct fixture *f = *state;
    struct worker w;
    fixture_script("C_Sign 1 hang rv=CKR_DEVICE_REMOVED\n");
    start_worker(&w, f, 1);
    fixture_log_wait("C_Sign hang\n", 1);
    assert_int_equal(fixture_try_sign(f), CKR_OK); // the others go on
    assert_int_equal(fixture_log_count("C_Sign CKR_DEVICE_REMOVED"), 0);
    fixture_script(NULL);
    assert_int_equal(pthread_join(w.thread, NULL), 0);
    assert_int_equal(w.last, CKR_DEVICE_REMOVED);
}

static void slow_network_hsm(void **state)
{
    const struct fixture *f = *state;
    struct worker w[MAX_WORKERS];
    fixture_script("latency=50 sessions=2\n");
    long before = fixture_now_ms();
    for (size_t i = 0; i < MAX_WORKERS; i++)
        start_worker(&w[i], f, 2);
    for (size_t i = 0; i < MAX_WORKERS; i++) {
        assert_int_equal(pthread_join(w[i].thread, NULL), 0);
        assert_int_equal(w[i].failed, 0);
    }
    assert_true(fixture_now_ms() - before >= 200); // 8 signatures, 2 at once, 50 ms each
}

static void a_new_script_lets_the_line_move(void **state)
{
    const struct fixture *f = *state;
    struct worker w[2];
    fixture_script("latency=600000 sessions=1\n"); // longer than a test run
    for (size_t i = 0; i < 2; i++)
        start_worker(&w[i], f, 1);
    fixture_log_wait("C_SignInit CKR_OK\n", 2);
    fixture_script("# fast again\n");
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(fixture_try_sign(f), CKR_OK);
        assert_int_equal(pthread_join(w[i].thread, NULL), 0);
        assert_int_equal(w[i].failed, 0);
    }
}

static void scripts_change_under_load(void **state)
{
    const struct fixture *f = *state;
    static const char *const scripts[] = {
        "C_Sign every/10 rv=CKR_DEVICE_ERROR\n", "C_Sign 1-3 corrupt\nC_Sign every/7 samer\n", "latency=1 sessions=2\n",
        "token-flags=USER_PIN_LOCKED\nno-mechanism=AES_GCM\nC_Sign every/50 delay=1\n"};
    struct worker w[MAX_WORKERS];
    fixture_script("C_Sign 1-5 rv=CKR_DEVICE_ERROR\n");
    for (size_t i = 0; i < MAX_WORKERS; i++)
        start_worker(&w[i], f, LOAD_SIGNS);
    fixture_log_wait("C_Sign ", 100);
    for (size_t i = 0; i < 40; i++)
        fixture_script(scripts[i % 4]);
    int failed = 0;
    for (size_t i = 0; i < MAX_WORKERS; i++) {
        assert_int_equal(pthread_join(w[i].thread, NULL), 0);
        failed += w[i].failed;
    }
    assert_true(failed >= 5);
    assert_int_equal(fixture_log_count("C_Sign CKR_DEVICE_ERROR shim\n"), failed);
    assert_int_equal(fixture_log_count("C_Sign CKR_"), MAX_WORKERS * LOAD_SIGNS);
}

int run_child(int count)
{
    struct fixture f = {0};
    fixture_attach(&f);
    for (int i = 0; i < count; i++) {
        if (fixture_try_sign(&f) != CKR_OK)
            return 2;
    }
    return f.p11->C_Finalize(NULL) == CKR_OK ? 0 : 3;
}

static pid_t start_child(const char *count)
{
    char self[] = "/proc/self/exe";
    char child[] = "--child";
    char signs[16];
    char *argv[] = {self, child, signs, NULL};
    pid_t pid = 0;
    snprintf(signs, sizeof(signs), "%s", count);
    assert_int_equal(posix_spawn(&pid, self, NULL, NULL, argv, environ), 0);
    return pid;
}

static int wait_child(pid_t pid)
{
    int status = -1;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return status;
}

static void crash_kills_the_process(void **state)
{
    (void)state;
    // A sanitizer's own SIGSEGV handler would turn the signal into an exit status.
    assert_int_equal(setenv("ASAN_OPTIONS", "handle_segv=0", 1), 0);
    assert_int_equal(setenv("TSAN_OPTIONS", "handle_segv=0", 1), 0);
    fixture_script("C_Sign 2 crash\n");
    for (size_t i = 1; i <= 2; i++) {
        int status = wait_child(start_child("2"));
        assert_true(WIFSIGNALED(status));
        assert_int_equal(WTERMSIG(status), SIGSEGV);
        assert_int_equal(fixture_log_count("C_Sign CKR_OK\n"), i);
        assert_int_equal(fixture_log_count("C_Sign crash\n"), i);
    }
    fixture_script("C_Sign 2 crash once\n");
    assert_true(WIFSIGNALED(wait_child(start_child("2"))));
    assert_int_equal(wait_child(start_child("2")), 0);
    assert_int_equal(wait_child(start_child("2")), 0);
}

static void processes_share_the_log(void **state)
{
    (void)state;
    pid_t children[MAX_WORKERS];
    for (size_t i = 0; i < MAX_WORKERS; i++) {
        children[i] = start_child("500");
        // One login at a time: SoftHSM 2.6.1 rewrites its token file then, and another process may fail to read it.
        fixture_log_wait("C_Login CKR_OK\n", i + 1);
    }
    for (size_t i = 0; i < MAX_WORKERS; i++)
        assert_int_equal(wait_child(children[i]), 0);
    assert_int_equal(fixture_log_count("C_Sign CKR_OK\n"), MAX_WORKERS * 500);
    assert_int_equal(fixture_log_count("C_Finalize CKR_OK\n"), MAX_WORKERS);
    assert_int_equal(fixture_log_count("C_"), fixture_log_count("")); // no line is torn
}

int run_process_tests(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(hang_lasts_until_the_script_changes, fixture_begin, fixture_end),
        cmocka_unit_test_setup_teardown(slow_network_hsm, fixture_begin, fixture_end),
        cmocka_unit_test_setup_teardown(a_new_script_lets_the_line_move, fixture_begin, fixture_end),
        cmocka_unit_test_setup_teardown(scripts_change_under_load, fixture_begin, fixture_end),
        cmocka_unit_test_setup_teardown(crash_kills_the_process, fixture_begin, fixture_end),
        cmocka_unit_test_setup_teardown(processes_share_the_log, fixture_begin, fixture_end),
    };
    return cmocka_run_group_tests_name("shim: waiting, threads, processes", tests, fixture_make, fixture_remove);
}
