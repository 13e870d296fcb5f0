/* SPDX-License-Identifier: Apache-2.0 */
#include "hsm/signer/kind.h"

static const uint8_t p256[] = {0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07};
static const uint8_t p384[] = {0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x22};
static const uint8_t ed25519[] = {0x06, 0x03, 0x2b, 0x65, 0x70};
static const uint8_t ed25519_name[] = {0x13, 0x0c, 'e', 'd', 'w', 'a', 'r', 'd', 's', '2', '5', '5', '1', '9'};

static const struct key_kind kinds[] = {
    [HSM_EC_P256] = {.cko = CKK_EC,
                     .generate = CKM_EC_KEY_PAIR_GEN,
                     .bits = 256,
                     .params = {p256, sizeof p256},
                     .point_len = 65,
                     .mechanisms = {CKM_ECDSA},
                     .mechanisms_n = 1},
    [HSM_EC_P384] = {.cko = CKK_EC,
                     .generate = CKM_EC_KEY_PAIR_GEN,
                     .bits = 384,
                     .params = {p384, sizeof p384},
                     .point_len = 97,
                     .mechanisms = {CKM_ECDSA},
                     .mechanisms_n = 1},
    [HSM_RSA_2048] = {.cko = CKK_RSA,
                      .generate = CKM_RSA_PKCS_KEY_PAIR_GEN,
                      .bits = 2048,
                      .mechanisms = {CKM_RSA_PKCS_PSS, CKM_RSA_PKCS},
                      .mechanisms_n = 2},
    [HSM_RSA_3072] = {.cko = CKK_RSA,
                      .generate = CKM_RSA_PKCS_KEY_PAIR_GEN,
                      .bits = 3072,
                      .mechanisms = {CKM_RSA_PKCS_PSS, CKM_RSA_PKCS},
                      .mechanisms_n = 2},
    [HSM_ED25519] = {.cko = CKK_EC_EDWARDS,
                     .generate = CKM_EC_EDWARDS_KEY_PAIR_GEN,
                     .bits = 255,
                     .params = {ed25519, sizeof ed25519},
                     .params_alt = {ed25519_name, sizeof ed25519_name},
                     .point_len = 32,
                     .mechanisms = {CKM_EDDSA},
                     .mechanisms_n = 1},
    [HSM_AES_256] = {.cko = CKK_AES,
                     .generate = CKM_AES_KEY_GEN,
                     .bits = 256,
                     .mechanisms = {CKM_AES_KEY_WRAP, CKM_AES_GCM},
                     .mechanisms_n = 2},
};
_Static_assert(COUNT(kinds) == HSM_KEY_TYPE_COUNT, "a key type without a kind");

const struct key_kind *key_kind(enum hsm_key_type t)
{
    return &kinds[t];
}
