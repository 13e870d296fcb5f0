/* SPDX-License-Identifier: Apache-2.0 */
#include "service/api/issue.h"

#include "base/log.h"
#include "crypto/jws.h"
#include "service/api/catalogue.h"
#include "service/api/keyring.h"
#include "service/core/assertion.h"
#include "service/core/scope.h"
#include "service/core/token.h"

/* How often a decision is made anew because what it rested on changed; and how long closing may take afterwards. */
enum { RETRIES = 3, CLOSE_US = 2000000, SERVER_ERROR = 500 };

/* What the record says of a request that is refused. */
static struct leaf_fields refusal_of(const struct issuing *i)
{
    const struct subject *s = &i->subject;
    struct str_list asked = {NULL, 0};
    struct err ill_formed = scopes_normalise(i->call.arena, i->ask.scopes, &asked);
    return (struct leaf_fields){.op = i->op,
                                .client = i->auth.who->agent.id,
                                .scope = err_is(&ill_formed) ? (struct str_list){NULL, 0} : asked,
                                .sub_p = s->sub_p,
                                .parent = s->parent != NULL ? s->parent->id : (struct str){NULL, 0},
                                .act = s->parent != NULL ? s->parent->chain : (struct str_list){NULL, 0},
                                .jkt = i->proof.jkt};
}

/* An authenticated agent asked for more than it may have: its one-time ids are used up and the refusal on record, in
 * one statement. */
static struct err refuse(struct issuing *i, struct err why)
{
    const struct leaf_fields f = refusal_of(i);
    const struct one_time ids[] = {i->auth.id, i->proof.id};
    return record_refusal_once(&i->call, &f, (struct id_list){ids, i->proof.jkt.p != NULL ? 2 : 1}, why);
}

/* RFC 9449 section 5, and no sender constraint is ever dropped on the way (attack X08). */
static struct err check_binding(const struct issuing *i)
{
    const struct session *parent = i->subject.parent;
    if (i->proof.jkt.p == NULL && i->auth.who->agent.require_dpop)
        return FAIL(ERR_DPOP_MISSING, "agent %.*s is registered with require_dpop", STR_FMT(i->auth.who->agent.id));
    if (i->proof.jkt.p == NULL && parent != NULL && parent->cnf_jkt.p != NULL)
        return FAIL(ERR_DPOP_MISSING, "the subject_token is bound to a key, and what comes of it must be too");
    if (i->subject.must_bind.p == NULL)
        return OK;
    if (i->proof.jkt.p == NULL)
        return FAIL(ERR_DPOP_MISSING, "the assertion has a cnf claim");
    return str_eq(i->proof.jkt, i->subject.must_bind) ? OK : FAIL(ERR_DPOP_PROOF, "the proof is not by the key of cnf");
}

/* The agents of the chain as they are now. The issuing statement wants them to be the same still. */
static struct err check_delegation(struct issuing *i)
{
    const struct session *parent = i->subject.parent;
    if (parent == NULL)
        return OK;
    i->chain_versions = arena_array(i->call.arena, parent->chain.n, sizeof *i->chain_versions);
    struct agent *rows = arena_array(i->call.arena, parent->chain.n, sizeof *rows);
    const struct agent *actors[CHAIN_MAX] = {NULL};
    if (rows == NULL || i->chain_versions == NULL || parent->chain.n > CHAIN_MAX)
        return FAIL(ERR_NO_MEMORY, "a chain of %zu agents", parent->chain.n);
    struct store s = call_store(&i->call);
    for (size_t k = 0; k < parent->chain.n; k++) {
        struct err e = store_agent_get(&s, parent->chain.v[k], &rows[k]);
        if (e.code != ERR_AGENT_NOT_FOUND)
            TRY(e);
        actors[k] = err_is(&e) ? NULL : &rows[k];
        i->chain_versions[k] = rows[k].version;
    }
    return policy_delegation(&i->auth.who->agent, parent, actors, i->session.scopes,
                             i->call.api->app->config->delegation_depth);
}

static struct err decide(struct issuing *i, const struct catalogue *policy)
{
    const struct app *app = i->call.api->app;
    const struct policy_case in = {.agent = &i->auth.who->agent,
                                   .ask = &i->ask,
                                   .user = i->subject.user,
                                   .parent = i->subject.parent,
                                   .actor = i->subject.actor,
                                   .rules = policy->rules,
                                   .n_rules = policy->n_rules,
                                   .issuer = app->config->base_url,
                                   .now_us = clock_now_us(&app->clock)};
    TRY(policy_session(&in, i->call.arena, &i->session));
    TRY(check_delegation(i));
    return check_binding(i);
}

/* A refusal is put on record. The service's own trouble is not one, nor is its wish for a nonce: both leave the
 * assertion unused, for the same request to be sent again. */
static struct err refused(struct issuing *i, struct err e)
{
    if (err_public(e.code)->status >= SERVER_ERROR || e.code == ERR_DPOP_NONCE)
        return e;
    return refuse(i, e.code == ERR_USER_TOKEN ? err_as(e, i->bad_user) : e);
}

/* What costs others something (a back end, an issuer, the HSM) is done for an active agent and a new assertion only.
 * Whether that is new is for the issuing statement to decide; here it only saves the trouble. */
static struct err check_worth(struct issuing *i)
{
    bool seen = false;
    struct store s = call_store(&i->call);
    TRY(store_replay_seen(&s, &i->auth.id, &seen));
    if (seen)
        return FAIL(ERR_INVALID_CLIENT, "the assertion's jti was used before");
    if (!i->auth.who->agent.active)
        return refused(i, FAIL(ERR_AGENT_INACTIVE, "agent %.*s", STR_FMT(i->agent_id)));
    return OK;
}

/* At the proof and the subject, once the agent is known. */
static struct err look(struct issuing *i)
{
    i->subject = (struct subject){.user = NULL};
    if (i->look != NULL)
        TRY(check_worth(i));
    struct err e = dpop_of_request(&i->call, i->req, (struct str){NULL, 0}, &i->proof);
    if (!err_is(&e) && i->look != NULL)
        e = i->look(i, i->arg, &i->subject);
    return err_is(&e) ? refused(i, e) : OK;
}

/* Authenticates, looks, decides. An agent that acts for itself is decided on cached rows first; *again tells that they
 * may be out of date. Whoever acts for others is decided on rows that are read now: a cached row must not have anybody
 * asked about a user, and asking twice costs more than reading. */
static struct err attempt(struct issuing *i, bool must_be_fresh, bool *again)
{
    bool fresh = must_be_fresh || i->look != NULL;
    *again = false;
    TRY(auth_assertion(&i->call, i->agent_id, i->assertion, fresh, &i->auth));
    TRY(look(i));
    const struct catalogue *policy = NULL;
    TRY(catalogue_get(i->call.api->catalogue, &i->call, fresh, &policy));
    i->revision = policy->revision;
    /* The issuers changed while we looked at the user: what was seen is worth nothing. */
    *again = i->subject.revision != 0 && i->subject.revision != i->revision;
    if (*again)
        return FAIL(ERR_DB_CONFLICT, "issuers or scopes have changed");
    struct err e = decide(i, policy);
    if (!err_is(&e))
        return OK;
    *again = !(i->auth.who->fresh && policy->fresh);
    return *again ? e : refused(i, e);
}

static struct err prepare(struct issuing *i)
{
    if (i->keys->active == NULL)
        return FAIL(ERR_NO_ACTIVE_KEY, "no active session key");
    TRY(rand_id(i->session.obo ? "obo_" : "sess_", i->id));
    TRY(rand_id("", i->jti));
    i->session.id = str_of(i->id);
    i->session.jti = str_of(i->jti);
    i->session.kid = jwk_kid(i->keys->active);
    i->session.grant_type = str_of(i->grant_type);
    i->session.cnf_jkt = i->proof.jkt;
    struct bytes payload;
    TRY(token_session_claims(i->call.arena, &i->session, i->call.api->app->config->base_url, &payload));
    return jws_signing_input(i->call.arena, jwk_alg(i->keys->active), i->session.kid, STR(TOKEN_TYP), payload,
                             &i->signing_input);
}

static size_t gather_ids(const struct issuing *i, struct one_time out[static ISSUE_IDS_MAX])
{
    size_t n = 0;
    out[n++] = i->auth.id;
    if (i->proof.jkt.p != NULL)
        out[n++] = i->proof.id;
    if (i->subject.id.space.p != NULL)
        out[n++] = i->subject.id;
    return n;
}

/* The statement that found it has used the other ids up. A replayed assertion is no refusal of its agent, since it does
 * not prove who sent it. */
static struct err replayed(const struct issuing *i, const struct one_time *id)
{
    if (str_eq(id->space, i->auth.id.space))
        return FAIL(ERR_INVALID_CLIENT, "the assertion's jti was used before");
    const struct leaf_fields f = refusal_of(i);
    if (i->proof.jkt.p != NULL && str_eq(id->space, i->proof.id.space))
        return record_refusal(&i->call, &f, FAIL(ERR_DPOP_PROOF, "jti: the proof was used before"));
    return record_refusal(&i->call, &f, FAIL(i->bad_user, "the user's token was used before"));
}

/* The one statement: one-time ids, the checks of what was decided on, session and intent. */
static struct err record_intent(struct issuing *i, struct recording *r, struct issue_answer *answer)
{
    const struct call *c = &i->call;
    const struct session *parent = i->subject.parent;
    uint8_t hash[SHA256_LEN];
    TRY(crypto_sha256(c->api->app->crypto, str_bytes(i->signing_input), hash));
    const struct leaf_fields f = {.kind = LEAF_INTENT,
                                  .op = "sign",
                                  .kid = i->session.kid,
                                  .mech = jose_alg_name(jwk_alg(i->keys->active)),
                                  .in_sha256 = hash,
                                  .jti = i->session.jti,
                                  .session = i->session.id,
                                  .iss = c->api->app->config->base_url,
                                  .aud = i->session.audiences,
                                  .client = i->session.agent_id,
                                  .sub_p = i->subject.sub_p,
                                  .scope = i->session.scopes,
                                  .act = i->session.chain.n > 1 ? i->session.chain : (struct str_list){NULL, 0},
                                  .parent = parent != NULL ? parent->id : (struct str){NULL, 0},
                                  .jkt = i->proof.jkt,
                                  .sub_jkt = parent != NULL ? parent->cnf_jkt : (struct str){NULL, 0},
                                  .exp = i->session.expires_us / 1000000,
                                  .policy = "granted"};
    TRY(record_begin(c, &f, r));
    struct one_time ids[ISSUE_IDS_MAX];
    const struct issue_request q = {.session = &i->session,
                                    .agent_version = i->auth.who->agent.version,
                                    .policy_revision = i->revision,
                                    .chain_versions = i->chain_versions,
                                    .ids = ids,
                                    .n_ids = gather_ids(i, ids)};
    struct store s = call_store(c);
    struct err stored = store_session_issue(&s, &q, &r->batch, answer);
    TRY(record_end(c, r, stored, answer->result == ISSUE_DONE));
    return answer->result == ISSUE_REPLAYED ? replayed(i, &ids[answer->replayed]) : OK;
}

/* A session whose token could not be signed is of no use to anyone: it is closed, on record. */
static void close_unsigned(const struct issuing *i, const struct err *why)
{
    const struct leaf_fields f = {.kind = LEAF_CLOSE,
                                  .op = "session.close",
                                  .session = i->session.id,
                                  .client = i->session.agent_id,
                                  .actor = STR("self"),
                                  .reason = err_name(why->code),
                                  .exp = -1};
    struct call c = i->call;
    c.deadline_us = clock_mono_us() + CLOSE_US;
    struct recording r;
    struct err e = record_begin(&c, &f, &r);
    if (!err_is(&e)) {
        struct store s = call_store(&c);
        bool closed = false;
        e = store_session_close(&s, i->session.id, &r.batch, &closed);
        e = record_end(&c, &r, e, closed);
    }
    if (err_is(&e))
        LOG_ERR(LOG_WARN, "unsigned session stays open until it expires", &e, LOG_STR("session_id", i->session.id));
}

static struct err sign(struct issuing *i, const struct recording *r)
{
    const struct sign_order o = {.intent = r,
                                 .key = &i->keys->active_id,
                                 .jwk = i->keys->active,
                                 .jti = i->session.jti,
                                 .signing_input = i->signing_input};
    struct bytes signature;
    struct err e = record_sign(&i->call, &o, &signature);
    if (err_is(&e)) {
        close_unsigned(i, &e);
        return e;
    }
    return jws_join(i->call.arena, i->signing_input, signature, &i->token);
}

static struct err attempts(struct issuing *i)
{
    for (int n = 0; n < RETRIES; n++) {
        bool again = false;
        struct err e = attempt(i, n > 0, &again);
        if (again)
            continue;
        TRY(e);
        TRY(prepare(i));
        struct recording r;
        struct issue_answer answer = {.result = ISSUE_CHANGED};
        TRY(record_intent(i, &r, &answer));
        if (answer.result == ISSUE_DONE)
            return sign(i, &r);
        if (answer.result == ISSUE_LINEAGE_ENDED)
            return refuse(i, FAIL(ERR_SUBJECT_TOKEN, "a session that this one would rest on has ended"));
    }
    return FAIL(ERR_DB_CONFLICT, "what the decision rested on changed during every one of %d attempts", RETRIES);
}

struct err issue(struct issuing *i)
{
    struct api *api = i->call.api;
    TRY(auth_admit(&i->call, i->agent_id));
    i->keys = keyring_take(api->app->keyring);
    struct err e = attempts(i);
    keyset_release(&i->keys);
    if (err_is(&e))
        metric_add(api->app->metrics, M_SESSIONS_REFUSED, 1, err_public(e.code)->code, NULL, NULL);
    else
        metric_add(api->app->metrics, M_SESSIONS_ISSUED, 1, NULL, NULL, NULL);
    return e;
}
