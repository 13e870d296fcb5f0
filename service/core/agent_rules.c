/* SPDX-License-Identifier: Apache-2.0 */
#include "service/core/agent_rules.h"

#include "service/core/scope.h"

static bool is_alnum(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

static bool is_id_char(char c)
{
    return is_alnum(c) || c == '.' || c == '_' || c == ':' || c == '-';
}

struct err agent_id_check(struct str raw, struct str *out)
{
    struct str s = str_trim(raw);
    if (s.n == 0)
        return FAIL(ERR_INVALID_AGENT_ID, "agent_id is empty");
    if (s.n > AGENT_ID_MAX)
        return FAIL(ERR_INVALID_AGENT_ID, "agent_id is longer than %d bytes", AGENT_ID_MAX);
    bool good = is_alnum(s.p[0]);
    for (size_t i = 1; i < s.n && good; i++)
        good = is_id_char(s.p[i]);
    if (!good)
        return FAIL(ERR_INVALID_AGENT_ID,
                    "agent_id starts with a letter or digit and goes on with letters, digits and . _ : -");
    *out = s;
    return OK;
}

/* Visible ASCII without blanks: workspaces and audiences are compared byte for byte, so nothing may look like another.
 */
static struct err check_names(const char *field, struct str_list l, size_t longest)
{
    if (l.n > LISTED_MAX)
        return FAIL(ERR_INVALID_REQUEST, "field \"%s\": more than %d entries", field, LISTED_MAX);
    for (size_t i = 0; i < l.n; i++) {
        bool good = l.v[i].n > 0 && l.v[i].n <= longest;
        for (size_t k = 0; k < l.v[i].n && good; k++)
            good = l.v[i].p[k] > 0x20 && l.v[i].p[k] < 0x7f;
        if (!good)
            return FAIL(ERR_INVALID_REQUEST,
                        "field \"%s\": entry %zu is empty, longer than %zu bytes or not visible ASCII", field, i,
                        longest);
    }
    return OK;
}

struct err agent_check(struct arena *a, struct agent *agent)
{
    agent->description = str_trim(agent->description);
    TRY(scopes_normalise(a, agent->allowed_scopes, &agent->allowed_scopes));
    TRY(check_names("workspaces", agent->workspaces, AGENT_ID_MAX));
    TRY(check_names("allowed_audiences", agent->allowed_audiences, AUDIENCE_MAX));
    TRY(check_names("delegates_to", agent->delegates_to, AGENT_ID_MAX));
    if (agent->max_ttl_s < 1 || agent->max_ttl_s > TTL_MAX_S)
        return FAIL(ERR_INVALID_TTL, "field \"max_ttl_seconds\": must be from 1 to %d", TTL_MAX_S);
    return OK;
}
