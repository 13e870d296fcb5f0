/* SPDX-License-Identifier: Apache-2.0
 * A signer process from its configuration to its exit status. */
#ifndef HSM_SIGNER_START_H
#define HSM_SIGNER_START_H

#include "hsm/signer/config.h"

/* Runs until the end; gives an exit status of hsm/supervisor.h. */
int signer_run(enum signer_mode mode, char *const *envp);

#endif
