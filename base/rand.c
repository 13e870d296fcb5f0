/* SPDX-License-Identifier: Apache-2.0 */
#include "base/rand.h"

#include <errno.h>
#include <stdio.h>
#include <sys/random.h>

struct err rand_bytes(uint8_t *p, size_t n)
{
    while (n > 0) {
        ssize_t got = getrandom(p, n, 0);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return FAIL(ERR_CRYPTO, "getrandom: errno %d", errno);
        p += got;
        n -= (size_t)got;
    }
    return OK;
}

void hex_encode(const uint8_t *p, size_t n, char *out)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < n; i++) {
        out[2 * i] = digits[p[i] >> 4];
        out[2 * i + 1] = digits[p[i] & 15];
    }
    out[2 * n] = '\0';
}

struct err rand_id(const char *prefix, char out[static ID_TEXT])
{
    uint8_t id[16];
    TRY(rand_bytes(id, sizeof id));
    size_t n = strlen(prefix);
    if (n + 2 * sizeof id + 1 > ID_TEXT)
        return FAIL(ERR_INTERNAL, "id prefix %s is too long", prefix);
    memcpy(out, prefix, n);
    hex_encode(id, sizeof id, out + n);
    return OK;
}
