/* SPDX-License-Identifier: Apache-2.0 */
#include "service/store/internal.h"

#include "crypto/b64u.h"

#include <inttypes.h>

enum { CURSOR_MAX = 512 };

static struct err bad(void)
{
    return FAIL(ERR_INVALID_REQUEST, "cursor: not one that this broker gave out");
}

/* Digits up to a colon; nothing else, and no overflow. */
static bool parse_us(struct str *s, int64_t *out)
{
    int64_t v = 0;
    size_t i = 0;
    for (; i < s->n && s->p[i] >= '0' && s->p[i] <= '9'; i++) {
        if (__builtin_mul_overflow(v, 10, &v) || __builtin_add_overflow(v, s->p[i] - '0', &v))
            return false;
    }
    if (i == 0 || i == s->n || s->p[i] != ':')
        return false;
    *s = (struct str){s->p + i + 1, s->n - i - 1};
    *out = v;
    return true;
}

struct err page_parse(struct arena *a, struct str cursor, struct page *out)
{
    *out = (struct page){.us = 0};
    if (cursor.p == NULL)
        return OK;
    struct bytes raw;
    if (cursor.n > CURSOR_MAX)
        return bad();
    struct err e = b64u_decode(a, cursor, &raw);
    if (e.code == ERR_JOSE_MALFORMED)
        return bad();
    TRY(e);
    struct str rest = bytes_str(raw);
    if (!parse_us(&rest, &out->us) || out->us == 0 || rest.n == 0)
        return bad();
    out->id = rest;
    return OK;
}

size_t page_limit(size_t wanted)
{
    return wanted == 0 ? 1 : wanted > PAGE_MAX ? PAGE_MAX : wanted;
}

struct err page_cursor(struct arena *a, int64_t us, struct str id, struct str *out)
{
    struct str raw = arena_printf(a, "%" PRId64 ":%.*s", us, STR_FMT(id));
    *out = raw.p != NULL ? b64u_text(a, str_bytes(raw)) : raw;
    return out->p != NULL ? OK : FAIL(ERR_NO_MEMORY, "cursor");
}
