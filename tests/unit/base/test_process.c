/* SPDX-License-Identifier: Apache-2.0 */
#include "base/process.h"

#include "tests/unit/base/check.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

static void test_harden(void **state)
{
    (void)state;
    assert_ok(process_harden());
    struct rlimit core = {1, 1};
    assert_int_equal(0, getrlimit(RLIMIT_CORE, &core));
    assert_true(core.rlim_cur == 0 && core.rlim_max == 0);
    assert_int_equal(0, prctl(PR_GET_DUMPABLE));
    assert_int_equal(1, prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0));
    assert_int_equal(077, umask(077));
    int fds[2];
    assert_int_equal(0, pipe(fds));
    close(fds[0]);
    assert_int_equal(-1, write(fds[1], "x", 1)); /* and no SIGPIPE */
    close(fds[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_harden)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
