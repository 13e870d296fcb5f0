/* SPDX-License-Identifier: Apache-2.0 */
#include "hsm/signer/probe.h"

#include "base/log.h"
#include "hsm/signer/ckr.h"
#include "hsm/signer/kind.h"
#include "hsm/signer/wrap.h"

static const char *const wrap_names[] = {[WRAP_NONE] = "", [WRAP_AES_KW] = "A256KW", [WRAP_AES_GCM] = "A256GCM"};
_Static_assert(COUNT(wrap_names) == WRAP_ALG_COUNT, "a wrapping without a name");

const char *wrap_alg_name(enum wrap_alg w)
{
    return wrap_names[w];
}

static const CK_MECHANISM_TYPE sign_mechanisms[] = {[JOSE_ES256] = CKM_ECDSA,
                                                    [JOSE_ES384] = CKM_ECDSA,
                                                    [JOSE_PS256] = CKM_RSA_PKCS_PSS,
                                                    [JOSE_RS256] = CKM_RSA_PKCS,
                                                    [JOSE_EDDSA] = CKM_EDDSA};
_Static_assert(COUNT(sign_mechanisms) == JOSE_ALG_COUNT, "an algorithm without a mechanism");

static bool has(struct signer *s, CK_MECHANISM_TYPE type, CK_FLAGS flag, CK_ULONG bits)
{
    CK_MECHANISM_INFO info;
    if (s->module.f->C_GetMechanismInfo(s->token.slot, type, &info) != CKR_OK || (info.flags & flag) == 0)
        return false;
    /* Sizes are in bits for RSA and EC; for AES tokens differ, so they are not asked about it. Zero is "not said". */
    return bits == 0 || info.ulMaxKeySize == 0 || (info.ulMinKeySize <= bits && bits <= info.ulMaxKeySize);
}

static CK_RV make_kek(const struct lease *l, CK_ATTRIBUTE_TYPE in, CK_ATTRIBUTE_TYPE out, CK_OBJECT_HANDLE *kek)
{
    CK_MECHANISM m = {.mechanism = CKM_AES_KEY_GEN};
    CK_ULONG len = HSM_DEK_LEN;
    CK_ATTRIBUTE template[] = {attr_of_bool(CKA_TOKEN, false),
                               attr_of_bool(CKA_SENSITIVE, true),
                               attr_of_bool(CKA_EXTRACTABLE, false),
                               attr_of(CKA_VALUE_LEN, &len, sizeof len),
                               attr_of_bool(in, true),
                               attr_of_bool(out, true)};
    return l->f->C_GenerateKey(l->session, &m, template, COUNT(template), kek);
}

/* There and back with a KEK that exists in this session only. */
static bool try_wrapping(const struct lease *l, enum wrap_alg alg)
{
    bool kw = alg == WRAP_AES_KW;
    CK_OBJECT_HANDLE kek = CK_INVALID_HANDLE;
    struct wrap_job there = {.alg = alg, .in_n = HSM_DEK_LEN};
    CK_RV rv = make_kek(l, kw ? CKA_WRAP : CKA_ENCRYPT, kw ? CKA_UNWRAP : CKA_DECRYPT, &kek);
    if (rv != CKR_OK)
        return false;
    there.kek = kek;
    memset(there.in, 'd', HSM_DEK_LEN);
    rv = wrap_dek(&there, l);
    struct wrap_job back = {.kek = kek, .in_n = there.out_n};
    memcpy(back.in, there.out, there.out_n);
    if (rv == CKR_OK)
        rv = unwrap_dek(&back, l);
    (void)l->f->C_DestroyObject(l->session, kek);
    return rv == CKR_OK && bytes_eq(bytes_of(back.out, back.out_n), bytes_of(there.in, there.in_n));
}

struct err probe_token(struct signer *s, const struct lease *l)
{
    struct abilities can = {0};
    for (int a = 0; a < JOSE_ALG_COUNT; a++) {
        if (has(s, sign_mechanisms[a], CKF_SIGN, 0))
            can.sign_algs |= 1ULL << a;
    }
    for (int t = 0; t < HSM_KEY_TYPE_COUNT; t++) {
        const struct key_kind *kind = key_kind((enum hsm_key_type)t);
        bool aes = kind->cko == CKK_AES;
        bool sized = kind->cko == CKK_RSA || kind->cko == CKK_EC;
        if (has(s, kind->generate, aes ? CKF_GENERATE : CKF_GENERATE_KEY_PAIR, sized ? kind->bits : 0))
            can.key_types |= 1ULL << t;
    }
    if (try_wrapping(l, WRAP_AES_KW))
        can.wrap = WRAP_AES_KW;
    else if (try_wrapping(l, WRAP_AES_GCM))
        can.wrap = WRAP_AES_GCM;
    if (can.wrap == WRAP_NONE)
        LOG0(LOG_WARN, "the token can neither wrap (CKM_AES_KEY_WRAP) nor encrypt (CKM_AES_GCM) a DEK");
    s->can = can;
    return OK;
}
