/* SPDX-License-Identifier: Apache-2.0 */
#include "hsm/wire.h"

static const char *const purposes[] = {
    [HSM_SESSION] = "session", [HSM_KEK] = "kek", [HSM_CHECKPOINT] = "checkpoint", [HSM_CALL] = "call"};
_Static_assert(COUNT(purposes) == HSM_PURPOSE_COUNT, "a purpose without a name");

static const char *const key_types[] = {
    [HSM_EC_P256] = "ec-p256",   [HSM_EC_P384] = "ec-p384", [HSM_RSA_2048] = "rsa-2048",
    [HSM_RSA_3072] = "rsa-3072", [HSM_ED25519] = "ed25519", [HSM_AES_256] = "aes-256"};
_Static_assert(COUNT(key_types) == HSM_KEY_TYPE_COUNT, "a key type without a name");

static bool find(const char *const *names, size_t n, struct str s, size_t *out)
{
    for (size_t i = 0; i < n; i++) {
        if (!str_is(s, names[i]))
            continue;
        *out = i;
        return true;
    }
    return false;
}

const char *hsm_purpose_name(enum hsm_purpose p)
{
    return (size_t)p < COUNT(purposes) ? purposes[p] : "unknown";
}

const char *hsm_key_type_name(enum hsm_key_type t)
{
    return (size_t)t < COUNT(key_types) ? key_types[t] : "unknown";
}

bool hsm_purpose_parse(struct str s, enum hsm_purpose *out)
{
    size_t i = 0;
    bool found = find(purposes, COUNT(purposes), s, &i);
    if (found)
        *out = (enum hsm_purpose)i;
    return found;
}

bool hsm_key_type_parse(struct str s, enum hsm_key_type *out)
{
    size_t i = 0;
    bool found = find(key_types, COUNT(key_types), s, &i);
    if (found)
        *out = (enum hsm_key_type)i;
    return found;
}
