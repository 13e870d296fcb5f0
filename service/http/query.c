/* SPDX-License-Identifier: Apache-2.0
 * Percent-decoding and query parameters (RFC 3986 section 2.1, and the + of HTML forms). */
#include "service/http/internal.h"

enum { PARAMS_MAX = 32 };

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

/* Length of the UTF-8 sequence at p by RFC 3629 (no overlong forms, surrogates, or values past U+10FFFF); 0: none. */
static size_t utf8_length(const unsigned char *p, size_t n)
{
    if (p[0] < 0x80)
        return 1;
    size_t len = p[0] >= 0xc2 && p[0] <= 0xdf ? 2 : (p[0] & 0xf0) == 0xe0 ? 3 : p[0] >= 0xf0 && p[0] <= 0xf4 ? 4 : 0;
    if (len == 0 || n < len)
        return 0;
    for (size_t i = 1; i < len; i++) {
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    }
    bool overlong = (p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xf0 && p[1] < 0x90);
    bool surrogate = p[0] == 0xed && p[1] > 0x9f;
    bool beyond = p[0] == 0xf4 && p[1] > 0x8f;
    return overlong || surrogate || beyond ? 0 : len;
}

static bool is_utf8(struct str s)
{
    for (size_t i = 0; i < s.n;) {
        size_t len = utf8_length((const unsigned char *)s.p + i, s.n - i);
        if (len == 0)
            return false;
        i += len;
    }
    return true;
}

struct err http_percent_decode(struct arena *a, struct str in, bool plus_is_space, struct str *out)
{
    char *to = arena_alloc(a, in.n);
    if (to == NULL)
        return FAIL(ERR_NO_MEMORY, "%zu bytes to decode", in.n);
    size_t n = 0;
    for (size_t i = 0; i < in.n; i++) {
        char c = in.p[i];
        if (c == '%') {
            int hi = i + 2 < in.n ? hex_digit(in.p[i + 1]) : -1;
            int lo = i + 2 < in.n ? hex_digit(in.p[i + 2]) : -1;
            if (hi < 0 || lo < 0)
                return FAIL(ERR_INVALID_REQUEST, "a percent sign is not followed by two hexadecimal digits");
            c = (char)(hi * 16 + lo);
            i += 2;
        } else if (c == '+' && plus_is_space) {
            c = ' ';
        }
        if (c == '\0')
            return FAIL(ERR_INVALID_REQUEST, "the text holds a NUL byte");
        to[n++] = c;
    }
    *out = (struct str){to, n};
    return is_utf8(*out) ? OK : FAIL(ERR_INVALID_REQUEST, "the text is not UTF-8 when decoded");
}

bool http_next_param(struct str *rest, struct str *name, struct str *value, bool *has_value)
{
    if (rest->p == NULL)
        return false;
    const char *amp = rest->n > 0 ? memchr(rest->p, '&', rest->n) : NULL;
    struct str param = {rest->p, amp != NULL ? (size_t)(amp - rest->p) : rest->n};
    *rest = amp != NULL ? (struct str){amp + 1, rest->n - param.n - 1} : (struct str){NULL, 0};
    const char *eq = param.n > 0 ? memchr(param.p, '=', param.n) : NULL;
    *has_value = eq != NULL;
    *name = (struct str){param.p, eq != NULL ? (size_t)(eq - param.p) : param.n};
    *value = eq != NULL ? (struct str){eq + 1, param.n - name->n - 1} : (struct str){param.p + param.n, 0};
    return true;
}

struct err http_query(const struct http_request *req, const char *name, struct str *out)
{
    *out = (struct str){NULL, 0};
    struct str rest = req->query, key, raw, value = {NULL, 0};
    bool has_value = false;
    while (http_next_param(&rest, &key, &raw, &has_value)) {
        TRY(http_percent_decode(req->arena, key, true, &key));
        if (!str_is(key, name))
            continue;
        if (value.p != NULL)
            return FAIL(ERR_INVALID_REQUEST, "the parameter %s is given twice", name);
        if (!has_value)
            return FAIL(ERR_INVALID_REQUEST, "the parameter %s has no value", name);
        TRY(http_percent_decode(req->arena, raw, true, &value));
    }
    *out = value;
    return OK;
}

struct err http_query_only(const struct http_request *req, const char *const *names, size_t n)
{
    struct str rest = req->query, key, raw;
    bool has_value = false;
    size_t count = 0;
    while (http_next_param(&rest, &key, &raw, &has_value)) {
        if (++count > PARAMS_MAX)
            return FAIL(ERR_INVALID_REQUEST, "more than %d query parameters", PARAMS_MAX);
        TRY(http_percent_decode(req->arena, key, true, &key));
        bool known = false;
        for (size_t i = 0; i < n && !known; i++)
            known = str_is(key, names[i]);
        if (!known)
            return FAIL(ERR_INVALID_REQUEST, "the query parameter '%.*s' is not known here",
                        (int)(key.n < 64 ? key.n : 64), key.p);
    }
    return OK;
}
