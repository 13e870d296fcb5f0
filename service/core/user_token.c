/* SPDX-License-Identifier: Apache-2.0 */
#include "service/core/user_token.h"

#include "crypto/b64u.h"
#include "crypto/json_pointer.h"
#include "service/core/assertion.h"
#include "service/core/scope.h"

/* The last second of the year 9999. A later exp is a mistake, most often milliseconds. */
#define EXP_LAST_S INT64_C(253402300799)
/* How far ahead the exp of a grant may be. */
enum { GRANT_AHEAD_S = 86400 };

/* RFC 9068 section 2.1 and RFC 7519 section 5.1; ID tokens often have none. */
static const char *const user_typ[] = {"jwt", "at+jwt", NULL};
static const char *const id_jag_typ[] = {ID_JAG_TYP, NULL};

static bool is_printable(struct str s)
{
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        if (c < 0x20 || c == 0x7f)
            return false;
    }
    return true;
}

/* An optional claim that is a name: absent (p == NULL), or a string of 1 to max bytes without control bytes. */
static struct err read_name(const struct json *v, const char *what, size_t max, struct str *out)
{
    *out = (struct str){NULL, 0};
    if (v == NULL)
        return OK;
    if (v->type != JSON_STR || v->s.n == 0 || v->s.n > max || !is_printable(v->s))
        return FAIL(ERR_USER_TOKEN, "%s is not a string of 1 to %zu bytes without control bytes", what, max);
    *out = v->s;
    return OK;
}

static struct err read_clearance(const struct json *v, int64_t *out)
{
    *out = 0;
    if (v == NULL)
        return OK;
    if (v->type != JSON_INT || v->i < 0 || v->i > CLEARANCE_MAX)
        return FAIL(ERR_USER_TOKEN, "the clearance is not an integer from 0 to %d", CLEARANCE_MAX);
    *out = v->i;
    return OK;
}

/* An array of strings, or one string with single spaces between (RFC 6749 section 3.3). Absent or "": none. */
static struct err read_list(const struct json *v, const char *what, struct arena *a, struct str_list *out)
{
    *out = (struct str_list){NULL, 0};
    if (v == NULL || (v->type == JSON_STR && v->s.n == 0))
        return OK;
    if (v->type == JSON_STR)
        return err_refused_as(scopes_split(a, v->s, out), ERR_USER_TOKEN);
    if (v->type != JSON_ARRAY)
        return FAIL(ERR_USER_TOKEN, "%s is neither an array nor a string", what);
    struct str_list l = {arena_array(a, v->n, sizeof *l.v), v->n};
    if (l.v == NULL)
        return FAIL(ERR_NO_MEMORY, "%s", what);
    for (size_t k = 0; k < v->n; k++) {
        if (v->items[k].type != JSON_STR)
            return FAIL(ERR_USER_TOKEN, "%s: item %zu is not a string", what, k);
        l.v[k] = v->items[k].s;
    }
    *out = l;
    return OK;
}

/* RFC 8725 section 3.1, from the issuer's side: the caller checks it again from the key's (jws_verify). */
static struct err check_alg(const struct issuer *i, enum jose_alg alg)
{
    return str_list_has(i->algorithms, str_of(jose_alg_name(alg)))
               ? OK
               : FAIL(ERR_USER_TOKEN, "alg %s is not one that the issuer is registered with", jose_alg_name(alg));
}

bool user_token_typ_is_taken(struct str typ)
{
    static const char *const kinds[] = {"client-authentication+jwt", "dpop+jwt", ID_JAG_TYP, "token-introspection+jwt"};
    for (size_t k = 0; k < COUNT(kinds); k++) {
        if (str_is(typ, kinds[k]))
            return true;
    }
    return str_starts(typ, STR("nexus-"));
}

/* A delegation that began elsewhere: whether its actors are live, and may act, only their own issuer can tell
 * (attack J21). */
static struct err refuse_act(const struct json *claims)
{
    return json_get(claims, "act") == NULL ? OK
                                           : FAIL(ERR_USER_TOKEN, "act: the token comes of a delegation elsewhere");
}

static bool is_absent_or(const struct json *v, struct str value)
{
    return v == NULL || (v->type == JSON_STR && str_eq(v->s, value));
}

/* RFC 8693 section 4.4: only the party that may_act names may act. We name agents by sub or client_id. */
static struct err check_may_act(const struct json *claims, const struct user_token_terms *terms)
{
    const struct json *who = json_get(claims, "may_act");
    if (who == NULL)
        return OK;
    const struct json *sub = json_get(who, "sub"), *client = json_get(who, "client_id");
    bool named = sub != NULL || client != NULL;
    if (!named || !is_absent_or(sub, terms->agent_id) || !is_absent_or(client, terms->agent_id) ||
        !is_absent_or(json_get(who, "iss"), terms->issuer))
        return FAIL(ERR_USER_TOKEN, "may_act names another party than agent %.*s of this issuer",
                    STR_FMT(terms->agent_id));
    return OK;
}

/* RFC 7800 section 3.1, RFC 9449 section 6.1: a token that is bound to a key is of no use without it. A binding that we
 * cannot have proved is not dropped, but refused (attack X08). */
static struct err read_cnf(const struct json *claims, struct str *must_bind)
{
    const struct json *cnf = json_get(claims, "cnf");
    if (cnf == NULL)
        return OK;
    const struct json *jkt = json_get(cnf, "jkt");
    if (jkt == NULL || jkt->type != JSON_STR || jkt->s.n != B64U_LEN(SHA256_LEN) || cnf->n != 1)
        return FAIL(ERR_USER_TOKEN, "cnf is not a jkt alone");
    *must_bind = jkt->s;
    return OK;
}

static struct err read_user(const struct issuer *i, const struct jwt_claims *claims,
                            const struct user_token_terms *terms, struct user *out)
{
    const struct json *all = claims->all;
    TRY(read_name(json_pointer_get(all, i->claim_user_id), "the user's id", USER_ID_MAX, &out->id));
    if (out->id.p == NULL)
        return FAIL(ERR_USER_TOKEN, "the user's id is missing");
    /* RFC 9068 section 5. Only the agent that asks is compared, which its token would name as user and as actor. A user
     * may have the name of any other agent: that sub is a user is said by sub_profile and sub_id (core/token.c). */
    if (str_eq(out->id, terms->agent_id))
        return FAIL(ERR_USER_TOKEN, "the user's id is the agent's");
    TRY(read_name(json_pointer_get(all, i->claim_tenant_id), "the tenant's id", TENANT_ID_MAX, &out->tenant_id));
    TRY(read_clearance(json_pointer_get(all, i->claim_clearance), &out->clearance_level));
    out->issuer = claims->iss;
    out->expires_us = claims->exp.v * 1000000;
    return OK;
}

/* What both kinds have in common. */
static struct err read_token(const struct issuer *i, const struct jws *j, const struct jwt_claims *claims,
                             const struct user_token_terms *terms, const struct jwt_rules *rules,
                             struct user_token *out)
{
    TRY(check_alg(i, j->alg));
    TRY(err_refused_as(jwt_check(rules, j, claims, terms->now_s), ERR_USER_TOKEN));
    if (claims->exp.v > EXP_LAST_S)
        return FAIL(ERR_USER_TOKEN, "exp is after the year 9999: is it in milliseconds?");
    if (i->max_age_s > 0 && terms->now_s - claims->iat.v > i->max_age_s)
        return FAIL(ERR_USER_TOKEN, "iat is more than max_age_seconds (%lld) ago", (long long)i->max_age_s);
    TRY(refuse_act(claims->all));
    TRY(check_may_act(claims->all, terms));
    TRY(read_cnf(claims->all, &out->must_bind));
    return read_user(i, claims, terms, &out->user);
}

/* RFC 7523 section 3 item 4: no exp that is unreasonably far in the future, since the id of a grant is remembered for
 * as long. */
static struct err check_ahead(const struct jwt_claims *claims, const struct user_token_terms *terms)
{
    return claims->exp.v <= terms->now_s + GRANT_AHEAD_S
               ? OK
               : FAIL(ERR_USER_TOKEN, "exp is more than %d s ahead", GRANT_AHEAD_S);
}

struct err user_token_read(const struct issuer *i, const struct jws *j, const struct jwt_claims *claims,
                           const struct user_token_terms *terms, struct arena *a, struct user_token *out)
{
    *out = (struct user_token){.must_bind = {NULL, 0}};
    if (j->typ.p != NULL && user_token_typ_is_taken(j->typ))
        return FAIL(ERR_USER_TOKEN, "typ is that of another kind of JWT");
    const char *const registered[] = {arena_str(a, i->typ).p, NULL};
    if (registered[0] == NULL)
        return FAIL(ERR_NO_MEMORY, "typ");
    const struct jwt_rules rules = {
        .typ = i->typ.p != NULL ? registered : user_typ,
        .typ_may_be_absent = i->typ.p == NULL,
        .iss = i->issuer,
        /* RFC 7519 section 4.1.3: an array is fine when we are among its values. Elsewhere arrays are refused (attack
         * J16), since one token that two servers take can be carried from one to the other. A user's token is no such
         * credential: it is for the application that the user signed in to, and an operator has named the audience that
         * stands for this broker. It opens nothing here without an agent that proves itself. */
        .aud = i->audience,
        .need_jti = i->one_time_jti,
        .need_iat = i->max_age_s > 0,
        .jti_max = JTI_MAX,
        .skew_s = SKEW_S,
    };
    TRY(read_token(i, j, claims, terms, &rules, out));
    if (terms->as_grant)
        TRY(check_ahead(claims, terms));
    return read_list(json_pointer_get(claims->all, i->claim_permissions), "the permissions", a, &out->user.permissions);
}

/* Who may redeem it (section 4.4.1 of the draft), and what for. RFC 9396 details narrow a grant in ways that we do not
 * understand, so a grant with them is not taken for one without. */
static struct err check_id_jag(const struct json *claims, const struct user_token_terms *terms)
{
    const struct json *client = json_get(claims, "client_id");
    if (client == NULL || !is_absent_or(client, terms->agent_id))
        return FAIL(ERR_USER_TOKEN, "client_id is not agent %.*s", STR_FMT(terms->agent_id));
    return json_get(claims, "authorization_details") == NULL
               ? OK
               : FAIL(ERR_USER_TOKEN, "authorization_details are not served");
}

/* RFC 8707 section 2: one URI, or an array of them. */
static struct err read_resources(const struct json *v, struct arena *a, struct str_list *out)
{
    if (v == NULL)
        return OK;
    if (v->type == JSON_STR) {
        *out = (struct str_list){arena_array(a, 1, sizeof *out->v), 1};
        if (out->v == NULL)
            return FAIL(ERR_NO_MEMORY, "resource");
        out->v[0] = v->s;
        return OK;
    }
    TRY(read_list(v, "resource", a, out));
    return out->n > 0 ? OK : FAIL(ERR_USER_TOKEN, "resource is an empty array");
}

static void keep_common(struct str_list *l, struct str_list other)
{
    size_t n = 0;
    for (size_t k = 0; k < l->n; k++) {
        if (str_list_has(other, l->v[k]))
            l->v[n++] = l->v[k];
    }
    l->n = n;
}

/* The scope is what the issuer grants here, the permissions what the user has: where both are said, both bound it. */
static struct err read_grant(const struct issuer *i, const struct json *claims, struct arena *a, struct str_list *out)
{
    const struct json *scope = json_get(claims, "scope"), *all = json_pointer_get(claims, i->claim_permissions);
    if (scope != NULL && scope->type != JSON_STR)
        return FAIL(ERR_USER_TOKEN, "scope is not a string");
    struct str_list permissions;
    TRY(read_list(all, "the permissions", a, &permissions));
    *out = permissions;
    if (scope == NULL)
        return OK;
    TRY(read_list(scope, "scope", a, out));
    if (all != NULL)
        keep_common(out, permissions);
    return OK;
}

struct err id_jag_read(const struct issuer *i, const struct jws *j, const struct jwt_claims *claims,
                       const struct user_token_terms *terms, struct arena *a, struct user_token *out)
{
    *out = (struct user_token){.must_bind = {NULL, 0}};
    const struct jwt_rules rules = {
        .typ = id_jag_typ,
        .iss = i->issuer,
        .aud = terms->issuer,
        .aud_must_be_sole = true,
        .need_jti = true,
        .need_iat = true,
        .jti_max = JTI_MAX,
        .skew_s = SKEW_S,
    };
    TRY(read_token(i, j, claims, terms, &rules, out));
    TRY(check_ahead(claims, terms));
    TRY(check_id_jag(claims->all, terms));
    TRY(read_resources(json_get(claims->all, "resource"), a, &out->resources));
    return read_grant(i, claims->all, a, &out->user.permissions);
}

int64_t user_token_remember_s(const struct jwt_claims *claims)
{
    return claims->exp.v + INT64_C(2) * SKEW_S;
}
