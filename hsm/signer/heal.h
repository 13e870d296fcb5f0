/* SPDX-License-Identifier: Apache-2.0
 * Bringing the token up, at start and again whenever it was lost: C_Initialize, the token found by its URI, its
 * identity compared with the one at start, login, keys found and compared. One thread does it, so there is never more
 * than one attempt at a time, however many requests fail. */
#ifndef HSM_SIGNER_HEAL_H
#define HSM_SIGNER_HEAL_H

#include "hsm/signer/signer.h"

/* The first start: ERR_CONFIG, ERR_HSM_PIN or ERR_HSM_UNAVAILABLE (token not found) tell the exit status. On success
 * the gate is open and the healing thread runs. */
struct err heal_start(struct signer *s);

/* For the end of the process: shuts the gate, waits for calls in flight (at most two seconds), finalises. */
void heal_stop(struct signer *s);

#endif
