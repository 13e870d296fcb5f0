/* SPDX-License-Identifier: Apache-2.0 */
#include "hsm/signer/shape.h"

#include "crypto/b64u.h"
#include "crypto/json.h"

#include <stddef.h>

enum { ISSUED_WITHIN_S = 120, HEADER_MAX = 512, TYP_MAX = 32, ISS_MAX = 512 };

struct kind {
    const char *typ;        /* NULL: there are no more */
    int64_t lifetime_max_s; /* 0: has no exp, since it only says how things stand at iat (RFC 9701 section 5) */
};

struct rule {
    struct kind kinds[4];
};

/* A purpose without a kind signs nothing. */
static const struct rule rules[] = {
    [HSM_SESSION] = {{{"at+jwt", 3600}, {"nexus-selftest+jwt", 300}}},
    [HSM_KEK] = {{{NULL, 0}}},
    [HSM_CHECKPOINT] = {{{NULL, 0}}},
    [HSM_CALL] = {{{"nexus-call+jwt", 300}, {"nexus-selftest+jwt", 300}, {"token-introspection+jwt", 0}}},
};
_Static_assert(COUNT(rules) == HSM_PURPOSE_COUNT, "a purpose without a shape");

struct header {
    struct str alg, kid, typ;
};

static const struct json_field header_fields[] = {
    {"alg", BIND_STR, offsetof(struct header, alg), true, 1, TYP_MAX, 0},
    {"kid", BIND_STR, offsetof(struct header, kid), true, 1, JWK_KID_MAX, 0},
    {"typ", BIND_STR, offsetof(struct header, typ), true, 1, TYP_MAX, 0},
};

struct dates {
    struct str iss;
    struct json_int exp, iat;
};

/* The end of the year 9999: far from any overflow of a difference of two. */
#define DATE_MAX INT64_C(253402300799)

static const struct json_field payload_fields[] = {
    {"iss", BIND_STR, offsetof(struct dates, iss), true, 1, ISS_MAX, 0},
    {"exp", BIND_INT, offsetof(struct dates, exp), false, 0, DATE_MAX, 0},
    {"iat", BIND_INT, offsetof(struct dates, iat), true, 0, DATE_MAX, 0},
};

static bool is_kid(struct str kid)
{
    for (size_t i = 0; i < kid.n; i++) {
        char c = kid.p[i];
        bool plain = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        if (!plain && (c == '\0' || strchr("._~-", c) == NULL))
            return false;
    }
    return true;
}

static const struct kind *kind_of(const struct rule *r, struct str typ)
{
    for (const struct kind *k = r->kinds; k->typ != NULL; k++) {
        if (str_is(typ, k->typ))
            return k;
    }
    return NULL;
}

static struct err decode(struct arena *a, struct str segment, const struct json **out)
{
    struct bytes text;
    TRY(b64u_decode(a, segment, &text));
    return json_parse(a, text, out);
}

static struct err check_header(struct arena *a, enum jose_alg alg, struct str segment, struct str *typ)
{
    const struct json *obj = NULL;
    struct header h = {0};
    if (segment.n > HEADER_MAX)
        return FAIL(ERR_HSM_REFUSED, "a header of %zu characters", segment.n);
    TRY(decode(a, segment, &obj));
    TRY(json_bind_object(obj, header_fields, COUNT(header_fields), JSON_UNKNOWN_REFUSED, a, &h));
    if (!str_is(h.alg, jose_alg_name(alg)))
        return FAIL(ERR_HSM_REFUSED, "the header's alg is not that of the request");
    if (!is_kid(h.kid))
        return FAIL(ERR_HSM_REFUSED, "the header's kid is ill-formed");
    *typ = h.typ;
    return OK;
}

static struct err check_payload(struct arena *a, const struct kind *k, struct str segment, int64_t now_s)
{
    const struct json *obj = NULL;
    struct dates d = {0};
    TRY(decode(a, segment, &obj));
    TRY(json_bind_object(obj, payload_fields, COUNT(payload_fields), JSON_UNKNOWN_IGNORED, a, &d));
    int64_t lifetime = d.exp.v - d.iat.v;
    int64_t off = d.iat.v - now_s;
    if (d.exp.set != (k->lifetime_max_s > 0))
        return FAIL(ERR_HSM_REFUSED, "exp is %s", d.exp.set ? "there" : "missing");
    if (d.exp.set && (lifetime < 1 || lifetime > k->lifetime_max_s))
        return FAIL(ERR_HSM_REFUSED, "a lifetime of %lld s", (long long)lifetime);
    if (off < -ISSUED_WITHIN_S || off > ISSUED_WITHIN_S)
        return FAIL(ERR_HSM_REFUSED, "iat is %lld s off this machine's clock", (long long)off);
    return OK;
}

struct err shape_check(enum hsm_purpose purpose, enum jose_alg alg, struct bytes input, int64_t now_s, struct arena *a)
{
    const struct rule *r = &rules[purpose];
    struct str text = bytes_str(input);
    const char *dot = text.n > 0 ? memchr(text.p, '.', text.n) : NULL;
    if (dot == NULL)
        return FAIL(ERR_HSM_REFUSED, "not a JWS signing input");
    struct str header = {text.p, (size_t)(dot - text.p)};
    struct str payload = {dot + 1, text.n - header.n - 1};
    /* A second dot is no character of base64url, so decoding the payload refuses a third segment. */
    struct str typ = {NULL, 0};
    TRY(err_as(check_header(a, alg, header, &typ), ERR_HSM_REFUSED));
    const struct kind *kind = kind_of(r, typ);
    if (kind == NULL)
        return FAIL(ERR_HSM_REFUSED, "typ %.*s is not for this key", STR_FMT(typ));
    return err_as(check_payload(a, kind, payload, now_s), ERR_HSM_REFUSED);
}
