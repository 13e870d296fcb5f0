/* SPDX-License-Identifier: Apache-2.0
 * Where clients come from: the broker's control socket (child), or a unix socket of our own (serve). Both run in the
 * main thread until the broker is gone or SIGTERM or SIGINT arrives. */
#ifndef HSM_SIGNER_INTAKE_H
#define HSM_SIGNER_INTAKE_H

#include "hsm/signer/signer.h"

/* Blocks the two signals in this thread and, inherited, in all later ones; *fd is a signalfd for them. */
struct err intake_signals(int *fd);

/* Sockets arrive on descriptor 3 (hsm/supervisor.h). */
struct err intake_child(struct signer *s, int signal_fd);

/* Listens on the configured path; only the configured user may connect. */
struct err intake_listen(struct signer *s, int signal_fd);

#endif
