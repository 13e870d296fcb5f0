/* SPDX-License-Identifier: Apache-2.0 */
#include "service/core/resource.h"

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_scheme_char(char c)
{
    return is_letter(c) || (c >= '0' && c <= '9') || c == '+' || c == '-' || c == '.';
}

struct err resource_check(struct str r)
{
    size_t n = 0;
    while (n < r.n && is_scheme_char(r.p[n]))
        n++;
    bool good = n > 0 && is_letter(r.p[0]) && n + 1 < r.n && r.p[n] == ':';
    for (size_t i = 0; i < r.n && good; i++)
        good = r.p[i] > 0x20 && r.p[i] < 0x7f && r.p[i] != '#';
    return good ? OK : FAIL(ERR_INVALID_AUDIENCE, "a resource must be an absolute URI without a fragment");
}
