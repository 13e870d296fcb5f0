/* SPDX-License-Identifier: Apache-2.0 */
#include "hsm/signer/wrap.h"

static CK_RV create_dek(const struct wrap_job *j, const struct lease *l, bool sensitive, CK_OBJECT_HANDLE *out)
{
    CK_OBJECT_CLASS class = CKO_SECRET_KEY;
    CK_KEY_TYPE type = CKK_AES;
    uint8_t value[HSM_DEK_LEN];
    memcpy(value, j->in, sizeof value);
    CK_ATTRIBUTE template[] = {
        attr_of(CKA_CLASS, &class, sizeof class), attr_of(CKA_KEY_TYPE, &type, sizeof type),
        attr_of_bool(CKA_TOKEN, false),           attr_of_bool(CKA_EXTRACTABLE, true),
        attr_of_bool(CKA_SENSITIVE, sensitive),   attr_of(CKA_VALUE, value, sizeof value),
    };
    CK_RV rv = l->f->C_CreateObject(l->session, template, COUNT(template), out);
    explicit_bzero(value, sizeof value);
    return rv;
}

static CK_RV wrap_kw(struct wrap_job *j, const struct lease *l)
{
    CK_MECHANISM m = {.mechanism = CKM_AES_KEY_WRAP};
    CK_OBJECT_HANDLE dek = CK_INVALID_HANDLE;
    CK_ULONG n = sizeof j->out - BLOB_HEAD;
    CK_RV rv = create_dek(j, l, true, &dek);
    if (rv == CKR_TEMPLATE_INCONSISTENT || rv == CKR_ATTRIBUTE_VALUE_INVALID)
        rv = create_dek(j, l, false, &dek);
    if (rv != CKR_OK)
        return rv;
    rv = l->f->C_WrapKey(l->session, &m, j->kek, dek, j->out + BLOB_HEAD, &n);
    (void)l->f->C_DestroyObject(l->session, dek);
    if (rv != CKR_OK)
        return rv;
    /* RFC 3394 adds exactly eight bytes; anything else is another algorithm under this number. */
    if (n != HSM_DEK_LEN + KW_EXTRA)
        return CKR_MECHANISM_INVALID;
    j->out_n = BLOB_HEAD + n;
    return CKR_OK;
}

static CK_RV unwrap_kw(struct wrap_job *j, const struct lease *l)
{
    CK_MECHANISM m = {.mechanism = CKM_AES_KEY_WRAP};
    CK_OBJECT_CLASS class = CKO_SECRET_KEY;
    CK_KEY_TYPE type = CKK_AES;
    CK_OBJECT_HANDLE dek = CK_INVALID_HANDLE;
    CK_ATTRIBUTE template[] = {
        attr_of(CKA_CLASS, &class, sizeof class), attr_of(CKA_KEY_TYPE, &type, sizeof type),
        attr_of_bool(CKA_TOKEN, false),           attr_of_bool(CKA_EXTRACTABLE, true),
        attr_of_bool(CKA_SENSITIVE, false),
    };
    if (j->in_n != BLOB_HEAD + HSM_DEK_LEN + KW_EXTRA)
        return CKR_WRAPPED_KEY_LEN_RANGE;
    CK_RV rv = l->f->C_UnwrapKey(l->session, &m, j->kek, j->in + BLOB_HEAD, j->in_n - BLOB_HEAD, template,
                                 COUNT(template), &dek);
    if (rv != CKR_OK)
        return rv;
    const struct object o = {.l = l, .h = dek};
    rv = attr_bytes(&o, CKA_VALUE, j->out, sizeof j->out, &j->out_n);
    (void)l->f->C_DestroyObject(l->session, dek);
    if (rv == CKR_OK && j->out_n != HSM_DEK_LEN)
        return CKR_WRAPPED_KEY_INVALID;
    return rv;
}

enum { AAD_LEN = BLOB_HEAD + HSM_KEY_ID_LEN };

/* Never a NULL IV, which one token takes as a fixed one (hsm.md section 2.2); always 96 bits. */
static CK_GCM_PARAMS gcm_params(const struct wrap_job *j, uint8_t *iv, uint8_t aad[static AAD_LEN])
{
    aad[0] = BLOB_VERSION;
    aad[1] = WRAP_AES_GCM;
    memcpy(aad + BLOB_HEAD, j->id.v, HSM_KEY_ID_LEN);
    return (CK_GCM_PARAMS){.pIv = iv,
                           .ulIvLen = GCM_IV_LEN,
                           .ulIvBits = GCM_IV_LEN * 8,
                           .pAAD = aad,
                           .ulAADLen = AAD_LEN,
                           .ulTagBits = GCM_TAG_LEN * 8};
}

static CK_RV wrap_gcm(struct wrap_job *j, const struct lease *l)
{
    uint8_t aad[AAD_LEN];
    uint8_t *iv = j->out + BLOB_HEAD;
    CK_GCM_PARAMS params = gcm_params(j, iv, aad);
    CK_MECHANISM m = {.mechanism = CKM_AES_GCM, .pParameter = &params, .ulParameterLen = sizeof params};
    CK_ULONG n = sizeof j->out - BLOB_HEAD - GCM_IV_LEN;
    CK_RV rv = l->f->C_GenerateRandom(l->session, iv, GCM_IV_LEN);
    if (rv == CKR_OK)
        rv = l->f->C_EncryptInit(l->session, &m, j->kek);
    /* Some services choose the IV themselves and write it back through pIv, which is where the blob keeps it. */
    if (rv == CKR_OK)
        rv = l->f->C_Encrypt(l->session, j->in, j->in_n, iv + GCM_IV_LEN, &n);
    if (rv != CKR_OK)
        return rv;
    if (n != HSM_DEK_LEN + GCM_TAG_LEN)
        return CKR_MECHANISM_INVALID;
    j->out_n = BLOB_HEAD + GCM_IV_LEN + n;
    return CKR_OK;
}

static CK_RV unwrap_gcm(struct wrap_job *j, const struct lease *l)
{
    uint8_t aad[AAD_LEN];
    uint8_t *iv = j->in + BLOB_HEAD;
    CK_GCM_PARAMS params = gcm_params(j, iv, aad);
    CK_MECHANISM m = {.mechanism = CKM_AES_GCM, .pParameter = &params, .ulParameterLen = sizeof params};
    CK_ULONG n = sizeof j->out;
    if (j->in_n != BLOB_HEAD + GCM_IV_LEN + HSM_DEK_LEN + GCM_TAG_LEN)
        return CKR_WRAPPED_KEY_LEN_RANGE;
    CK_RV rv = l->f->C_DecryptInit(l->session, &m, j->kek);
    if (rv == CKR_OK)
        rv = l->f->C_Decrypt(l->session, iv + GCM_IV_LEN, j->in_n - BLOB_HEAD - GCM_IV_LEN, j->out, &n);
    if (rv == CKR_OK && n != HSM_DEK_LEN)
        return CKR_WRAPPED_KEY_INVALID;
    j->out_n = n;
    return rv;
}

CK_RV wrap_dek(struct wrap_job *j, const struct lease *l)
{
    if (j->in_n != HSM_DEK_LEN)
        return CKR_DATA_LEN_RANGE;
    j->out[0] = BLOB_VERSION;
    j->out[1] = (uint8_t)j->alg;
    switch (j->alg) {
    case WRAP_AES_KW:
        return wrap_kw(j, l);
    case WRAP_AES_GCM:
        return wrap_gcm(j, l);
    case WRAP_NONE:
    case WRAP_ALG_COUNT:
        break;
    }
    return CKR_MECHANISM_INVALID;
}

CK_RV unwrap_dek(struct wrap_job *j, const struct lease *l)
{
    if (j->in_n <= BLOB_HEAD || j->in[0] != BLOB_VERSION)
        return CKR_WRAPPED_KEY_INVALID;
    if (j->in[1] == WRAP_AES_KW)
        return unwrap_kw(j, l);
    if (j->in[1] == WRAP_AES_GCM)
        return unwrap_gcm(j, l);
    return CKR_WRAPPED_KEY_INVALID;
}
