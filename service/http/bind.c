/* SPDX-License-Identifier: Apache-2.0
 * The body of a request as JSON. */
#include "service/http/http.h"

#include <strings.h>

static bool is_caseless(struct str s, const char *want)
{
    return s.n == strlen(want) && strncasecmp(s.p, want, s.n) == 0;
}

/* application/json, with charset=utf-8 at most (RFC 8259 section 11 defines no parameter; clients send that one). Any
 * other charset, a second parameter or a suffix type could make another reader see another text. */
static bool is_json(struct str type)
{
    const char *semicolon = type.n > 0 ? memchr(type.p, ';', type.n) : NULL;
    size_t head = semicolon != NULL ? (size_t)(semicolon - type.p) : type.n;
    if (!is_caseless(str_trim((struct str){type.p, head}), "application/json"))
        return false;
    if (semicolon == NULL)
        return true;
    struct str param = str_trim((struct str){semicolon + 1, type.n - head - 1});
    return is_caseless(param, "charset=utf-8") || is_caseless(param, "charset=\"utf-8\"");
}

struct err http_bind_json(const struct http_request *req, const struct json_field *table, size_t n,
                          enum json_unknown unknown, void *out)
{
    if (req->content_type.p == NULL || !is_json(req->content_type))
        return FAIL(ERR_UNSUPPORTED_MEDIA, "Content-Type must be application/json");
    if (req->body.n == 0)
        return FAIL(ERR_INVALID_JSON, "the body is empty");
    const struct json *root = NULL;
    TRY(json_parse(req->arena, str_bytes(req->body), &root));
    if (root->type != JSON_OBJECT)
        return FAIL(ERR_INVALID_JSON, "the body is not an object");
    return json_bind_object(root, table, n, unknown, req->arena, out);
}
