// SPDX-License-Identifier: Apache-2.0
// Names of Cryptoki constants in scripts and in the log.
// Pure tables: nothing is owned, any thread may call.
#ifndef SHIM_NAMES_H
#define SHIM_NAMES_H

#include <p11-kit/pkcs11.h>
#include <stdbool.h>
#include <stddef.h>

enum name_kind { NAME_RV, NAME_MECHANISM, NAME_TOKEN_FLAG };

// The value of a name, with or without its prefix, or of a number (0x... too). False: unknown; a NULL text is unknown.
bool names_value(enum name_kind kind, const char *text, CK_ULONG *value);

// The value of a whole decimal or 0x number. A NULL text is not a number.
bool names_number(const char *text, CK_ULONG *value);

// The name of a return value without its CKR_, or NULL for one that PKCS#11 2.40 does not know.
const char *names_rv(CK_RV rv);

#endif
