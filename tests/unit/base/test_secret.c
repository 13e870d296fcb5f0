/* SPDX-License-Identifier: Apache-2.0 */
#include "base/secret.h"

#include "base/fd.h"
#include "tests/unit/base/check.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static void test_room_and_release(void **state)
{
    (void)state;
    struct secret *s = NULL;
    assert_ok(secret_new(100, &s));
    assert_true(s->size >= 100);
    assert_int_equal(0, s->n);
    memset(s->p, 0xaa, s->size);
    s->n = 5;
    assert_int_equal(5, secret_bytes(s).n);
    secret_free(&s);
    assert_null(s);
    secret_free(&s);
    assert_fails(ERR_NO_MEMORY, secret_new(SIZE_MAX, &s));
}

/* Whether a child that touches this byte of a secret of s lives. */
static bool child_lives(const struct secret *s, ptrdiff_t at)
{
    volatile uint8_t *p = s->p + at; /* the child finds *s wiped */
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        if (freopen("/dev/null", "w", stderr) == NULL)
            _exit(1);
        *p = 1;
        _exit(0);
    }
    int status = 0;
    assert_int_equal(pid, waitpid(pid, &status, 0));
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static void test_overruns_fault(void **state)
{
    (void)state;
    struct secret *s = NULL;
    assert_ok(secret_new(10, &s));
    assert_true(child_lives(s, 0));
    assert_true(child_lives(s, (ptrdiff_t)s->size - 1));
    assert_false(child_lives(s, (ptrdiff_t)s->size));
    assert_false(child_lives(s, -(ptrdiff_t)sizeof *s - 1));
    secret_free(&s);
}

static void test_a_forked_child_sees_nothing(void **state)
{
    (void)state;
    struct secret *s = NULL;
    assert_ok(secret_new(10, &s));
    uint8_t *p = s->p;
    memset(p, 0xaa, 10);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0)
        _exit(p[0] == 0 && p[9] == 0 ? 0 : 1);
    int status = 0;
    assert_int_equal(pid, waitpid(pid, &status, 0));
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    assert_int_equal(0xaa, p[0]);
    secret_free(&s);
}

static struct err from_text(const char *text, mode_t mode, size_t size, struct secret **out)
{
    char path[] = "/tmp/test_secret_XXXXXX";
    CLEANUP(fd_close) int fd = mkstemp(path);
    assert_int_equal(strlen(text), write(fd, text, strlen(text)));
    assert_int_equal(0, fchmod(fd, mode));
    struct err e = secret_from_file(path, size, out);
    unlink(path);
    return e;
}

static void test_from_file(void **state)
{
    (void)state;
    struct secret *s = NULL;
    static const struct {
        const char *text, *secret;
    } good[] = {{"1234", "1234"}, {"1234\n", "1234"}, {"12345678\n", "12345678"}, {"12\n\n", "12\n"}, {" 1 ", " 1 "}};
    for (size_t i = 0; i < COUNT(good); i++) {
        assert_ok(from_text(good[i].text, 0600, 8, &s));
        assert_str(bytes_str(secret_bytes(s)), good[i].secret);
        secret_free(&s);
    }
    assert_ok(from_text("1234", 0400, 8, &s));
    secret_free(&s);
    static const char *const bad[] = {"", "\n", "123456789", "123456789\n", "1234567890123456789012345678901234567890"};
    for (size_t i = 0; i < COUNT(bad); i++)
        assert_fails(ERR_CONFIG, from_text(bad[i], 0600, 8, &s));
    assert_fails_with(ERR_CONFIG, "chmod", from_text("1234", 0604, 8, &s));
    assert_fails_with(ERR_CONFIG, "chmod", from_text("1234", 0602, 8, &s));
    assert_fails(ERR_CONFIG, secret_from_file("/nonexistent", 8, &s));
    assert_fails_with(ERR_CONFIG, "regular", secret_from_file("/dev/null", 8, &s));
    assert_null(s);
}

static void test_equality(void **state)
{
    (void)state;
    assert_true(secret_eq(bytes_of("abc", 3), bytes_of("abc", 3)));
    assert_false(secret_eq(bytes_of("abc", 3), bytes_of("abd", 3)));
    assert_false(secret_eq(bytes_of("abc", 3), bytes_of("ab", 2)));
    assert_true(secret_eq((struct bytes){NULL, 0}, (struct bytes){NULL, 0}));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_room_and_release),
        cmocka_unit_test(test_overruns_fault),
        cmocka_unit_test(test_a_forked_child_sees_nothing),
        cmocka_unit_test(test_from_file),
        cmocka_unit_test(test_equality),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
