/* SPDX-License-Identifier: Apache-2.0
 * What every program of this project does to itself first. */
#ifndef BASE_PROCESS_H
#define BASE_PROCESS_H

#include "base/err.h"

/* No core dumps, not dumpable or traceable by the same user, no new privileges, SIGPIPE ignored (p11-kit's client
 * would otherwise end the process), umask 077. Call first in main, before a secret is read or a thread started. */
struct err process_harden(void);

#endif
