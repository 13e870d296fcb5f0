/* SPDX-License-Identifier: Apache-2.0
 * What PKCS#11 calls each key type of ours: one table for generating and for recognising. */
#ifndef HSM_SIGNER_KIND_H
#define HSM_SIGNER_KIND_H

#include "hsm/wire.h"

#include <p11-kit/pkcs11.h>

struct key_kind {
    CK_KEY_TYPE cko;
    CK_MECHANISM_TYPE generate;
    CK_ULONG bits;                   /* RSA: of the modulus; AES: of the key; EC: of the field */
    struct bytes params;             /* EC: CKA_EC_PARAMS as an OID */
    struct bytes params_alt;         /* Ed25519: as a PrintableString, which older tokens want */
    size_t point_len;                /* EC: bytes of the point as it goes into a JWK */
    CK_MECHANISM_TYPE mechanisms[2]; /* what the key is for (CKA_ALLOWED_MECHANISMS) */
    size_t mechanisms_n;
};

const struct key_kind *key_kind(enum hsm_key_type t);

#endif
