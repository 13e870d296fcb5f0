/* SPDX-License-Identifier: Apache-2.0 */
#include "base/process.h"

#include <errno.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>

struct err process_harden(void)
{
    const struct rlimit none = {0, 0};
    if (setrlimit(RLIMIT_CORE, &none) != 0)
        return FAIL(ERR_CONFIG, "setrlimit(RLIMIT_CORE): errno %d", errno);
    if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0)
        return FAIL(ERR_CONFIG, "prctl(PR_SET_DUMPABLE): errno %d", errno);
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
        return FAIL(ERR_CONFIG, "prctl(PR_SET_NO_NEW_PRIVS): errno %d", errno);
    struct sigaction ignore = {.sa_handler = SIG_IGN};
    if (sigaction(SIGPIPE, &ignore, NULL) != 0)
        return FAIL(ERR_CONFIG, "sigaction(SIGPIPE): errno %d", errno);
    umask(077);
    return OK;
}
