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
static bool is_scope_token(struct str s)
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
        if (!is_scope_token(s))
            return FAIL(ERR_INVALID_SCOPE, "scope %zu is empty, longer than %d bytes or not of RFC 6749 section 3.3", i,
                        SCOPE_MAX);
        if (!str_list_has(l, s))
            l.v[l.n++] = s;
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
