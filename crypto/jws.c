/* SPDX-License-Identifier: Apache-2.0 */
#include "crypto/jws.h"

#include "crypto/b64u.h"
#include "crypto/internal.h"

enum { TYP_MAX = 64 };

/* Header members that end the reading of a token: keys that it points to (RFC 8725 section 3.10), and extensions, of
 * which none is understood (RFC 7515 section 4.1.11, RFC 7797). */
static const char *const refused_members[] = {"jku", "x5u", "x5c", "x5t", "x5t#S256", "crit", "b64", "zip"};

static struct err header_str(const struct json *header, const char *name, struct str *out)
{
    const struct json *v = json_get(header, name);
    if (v == NULL)
        return OK;
    if (v->type != JSON_STR)
        return FAIL(ERR_JOSE_MALFORMED, "header %s is not a string", name);
    *out = v->s;
    return OK;
}

/* RFC 7515 section 4.1.9: a media type, in which case does not matter, with "application/" left out or not. */
static struct err read_typ(struct arena *a, const struct json *header, struct str *out)
{
    struct str typ = {NULL, 0};
    TRY(header_str(header, "typ", &typ));
    if (typ.p == NULL)
        return OK;
    if (typ.n > TYP_MAX)
        return FAIL(ERR_JOSE_MALFORMED, "header typ is longer than %d bytes", TYP_MAX);
    char *lower = arena_alloc(a, typ.n);
    if (lower == NULL)
        return FAIL(ERR_NO_MEMORY, "typ");
    for (size_t i = 0; i < typ.n; i++)
        lower[i] = (char)(typ.p[i] >= 'A' && typ.p[i] <= 'Z' ? typ.p[i] | 0x20 : typ.p[i]);
    *out = (struct str){lower, typ.n};
    const struct str prefix = STR("application/");
    if (str_starts(*out, prefix) && memchr(lower + prefix.n, '/', typ.n - prefix.n) == NULL)
        *out = (struct str){lower + prefix.n, typ.n - prefix.n};
    return OK;
}

static struct err read_alg(const struct json *header, enum jose_alg *out)
{
    const struct json *v = json_get(header, "alg");
    if (v == NULL || v->type != JSON_STR)
        return FAIL(ERR_JOSE_ALG, "header alg is missing or not a string");
    return jose_alg_parse(v->s, out);
}

static struct err read_kid(const struct json *header, struct str *out)
{
    TRY(header_str(header, "kid", out));
    if (out->p != NULL && !jose_kid_ok(*out))
        return FAIL(ERR_JOSE_MALFORMED, "header kid is not 1 to %d characters of A-Z a-z 0-9 . _ ~ -", JWK_KID_MAX);
    return OK;
}

/* RFC 8725 section 3.10: a key in the token is none, but for the one kind of JWT that is made to bring it. */
static struct err read_jwk(const struct json *header, const struct json **out)
{
    const struct json *v = json_get(header, "jwk");
    if (out == NULL)
        return v == NULL ? OK : FAIL(ERR_JOSE_MALFORMED, "header member jwk is not accepted");
    *out = v;
    return v != NULL ? OK : FAIL(ERR_JOSE_MALFORMED, "header jwk is missing");
}

/* jwk == NULL: the key is known by other means, and the token may name it by kid only. */
static struct err read_header(struct arena *a, struct str encoded, struct jws *out, const struct json **jwk)
{
    if (encoded.n > B64U_LEN(JWS_HEADER_MAX))
        return FAIL(ERR_JOSE_MALFORMED, "header longer than %d bytes", JWS_HEADER_MAX);
    struct bytes text = {NULL, 0};
    TRY(b64u_decode(a, encoded, &text));
    const struct json *header = NULL;
    struct err e = json_parse(a, text, &header);
    if (e.code == ERR_INVALID_JSON)
        return err_as(e, ERR_JOSE_MALFORMED);
    TRY(e);
    if (header->type != JSON_OBJECT)
        return FAIL(ERR_JOSE_MALFORMED, "header is not a JSON object");
    for (size_t i = 0; i < COUNT(refused_members); i++) {
        if (json_get(header, refused_members[i]) != NULL)
            return FAIL(ERR_JOSE_MALFORMED, "header member %s is not accepted", refused_members[i]);
    }
    TRY(read_jwk(header, jwk));
    TRY(read_alg(header, &out->alg));
    if (jwk == NULL)
        TRY(read_kid(header, &out->kid));
    return read_typ(a, header, &out->typ);
}

/* RFC 7515 section 3.1: header.payload.signature, none of them empty (a detached payload is not served). */
static struct err split(struct str token, struct str seg[static 3])
{
    enum { SEGMENTS = 3 };
    size_t n = 0;
    size_t start = 0;
    for (size_t i = 0; i <= token.n; i++) {
        if (i < token.n && token.p[i] != '.')
            continue;
        if (n == SEGMENTS || i == start)
            return FAIL(ERR_JOSE_MALFORMED, n == SEGMENTS ? "more than three segments" : "an empty segment");
        seg[n++] = (struct str){token.p + start, i - start};
        start = i + 1;
    }
    return n == SEGMENTS ? OK : FAIL(ERR_JOSE_MALFORMED, "fewer than three segments");
}

static struct err parse(struct arena *a, struct str token, struct jws *out, const struct json **jwk)
{
    if (token.n > JWS_MAX)
        return FAIL(ERR_JOSE_MALFORMED, "token longer than %d bytes", JWS_MAX);
    struct str seg[3] = {0};
    TRY(split(token, seg));
    struct jws j = {.signing_input = {token.p, seg[0].n + 1 + seg[1].n}};
    TRY(read_header(a, seg[0], &j, jwk));
    TRY(b64u_decode(a, seg[1], &j.payload));
    TRY(b64u_decode(a, seg[2], &j.signature));
    *out = j;
    return OK;
}

struct err jws_parse(struct arena *a, struct str token, struct jws *out)
{
    return parse(a, token, out, NULL);
}

struct err jws_parse_with_jwk(struct arena *a, struct str token, struct jws *out, const struct json **jwk)
{
    return parse(a, token, out, jwk);
}

struct err jws_signing_input(struct arena *a, enum jose_alg alg, struct str kid, struct str typ, struct bytes payload,
                             struct str *out)
{
    struct buf header = buf_in(a, JWS_HEADER_MAX);
    struct json_writer w = json_writer_canonical(&header);
    json_begin_object(&w, NULL);
    json_put_str(&w, "alg", str_of(jose_alg_name(alg)));
    if (kid.p != NULL)
        json_put_str(&w, "kid", kid);
    if (typ.p != NULL)
        json_put_str(&w, "typ", typ);
    json_end_object(&w);
    TRY(buf_status(&header));
    struct buf input = buf_in(a, JWS_MAX);
    b64u_encode(&input, buf_bytes(&header));
    buf_char(&input, '.');
    b64u_encode(&input, payload);
    TRY(buf_status(&input));
    *out = buf_view(&input);
    return OK;
}

struct err jws_join(struct arena *a, struct str signing_input, struct bytes signature, struct str *out)
{
    struct buf token = buf_in(a, JWS_MAX);
    buf_str(&token, signing_input);
    buf_char(&token, '.');
    b64u_encode(&token, signature);
    TRY(buf_status(&token));
    *out = buf_view(&token);
    return OK;
}

struct err jws_sign(struct arena *a, const struct jws_signer *s, struct str typ, struct bytes payload, struct str *out)
{
    struct str input = {NULL, 0};
    TRY(jws_signing_input(a, s->alg, s->kid, typ, payload, &input));
    struct buf signature = buf_in(a, JOSE_SIG_MAX);
    TRY(s->sign(s->self, input, &signature));
    TRY(buf_status(&signature));
    return jws_join(a, input, buf_bytes(&signature), out);
}
