/* SPDX-License-Identifier: Apache-2.0
 * The PKCS#11 module as a loaded library. It is loaded after the last fork and never unloaded: vendor libraries leave
 * threads and exit handlers behind. */
#ifndef HSM_SIGNER_MODULE_H
#define HSM_SIGNER_MODULE_H

#include "base/err.h"

#include <p11-kit/pkcs11.h>

struct module {
    CK_FUNCTION_LIST *f;
};

/* ERR_CONFIG when the file is not a PKCS#11 module; ERR_HSM_UNAVAILABLE when it is one that cannot serve now. */
struct err module_load(const char *path, struct module *out);

/* C_Initialize with the promise that we use threads. */
CK_RV module_initialize(const struct module *m);
void module_finalize(const struct module *m);

#endif
