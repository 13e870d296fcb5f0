/* SPDX-License-Identifier: Apache-2.0 */
#include "crypto/dpop.h"

#include "crypto/b64u.h"
#include "crypto/internal.h"

#include <stddef.h>
#include <strings.h>

struct claims {
    struct str jti, htm, htu, nonce;
    struct json_int iat, exp, nbf;
    const struct json *all;
};

/* RFC 9449 section 4.2. Claims that are not named here are ignored. */
static const struct json_field claim_table[] = {
    {"jti", BIND_STR, offsetof(struct claims, jti), .required = true, .min = 1, .max = DPOP_JTI_MAX},
    {"htm", BIND_STR, offsetof(struct claims, htm), .required = true},
    {"htu", BIND_STR, offsetof(struct claims, htu), .required = true},
    {"nonce", BIND_STR, offsetof(struct claims, nonce), .max = DPOP_NONCE_MAX},
    {"iat", BIND_INT, offsetof(struct claims, iat), .required = true, .max = JSON_INT_MAX},
    {"exp", BIND_INT, offsetof(struct claims, exp), .max = JSON_INT_MAX},
    {"nbf", BIND_INT, offsetof(struct claims, nbf), .max = JSON_INT_MAX},
};

/* Takes off s, and returns, what stands before the first of these characters. s holds no NUL. */
static struct str take_until(struct str *s, const char *stops)
{
    struct str head = {s->p, 0};
    while (head.n < s->n && strchr(stops, s->p[head.n]) == NULL)
        head.n++;
    *s = (struct str){s->p + head.n, s->n - head.n};
    return head;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    char lower = (char)(c | 0x20);
    return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

static void put_cased(struct buf *b, char c, bool lower)
{
    buf_char(b, (char)(lower && c >= 'A' && c <= 'Z' ? c | 0x20 : c));
}

/* RFC 3986 sections 6.2.2.1 and 6.2.2.2: an unreserved character stands as itself, any other percent-encoding has its
 * digits in upper case. */
static struct err put_decoded(struct buf *b, struct str s, bool lower)
{
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] != '%') {
            put_cased(b, s.p[i], lower);
            continue;
        }
        int high = i + 2 < s.n ? hex_digit(s.p[i + 1]) : -1;
        int low = i + 2 < s.n ? hex_digit(s.p[i + 2]) : -1;
        if (high < 0 || low < 0)
            return FAIL(ERR_INVALID_REQUEST, "has a %% without two hexadecimal digits");
        unsigned byte = (unsigned)high << 4 | (unsigned)low;
        if (is_unreserved((char)byte))
            put_cased(b, (char)byte, lower);
        else
            buf_printf(b, "%%%02X", byte);
        i += 2;
    }
    return OK;
}

/* RFC 3986 sections 3.2 and 6.2.3: a port that is empty or the scheme's own is left out. */
static struct err put_authority(struct buf *b, struct str authority, const char *default_port)
{
    if (memchr(authority.p, '@', authority.n) != NULL)
        return FAIL(ERR_INVALID_REQUEST, "has user information");
    struct str port = authority;
    struct str literal = {authority.p, 0}; /* an IPv6 address has colons of its own */
    if (str_starts(authority, STR("[")))
        literal = take_until(&port, "]");
    struct str host = take_until(&port, ":");
    host = (struct str){authority.p, literal.n + host.n};
    if (host.n == 0)
        return FAIL(ERR_INVALID_REQUEST, "has no host");
    TRY(put_decoded(b, host, true));
    for (size_t i = 1; i < port.n; i++) {
        if (port.p[i] < '0' || port.p[i] > '9')
            return FAIL(ERR_INVALID_REQUEST, "has a port that is no number");
    }
    if (port.n > 1 && !str_is((struct str){port.p + 1, port.n - 1}, default_port))
        buf_str(b, port);
    return OK;
}

static bool begins_with(struct str s, const char *prefix)
{
    size_t n = strlen(prefix);
    return s.n >= n && strncasecmp(s.p, prefix, n) == 0;
}

/* path is empty or begins with a slash. */
static bool has_dot_segment(struct str path)
{
    while (path.n > 0) {
        path = (struct str){path.p + 1, path.n - 1};
        struct str segment = take_until(&path, "/");
        if (str_is(segment, ".") || str_is(segment, ".."))
            return true;
    }
    return false;
}

/* An http or https URL without query and fragment, normalised by RFC 3986 sections 6.2.2 and 6.2.3, so that equal URLs
 * are equal texts. Dot segments are refused, not resolved: whoever routes requests may see another path in them.
 * ERR_INVALID_REQUEST with a detail that goes on after the URL's name. */
static struct err normalise(struct arena *a, struct str url, struct str *out)
{
    static const struct {
        const char *prefix, *port;
    } schemes[] = {{"https://", "443"}, {"http://", "80"}};
    for (size_t i = 0; i < url.n; i++) {
        if (url.p[i] <= 0x20 || url.p[i] >= 0x7f)
            return FAIL(ERR_INVALID_REQUEST, "has a control byte, a space or a byte that is not ASCII");
    }
    size_t s = 0;
    while (s < COUNT(schemes) && !begins_with(url, schemes[s].prefix))
        s++;
    if (s == COUNT(schemes))
        return FAIL(ERR_INVALID_REQUEST, "is not an http or https URL");
    struct buf b = buf_in(a, url.n + 1); /* the slash of an empty path is all that can be added */
    buf_cstr(&b, schemes[s].prefix);
    struct str rest = {url.p + b.n, url.n - b.n};
    TRY(put_authority(&b, take_until(&rest, "/?#"), schemes[s].port));
    size_t before_path = b.n;
    struct str path = take_until(&rest, "?#");
    TRY(put_decoded(&b, path.n > 0 ? path : STR("/"), false));
    TRY(buf_status(&b));
    *out = buf_view(&b);
    if (has_dot_segment((struct str){out->p + before_path, out->n - before_path}))
        return FAIL(ERR_INVALID_REQUEST, "has a dot segment");
    return OK;
}

/* Checks 8 and 9. */
static struct err check_request(struct arena *a, const struct claims *claims, const struct dpop_expect *e)
{
    /* RFC 9110 section 9.1: methods are case-sensitive. */
    if (!str_eq(claims->htm, e->method))
        return FAIL(ERR_DPOP_PROOF, "htm is not the method of this request");
    struct str ours = {NULL, 0};
    struct str theirs = {NULL, 0};
    TRY(err_refused_as(normalise(a, e->url, &ours), ERR_INTERNAL));
    struct err bad = normalise(a, claims->htu, &theirs);
    if (bad.code == ERR_INVALID_REQUEST)
        return FAIL(ERR_DPOP_PROOF, "htu %s", bad.detail);
    TRY(bad);
    return str_eq(ours, theirs) ? OK : FAIL(ERR_DPOP_PROOF, "htu is not the URL of this endpoint");
}

/* Check 11 and section 11.1. nbf has the allowance of iat, as in FAPI 2.0; exp has none. */
static struct err check_times(const struct claims *claims, int64_t now)
{
    if (claims->iat.v < now - DPOP_IAT_PAST_S)
        return FAIL(ERR_DPOP_PROOF, "iat is more than %d s past", DPOP_IAT_PAST_S);
    if (claims->iat.v > now + DPOP_IAT_AHEAD_S)
        return FAIL(ERR_DPOP_PROOF, "iat is more than %d s ahead", DPOP_IAT_AHEAD_S);
    if (claims->nbf.set && claims->nbf.v > now + DPOP_IAT_AHEAD_S)
        return FAIL(ERR_DPOP_PROOF, "nbf is more than %d s ahead", DPOP_IAT_AHEAD_S);
    if (claims->exp.set && claims->exp.v <= now)
        return FAIL(ERR_DPOP_PROOF, "exp is past");
    return OK;
}

/* Check 12 a. Section 4.2 defines ath for a proof with an access token only, so without one it says nothing. */
static struct err check_ath(const struct crypto *c, struct arena *a, const struct json *payload, struct str token)
{
    if (token.p == NULL)
        return OK;
    const struct json *ath = json_get(payload, "ath");
    if (ath == NULL || ath->type != JSON_STR)
        return FAIL(ERR_DPOP_PROOF, "ath is missing or not a string");
    uint8_t hash[SHA256_LEN];
    TRY(crypto_sha256(c, str_bytes(token), hash));
    struct str want = b64u_text(a, bytes_of(hash, sizeof hash));
    if (want.p == NULL)
        return FAIL(ERR_NO_MEMORY, "ath");
    return str_eq(ath->s, want) ? OK : FAIL(ERR_DPOP_PROOF, "ath is not the hash of the access token");
}

/* Checks 5 to 7. */
static struct err check_key(const struct crypto *c, const struct jws *j, const struct json *jwk,
                            char jkt[static DPOP_JKT_LEN + 1])
{
    CLEANUP(jwk_free) struct jwk *k = NULL;
    struct err e = jwk_parse_as(c, jwk, j->alg, &k);
    if (e.code == ERR_INVALID_JWKS)
        return FAIL(ERR_DPOP_PROOF, "jwk: %s", e.detail);
    TRY(e);
    TRY(jws_verify(c, j, k));
    memcpy(jkt, jwk_kid(k).p, DPOP_JKT_LEN);
    return OK;
}

static struct err read_claims(struct arena *a, struct bytes payload, struct claims *out)
{
    TRY(json_parse(a, payload, &out->all));
    return json_bind_object(out->all, claim_table, COUNT(claim_table), JSON_UNKNOWN_IGNORED, a, out);
}

/* The signature comes last: it costs the most, and a proof for something else needs none of it. */
static struct err check(const struct crypto *c, struct arena *a, struct str proof, const struct dpop_expect *e,
                        struct dpop_proof *out)
{
    if (proof.n > DPOP_PROOF_MAX)
        return FAIL(ERR_DPOP_PROOF, "longer than %d bytes", DPOP_PROOF_MAX);
    struct jws j = {0};
    const struct json *jwk = NULL;
    TRY(jws_parse_with_jwk(a, proof, &j, &jwk));
    /* Check 4. */
    if (!str_is(j.typ, "dpop+jwt"))
        return FAIL(ERR_DPOP_PROOF, "typ must be dpop+jwt");
    struct claims claims = {0};
    TRY(read_claims(a, j.payload, &claims));
    TRY(check_request(a, &claims, e));
    TRY(check_times(&claims, e->now_s));
    TRY(check_ath(c, a, claims.all, e->access_token));
    TRY(check_key(c, &j, jwk, out->jkt));
    out->nonce = claims.nonce;
    /* As long as it could pass again, and at a broker whose clock is behind that of who forgets. */
    out->replay_until_us = (claims.iat.v + DPOP_IAT_PAST_S + DPOP_IAT_AHEAD_S) * 1000000;
    return crypto_sha256(c, str_bytes(claims.jti), out->jti_sha256);
}

struct err dpop_check(const struct crypto *c, struct arena *a, struct str proof, const struct dpop_expect *e,
                      struct dpop_proof *out)
{
    struct dpop_proof p = {0};
    TRY(err_refused_as(check(c, a, proof, e, &p), ERR_DPOP_PROOF));
    *out = p;
    return OK;
}
