/* SPDX-License-Identifier: Apache-2.0 */
#include "base/fd.h"

#include "base/arena.h"
#include "base/clock.h"
#include "tests/unit/base/check.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

static int64_t in_ms(int ms)
{
    return clock_mono_us() + (int64_t)ms * 1000;
}

static void pair(int s[static 2])
{
    assert_int_equal(0, socketpair(AF_UNIX, SOCK_STREAM, 0, s));
}

static void test_whole_reads_and_writes(void **state)
{
    (void)state;
    int s[2];
    char got[6] = {0};
    pair(s);
    assert_ok(fd_write_full(s[0], "ab", 2, INT64_MAX));
    assert_ok(fd_write_full(s[0], "cde", 3, INT64_MAX));
    assert_ok(fd_read_full(s[1], got, 5, INT64_MAX));
    assert_string_equal("abcde", got);
    fd_close(&s[0]);
    assert_int_equal(-1, s[0]);
    assert_fails_with(ERR_IO, "closed", fd_read_full(s[1], got, 1, INT64_MAX));
    assert_fails(ERR_IO, fd_write_full(s[1], "x", 1, INT64_MAX)); /* and no SIGPIPE */
    fd_close(&s[1]);
    fd_close(&s[1]);
}

static void test_deadlines(void **state)
{
    (void)state;
    int s[2];
    char got[2];
    bool ready = true;
    static char much[1 << 22];
    pair(s);
    assert_ok(fd_wait_readable(s[1], in_ms(5), &ready));
    assert_false(ready);
    assert_ok(fd_write_full(s[0], "x", 1, INT64_MAX));
    assert_ok(fd_wait_readable(s[1], 0, &ready));
    assert_true(ready);
    /* One byte of two, and then nothing. */
    assert_fails(ERR_DEADLINE, fd_read_full(s[1], got, 2, in_ms(10)));
    /* Nobody reads. */
    assert_fails(ERR_DEADLINE, fd_write_full(s[0], much, sizeof much, in_ms(10)));
    fd_close(&s[0]);
    fd_close(&s[1]);
}

struct transfer {
    int fd;
    size_t n;
    uint8_t *p;
};

static void *read_all(void *arg)
{
    struct transfer *t = arg;
    assert_ok(fd_read_full(t->fd, t->p, t->n, INT64_MAX));
    return NULL;
}

static void test_a_write_larger_than_the_socket(void **state)
{
    (void)state;
    enum { N = 4 << 20 };
    int s[2];
    pair(s);
    uint8_t *out = malloc(N);
    uint8_t *in = calloc(1, N);
    assert_true(out != NULL && in != NULL);
    for (size_t i = 0; i < N; i++)
        out[i] = (uint8_t)(i * 31);
    struct transfer t = {.fd = s[1], .n = N, .p = in};
    pthread_t thread;
    assert_int_equal(0, pthread_create(&thread, NULL, read_all, &t));
    assert_ok(fd_write_full(s[0], out, N, in_ms(30000)));
    pthread_join(thread, NULL);
    assert_memory_equal(out, in, N);
    free(out);
    free(in);
    fd_close(&s[0]);
    fd_close(&s[1]);
}

static void test_a_descriptor_travels(void **state)
{
    (void)state;
    int s[2];
    int p[2];
    int got = -1;
    char c = 0;
    pair(s);
    assert_int_equal(0, pipe(p));
    assert_ok(fd_send(s[0], p[1]));
    assert_ok(fd_recv(s[1], &got));
    assert_int_not_equal(p[1], got);
    assert_true((fcntl(got, F_GETFD) & FD_CLOEXEC) != 0);
    assert_int_equal(1, write(got, "z", 1));
    assert_int_equal(1, read(p[0], &c, 1));
    assert_int_equal('z', c);
    fd_close(&got);
    /* A byte without a descriptor, and the end. */
    assert_ok(fd_write_full(s[0], "f", 1, INT64_MAX));
    assert_fails(ERR_IO, fd_recv(s[1], &got));
    fd_close(&s[0]);
    assert_fails(ERR_IO, fd_recv(s[1], &got));
    assert_int_equal(-1, got);
    fd_close(&s[1]);
    fd_close(&p[0]);
    fd_close(&p[1]);
}

static void test_files(void **state)
{
    (void)state;
    struct arena *a = NULL;
    struct str text = {NULL, 0};
    char dir[] = "/tmp/test_fd_XXXXXX";
    char path[64];
    assert_ok(arena_new(65536, &a));
    assert_non_null(mkdtemp(dir));
    (void)snprintf(path, sizeof path, "%s/f", dir);
    assert_fails(ERR_IO, fd_read_file(path, 10, a, &text));
    assert_ok(fd_write_file_durable(path, bytes_of("0123456789", 10)));
    struct stat st;
    assert_int_equal(0, stat(path, &st));
    assert_int_equal(0600, st.st_mode & 07777);
    assert_ok(fd_read_file(path, 10, a, &text));
    assert_str(text, "0123456789");
    assert_fails(ERR_TOO_LARGE, fd_read_file(path, 9, a, &text));
    assert_ok(fd_write_file_durable(path, bytes_of("xy", 2)));
    assert_ok(fd_read_file(path, 10, a, &text));
    assert_str(text, "xy");
    assert_fails(ERR_IO, fd_write_file_durable("/nonexistent/f", bytes_of("x", 1)));
    assert_int_equal(0, chdir(dir));
    assert_ok(fd_write_file_durable("f", bytes_of("rel", 3)));
    assert_ok(fd_read_file(path, 10, a, &text));
    assert_str(text, "rel");
    assert_int_equal(0, unlink(path));
    assert_int_equal(0, rmdir(dir)); /* no temporary file stays behind */
    arena_free(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_whole_reads_and_writes),
        cmocka_unit_test(test_deadlines),
        cmocka_unit_test(test_a_write_larger_than_the_socket),
        cmocka_unit_test(test_a_descriptor_travels),
        cmocka_unit_test(test_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
