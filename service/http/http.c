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

/* RFC 9110 section 11.1: the scheme is case-insensitive, then at least one space. */
static struct str token_of(const struct http_request *req, struct str scheme)
{
    const struct str none = {NULL, 0};
    struct str v = req->authorization;
    if (v.p == NULL || v.n <= scheme.n || strncasecmp(v.p, scheme.p, scheme.n) != 0 || v.p[scheme.n] != ' ')
        return none;
    struct str token = str_trim((struct str){v.p + scheme.n, v.n - scheme.n});
    return token.n > 0 ? token : none;
}

struct str http_bearer(const struct http_request *req)
{
    return token_of(req, STR("Bearer"));
}

struct str http_dpop_token(const struct http_request *req)
{
    return token_of(req, STR("DPoP"));
}

void http_split_origin(struct str url, struct str *origin, struct str *path)
{
    const struct str mark = STR("://");
    const char *end = url.p + url.n;
    const char *at = memmem(url.p, url.n, mark.p, mark.n);
    const char *host = at != NULL ? at + mark.n : url.p;
    const char *slash = memchr(host, '/', (size_t)(end - host));
    const char *cut = slash != NULL ? slash : end;
    *origin = (struct str){url.p, (size_t)(cut - url.p)};
    *path = (struct str){cut, (size_t)(end - cut)};
}
