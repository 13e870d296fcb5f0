/* SPDX-License-Identifier: Apache-2.0
 * Runs nexus-signer as a child of the broker: fork and exec, one control socketpair over which each client is handed a
 * socket of its own. A signer that ends is started again with backoff, but never after it refused its PIN. The child
 * ends when the control socket closes, so it cannot outlive the broker. */
#ifndef HSM_SUPERVISOR_H
#define HSM_SUPERVISOR_H

#include "hsm/client.h"

/* The signer's exit statuses; a service manager lists SIGNER_EXIT_PIN in RestartPreventExitStatus. */
enum {
    SIGNER_EXIT_OK = 0,
    SIGNER_EXIT_CONFIG = 64,
    SIGNER_EXIT_TOKEN = 69,
    SIGNER_EXIT_POISONED = 70,
    SIGNER_EXIT_PIN = 77
};

struct hsm_supervisor;

/* Starts the program (absolute path) with this environment, which must outlive the supervisor, and a watching thread.
 */
struct err hsm_supervisor_start(const char *program, char *const *envp, struct hsm_supervisor **out);
/* Ends the child (control socket closed, then SIGTERM, then SIGKILL after 5 s) and joins the thread. */
void hsm_supervisor_stop(struct hsm_supervisor **s);

struct hsm_connector hsm_supervisor_connector(struct hsm_supervisor *s);

#endif
