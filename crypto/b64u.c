/* SPDX-License-Identifier: Apache-2.0 */
#include "crypto/b64u.h"

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

static void encode(char *to, struct bytes in)
{
    size_t i = 0;
    for (; i + 3 <= in.n; i += 3) {
        uint32_t v = (uint32_t)in.p[i] << 16 | (uint32_t)in.p[i + 1] << 8 | in.p[i + 2];
        *to++ = alphabet[v >> 18];
        *to++ = alphabet[v >> 12 & 63];
        *to++ = alphabet[v >> 6 & 63];
        *to++ = alphabet[v & 63];
    }
    if (i == in.n)
        return;
    bool two = in.n - i == 2;
    uint32_t v = (uint32_t)in.p[i] << 16 | (two ? (uint32_t)in.p[i + 1] << 8 : 0);
    *to++ = alphabet[v >> 18];
    *to++ = alphabet[v >> 12 & 63];
    if (two)
        *to = alphabet[v >> 6 & 63];
}

void b64u_encode(struct buf *out, struct bytes in)
{
    char *to = buf_room(out, B64U_LEN(in.n));
    if (to != NULL)
        encode(to, in);
}

struct str b64u_text(struct arena *a, struct bytes in)
{
    char *p = arena_alloc(a, B64U_LEN(in.n));
    if (p == NULL)
        return (struct str){NULL, 0};
    encode(p, in);
    return (struct str){p, B64U_LEN(in.n)};
}

/* The six bits of a character, or -1. */
static int sextet(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '-' ? 62 : c == '_' ? 63 : -1;
}

struct err b64u_decode(struct arena *a, struct str in, struct bytes *out)
{
    if (in.n % 4 == 1)
        return FAIL(ERR_JOSE_MALFORMED, "base64url of an impossible length");
    uint8_t *p = arena_alloc(a, in.n / 4 * 3 + 2);
    if (p == NULL)
        return FAIL(ERR_NO_MEMORY, "base64url of %zu characters", in.n);
    size_t n = 0;
    uint32_t acc = 0;
    unsigned bits = 0;
    for (size_t i = 0; i < in.n; i++) {
        int v = sextet(in.p[i]);
        if (v < 0)
            return FAIL(ERR_JOSE_MALFORMED, "character %zu is not base64url", i);
        acc = acc << 6 | (uint32_t)v;
        bits += 6;
        if (bits >= 8) {
            bits -= 8;
            p[n++] = (uint8_t)(acc >> bits);
        }
    }
    /* RFC 4648 section 3.5: else one value would have several spellings. */
    if ((acc & ((1U << bits) - 1)) != 0)
        return FAIL(ERR_JOSE_MALFORMED, "base64url with stray bits at its end");
    *out = (struct bytes){p, n};
    return OK;
}
