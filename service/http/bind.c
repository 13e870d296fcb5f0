/* SPDX-License-Identifier: Apache-2.0
 * The body of a request as JSON. */
#include "service/http/internal.h"

#include <strings.h>

static bool is_caseless(struct str s, const char *want)
{
    return s.n == strlen(want) && strncasecmp(s.p, want, s.n) == 0;
}

/* With charset=utf-8 at most (RFC 8259 section 11 defines no parameter, nor does the form's type; clients send that
 * one). Any other charset, a second parameter or a suffix type could make another reader see another text. */
static bool is_type(struct str sent, const char *type)
{
    const char *semicolon = sent.n > 0 ? memchr(sent.p, ';', sent.n) : NULL;
    size_t head = semicolon != NULL ? (size_t)(semicolon - sent.p) : sent.n;
    if (!is_caseless(str_trim((struct str){sent.p, head}), type))
        return false;
    if (semicolon == NULL)
        return true;
    struct str param = str_trim((struct str){semicolon + 1, sent.n - head - 1});
    return is_caseless(param, "charset=utf-8") || is_caseless(param, "charset=\"utf-8\"");
}

struct err http_check_type(const struct http_request *req, const char *type)
{
    if (req->content_type.p == NULL || !is_type(req->content_type, type))
        return FAIL(ERR_UNSUPPORTED_MEDIA, "send it with Content-Type %s", type);
    return OK;
}

struct err http_bind_json(const struct http_request *req, const struct json_field *table, size_t n,
                          enum json_unknown unknown, void *out)
{
    TRY(http_check_type(req, "application/json"));
    if (req->body.n == 0)
        return FAIL(ERR_INVALID_JSON, "the body is empty");
    const struct json *root = NULL;
    TRY(json_parse(req->arena, str_bytes(req->body), &root));
    if (root->type != JSON_OBJECT)
        return FAIL(ERR_INVALID_JSON, "the body is not an object");
    return json_bind_object(root, table, n, unknown, req->arena, out);
}
