/* SPDX-License-Identifier: Apache-2.0
 * What the token can do: its lists say what it claims, and where a trial leaves nothing behind, the trial decides
 * (tokens list mechanisms that they do not have). */
#ifndef HSM_SIGNER_PROBE_H
#define HSM_SIGNER_PROBE_H

#include "hsm/signer/signer.h"

/* Fills s->can through a logged-in session. */
struct err probe_token(struct signer *s, const struct lease *l);

/* "A256KW", "A256GCM" or "": the DEK wrapping as it is named outside. */
const char *wrap_alg_name(enum wrap_alg w);

#endif
