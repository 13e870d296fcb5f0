/* SPDX-License-Identifier: Apache-2.0
 * Refusals: what a caller sees of an error. */
#include "service/http/http.h"

#include "crypto/jwk.h"

#include <stdio.h>

enum { UNAUTHORIZED = 401, TOO_MANY = 429, UNAVAILABLE = 503 };

struct err_public http_error_public(enum err_code code, bool oauth)
{
    return oauth ? err_oauth(code) : *err_public(code);
}

static const char *text_member(bool oauth)
{
    return oauth ? "error_description" : "message";
}

struct str http_error_body(const struct err_public *pub, bool oauth, char *to, size_t max)
{
    /* The table's codes and texts need no escapes. */
    int n = snprintf(to, max, "{\"error\":\"%s\",\"%s\":\"%s\"}", pub->code, text_member(oauth), pub->text);
    return (struct str){to, n > 0 && (size_t)n < max ? (size_t)n : 0};
}

/* A detail may quote a caller's bytes: only printable ASCII is passed on. RFC 6749 section 5.2 leaves out the quotation
 * mark and the backslash, too. */
static char public_char(char c, bool oauth)
{
    if (c < 0x20 || c >= 0x7f)
        return '?';
    return oauth && (c == '"' || c == '\\') ? '\'' : c;
}

static struct str public_text(struct arena *a, const struct err *e, const struct err_public *pub, bool oauth)
{
    enum { TEXT_MAX = 1024 };
    if (!pub->show_detail || e->detail[0] == '\0')
        return str_of(pub->text);
    struct buf b = buf_in(a, TEXT_MAX);
    buf_printf(&b, "%s: ", pub->text);
    for (size_t i = 0; i < sizeof e->detail && e->detail[i] != '\0'; i++)
        buf_char(&b, public_char(e->detail[i], oauth));
    struct err failed = buf_status(&b);
    return err_is(&failed) ? str_of(pub->text) : buf_view(&b);
}

static struct str error_body(const struct http_request *req, const struct err *e, const struct err_public *pub)
{
    enum { ERROR_BODY_MAX = 2048 };
    struct buf body = buf_in(req->arena, ERROR_BODY_MAX);
    struct json_writer w = json_writer(&body);
    json_begin_object(&w, NULL);
    json_put_str(&w, "error", str_of(pub->code));
    json_put_str(&w, text_member(req->oauth), public_text(req->arena, e, pub, req->oauth));
    json_end_object(&w);
    struct err failed = buf_status(&body);
    if (!err_is(&failed))
        return buf_view(&body);
    return req->oauth ? STR("{\"error\":\"temporarily_unavailable\",\"error_description\":\"The broker is short of "
                            "memory; try again shortly\"}")
                      : STR("{\"error\":\"out_of_memory\",\"message\":\"The broker is short of memory; try again "
                            "shortly\"}");
}

static bool is_dpop_error(enum err_code code)
{
    return code == ERR_DPOP_PROOF || code == ERR_DPOP_NONCE || code == ERR_DPOP_MISSING;
}

/* RFC 9449 section 7.1: what to sign proofs with. */
static void add_algs(struct buf *b)
{
    buf_cstr(b, ", algs=\"");
    for (int alg = 0; alg < JOSE_ALG_COUNT; alg++)
        buf_printf(b, "%s%s", alg > 0 ? " " : "", jose_alg_name((enum jose_alg)alg));
    buf_char(b, '"');
}

/* RFC 9728 section 5.1: where a client learns who issues the tokens that this resource takes. */
static void add_resource_metadata(struct buf *b, struct str issuer)
{
    struct str origin, path;
    http_split_origin(issuer, &origin, &path);
    buf_printf(b, ", resource_metadata=\"%.*s" HTTP_RESOURCE_METADATA "%.*s\"", STR_FMT(origin), STR_FMT(path));
}

/* RFC 9110 section 11.6.1: a 401 names a scheme; it is the one that the caller used, if we know it. The OAuth endpoints
 * are no protected resource, but for API keys, which are bearer tokens. */
static struct str challenge(const struct http_request *req, const struct err *e)
{
    enum { CHALLENGE_MAX = 1000 };
    struct buf b = buf_in(req->arena, CHALLENGE_MAX);
    bool dpop = !req->oauth && http_dpop_token(req).p != NULL;
    buf_cstr(&b, dpop ? "DPoP realm=\"nexus\"" : "Bearer realm=\"nexus\"");
    /* RFC 6750 section 3.1: no error code when nothing was presented. */
    if (dpop || http_bearer(req).p != NULL)
        buf_printf(&b, ", error=\"%s\"", is_dpop_error(e->code) ? err_public(e->code)->code : "invalid_token");
    if (dpop)
        add_algs(&b);
    if (!req->oauth && req->issuer.p != NULL)
        add_resource_metadata(&b, req->issuer);
    struct err failed = buf_status(&b);
    return err_is(&failed) ? STR("Bearer realm=\"nexus\"") : buf_view(&b);
}

void http_reply_error(const struct http_request *req, const struct err *e, struct http_reply *out)
{
    struct err_public pub = http_error_public(e->code, req->oauth);
    /* RFC 9449 sections 7.1 and 9: to a resource, a proof that does not do makes the token useless. */
    if (!req->oauth && is_dpop_error(e->code) && http_dpop_token(req).p != NULL)
        pub.status = UNAUTHORIZED;
    *out = (struct http_reply){.status = pub.status, .content_type = "application/json", .outcome = pub.code};
    out->body = error_body(req, e, &pub);
    if (pub.status == UNAUTHORIZED)
        http_add_header(out, "WWW-Authenticate", challenge(req, e));
    if (pub.status == UNAVAILABLE || pub.status == TOO_MANY)
        http_add_header(out, "Retry-After", STR("1"));
}
