/* SPDX-License-Identifier: Apache-2.0 */
#include "service/api/user_context.h"

#include "crypto/b64u.h"
#include "service/api/backend.h"
#include "service/api/catalogue.h"
#include "service/api/issuer_keys.h"
#include "service/api/pseudonym.h"
#include "service/core/scope.h"
#include "service/core/user_token.h"

/* What the catalogue says of the issuer that a token names. */
struct known {
    const struct issuer *row; /* NULL: not registered. Valid until the next look into the catalogue */
    bool any_active;
    int64_t revision;
};

/* A token on its way through the checks. */
struct shown {
    struct issuing *i;
    struct str token;
    bool as_grant;  /* the assertion of a JWT bearer grant */
    struct str iss; /* as the token says, unverified; p == NULL: it does not */
    struct known known;
    struct user_token read;
    struct one_time id;
};

/* The issuer that a token names, also one that we could not verify; p == NULL: none. It only chooses who checks the
 * token: whoever that is looks at all of it again. */
static struct err issuer_named(struct arena *a, struct str token, struct str *out)
{
    *out = (struct str){NULL, 0};
    const char *from = memchr(token.p, '.', token.n);
    if (from == NULL)
        return OK;
    from++;
    const char *to = memchr(from, '.', token.n - (size_t)(from - token.p));
    if (to == NULL)
        return OK;
    struct bytes text = {NULL, 0};
    const struct json *payload = NULL;
    struct err e = b64u_decode(a, (struct str){from, (size_t)(to - from)}, &text);
    if (!err_is(&e))
        e = json_parse(a, text, &payload);
    if (err_is(&e))
        return e.code == ERR_NO_MEMORY ? e : OK;
    const struct json *iss = json_get(payload, "iss");
    if (iss != NULL && iss->type == JSON_STR)
        *out = iss->s;
    return OK;
}

/* Finds who checks the token. Our own never come this way: a session token is delegated by token exchange, where its
 * chain is looked at. */
static struct err look_up(struct shown *s)
{
    const struct call *c = &s->i->call;
    TRY(issuer_named(c->arena, s->token, &s->iss));
    if (str_eq(s->iss, c->api->app->config->base_url))
        return FAIL(ERR_USER_TOKEN, "a token of our own vouches for no user");
    const struct catalogue *all = NULL;
    TRY(catalogue_get(c->api->catalogue, c, true, &all));
    s->known = (struct known){.revision = all->revision};
    for (size_t n = 0; n < all->n_issuers; n++) {
        s->known.any_active = s->known.any_active || all->issuers[n].active;
        if (str_eq(all->issuers[n].issuer, s->iss))
            s->known.row = &all->issuers[n];
    }
    return OK;
}

static struct err verify(const struct call *c, const struct issuer *row, const struct jws *j)
{
    const struct app *app = c->api->app;
    CLEANUP(issuer_keyset_release) const struct issuer_keyset *keys = NULL;
    TRY(issuer_keys_get(app->issuer_keys, c, row, j->kid, &keys));
    /* Among the keys of this registration alone: another issuer's key of the same kid is no candidate (attack J17). */
    const struct jwk *key = jwks_find(&keys->keys, j->kid);
    if (key == NULL)
        return FAIL(ERR_JOSE_KEY, "issuer %.*s has no key \"%.*s\"", STR_FMT(row->issuer), STR_FMT(j->kid));
    return jws_verify(app->crypto, j, key);
}

static struct err one_time_of(const struct call *c, const struct issuer *row, const struct jwt_claims *claims,
                              struct one_time *out)
{
    out->space = arena_printf(c->arena, "@iss/%.*s", STR_FMT(row->id));
    if (out->space.p == NULL)
        return FAIL(ERR_NO_MEMORY, "the one-time id of a user's token");
    out->until_us = user_token_remember_s(claims) * 1000000;
    return crypto_sha256(c->api->app->crypto, str_bytes(claims->jti), out->hash);
}

/* What the token says comes first: it costs less than the signature, and keys are fetched only for one that would pass
 * by what it says. Nothing is believed before the signature stands. */
static struct err check(struct shown *s)
{
    const struct call *c = &s->i->call;
    const struct app *app = c->api->app;
    const struct issuer *row = s->known.row;
    if (!row->active)
        return FAIL(ERR_USER_TOKEN, "issuer %.*s is not active", STR_FMT(row->issuer));
    struct jws j;
    TRY(jws_parse(c->arena, s->token, &j));
    struct jwt_claims claims;
    TRY(jwt_claims_parse(c->arena, &j, &claims));
    const struct user_token_terms terms = {.agent_id = s->i->auth.who->agent.id,
                                           .issuer = app->config->base_url,
                                           .as_grant = s->as_grant,
                                           .now_s = clock_now_s(&app->clock)};
    bool id_jag = s->as_grant && j.typ.p != NULL && str_is(j.typ, ID_JAG_TYP);
    TRY(id_jag ? id_jag_read(row, &j, &claims, &terms, c->arena, &s->read)
               : user_token_read(row, &j, &claims, &terms, c->arena, &s->read));
    TRY(verify(c, row, &j));
    /* RFC 7523 section 3 item 7: an assertion is good once, where its jti lets us tell. An ID-JAG always has one. */
    bool once = claims.jti.p != NULL && (row->one_time_jti || s->as_grant);
    return once ? one_time_of(c, row, &claims, &s->id) : OK;
}

static struct err check_known(struct shown *s)
{
    return err_refused_as(check(s), ERR_USER_TOKEN);
}

static struct err check_registered(struct shown *s)
{
    TRY(look_up(s));
    return s->known.row != NULL ? check_known(s) : FAIL(ERR_USER_TOKEN, "the token's issuer is not registered");
}

/* Fills out with what was read, in memory that lives as long as the call. */
static struct err accept(const struct shown *s, struct subject *out)
{
    const struct call *c = &s->i->call;
    struct user *user = arena_alloc(c->arena, sizeof *user);
    if (user == NULL)
        return FAIL(ERR_NO_MEMORY, "user");
    *user = s->read.user;
    out->user = user;
    out->revision = s->known.revision;
    out->id = s->id;
    out->must_bind = s->read.must_bind;
    return pseudonym_of(c, user->issuer, user->id, &out->sub_p);
}

static struct err ask_back_end(struct shown *s)
{
    TRY(backend_verify(&s->i->call, s->token, &s->read.user));
    /* RFC 9068 section 5, as for every other user. */
    return str_eq(s->read.user.id, s->i->auth.who->agent.id) ? FAIL(ERR_USER_TOKEN, "the user's id is the agent's")
                                                             : OK;
}

struct err user_context_check(struct issuing *i, struct str token, struct subject *out)
{
    struct shown s = {.i = i, .token = token};
    TRY(look_up(&s));
    /* An issuer that is registered is ours to judge, also while it is not active: a back end that knows nothing of that
     * is not asked. */
    if (s.known.row != NULL)
        TRY(check_known(&s));
    else if (i->call.api->app->config->backend_auth_url.n > 0)
        TRY(ask_back_end(&s));
    else
        return FAIL(s.known.any_active ? ERR_USER_TOKEN : ERR_OBO_NOT_CONFIGURED,
                    "the token's issuer is not registered, and there is no back end to ask");
    return accept(&s, out);
}

struct err issuer_token_check(struct issuing *i, struct str token, struct subject *out)
{
    struct shown s = {.i = i, .token = token};
    TRY(check_registered(&s));
    return accept(&s, out);
}

/* RFC 8707 section 2: a grant for some resources is none for others. Who asks for none in particular gets those. */
static struct err keep_to(struct issuing *i, struct str_list resources)
{
    struct str_list *asked = &i->ask.audiences;
    if (resources.n > 0 && asked->n == 0)
        *asked = resources;
    for (size_t n = 0; n < asked->n && resources.n > 0; n++) {
        if (!str_list_has(resources, asked->v[n]))
            return FAIL(ERR_INVALID_AUDIENCE, "audience \"%.*s\" is not a resource of the assertion",
                        STR_FMT(asked->v[n]));
    }
    return OK;
}

struct err assertion_check(struct issuing *i, struct str assertion, struct subject *out)
{
    struct shown s = {.i = i, .token = assertion, .as_grant = true};
    TRY(err_refused_as(check_registered(&s), ERR_GRANT));
    TRY(keep_to(i, s.read.resources));
    return accept(&s, out);
}
