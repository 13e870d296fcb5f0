/* SPDX-License-Identifier: Apache-2.0 */
#include "service/core/policy.h"

#include "service/core/scope.h"

/* Clearance of an agent that acts for itself. */
enum { OWN_CLEARANCE = 1 };

static const struct scope_rule *rule_of(const struct policy_case *in, struct str scope)
{
    for (size_t i = 0; i < in->n_rules; i++) {
        if (str_eq(in->rules[i].name, scope))
            return &in->rules[i];
    }
    return NULL;
}

static bool is_obo(const struct policy_case *in)
{
    return in->user != NULL || (in->parent != NULL && in->parent->obo);
}

static bool is_delegated(const struct policy_case *in)
{
    return in->user != NULL || in->parent != NULL;
}

/* What the other side of the agent's ceiling allows. */
static struct str_list granted_by_others(const struct policy_case *in)
{
    return in->parent != NULL ? in->parent->scopes : in->user->permissions;
}

/* RFC 8693 section 2.1: without a scope parameter the broker chooses; everything that both sides allow. */
static struct err intersection(const struct policy_case *in, struct arena *a, struct str_list *out)
{
    struct str_list others = granted_by_others(in);
    struct str_list l = {arena_array(a, in->agent->allowed_scopes.n, sizeof *l.v), 0};
    if (l.v == NULL)
        return FAIL(ERR_NO_MEMORY, "scopes");
    for (size_t i = 0; i < in->agent->allowed_scopes.n; i++) {
        if (str_list_has(others, in->agent->allowed_scopes.v[i]))
            l.v[l.n++] = in->agent->allowed_scopes.v[i];
    }
    if (l.n == 0)
        return FAIL(ERR_MISSING_SCOPES, "no scope lies within both the agent's ceiling and what it acts for");
    *out = l;
    return OK;
}

static struct err decide_scopes(const struct policy_case *in, struct arena *a, struct str_list *out)
{
    if (in->ask->all_scopes && is_delegated(in))
        return intersection(in, a, out);
    TRY(scopes_normalise(a, in->ask->scopes, out));
    return out->n > 0 ? OK : FAIL(ERR_MISSING_SCOPES, "scopes is empty");
}

static struct err check_ceilings(const struct policy_case *in, struct str_list scopes)
{
    struct str outside = scopes_first_outside(scopes, in->agent->allowed_scopes);
    if (outside.p != NULL)
        return FAIL(is_delegated(in) ? ERR_AGENT_SCOPE : ERR_SCOPE_NOT_ALLOWED,
                    "scope \"%.*s\" is not in the ceiling of agent %.*s", STR_FMT(outside), STR_FMT(in->agent->id));
    if (!is_delegated(in))
        return OK;
    outside = scopes_first_outside(scopes, granted_by_others(in));
    return outside.p == NULL
               ? OK
               : FAIL(ERR_USER_SCOPE, "scope \"%.*s\" is not allowed to whom the agent acts for", STR_FMT(outside));
}

static struct err check_audiences(const struct policy_case *in, struct arena *a, struct str_list *out)
{
    struct str_list asked = in->ask->audiences;
    struct str_list l = {arena_array(a, asked.n + 1, sizeof *l.v), 0};
    if (l.v == NULL)
        return FAIL(ERR_NO_MEMORY, "audiences");
    for (size_t i = 0; i < asked.n; i++) {
        if (!str_eq(asked.v[i], in->issuer) && !str_list_has(in->agent->allowed_audiences, asked.v[i]))
            return FAIL(ERR_INVALID_AUDIENCE, "audience \"%.*s\" is not among the agent's allowed_audiences",
                        STR_FMT(asked.v[i]));
        if (!str_list_has(l, asked.v[i]))
            l.v[l.n++] = asked.v[i];
    }
    if (l.n == 0)
        l.v[l.n++] = in->issuer;
    if (l.n > AUDIENCES_MAX)
        return FAIL(ERR_INVALID_AUDIENCE, "more than %d audiences", AUDIENCES_MAX);
    *out = l;
    return OK;
}

/* The conditions that an administrator laid on single scopes. *most_s falls to the shortest lifetime of them. */
static struct err check_rules(const struct policy_case *in, struct str_list scopes, int64_t clearance, int64_t *most_s)
{
    for (size_t i = 0; i < scopes.n; i++) {
        const struct scope_rule *r = rule_of(in, scopes.v[i]);
        if (r == NULL)
            continue;
        if (r->requires_obo && !is_obo(in))
            return FAIL(ERR_OBO_REQUIRED, "scope \"%.*s\"", STR_FMT(r->name));
        if (clearance < r->min_clearance)
            return FAIL(ERR_CLEARANCE, "scope \"%.*s\" asks for clearance %lld", STR_FMT(r->name),
                        (long long)r->min_clearance);
        if (r->max_ttl_s > 0 && r->max_ttl_s < *most_s)
            *most_s = r->max_ttl_s;
    }
    return OK;
}

static struct err check_ttl(int64_t asked, int64_t most)
{
    if (asked < 0 || asked > most)
        return FAIL(ERR_INVALID_TTL, "ttl_seconds must be from 0 to %lld for this agent and these scopes",
                    (long long)most);
    return OK;
}

/* Whole seconds: the token's NumericDates, the row and expires_at must say the same. */
static int64_t whole(int64_t us)
{
    return us / 1000000 * 1000000;
}

static int64_t earlier(int64_t a, int64_t b)
{
    return b != 0 && b < a ? b : a;
}

static struct err decide_times(const struct policy_case *in, int64_t most_s, struct session *out)
{
    TRY(check_ttl(in->ask->ttl_s, most_s));
    int64_t ttl = in->ask->ttl_s > 0 ? in->ask->ttl_s : TTL_DEFAULT_S < most_s ? TTL_DEFAULT_S : most_s;
    out->created_us = whole(in->now_us);
    out->expires_us = out->created_us + ttl * 1000000;
    if (in->user != NULL)
        out->expires_us = earlier(out->expires_us, whole(in->user->expires_us));
    if (in->parent != NULL)
        out->expires_us = earlier(out->expires_us, in->parent->expires_us);
    if (in->actor != NULL)
        out->expires_us = earlier(out->expires_us, in->actor->expires_us);
    if (out->expires_us > out->created_us)
        return OK;
    return FAIL(in->parent != NULL || in->actor != NULL ? ERR_SUBJECT_TOKEN : ERR_USER_TOKEN,
                "what the session would rest on ends now");
}

/* before, with one more at its front. */
static struct err put_before(struct arena *a, struct str first, struct str_list before, struct str_list *out)
{
    *out = (struct str_list){arena_array(a, before.n + 1, sizeof *out->v), before.n + 1};
    if (out->v == NULL)
        return FAIL(ERR_NO_MEMORY, "chain");
    out->v[0] = first;
    if (before.n > 0)
        memcpy(out->v + 1, before.v, before.n * sizeof *before.v);
    return OK;
}

/* The sessions that it rests on: the parent first, with what that rests on, and the actor's own. */
static struct err decide_ancestors(const struct policy_case *in, struct arena *a, struct str_list *out)
{
    const struct str_list none = {NULL, 0};
    const struct session *p = in->parent;
    *out = p != NULL ? p->ancestors : none;
    if (in->actor != NULL && !str_list_has(*out, in->actor->id))
        TRY(put_before(a, in->actor->id, *out, out));
    return p != NULL ? put_before(a, p->id, *out, out) : OK;
}

static struct err decide_subject(const struct policy_case *in, struct arena *a, struct session *out)
{
    const struct str_list none = {NULL, 0};
    const struct session *p = in->parent;
    const struct user *u = in->user;
    out->obo = is_obo(in);
    out->clearance_level = p != NULL ? p->clearance_level : u != NULL ? u->clearance_level : OWN_CLEARANCE;
    out->acting_for = p != NULL ? p->acting_for : u != NULL ? u->id : out->acting_for;
    out->tenant_id = p != NULL ? p->tenant_id : u != NULL ? u->tenant_id : out->tenant_id;
    out->user_issuer = p != NULL ? p->user_issuer : u != NULL ? u->issuer : out->user_issuer;
    TRY(put_before(a, in->agent->id, p != NULL ? p->chain : none, &out->chain));
    return decide_ancestors(in, a, &out->ancestors);
}

/* A token that was made for somebody else must not work here (attack X09): it names us, or what the agent stands for.
 */
static struct err check_parent(const struct policy_case *in)
{
    const struct session *p = in->parent;
    for (size_t i = 0; p != NULL && i < p->audiences.n; i++) {
        if (str_eq(p->audiences.v[i], in->issuer) || str_list_has(in->agent->allowed_audiences, p->audiences.v[i]))
            return OK;
    }
    return p == NULL ? OK : FAIL(ERR_SUBJECT_TOKEN, "session %.*s is for another audience", STR_FMT(p->id));
}

struct err policy_session(const struct policy_case *in, struct arena *a, struct session *out)
{
    int64_t most_s = in->agent->max_ttl_s < TTL_MAX_S ? in->agent->max_ttl_s : TTL_MAX_S;
    *out = (struct session){.agent_id = in->agent->id};
    TRY(check_parent(in));
    TRY(decide_scopes(in, a, &out->scopes));
    TRY(check_ttl(in->ask->ttl_s, most_s));
    if (!in->agent->active)
        return FAIL(ERR_AGENT_INACTIVE, "agent %.*s", STR_FMT(in->agent->id));
    TRY(check_ceilings(in, out->scopes));
    TRY(check_audiences(in, a, &out->audiences));
    TRY(decide_subject(in, a, out));
    TRY(check_rules(in, out->scopes, out->clearance_level, &most_s));
    return decide_times(in, most_s, out);
}

struct err policy_delegation(const struct agent *agent, const struct session *parent, const struct agent *const *actors,
                             struct str_list scopes, int64_t max_depth)
{
    /* A cycle would let an agent take up again what it handed on, and an endless one would outgrow every token. */
    if (str_list_has(parent->chain, agent->id))
        return FAIL(ERR_DELEGATION, "agent %.*s acts in this delegation already", STR_FMT(agent->id));
    if ((int64_t)parent->chain.n + 1 > max_depth)
        return FAIL(ERR_DELEGATION, "more than %lld agents one after the other", (long long)max_depth);
    for (size_t i = 0; i < parent->chain.n; i++) {
        if (actors[i] == NULL || !actors[i]->active)
            return FAIL(ERR_SUBJECT_TOKEN, "agent %.*s of the chain is not active", STR_FMT(parent->chain.v[i]));
        struct str outside = scopes_first_outside(scopes, actors[i]->allowed_scopes);
        if (outside.p != NULL)
            return FAIL(ERR_SUBJECT_TOKEN, "agent %.*s of the chain may no longer have scope \"%.*s\"",
                        STR_FMT(parent->chain.v[i]), STR_FMT(outside));
        /* The newest agent is the one that asks. */
        struct str next = i > 0 ? parent->chain.v[i - 1] : agent->id;
        if (!str_list_has(actors[i]->delegates_to, next))
            return FAIL(ERR_DELEGATION, "agent %.*s does not name %.*s in delegates_to", STR_FMT(parent->chain.v[i]),
                        STR_FMT(next));
    }
    return OK;
}

bool session_is_active(const struct session *s, int64_t now_us)
{
    return s->closed_us == 0 && now_us < s->expires_us;
}
