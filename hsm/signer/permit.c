/* SPDX-License-Identifier: Apache-2.0 */
#include "hsm/signer/permit.h"

#define BIT(x)  (1U << (x))
#define SIGNERS (BIT(HSM_EC_P256) | BIT(HSM_EC_P384) | BIT(HSM_RSA_2048) | BIT(HSM_RSA_3072) | BIT(HSM_ED25519))

/* A checkpoint is not a plain signature: it will be signed only with a proof that it extends the last one. Until that
 * operation exists, no use of such a key does. */
static const unsigned uses[] = {
    [HSM_SESSION] = BIT(PROTO_SIGN) | BIT(PROTO_GENERATE),
    [HSM_KEK] = BIT(PROTO_WRAP) | BIT(PROTO_UNWRAP) | BIT(PROTO_GENERATE),
    [HSM_CHECKPOINT] = BIT(PROTO_GENERATE),
    [HSM_CALL] = BIT(PROTO_SIGN) | BIT(PROTO_GENERATE),
};
_Static_assert(COUNT(uses) == HSM_PURPOSE_COUNT, "a purpose without permissions");

static const unsigned types[] = {
    [HSM_SESSION] = SIGNERS, [HSM_KEK] = BIT(HSM_AES_256), [HSM_CHECKPOINT] = SIGNERS, [HSM_CALL] = SIGNERS};
_Static_assert(COUNT(types) == HSM_PURPOSE_COUNT, "a purpose without key types");

static const unsigned algs[] = {
    [HSM_EC_P256] = BIT(JOSE_ES256),
    [HSM_EC_P384] = BIT(JOSE_ES384),
    [HSM_RSA_2048] = BIT(JOSE_PS256) | BIT(JOSE_RS256),
    [HSM_RSA_3072] = BIT(JOSE_PS256) | BIT(JOSE_RS256),
    [HSM_ED25519] = BIT(JOSE_EDDSA),
    [HSM_AES_256] = 0,
};
_Static_assert(COUNT(algs) == HSM_KEY_TYPE_COUNT, "a key type without algorithms");

struct err permit_use(enum hsm_purpose purpose, enum proto_op op)
{
    if ((uses[purpose] & BIT(op)) != 0)
        return OK;
    return FAIL(ERR_HSM_REFUSED, "a %s key is not for %s", hsm_purpose_name(purpose), proto_op_name(op));
}

struct err permit_alg(enum hsm_key_type type, enum jose_alg alg)
{
    if ((algs[type] & BIT(alg)) != 0)
        return OK;
    return FAIL(ERR_HSM_REFUSED, "a key of type %s does not sign %s", hsm_key_type_name(type), jose_alg_name(alg));
}

struct err permit_type(enum hsm_purpose purpose, enum hsm_key_type type)
{
    if ((types[purpose] & BIT(type)) != 0)
        return OK;
    return FAIL(ERR_HSM_REFUSED, "a %s key is not of type %s", hsm_purpose_name(purpose), hsm_key_type_name(type));
}
