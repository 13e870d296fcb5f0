/* SPDX-License-Identifier: Apache-2.0 */
#include "crypto/internal.h"

#include "crypto/b64u.h"

#include <stddef.h>

/* A member's text is at most the base64url of a modulus, so decoding it needs no more than this. */
enum { SCRATCH = 16384, TEXT_MAX = B64U_LEN(JWK_PUB_MAX), KEY_OPS_MAX = 8 };

/* The members that are understood. Others are ignored (RFC 7517 section 4), x5c and x5u among them: the register says
 * which key is whose, no certificate does. */
struct members {
    struct str kty, crv, alg, kid, use;
    struct str x, y, n, e;
    struct str_list key_ops;
};

static const struct json_field member_table[] = {
    {"kty", BIND_STR, offsetof(struct members, kty), .required = true, .max = 16},
    {"crv", BIND_STR, offsetof(struct members, crv), .max = 16},
    {"alg", BIND_STR, offsetof(struct members, alg), .max = 32},
    {"kid", BIND_STR, offsetof(struct members, kid), .max = JWK_KID_MAX},
    {"use", BIND_STR, offsetof(struct members, use), .max = 16},
    {"key_ops", BIND_STR_LIST, offsetof(struct members, key_ops), .max = KEY_OPS_MAX},
    {"x", BIND_STR, offsetof(struct members, x), .max = TEXT_MAX},
    {"y", BIND_STR, offsetof(struct members, y), .max = TEXT_MAX},
    {"n", BIND_STR, offsetof(struct members, n), .max = TEXT_MAX},
    {"e", BIND_STR, offsetof(struct members, e), .max = 16},
};

/* RFC 7518 sections 6.2.2, 6.3.2 and 6.4, RFC 8037 section 2: what only a private or symmetric key has. */
static struct err refuse_private(const struct json *obj)
{
    static const char *const private_members[] = {"d", "p", "q", "dp", "dq", "qi", "oth", "k"};
    for (size_t i = 0; i < COUNT(private_members); i++) {
        if (json_get(obj, private_members[i]) != NULL)
            return FAIL(ERR_INVALID_JWKS,
                        "member \"%s\" belongs to a private or symmetric key: send the public key only",
                        private_members[i]);
    }
    return OK;
}

static struct err check_purpose(const struct members *m)
{
    if (m->use.p != NULL && !str_is(m->use, "sig"))
        return FAIL(ERR_INVALID_JWKS, "use must be \"sig\"");
    if (m->key_ops.v == NULL)
        return OK;
    for (size_t i = 0; i < m->key_ops.n; i++) {
        if (str_is(m->key_ops.v[i], "verify"))
            return OK;
    }
    return FAIL(ERR_INVALID_JWKS, "key_ops must hold \"verify\"");
}

static bool fits(const struct members *m, enum jose_alg alg)
{
    const struct jose_alg_info *info = jose_alg_info(alg);
    return str_is(m->kty, jose_kty_name(info->kty)) && (info->crv == NULL || str_is(m->crv, info->crv));
}

/* RFC 8725 section 3.1: the key settles its algorithm, before any token is looked at. */
static struct err choose_alg(const struct members *m, enum jose_alg *out)
{
    static const enum jose_alg by_type[] = {JOSE_ES256, JOSE_ES384, JOSE_RS256, JOSE_EDDSA};
    if (m->alg.p != NULL) {
        TRY(err_as(jose_alg_parse(m->alg, out), ERR_INVALID_JWKS));
        return fits(m, *out) ? OK : FAIL(ERR_INVALID_JWKS, "alg does not fit kty and crv");
    }
    for (size_t i = 0; i < COUNT(by_type); i++) {
        if (fits(m, by_type[i])) {
            *out = by_type[i];
            return OK;
        }
    }
    return FAIL(ERR_INVALID_JWKS, "kty and crv must be EC with P-256 or P-384, OKP with Ed25519, or RSA");
}

static struct err decode(struct arena *a, const char *name, struct str text, struct bytes *out)
{
    if (text.p == NULL)
        return FAIL(ERR_INVALID_JWKS, "%s is missing", name);
    struct err e = b64u_decode(a, text, out);
    return e.code == ERR_JOSE_MALFORMED ? FAIL(ERR_INVALID_JWKS, "%s is not base64url without padding", name) : e;
}

/* The public bytes as struct jwk holds them. */
static struct err public_bytes(struct arena *a, const struct members *m, const struct jose_alg_info *info,
                               struct bytes *out)
{
    if (info->kty == JOSE_KTY_OKP)
        return decode(a, "x", m->x, out);
    if (info->kty == JOSE_KTY_RSA) {
        struct bytes e = {NULL, 0};
        TRY(decode(a, "e", m->e, &e));
        TRY(jwk_check_exponent(e));
        return decode(a, "n", m->n, out);
    }
    struct bytes x = {NULL, 0};
    struct bytes y = {NULL, 0};
    TRY(decode(a, "x", m->x, &x));
    TRY(decode(a, "y", m->y, &y));
    /* RFC 7518 section 6.2.1.2: full length, leading zeros kept. */
    if (x.n != info->part || y.n != info->part)
        return FAIL(ERR_INVALID_JWKS, "x and y of %s must have %zu bytes each", info->crv, info->part);
    struct buf xy = buf_in(a, 2 * info->part);
    buf_add(&xy, x.p, x.n);
    buf_add(&xy, y.p, y.n);
    TRY(buf_status(&xy));
    *out = buf_bytes(&xy);
    return OK;
}

static struct err read_members(struct arena *a, const struct json *obj, struct members *out)
{
    TRY(refuse_private(obj));
    struct err e = json_bind_object(obj, member_table, COUNT(member_table), JSON_UNKNOWN_IGNORED, a, out);
    if (e.code == ERR_INVALID_REQUEST)
        return err_as(e, ERR_INVALID_JWKS);
    TRY(e);
    return check_purpose(out);
}

struct err jwk_parse(const struct crypto *c, const struct json *obj, struct jwk **out)
{
    CLEANUP(arena_free) struct arena *scratch = NULL;
    TRY(arena_new(SCRATCH, &scratch));
    struct members m = {0};
    TRY(read_members(scratch, obj, &m));
    enum jose_alg alg = JOSE_ALG_COUNT;
    TRY(choose_alg(&m, &alg));
    struct bytes pub = {NULL, 0};
    TRY(public_bytes(scratch, &m, jose_alg_info(alg), &pub));
    return jwk_make(c, alg, pub, m.kid, out);
}

struct err jwk_parse_as(const struct crypto *c, const struct json *obj, enum jose_alg alg, struct jwk **out)
{
    CLEANUP(arena_free) struct arena *scratch = NULL;
    TRY(arena_new(SCRATCH, &scratch));
    struct members m = {0};
    TRY(read_members(scratch, obj, &m));
    if (m.alg.p != NULL && !str_is(m.alg, jose_alg_name(alg)))
        return FAIL(ERR_INVALID_JWKS, "alg is not that of the header");
    if (!fits(&m, alg))
        return FAIL(ERR_INVALID_JWKS, "kty and crv do not fit the alg of the header");
    struct bytes pub = {NULL, 0};
    TRY(public_bytes(scratch, &m, jose_alg_info(alg), &pub));
    return jwk_make(c, alg, pub, (struct str){NULL, 0}, out);
}
