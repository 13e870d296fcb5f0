/* SPDX-License-Identifier: Apache-2.0 */
#include "hsm/signer/attr.h"

#include "base/cleanup.h"

/* Codes that say "this object has no such attribute", not "something is wrong". */
static bool is_absent(CK_RV rv)
{
    return rv == CKR_ATTRIBUTE_TYPE_INVALID || rv == CKR_ATTRIBUTE_SENSITIVE || rv == CKR_ATTRIBUTE_VALUE_INVALID;
}

CK_RV attr_bytes(const struct object *o, CK_ATTRIBUTE_TYPE type, uint8_t *p, size_t cap, size_t *n)
{
    CK_ATTRIBUTE a = attr_of(type, p, cap);
    CK_RV rv = o->l->f->C_GetAttributeValue(o->l->session, o->h, &a, 1);
    *n = 0;
    if (is_absent(rv))
        return CKR_OK;
    if (rv == CKR_OK && a.ulValueLen != CK_UNAVAILABLE_INFORMATION && a.ulValueLen <= cap)
        *n = a.ulValueLen;
    return rv;
}

CK_RV attr_bool(const struct object *o, CK_ATTRIBUTE_TYPE type, bool *out)
{
    uint8_t v[sizeof(CK_ULONG)] = {0};
    size_t n = 0;
    CK_RV rv = attr_bytes(o, type, v, sizeof v, &n);
    *out = n == sizeof(CK_BBOOL) && v[0] != CK_FALSE;
    return rv;
}

CK_RV attr_ulong(const struct object *o, CK_ATTRIBUTE_TYPE type, CK_ULONG def, CK_ULONG *out)
{
    CK_ULONG v = 0;
    size_t n = 0;
    CK_RV rv = attr_bytes(o, type, (uint8_t *)&v, sizeof v, &n);
    *out = n == sizeof v ? v : def;
    return rv;
}

CK_RV attr_find(const struct lease *l, CK_ATTRIBUTE *template, size_t template_n, CK_OBJECT_HANDLE *out, size_t cap,
                size_t *n)
{
    *n = 0;
    CK_RV rv = l->f->C_FindObjectsInit(l->session, template, template_n);
    if (rv != CKR_OK)
        return rv;
    while (*n < cap) {
        CK_ULONG got = 0;
        rv = l->f->C_FindObjects(l->session, out + *n, cap - *n, &got);
        if (rv != CKR_OK || got == 0 || got > cap - *n)
            break;
        *n += got;
    }
    /* A search that is not ended blocks the session. */
    CK_RV end = l->f->C_FindObjectsFinal(l->session);
    return rv != CKR_OK ? rv : end;
}

CK_BYTE *cryptoki_in(const uint8_t *p)
{
    union {
        const uint8_t *in;
        CK_BYTE *out;
    } u = {.in = p};
    return u.out;
}

CK_ATTRIBUTE attr_of_bool(CK_ATTRIBUTE_TYPE type, bool v)
{
    static const CK_BBOOL values[2] = {CK_FALSE, CK_TRUE};
    return attr_of(type, cryptoki_in(&values[v ? 1 : 0]), sizeof(CK_BBOOL));
}

CK_ATTRIBUTE attr_of(CK_ATTRIBUTE_TYPE type, void *p, size_t n)
{
    return (CK_ATTRIBUTE){.type = type, .pValue = p, .ulValueLen = n};
}
