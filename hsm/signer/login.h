/* SPDX-License-Identifier: Apache-2.0
 * Logging in, under the PIN fuse. The PIN is read from its file for each login and is in memory only meanwhile. */
#ifndef HSM_SIGNER_LOGIN_H
#define HSM_SIGNER_LOGIN_H

#include "hsm/signer/signer.h"

/* Logs the process in by this session. ERR_HSM_PIN: the PIN must not be or was refused, an operator must act. */
struct err login_first(struct signer *s, const struct lease *l);

/* After CKR_USER_NOT_LOGGED_IN: one thread logs in, the others find it done. A refused PIN ends the process. */
struct err login_again(struct signer *s, const struct lease *l);

#endif
