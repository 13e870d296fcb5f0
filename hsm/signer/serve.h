/* SPDX-License-Identifier: Apache-2.0
 * Serving one client's socket with a thread of its own, until the client is gone or breaks the protocol. */
#ifndef HSM_SIGNER_SERVE_H
#define HSM_SIGNER_SERVE_H

#include "hsm/signer/signer.h"

/* Takes the socket in any case; without a free thread it is closed. */
void serve_client(struct signer *s, int fd);

#endif
