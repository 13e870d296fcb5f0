/* SPDX-License-Identifier: Apache-2.0
 * The values that cross the socket between broker and signer, shared by both sides. Their encoding is in hsm/proto.h;
 * keys are named by value (CKA_ID), never by handle, so nothing of PKCS#11 crosses. */
#ifndef HSM_WIRE_H
#define HSM_WIRE_H

#include "base/secret.h"
#include "base/span.h"
#include "crypto/jwk.h"

enum { HSM_KEY_ID_LEN = 16, HSM_DEK_LEN = 32, HSM_INPUT_MAX = 16384, HSM_BLOB_MAX = 256, HSM_INSTANCE_LEN = 16 };

/* CKA_ID: 16 random bytes chosen before the key is made. */
struct hsm_key_id {
    uint8_t v[HSM_KEY_ID_LEN];
};

/* What a key is for. It is written into the key's label ("nexus:session:<hex id>"), and the permission table of the
 * signer allows each purpose its operations only. */
enum hsm_purpose { HSM_SESSION, HSM_KEK, HSM_CHECKPOINT, HSM_CALL, HSM_PURPOSE_COUNT };

enum hsm_key_type {
    HSM_EC_P256,
    HSM_EC_P384,
    HSM_RSA_2048,
    HSM_RSA_3072,
    HSM_ED25519,
    HSM_AES_256,
    HSM_KEY_TYPE_COUNT
};

const char *hsm_purpose_name(enum hsm_purpose p);
const char *hsm_key_type_name(enum hsm_key_type t);
bool hsm_purpose_parse(struct str s, enum hsm_purpose *out);
bool hsm_key_type_parse(struct str s, enum hsm_key_type *out);

/* Attributes that show where a key was born and whether it can leave (hsm.md section 6). */
struct hsm_evidence {
    bool local, sensitive, always_sensitive, extractable, never_extractable;
    bool private_object, token_object;
};

struct hsm_key {
    struct hsm_key_id id;
    enum hsm_purpose purpose;
    enum hsm_key_type type;
    struct str label;
    struct hsm_evidence evidence;
    struct bytes point; /* EC: 0x04 x y; Ed25519: 32 bytes; else p == NULL */
    struct bytes n, e;  /* RSA */
};

/* Where in the signer's own sequence an operation stood: instance is random per start, counter is gapless from 1 and
 * counts every use of a private or secret key. A reply bears the number of the use that it answers, failed or not, and
 * 0 when no use was counted: the request was refused before, or is none. Only hello's tells the last number given. */
struct hsm_mark {
    uint8_t instance[HSM_INSTANCE_LEN];
    uint64_t counter;
};

struct hsm_signature {
    uint8_t v[JOSE_SIG_MAX];
    size_t n;
    struct hsm_mark mark;
    uint32_t us; /* how long C_Sign took */
};

struct hsm_info {
    struct hsm_mark mark;
    struct str token_label, token_serial, manufacturer, model, module;
    uint64_t sign_algs;    /* bit per enum jose_alg */
    uint64_t key_types;    /* bit per enum hsm_key_type */
    struct str wrap_alg;   /* name of the DEK wrapping that the token does, "" for none */
    uint64_t max_sessions; /* 0: unknown */
};

#endif
