/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/hsm/fixture.h"

#include "hsm/signer/fuse.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

struct fuse_fx {
    char dir[64];
    struct crypto *crypto;
};

static int make(void **state)
{
    struct fuse_fx *f = calloc(1, sizeof *f);
    assert_non_null(f);
    (void)snprintf(f->dir, sizeof f->dir, "/tmp/nexus-fuse-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    assert_ok(crypto_new("default", &f->crypto));
    *state = f;
    return 0;
}

static int remove_all(void **state)
{
    struct fuse_fx *f = *state;
    DIR *d = opendir(f->dir);
    assert_non_null(d);
    for (struct dirent *e = readdir(d); e != NULL; e = readdir(d))
        (void)unlinkat(dirfd(d), e->d_name, 0);
    (void)closedir(d);
    assert_int_equal(rmdir(f->dir), 0);
    crypto_free(&f->crypto);
    free(f);
    return 0;
}

/* One start of a signer: arm, and then the verdict, or none (the process was killed). */
static struct err attempt(struct fuse_fx *f, const char *pin, bool count_low, const enum fuse_verdict *v)
{
    CLEANUP(fuse_close) struct fuse fuse = {.lock_fd = -1};
    TRY(fuse_open(f->crypto, f->dir, STR("serial/1"), str_bytes(str_of(pin)), &fuse));
    TRY(fuse_arm(&fuse, count_low));
    return v != NULL ? fuse_settle(&fuse, *v) : OK;
}

static const enum fuse_verdict good = FUSE_GOOD, bad = FUSE_BAD, unjudged = FUSE_UNJUDGED, untried = FUSE_UNTRIED;

static void good_pin_is_used_again(void **state)
{
    for (int i = 0; i < 5; i++)
        assert_ok(attempt(*state, "1234", i > 0, &good));
}

static void refused_pin_is_never_tried_again(void **state)
{
    assert_ok(attempt(*state, "1234", false, &bad));
    for (int i = 0; i < 3; i++)
        assert_err(attempt(*state, "1234", false, &good), ERR_HSM_PIN);
    assert_ok(attempt(*state, "4321", false, &good));
    assert_ok(attempt(*state, "4321", false, &good));
}

static void refused_pins_are_remembered_until_a_good_login(void **state)
{
    assert_ok(attempt(*state, "1111", false, &bad));
    assert_ok(attempt(*state, "2222", false, &bad));
    assert_err(attempt(*state, "1111", false, &good), ERR_HSM_PIN);
    assert_err(attempt(*state, "2222", false, &good), ERR_HSM_PIN);
    /* A new PIN whose attempt was killed, or was not needed, does not clear the others. */
    assert_ok(attempt(*state, "3333", false, NULL));
    assert_err(attempt(*state, "1111", false, &good), ERR_HSM_PIN);
    assert_ok(attempt(*state, "4444", false, &untried));
    assert_err(attempt(*state, "2222", false, &good), ERR_HSM_PIN);
    assert_ok(attempt(*state, "4444", false, &good));
    assert_ok(attempt(*state, "1111", false, &good));
}

static void too_many_refused_pins_refuse_every_new_one(void **state)
{
    for (int i = 0; i < FUSE_REFUSED_MAX; i++) {
        char pin[8];
        (void)snprintf(pin, sizeof pin, "%d", 1000 + i);
        assert_ok(attempt(*state, pin, false, &bad));
    }
    assert_err(attempt(*state, "1234", false, &good), ERR_HSM_PIN);
    assert_err(attempt(*state, "1000", false, &good), ERR_HSM_PIN);
}

static void good_pin_that_is_refused_blows(void **state)
{
    assert_ok(attempt(*state, "1234", false, &good));
    assert_ok(attempt(*state, "1234", false, &bad));
    assert_err(attempt(*state, "1234", false, &good), ERR_HSM_PIN);
}

static void killed_attempt_is_repeated_once(void **state)
{
    assert_ok(attempt(*state, "1234", false, NULL));
    assert_ok(attempt(*state, "1234", false, NULL));
    assert_err(attempt(*state, "1234", false, &good), ERR_HSM_PIN);
}

static void killed_attempt_may_turn_good(void **state)
{
    assert_ok(attempt(*state, "1234", false, NULL));
    assert_ok(attempt(*state, "1234", false, &good));
    assert_ok(attempt(*state, "1234", false, &good));
}

static void proven_pin_survives_outages_but_not_a_low_count(void **state)
{
    assert_ok(attempt(*state, "1234", false, &good));
    for (int i = 0; i < 10; i++)
        assert_ok(attempt(*state, "1234", false, i % 2 == 0 ? NULL : &unjudged));
    assert_err(attempt(*state, "1234", true, &good), ERR_HSM_PIN);
    assert_ok(attempt(*state, "1234", false, &good));
}

static void low_count_needs_a_good_record(void **state)
{
    assert_err(attempt(*state, "1234", true, &good), ERR_HSM_PIN);
    assert_ok(attempt(*state, "1234", false, &good));
    assert_ok(attempt(*state, "1234", true, &good));
    assert_err(attempt(*state, "9999", true, &good), ERR_HSM_PIN);
}

static void corrected_pin_explains_a_low_count(void **state)
{
    assert_ok(attempt(*state, "1234", false, &bad));
    assert_ok(attempt(*state, "4321", true, &bad));
    assert_err(attempt(*state, "4321", true, &good), ERR_HSM_PIN);
    assert_ok(attempt(*state, "5555", true, &good));
    assert_ok(attempt(*state, "5555", true, &good));
}

static void login_that_was_not_needed_changes_nothing(void **state)
{
    for (int i = 0; i < 4; i++)
        assert_ok(attempt(*state, "1234", false, &untried));
    assert_err(attempt(*state, "1234", true, &good), ERR_HSM_PIN);
}

static void damaged_record_refuses(void **state)
{
    struct fuse_fx *f = *state;
    char path[128];
    (void)snprintf(path, sizeof path, "%s/pin-serial_1.fuse", f->dir);
    assert_ok(attempt(f, "1234", false, &good));
    assert_int_equal(truncate(path, 40), 0);
    assert_err(attempt(f, "1234", false, &good), ERR_HSM_PIN);
    assert_int_equal(unlink(path), 0);
    assert_ok(attempt(f, "4321", false, &bad));
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(truncate(path, st.st_size - 2), 0);
    assert_err(attempt(f, "1234", false, &good), ERR_HSM_PIN);
    assert_int_equal(unlink(path), 0);
    assert_ok(attempt(f, "1234", false, &good));
}

static void record_does_not_hold_the_pin(void **state)
{
    struct fuse_fx *f = *state;
    char path[128], text[512] = {0};
    (void)snprintf(path, sizeof path, "%s/pin-serial_1.fuse", f->dir);
    assert_ok(attempt(f, "planted-pin-7391", false, &good));
    int fd = open(path, O_RDONLY);
    assert_true(fd >= 0 && read(fd, text, sizeof text - 1) > 0);
    close(fd);
    assert_null(strstr(text, "planted-pin-7391"));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, make, remove_all)
    const struct CMUnitTest tests[] = {
        TEST(good_pin_is_used_again),
        TEST(refused_pin_is_never_tried_again),
        TEST(refused_pins_are_remembered_until_a_good_login),
        TEST(too_many_refused_pins_refuse_every_new_one),
        TEST(good_pin_that_is_refused_blows),
        TEST(killed_attempt_is_repeated_once),
        TEST(killed_attempt_may_turn_good),
        TEST(proven_pin_survives_outages_but_not_a_low_count),
        TEST(low_count_needs_a_good_record),
        TEST(corrected_pin_explains_a_low_count),
        TEST(login_that_was_not_needed_changes_nothing),
        TEST(damaged_record_refuses),
        TEST(record_does_not_hold_the_pin),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
