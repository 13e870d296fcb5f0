/* SPDX-License-Identifier: Apache-2.0
 * Which token it is. A slot number says nothing: another token may stand in the slot at any time, and must get neither
 * the PIN nor a request to sign. So the identity is compared whenever a session is opened and before each login. */
#ifndef HSM_SIGNER_IDENTITY_H
#define HSM_SIGNER_IDENTITY_H

#include "hsm/signer/attr.h"

/* Texts without the padding. */
struct token_identity {
    CK_SLOT_ID slot;
    char label[33], serial[17], manufacturer[33], model[17];
    CK_ULONG max_sessions; /* 0: unknown */
};

void identity_of(CK_SLOT_ID slot, const CK_TOKEN_INFO *info, struct token_identity *out);

/* Same label, serial, manufacturer and model; the slot may differ. */
bool identity_same(const struct token_identity *a, const struct token_identity *b);

/* Asks the slot of `want` which token is in it: CKR_TOKEN_NOT_RECOGNIZED when it is another one. */
CK_RV identity_check(CK_FUNCTION_LIST *f, const struct token_identity *want, CK_FLAGS *flags);

#endif
