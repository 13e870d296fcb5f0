/* SPDX-License-Identifier: Apache-2.0
 * One key of ours on the token: what it is, what it is for, its public part and its evidence. Only keys with a label
 * "nexus:<purpose>:<hex of CKA_ID>" are ours. Everything but handle and refused is fixed once the key is known. */
#ifndef HSM_SIGNER_KEY_H
#define HSM_SIGNER_KEY_H

#include "hsm/signer/attr.h"
#include "hsm/wire.h"

#include <stdatomic.h>

enum { KEY_LABEL_MAX = 64, KEY_PUBLIC_MAX = 384, KEY_EXPONENT_MAX = 8, KEY_CHECK_LEN = 3 };

struct key {
    struct hsm_key_id id;
    enum hsm_purpose purpose;
    enum hsm_key_type type;
    char label[KEY_LABEL_MAX];
    struct hsm_evidence evidence;
    uint8_t public_part[KEY_PUBLIC_MAX]; /* EC: the point; RSA: the modulus */
    size_t public_n;
    uint8_t exponent[KEY_EXPONENT_MAX];
    size_t exponent_n;
    uint8_t check[KEY_CHECK_LEN]; /* CKA_CHECK_VALUE of a secret key, where the token has it */
    size_t check_n;

    uint64_t scan;                   /* under the table's lock: the last scan that saw it */
    _Atomic CK_OBJECT_HANDLE handle; /* CK_INVALID_HANDLE: not on the token at the moment */
    _Atomic bool refused;            /* the token shows another key in its place */
    _Atomic bool missing;            /* it was looked for and not found: the token was re-initialised for it once */
};

/* Reads a private or secret key object. *verdict: OK; ERR_NOT_FOUND when it is not ours; ERR_CONFIG when it is ours
 * and must not be used, with the reason. The CK_RV is of the module. */
CK_RV key_read(const struct lease *l, CK_OBJECT_HANDLE h, bool accept_imported, struct key *out, struct err *verdict);

/* Writes the label that a key of that purpose and id has. */
void key_label(enum hsm_purpose purpose, const struct hsm_key_id *id, char out[static KEY_LABEL_MAX]);

/* Whether both are the same key by everything that cannot be copied without the key itself. */
bool key_same(const struct key *a, const struct key *b);

/* The class of object that a use of this key needs. */
CK_OBJECT_CLASS key_class(enum hsm_key_type type);

/* A view of the key in wire form; it lives as long as the key. */
struct hsm_key key_wire(const struct key *k);

#endif
