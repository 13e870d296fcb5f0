/* SPDX-License-Identifier: Apache-2.0 */
#include "hsm/signer/sign.h"

#include "base/clock.h"
#include "base/log.h"
#include "hsm/supervisor.h"

/* RFC 8017 section 9.2, note 1: the DigestInfo of SHA-256 before its digest. */
static const uint8_t sha256_info[] = {0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01,
                                      0x65, 0x03, 0x04, 0x02, 0x01, 0x05, 0x00, 0x04, 0x20};

enum hash { HASH_NONE, HASH_SHA256, HASH_SHA256_INFO, HASH_SHA384 };

static const struct method {
    CK_MECHANISM_TYPE mechanism;
    enum hash hash;
    size_t length; /* of a signature; 0: of the modulus */
    bool pss;
} methods[] = {
    [JOSE_ES256] = {CKM_ECDSA, HASH_SHA256, 64, false},      [JOSE_ES384] = {CKM_ECDSA, HASH_SHA384, 96, false},
    [JOSE_PS256] = {CKM_RSA_PKCS_PSS, HASH_SHA256, 0, true}, [JOSE_RS256] = {CKM_RSA_PKCS, HASH_SHA256_INFO, 0, false},
    [JOSE_EDDSA] = {CKM_EDDSA, HASH_NONE, 64, false},
};
_Static_assert(COUNT(methods) == JOSE_ALG_COUNT, "an algorithm without a method");

struct err sign_prepare(struct sign_job *j, struct bytes input)
{
    const struct method *m = &methods[j->alg];
    j->length = m->length > 0 ? m->length : j->key->public_n;
    switch (m->hash) {
    case HASH_NONE:
        j->message = input;
        return OK;
    case HASH_SHA256:
        j->message = bytes_of(j->data, SHA256_LEN);
        return crypto_sha256(j->s->crypto, input, j->data);
    case HASH_SHA256_INFO:
        memcpy(j->data, sha256_info, sizeof sha256_info);
        j->message = bytes_of(j->data, sizeof sha256_info + SHA256_LEN);
        return crypto_sha256(j->s->crypto, input, j->data + sizeof sha256_info);
    case HASH_SHA384:
        j->message = bytes_of(j->data, SHA384_LEN);
        return crypto_sha384(j->s->crypto, input, j->data);
    }
    return FAIL(ERR_INTERNAL, "hash %d", (int)m->hash);
}

CK_RV sign_run(void *job, const struct lease *l)
{
    struct sign_job *j = job;
    const struct method *m = &methods[j->alg];
    CK_RSA_PKCS_PSS_PARAMS pss = {.hashAlg = CKM_SHA256, .mgf = CKG_MGF1_SHA256, .sLen = SHA256_LEN};
    CK_MECHANISM mechanism = {.mechanism = m->mechanism};
    CK_OBJECT_HANDLE h = atomic_load(&j->key->handle);
    CK_ULONG n = sizeof j->out;
    if (m->pss) {
        mechanism.pParameter = &pss;
        mechanism.ulParameterLen = sizeof pss;
    }
    if (h == CK_INVALID_HANDLE)
        return CKR_KEY_HANDLE_INVALID;
    int64_t began = clock_mono_us();
    CK_RV rv = l->f->C_SignInit(l->session, &mechanism, h);
    if (rv == CKR_OK)
        rv = l->f->C_Sign(l->session, cryptoki_in(j->message.p), j->message.n, j->out, &n);
    j->us = (uint32_t)(clock_mono_us() - began);
    if (rv != CKR_OK)
        return rv;
    if (n > j->length) {
        /* More than the algorithm can give: the module has written past what it should know, or lies about it. */
        LOG(LOG_ERROR, "the module gave a signature that is too long; the signer ends, to be replaced",
            LOG_INT("bytes", n));
        signer_exit(SIGNER_EXIT_POISONED);
    }
    j->out_n = n;
    return n == j->length ? CKR_OK : CKR_FUNCTION_FAILED;
}
