/* SPDX-License-Identifier: Apache-2.0
 * Wrapping a DEK under a KEK of the token. The blob is a version byte, an algorithm byte, the IV where the algorithm
 * has one, and the data; it is unwrapped by the algorithm that it names and no other.
 *   A256KW   CKM_AES_KEY_WRAP (RFC 3394). Not ..._KEY_WRAP_PAD, which is two different algorithms in the wild.
 *   A256GCM  CKM_AES_GCM with a 96-bit IV from the token's generator; version, algorithm and key id are authenticated.
 */
#ifndef HSM_SIGNER_WRAP_H
#define HSM_SIGNER_WRAP_H

#include "hsm/signer/signer.h"

enum { BLOB_VERSION = 1, BLOB_HEAD = 2, GCM_IV_LEN = 12, GCM_TAG_LEN = 16, KW_EXTRA = 8 };

struct wrap_job {
    CK_OBJECT_HANDLE kek;
    struct hsm_key_id id;
    enum wrap_alg alg;
    uint8_t in[HSM_BLOB_MAX]; /* wrap: the DEK; unwrap: the blob */
    size_t in_n;
    uint8_t out[HSM_BLOB_MAX]; /* wrap: the blob; unwrap: the DEK */
    size_t out_n;
};

CK_RV wrap_dek(struct wrap_job *j, const struct lease *l);
/* CKR_WRAPPED_KEY_INVALID for a blob that is not one of ours. */
CK_RV unwrap_dek(struct wrap_job *j, const struct lease *l);

#endif
