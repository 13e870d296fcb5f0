/* SPDX-License-Identifier: Apache-2.0
 * The decision over a session: granted = requested, and requested must lie within what the agent, the user, the token
 * that is exchanged and the scopes' own conditions all allow. Refused otherwise; never narrowed, never widened. Pure:
 * no clock, no I/O. */
#ifndef SERVICE_CORE_POLICY_H
#define SERVICE_CORE_POLICY_H

#include "base/arena.h"
#include "service/core/domain.h"

struct session_ask {
    struct str_list scopes;    /* as sent */
    bool all_scopes;           /* none were named: all that both sides allow */
    int64_t ttl_s;             /* 0: the default */
    struct str_list audiences; /* n == 0: the issuer itself */
};

/* What a session is decided over. Without user and parent it is an autonomous one. */
struct policy_case {
    const struct agent *agent;
    const struct session_ask *ask;
    const struct user *user;      /* on whose behalf, as somebody vouched just now; NULL: nobody */
    const struct session *parent; /* the session whose token is exchanged; NULL: none */
    const struct session *actor;  /* the agent's own session that was shown with it; NULL: none */
    const struct scope_rule *rules;
    size_t n_rules;
    struct str issuer; /* our own */
    int64_t now_us;
};

/* Checks in upstream's order (reference C.5 and D): whom the exchanged token is for, scopes, ttl, the agent's state,
 * its ceiling, the user's permissions or the exchanged token's scopes, the audience, the scopes' conditions. all_scopes
 * is the intersection of ceiling and user or parent; an autonomous session must name its scopes. On OK *out has all but
 * the ids, the key and the binding. Lifetime: as asked, and never past the user's token, the parent or the actor's
 * session; it ends with both sessions. */
struct err policy_session(const struct policy_case *in, struct arena *a, struct session *out);

/* Whether the agent may take up the delegation that the parent session stands for. actors: the agents of
 * parent->chain, in its order, as they are now (NULL: gone). ERR_DELEGATION: the agent acts already (a cycle), more
 * than max_depth agents, or an agent does not name the next one in delegates_to, anywhere in the chain;
 * ERR_SUBJECT_TOKEN: an actor is not active, or may itself no longer have a scope that is to be granted. */
struct err policy_delegation(const struct agent *agent, const struct session *parent, const struct agent *const *actors,
                             struct str_list scopes, int64_t max_depth);

/* open, and not past its end. */
bool session_is_active(const struct session *s, int64_t now_us);

#endif
