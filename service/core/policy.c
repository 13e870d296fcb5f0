/* SPDX-License-Identifier: Apache-2.0 */
#include "service/core/policy.h"

#include "service/core/scope.h"

static struct err decide_ttl(const struct agent *agent, int64_t asked, int64_t *ttl)
{
    int64_t most = agent->max_ttl_s < TTL_MAX_S ? agent->max_ttl_s : TTL_MAX_S;
    if (asked < 0 || asked > most)
        return FAIL(ERR_INVALID_TTL, "ttl_seconds must be from 0 to %lld for this agent", (long long)most);
    *ttl = asked > 0 ? asked : TTL_DEFAULT_S < most ? TTL_DEFAULT_S : most;
    return OK;
}

static struct err decide_audience(const struct agent *agent, struct str asked, struct str issuer, struct str *out)
{
    if (asked.p == NULL || str_eq(asked, issuer)) {
        *out = issuer;
        return OK;
    }
    if (!str_list_has(agent->allowed_audiences, asked))
        return FAIL(ERR_INVALID_AUDIENCE, "audience \"%.*s\" is not among the agent's allowed_audiences",
                    STR_FMT(asked));
    *out = asked;
    return OK;
}

struct err policy_autonomous_session(const struct agent *agent, const struct session_ask *ask, struct str issuer,
                                     int64_t now_us, struct arena *a, struct session *out)
{
    struct str_list scopes;
    TRY(scopes_normalise(a, ask->scopes, &scopes));
    if (scopes.n == 0)
        return FAIL(ERR_MISSING_SCOPES, "scopes is empty");
    int64_t ttl = 0;
    TRY(decide_ttl(agent, ask->ttl_s, &ttl));
    if (!agent->active)
        return FAIL(ERR_AGENT_INACTIVE, "agent %.*s", STR_FMT(agent->id));
    struct str outside = scopes_first_outside(scopes, agent->allowed_scopes);
    if (outside.p != NULL)
        return FAIL(ERR_SCOPE_NOT_ALLOWED, "scope \"%.*s\" is not in the ceiling of agent %.*s", STR_FMT(outside),
                    STR_FMT(agent->id));
    struct str audience;
    TRY(decide_audience(agent, ask->audience, issuer, &audience));
    /* Whole seconds: the token's NumericDates, the row and expires_at must say the same. */
    int64_t start_us = now_us / 1000000 * 1000000;
    *out = (struct session){.agent_id = agent->id,
                            .scopes = scopes,
                            .audience = audience,
                            .created_us = start_us,
                            .expires_us = start_us + ttl * 1000000,
                            .clearance_level = 1};
    return OK;
}

bool session_is_active(const struct session *s, int64_t now_us)
{
    return s->closed_us == 0 && now_us < s->expires_us;
}
