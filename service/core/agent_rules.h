/* SPDX-License-Identifier: Apache-2.0
 * What a registered agent may look like (upstream reference C.1, C.2, and the limits of the issue). Pure. */
#ifndef SERVICE_CORE_AGENT_RULES_H
#define SERVICE_CORE_AGENT_RULES_H

#include "base/arena.h"
#include "service/core/domain.h"

enum { AGENT_KEYS_MAX = 8 };

/* Trimmed; a letter or digit, then letters, digits and . _ : - ; at most AGENT_ID_MAX bytes. ERR_INVALID_AGENT_ID. */
struct err agent_id_check(struct str raw, struct str *out);

/* Normalises and checks every field of a registration or change in place, but for id and jwks. */
struct err agent_check(struct arena *a, struct agent *agent);

#endif
