/* SPDX-License-Identifier: Apache-2.0 */
#include "service/http/http.h"

#include <stdlib.h>
#include <strings.h>

static const char *const method_names[] = {
    [HTTP_GET] = "GET",     [HTTP_HEAD] = "HEAD",     [HTTP_POST] = "POST",   [HTTP_PUT] = "PUT",
    [HTTP_PATCH] = "PATCH", [HTTP_DELETE] = "DELETE", [HTTP_OTHER] = "OTHER",
};

const char *http_method_name(enum http_method m)
{
    return (size_t)m < COUNT(method_names) ? method_names[m] : method_names[HTTP_OTHER];
}

void http_add_header(struct http_reply *r, const char *name, struct str value)
{
    if (r->n_headers >= HTTP_REPLY_HEADERS)
        abort();
    r->headers[r->n_headers++] = (struct http_header){name, value};
}

void http_set_header(struct http_reply *r, const char *name, struct str value)
{
    for (size_t i = 0; i < r->n_headers; i++) {
        if (strcasecmp(r->headers[i].name, name) == 0) {
            r->headers[i].value = value;
            return;
        }
    }
    http_add_header(r, name, value);
}

/* A detail may quote a caller's bytes, and its end may be cut within a character: only ASCII is passed on. */
static struct str ascii_detail(struct arena *a, const struct err *e)
{
    char *p = arena_alloc(a, sizeof e->detail);
    if (p == NULL)
        return STR("");
    size_t n = strnlen(e->detail, sizeof e->detail - 1);
    for (size_t i = 0; i < n; i++)
        p[i] = (unsigned char)e->detail[i] < 0x80 ? e->detail[i] : '?';
    return (struct str){p, n};
}

static struct str error_body(struct arena *a, const struct err *e, const struct err_public *pub)
{
    enum { ERROR_BODY_MAX = 2048 };
    struct str text = str_of(pub->text);
    if (pub->show_detail && e->detail[0] != '\0') {
        struct str detail = ascii_detail(a, e);
        struct str full = arena_printf(a, "%s: %.*s", pub->text, STR_FMT(detail));
        text = full.p != NULL ? full : text;
    }
    struct buf body = buf_in(a, ERROR_BODY_MAX);
    struct json_writer w = json_writer(&body);
    json_begin_object(&w, NULL);
    json_put_str(&w, "error", str_of(pub->code));
    json_put_str(&w, "message", text);
    json_end_object(&w);
    struct err failed = buf_status(&body);
    if (err_is(&failed))
        return STR("{\"error\":\"out_of_memory\",\"message\":\"The broker is short of memory; try again shortly\"}");
    return buf_view(&body);
}

void http_reply_error(const struct http_request *req, const struct err *e, struct http_reply *out)
{
    enum { UNAUTHORIZED = 401, TOO_MANY = 429, UNAVAILABLE = 503 };
    const struct err_public *pub = err_public(e->code);
    *out = (struct http_reply){.status = pub->status, .content_type = "application/json", .outcome = pub->code};
    out->body = error_body(req->arena, e, pub);
    /* RFC 9110 section 11.6.1: a 401 names a scheme. RFC 6750 section 3.1: no error code when nothing was presented. */
    if (pub->status == UNAUTHORIZED)
        http_add_header(out, "WWW-Authenticate",
                        http_bearer(req).p != NULL ? STR("Bearer realm=\"nexus\", error=\"invalid_token\"")
                                                   : STR("Bearer realm=\"nexus\""));
    if (pub->status == UNAVAILABLE || pub->status == TOO_MANY)
        http_add_header(out, "Retry-After", STR("1"));
}

struct buf http_body(const struct http_request *req)
{
    return buf_in(req->arena, HTTP_BODY_MAX);
}

struct err http_reply_json(int status, const struct buf *body, struct http_reply *out)
{
    TRY(buf_status(body));
    out->status = status;
    out->content_type = "application/json";
    out->body = buf_view(body);
    out->outcome = "ok";
    http_set_header(out, "Cache-Control", STR("no-store"));
    return OK;
}

struct str http_bearer(const struct http_request *req)
{
    const struct str none = {NULL, 0};
    const struct str scheme = STR("Bearer");
    struct str v = req->authorization;
    /* RFC 9110 section 11.1: the scheme is case-insensitive, then at least one space. */
    if (v.p == NULL || v.n <= scheme.n || strncasecmp(v.p, scheme.p, scheme.n) != 0 || v.p[scheme.n] != ' ')
        return none;
    struct str token = str_trim((struct str){v.p + scheme.n, v.n - scheme.n});
    return token.n > 0 ? token : none;
}
