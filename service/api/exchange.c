/* SPDX-License-Identifier: Apache-2.0
 * Token exchange (RFC 8693). The subject token is one of ours, which is then delegated further, or one of a trusted
 * issuer, which begins a delegation. The authenticated agent is the actor, always. */
#include "service/api/grants.h"

#include "crypto/jwt.h"
#include "service/api/pseudonym.h"
#include "service/api/user_context.h"
#include "service/core/assertion.h"

static bool is_token_type(struct str type)
{
    return str_is(type, TOKEN_TYPE_ACCESS) || str_is(type, TOKEN_TYPE_JWT) || str_is(type, TOKEN_TYPE_ID);
}

/* RFC 8693 section 2.1. */
struct err exchange_check(const struct token_form *f)
{
    if (f->subject_token.p == NULL || f->subject_token_type.p == NULL)
        return FAIL(ERR_INVALID_REQUEST, "subject_token and subject_token_type must be there");
    if (!is_token_type(f->subject_token_type))
        return FAIL(ERR_INVALID_REQUEST, "subject_token_type: access_token, jwt and id_token are served");
    if ((f->actor_token.p != NULL) != (f->actor_token_type.p != NULL))
        return FAIL(ERR_INVALID_REQUEST, "actor_token and actor_token_type go together");
    if (f->actor_token.p != NULL && !str_is(f->actor_token_type, TOKEN_TYPE_ACCESS) &&
        !str_is(f->actor_token_type, TOKEN_TYPE_JWT))
        return FAIL(ERR_INVALID_REQUEST, "actor_token_type: access_token and jwt are served");
    if (f->requested_token_type.p != NULL && !str_is(f->requested_token_type, TOKEN_TYPE_ACCESS) &&
        !str_is(f->requested_token_type, TOKEN_TYPE_JWT))
        return FAIL(ERR_INVALID_REQUEST, "requested_token_type: access_token and jwt are served");
    return OK;
}

/* RFC 8693 section 2.2.2: a subject or actor token that is not accepted, for whatever reason, is invalid_request. */
static struct err as_subject(struct err e)
{
    return err_refused_as(e, ERR_SUBJECT_TOKEN);
}

/* The agent's own session token, and nobody else's: who acts follows from the client's authentication alone
 * (attack X03). */
static struct err look_at_actor(struct issuing *i, const struct token_form *f, struct subject *out)
{
    if (f->actor_token.p == NULL)
        return OK;
    struct session *s = arena_alloc(i->call.arena, sizeof *s);
    if (s == NULL)
        return FAIL(ERR_NO_MEMORY, "actor session");
    TRY(as_subject(auth_session_token(&i->call, f->actor_token, s)));
    if (!str_eq(s->agent_id, i->auth.who->agent.id) || s->obo || s->chain.n != 1)
        return FAIL(ERR_SUBJECT_TOKEN, "the actor_token is not one of the agent's for itself");
    if (s->cnf_jkt.p != NULL && !str_eq(s->cnf_jkt, i->proof.jkt))
        return FAIL(ERR_DPOP_MISSING, "the actor_token is bound to a key, and the proof is not by it");
    out->actor = s;
    return OK;
}

static struct err look_at_ours(struct issuing *i, const struct token_form *f, struct subject *out)
{
    struct session *s = arena_alloc(i->call.arena, sizeof *s);
    if (s == NULL)
        return FAIL(ERR_NO_MEMORY, "parent session");
    TRY(as_subject(auth_session_token(&i->call, f->subject_token, s)));
    out->parent = s;
    return s->acting_for.p != NULL ? pseudonym_of(&i->call, s->user_issuer, s->acting_for, &out->sub_p) : OK;
}

struct err exchange_look(struct issuing *i, void *arg, struct subject *out)
{
    const struct token_form *f = arg;
    TRY(look_at_actor(i, f, out));
    struct jws j;
    TRY(as_subject(jws_parse(i->call.arena, f->subject_token, &j)));
    /* RFC 9068 section 2.1 types access tokens, ours too, so that none can be shown as an ID token (attack X04). */
    if (str_is(f->subject_token_type, TOKEN_TYPE_ID) && j.typ.p != NULL && str_is(j.typ, TOKEN_TYP))
        return FAIL(ERR_SUBJECT_TOKEN, "an access token is no id_token");
    struct jwt_claims claims;
    TRY(as_subject(jwt_claims_parse(i->call.arena, &j, &claims)));
    /* Unverified: it only chooses the check, which looks at it again. */
    if (str_eq(claims.iss, i->call.api->app->config->base_url))
        return look_at_ours(i, f, out);
    return as_subject(issuer_token_check(i, f->subject_token, out));
}
