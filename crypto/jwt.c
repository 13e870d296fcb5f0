/* SPDX-License-Identifier: Apache-2.0 */
#include "crypto/jwt.h"

#include <stddef.h>

static const struct json_field claim_table[] = {
    {"iss", BIND_STR, offsetof(struct jwt_claims, iss), .min = 1, .max = JWT_NAME_MAX},
    {"sub", BIND_STR, offsetof(struct jwt_claims, sub), .min = 1, .max = JWT_NAME_MAX},
    {"jti", BIND_STR, offsetof(struct jwt_claims, jti), .min = 1, .max = JWT_NAME_MAX},
    {"exp", BIND_INT, offsetof(struct jwt_claims, exp), .max = JSON_INT_MAX},
    {"nbf", BIND_INT, offsetof(struct jwt_claims, nbf), .max = JSON_INT_MAX},
    {"iat", BIND_INT, offsetof(struct jwt_claims, iat), .max = JSON_INT_MAX},
};

/* RFC 7519 section 4.1.3: one string, or an array of them. */
static const struct json_field aud_one = {"aud",    BIND_STR_LIST,      offsetof(struct jwt_claims, aud),
                                          .min = 1, .max = JWT_AUD_MAX, .item_max = JWT_NAME_MAX};

static struct err parse_aud(struct arena *a, struct jwt_claims *out)
{
    const struct json *aud = json_get(out->all, "aud");
    if (aud == NULL)
        return OK;
    out->aud_is_array = aud->type == JSON_ARRAY;
    if (out->aud_is_array)
        return json_bind_object(out->all, &aud_one, 1, JSON_UNKNOWN_IGNORED, a, out);
    if (aud->type != JSON_STR || aud->s.n > JWT_NAME_MAX)
        return FAIL(ERR_JOSE_CLAIM, "aud is neither a string nor an array of strings, or too long");
    struct str *v = arena_array(a, 1, sizeof *v);
    if (v == NULL)
        return FAIL(ERR_NO_MEMORY, "aud");
    *v = aud->s;
    out->aud = (struct str_list){v, 1};
    return OK;
}

static bool is_clean(struct str s)
{
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        if (c < 0x20 || c == 0x7f)
            return false;
    }
    return true;
}

static struct err check_names(const struct jwt_claims *c)
{
    bool clean = is_clean(c->iss) && is_clean(c->sub) && is_clean(c->jti);
    for (size_t i = 0; i < c->aud.n && clean; i++)
        clean = c->aud.v[i].n > 0 && is_clean(c->aud.v[i]);
    return clean ? OK : FAIL(ERR_JOSE_CLAIM, "iss, sub, aud or jti has a control byte, or an aud is empty");
}

static struct err as_claim(struct err e)
{
    return e.code == ERR_INVALID_REQUEST ? err_as(e, ERR_JOSE_CLAIM) : e;
}

struct err jwt_claims_parse(struct arena *a, const struct jws *j, struct jwt_claims *out)
{
    struct jwt_claims c = {0};
    struct err e = json_parse(a, j->payload, &c.all);
    if (e.code == ERR_INVALID_JSON)
        return err_as(e, ERR_JOSE_MALFORMED);
    TRY(e);
    if (c.all->type != JSON_OBJECT)
        return FAIL(ERR_JOSE_MALFORMED, "payload is not a JSON object");
    TRY(as_claim(json_bind_object(c.all, claim_table, COUNT(claim_table), JSON_UNKNOWN_IGNORED, a, &c)));
    TRY(as_claim(parse_aud(a, &c)));
    TRY(check_names(&c));
    *out = c;
    return OK;
}

/* a + b, held at the ends of the range: a date at the end of time must not wrap into the past. */
static int64_t add(int64_t a, int64_t b)
{
    int64_t sum = 0;
    if (!__builtin_add_overflow(a, b, &sum))
        return sum;
    return b > 0 ? INT64_MAX : INT64_MIN;
}

/* RFC 8725 section 3.11: explicit typing. */
static struct err check_typ(const struct jwt_rules *r, struct str typ)
{
    if (typ.p == NULL)
        return r->typ_may_be_absent ? OK : FAIL(ERR_JOSE_CLAIM, "typ is missing");
    for (const char *const *t = r->typ; t != NULL && *t != NULL; t++) {
        if (str_is(typ, *t))
            return OK;
    }
    return FAIL(ERR_JOSE_CLAIM, "typ is not one of this kind of JWT");
}

static struct err check_name(const char *claim, struct str is, struct str must)
{
    if (is.p == NULL)
        return FAIL(ERR_JOSE_CLAIM, "%s is missing", claim);
    if (must.p != NULL && !str_eq(is, must))
        return FAIL(ERR_JOSE_CLAIM, "%s is not the expected one", claim);
    return OK;
}

/* RFC 7519 section 4.1.3; as a single string draft-ietf-oauth-rfc7523bis section 4, against tokens that were made for
 * two servers. Compared byte by byte: no normalisation of URLs. */
static struct err check_aud(const struct jwt_rules *r, const struct jwt_claims *c)
{
    if (c->aud.n == 0)
        return FAIL(ERR_JOSE_CLAIM, "aud is missing");
    if (r->aud_must_be_sole && c->aud_is_array)
        return FAIL(ERR_JOSE_CLAIM, "aud is an array, not a single string");
    if (r->aud.p == NULL)
        return OK;
    for (size_t i = 0; i < c->aud.n; i++) {
        if (str_eq(c->aud.v[i], r->aud))
            return OK;
    }
    return FAIL(ERR_JOSE_CLAIM, "aud is not the expected one");
}

/* RFC 7519 sections 4.1.4 to 4.1.6. */
static struct err check_times(const struct jwt_rules *r, const struct jwt_claims *c, int64_t now)
{
    if (!c->exp.set)
        return FAIL(ERR_JOSE_CLAIM, "exp is missing");
    if (r->need_iat && !c->iat.set)
        return FAIL(ERR_JOSE_CLAIM, "iat is missing");
    if (now >= add(c->exp.v, r->skew_s))
        return FAIL(ERR_JOSE_EXPIRED, "exp %lld is past (now %lld)", (long long)c->exp.v, (long long)now);
    if (c->nbf.set && c->nbf.v > add(now, r->skew_s))
        return FAIL(ERR_JOSE_EXPIRED, "nbf %lld is not reached (now %lld)", (long long)c->nbf.v, (long long)now);
    if (c->iat.set && c->iat.v > add(now, r->skew_s))
        return FAIL(ERR_JOSE_EXPIRED, "iat %lld is in the future (now %lld)", (long long)c->iat.v, (long long)now);
    if (c->iat.set && c->exp.v <= c->iat.v)
        return FAIL(ERR_JOSE_EXPIRED, "exp is not after iat");
    if (r->max_lifetime_s > 0 && c->exp.v > add(now, r->max_lifetime_s))
        return FAIL(ERR_JOSE_EXPIRED, "exp is more than %lld s ahead", (long long)r->max_lifetime_s);
    if (r->max_lifetime_s > 0 && c->iat.set && c->exp.v > add(c->iat.v, r->max_lifetime_s))
        return FAIL(ERR_JOSE_EXPIRED, "exp is more than %lld s after iat", (long long)r->max_lifetime_s);
    return OK;
}

struct err jwt_check(const struct jwt_rules *r, const struct jws *j, const struct jwt_claims *claims, int64_t now_s)
{
    TRY(check_typ(r, j->typ));
    TRY(check_name("iss", claims->iss, r->iss));
    TRY(check_name("sub", claims->sub, r->sub));
    TRY(check_aud(r, claims));
    if (r->need_jti && claims->jti.p == NULL)
        return FAIL(ERR_JOSE_CLAIM, "jti is missing");
    if (r->jti_max > 0 && claims->jti.n > r->jti_max)
        return FAIL(ERR_JOSE_CLAIM, "jti is longer than %zu bytes", r->jti_max);
    return check_times(r, claims, now_s);
}
