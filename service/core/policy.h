/* SPDX-License-Identifier: Apache-2.0
 * The decision over a session: granted = requested, and requested must lie within what the agent may have. Refused
 * otherwise; never narrowed, never widened. Pure: no clock, no I/O. */
#ifndef SERVICE_CORE_POLICY_H
#define SERVICE_CORE_POLICY_H

#include "base/arena.h"
#include "service/core/domain.h"

struct session_ask {
    struct str_list scopes; /* as sent */
    int64_t ttl_s;          /* 0: the default */
    struct str audience;    /* p == NULL: the issuer itself */
};

/* Checks in upstream's order (reference C.5): scopes, ttl, the agent's state, its ceiling, then the audience. On OK
 * *out has agent_id, scopes, audience, created_us and expires_us; the caller adds the ids. */
struct err policy_autonomous_session(const struct agent *agent, const struct session_ask *ask, struct str issuer,
                                     int64_t now_us, struct arena *a, struct session *out);

/* open, and not past its end. */
bool session_is_active(const struct session *s, int64_t now_us);

#endif
