/* SPDX-License-Identifier: Apache-2.0 */
#include "service/core/uuid.h"

#include "base/rand.h"

static bool is_dash_at(size_t i)
{
    return i == 8 || i == 13 || i == 18 || i == 23;
}

struct err uuid_make(char out[static UUID_TEXT])
{
    uint8_t raw[16];
    char hex[2 * sizeof raw + 1];
    TRY(rand_bytes(raw, sizeof raw));
    /* RFC 9562 section 5.4: version 4, and the variant of section 4.1. */
    raw[6] = (uint8_t)(0x40 | (raw[6] & 0x0f));
    raw[8] = (uint8_t)(0x80 | (raw[8] & 0x3f));
    hex_encode(raw, sizeof raw, hex);
    const char *from = hex;
    for (size_t i = 0; i < UUID_LEN; i++)
        out[i] = is_dash_at(i) ? '-' : *from++;
    out[UUID_LEN] = '\0';
    return OK;
}

bool uuid_parse(struct str text, char out[static UUID_TEXT])
{
    if (text.n != UUID_LEN)
        return false;
    for (size_t i = 0; i < UUID_LEN; i++) {
        char c = text.p[i];
        if (c >= 'A' && c <= 'F')
            c = (char)(c - 'A' + 'a');
        bool digit = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
        if (is_dash_at(i) ? c != '-' : !digit)
            return false;
        out[i] = c;
    }
    out[UUID_LEN] = '\0';
    return true;
}
