/* SPDX-License-Identifier: Apache-2.0
 * Reading attributes of token objects, one by one into buffers of our own: tokens fail a whole template for one
 * unknown attribute, and what they answer to a size query is not to be trusted. */
#ifndef HSM_SIGNER_ATTR_H
#define HSM_SIGNER_ATTR_H

#include <p11-kit/pkcs11.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A session of the module, borrowed from the gate for one operation. */
struct lease {
    CK_FUNCTION_LIST *f;
    CK_SESSION_HANDLE session; /* CK_INVALID_HANDLE: none yet */
    uint64_t epoch;
};

struct object {
    const struct lease *l;
    CK_OBJECT_HANDLE h;
};

/* The value into p of cap bytes. A missing or empty attribute gives *n = 0 and CKR_OK, so that a caller sees only
 * failures that tell about the token. */
CK_RV attr_bytes(const struct object *o, CK_ATTRIBUTE_TYPE type, uint8_t *p, size_t cap, size_t *n);

/* *out is false (or def) where the token does not know the attribute. */
CK_RV attr_bool(const struct object *o, CK_ATTRIBUTE_TYPE type, bool *out);
CK_RV attr_ulong(const struct object *o, CK_ATTRIBUTE_TYPE type, CK_ULONG def, CK_ULONG *out);

/* At most cap objects that match the template; *n tells how many. */
CK_RV attr_find(const struct lease *l, CK_ATTRIBUTE *template, size_t template_n, CK_OBJECT_HANDLE *out, size_t cap,
                size_t *n);

/* Cryptoki takes its inputs by pointers to non-const and only reads them. */
CK_BYTE *cryptoki_in(const uint8_t *p);

/* Rows of templates. */
CK_ATTRIBUTE attr_of_bool(CK_ATTRIBUTE_TYPE type, bool v);
CK_ATTRIBUTE attr_of(CK_ATTRIBUTE_TYPE type, void *p, size_t n);

#endif
