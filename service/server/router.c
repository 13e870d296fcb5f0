/* SPDX-License-Identifier: Apache-2.0 */
#include "service/server/router.h"

/* Takes the text up to the next '/' off the front. */
static struct str next_segment(struct str *rest)
{
    const char *slash = rest->n > 0 ? memchr(rest->p, '/', rest->n) : NULL;
    struct str segment = {rest->p, slash != NULL ? (size_t)(slash - rest->p) : rest->n};
    size_t eaten = slash != NULL ? segment.n + 1 : segment.n;
    *rest = (struct str){rest->p + eaten, rest->n - eaten};
    return segment;
}

static size_t count_slashes(struct str s)
{
    size_t n = 0;
    for (size_t i = 0; i < s.n; i++)
        n += s.p[i] == '/';
    return n;
}

/* Both begin with '/'. Fixed segments must be equal byte for byte: an encoded spelling of them is another path. */
static bool fits(const char *pattern, struct str path, struct str args[static HTTP_PATH_ARGS])
{
    struct str want = str_of(pattern);
    bool open_ended = want.p[want.n - 1] == '*';
    size_t deep = count_slashes(path), wanted = count_slashes(want), n_args = 0;
    if (open_ended ? deep < wanted : deep != wanted)
        return false;
    while (want.n > 0) {
        struct str w = next_segment(&want);
        if (str_is(w, "*"))
            return path.n > 0;
        struct str got = next_segment(&path);
        bool variable = w.n > 0 && w.p[0] == '{';
        if (!variable && !str_eq(w, got))
            return false;
        if (variable && (got.n == 0 || n_args == HTTP_PATH_ARGS))
            return false;
        if (variable)
            args[n_args++] = got;
    }
    return path.n == 0;
}

/* "GET, HEAD, PATCH" of a set of methods. */
static void write_allow(const bool seen[static HTTP_OTHER], char out[static ROUTE_ALLOW_MAX])
{
    size_t n = 0;
    for (size_t m = 0; m < HTTP_OTHER; m++) {
        struct str name = str_of(http_method_name((enum http_method)m));
        if (!seen[m] && !(m == HTTP_HEAD && seen[HTTP_GET]))
            continue;
        _Static_assert(sizeof "GET, HEAD, POST, PUT, PATCH, DELETE" <= ROUTE_ALLOW_MAX, "Allow fits");
        if (n > 0) {
            memcpy(out + n, ", ", 2);
            n += 2;
        }
        memcpy(out + n, name.p, name.n);
        n += name.n;
    }
    out[n] = '\0';
}

void router_find(const struct route_table *t, enum http_method method, struct str path, struct route_match *out)
{
    *out = (struct route_match){.route = NULL};
    enum http_method served = method == HTTP_HEAD ? HTTP_GET : method;
    bool seen[HTTP_OTHER] = {false};
    bool any = false;
    for (size_t i = 0; i < t->n; i++) {
        struct str args[HTTP_PATH_ARGS] = {{NULL, 0}, {NULL, 0}};
        if (!fits(t->v[i].pattern, path, args))
            continue;
        any = true;
        seen[t->v[i].method] = true;
        out->oauth = out->oauth || t->v[i].oauth;
        if (t->v[i].method == served) {
            out->route = &t->v[i];
            memcpy(out->args, args, sizeof args);
        }
    }
    if (any)
        write_allow(seen, out->allow);
}

enum http_method router_method(struct str name)
{
    for (int m = HTTP_GET; m < HTTP_OTHER; m++) {
        if (str_is(name, http_method_name((enum http_method)m)))
            return (enum http_method)m;
    }
    return HTTP_OTHER;
}

struct err router_decode_arg(struct arena *a, struct str raw, struct str *out)
{
    if (raw.n > 3 * (size_t)ROUTE_SEGMENT_MAX)
        return FAIL(ERR_INVALID_REQUEST, "a path segment is longer than %d bytes", ROUTE_SEGMENT_MAX);
    TRY(http_percent_decode(a, raw, false, out));
    if (out->n == 0 || out->n > ROUTE_SEGMENT_MAX)
        return FAIL(ERR_INVALID_REQUEST, "a path segment must have 1 to %d bytes", ROUTE_SEGMENT_MAX);
    /* RFC 3986 section 5.2.4: others on the way take these for steps in the path. */
    if (str_is(*out, ".") || str_is(*out, ".."))
        return FAIL(ERR_INVALID_REQUEST, "a path segment is a dot segment");
    for (size_t i = 0; i < out->n; i++) {
        unsigned char c = (unsigned char)out->p[i];
        if (c < 0x20 || c == 0x7f || c == '/')
            return FAIL(ERR_INVALID_REQUEST, "a path segment holds a slash or a control byte");
    }
    return OK;
}
