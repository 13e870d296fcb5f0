/* SPDX-License-Identifier: Apache-2.0 */
#include "hsm/signer/identity.h"

#include "base/span.h"

/* Token texts are padded with blanks to their field (PKCS#11 v2.40, section 3.2). */
static void unpad(char *to, const unsigned char *from, size_t n)
{
    struct str s = str_trim((struct str){(const char *)from, n});
    memcpy(to, s.p, s.n);
    to[s.n] = '\0';
}

/* 0 is CK_EFFECTIVELY_INFINITE, and both 0 and ~0 mean "unknown" in the wild. */
static CK_ULONG said(CK_ULONG count)
{
    return count == CK_UNAVAILABLE_INFORMATION ? 0 : count;
}

/* All our sessions are read-write ones, so the lower of the two counts holds. */
static CK_ULONG max_sessions(const CK_TOKEN_INFO *info)
{
    CK_ULONG all = said(info->ulMaxSessionCount), rw = said(info->ulMaxRwSessionCount);
    return all == 0 || (rw != 0 && rw < all) ? rw : all;
}

void identity_of(CK_SLOT_ID slot, const CK_TOKEN_INFO *info, struct token_identity *out)
{
    *out = (struct token_identity){.slot = slot, .max_sessions = max_sessions(info)};
    unpad(out->label, info->label, sizeof info->label);
    unpad(out->serial, info->serialNumber, sizeof info->serialNumber);
    unpad(out->manufacturer, info->manufacturerID, sizeof info->manufacturerID);
    unpad(out->model, info->model, sizeof info->model);
}

bool identity_same(const struct token_identity *a, const struct token_identity *b)
{
    return strcmp(a->serial, b->serial) == 0 && strcmp(a->label, b->label) == 0 &&
           strcmp(a->manufacturer, b->manufacturer) == 0 && strcmp(a->model, b->model) == 0;
}

CK_RV identity_check(CK_FUNCTION_LIST *f, const struct token_identity *want, CK_FLAGS *flags)
{
    CK_TOKEN_INFO info;
    struct token_identity seen;
    CK_RV rv = f->C_GetTokenInfo(want->slot, &info);
    if (rv != CKR_OK)
        return rv;
    identity_of(want->slot, &info, &seen);
    *flags = info.flags;
    return identity_same(want, &seen) ? CKR_OK : CKR_TOKEN_NOT_RECOGNIZED;
}
