/* SPDX-License-Identifier: Apache-2.0 */
#include "service/core/scope.h"

#include "base/buf.h"

bool str_list_has(struct str_list l, struct str s)
{
    for (size_t i = 0; i < l.n; i++) {
        if (str_eq(l.v[i], s))
            return true;
    }
    return false;
}

/* RFC 6749 section 3.3: scope-token = 1*( %x21 / %x23-5B / %x5D-7E ) */
bool scope_is_token(struct str s)
{
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        if (c < 0x21 || c > 0x7e || c == '"' || c == '\\')
            return false;
    }
    return s.n > 0 && s.n <= SCOPE_MAX;
}

struct err scopes_normalise(struct arena *a, struct str_list in, struct str_list *out)
{
    if (in.n > SCOPES_MAX)
        return FAIL(ERR_INVALID_SCOPE, "more than %d scopes", SCOPES_MAX);
    struct str_list l = {arena_array(a, in.n, sizeof *l.v), 0};
    if (l.v == NULL)
        return FAIL(ERR_NO_MEMORY, "%zu scopes", in.n);
    for (size_t i = 0; i < in.n; i++) {
        struct str s = str_trim(in.v[i]);
        if (!scope_is_token(s))
            return FAIL(ERR_INVALID_SCOPE, "scope %zu is empty, longer than %d bytes or not of RFC 6749 section 3.3", i,
                        SCOPE_MAX);
        if (!str_list_has(l, s))
            l.v[l.n++] = s;
    }
    *out = l;
    return OK;
}

struct err scopes_split(struct arena *a, struct str text, struct str_list *out)
{
    size_t n = 1;
    for (size_t i = 0; i < text.n; i++)
        n += text.p[i] == ' ';
    struct str_list l = {arena_array(a, n, sizeof *l.v), 0};
    if (l.v == NULL)
        return FAIL(ERR_NO_MEMORY, "%zu scopes", n);
    while (l.n < n) {
        const char *space = text.n > 0 ? memchr(text.p, ' ', text.n) : NULL;
        struct str one = {text.p, space != NULL ? (size_t)(space - text.p) : text.n};
        if (one.n == 0)
            return FAIL(ERR_INVALID_SCOPE, "scopes stand with one space between them, and none around");
        l.v[l.n++] = one;
        text = space != NULL ? (struct str){space + 1, text.n - one.n - 1} : (struct str){NULL, 0};
    }
    *out = l;
    return OK;
}

struct str scopes_first_outside(struct str_list wanted, struct str_list allowed)
{
    for (size_t i = 0; i < wanted.n; i++) {
        if (!str_list_has(allowed, wanted.v[i]))
            return wanted.v[i];
    }
    return (struct str){NULL, 0};
}

struct err scopes_join(struct arena *a, struct str_list scopes, struct str *out)
{
    struct buf b = buf_in(a, (size_t)SCOPES_MAX * (SCOPE_MAX + 1));
    for (size_t i = 0; i < scopes.n; i++) {
        if (i > 0)
            buf_char(&b, ' ');
        buf_str(&b, scopes.v[i]);
    }
    TRY(buf_status(&b));
    *out = scopes.n > 0 ? buf_view(&b) : STR("");
    return OK;
}
