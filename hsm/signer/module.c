/* SPDX-License-Identifier: Apache-2.0 */
#include "hsm/signer/module.h"

#include "hsm/signer/ckr.h"

#include <dlfcn.h>
#include <string.h>

struct err module_load(const char *path, struct module *out)
{
    /* RTLD_LOCAL: a vendor library's symbols must not answer for ours or for another library's. */
    void *dl = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (dl == NULL)
        return FAIL(ERR_CONFIG, "NEXUS_PKCS11_MODULE: %s", dlerror());
    void *symbol = dlsym(dl, "C_GetFunctionList");
    CK_C_GetFunctionList get = NULL;
    _Static_assert(sizeof get == sizeof symbol, "POSIX: a function's address fits a void *");
    memcpy(&get, &symbol, sizeof get);
    if (get == NULL)
        return FAIL(ERR_CONFIG, "NEXUS_PKCS11_MODULE: %s has no C_GetFunctionList", path);
    CK_RV rv = get(&out->f);
    /* A module that is short of memory now may load at the next start: no reason never to start again. */
    if (rv != CKR_OK || out->f == NULL)
        return FAIL(ERR_HSM_UNAVAILABLE, "C_GetFunctionList: %s", ckr_find(rv)->name);
    return OK;
}

CK_RV module_initialize(const struct module *m)
{
    CK_C_INITIALIZE_ARGS args = {.flags = CKF_OS_LOCKING_OK};
    CK_RV rv = m->f->C_Initialize(&args);
    return rv == CKR_CRYPTOKI_ALREADY_INITIALIZED ? CKR_OK : rv;
}

void module_finalize(const struct module *m)
{
    (void)m->f->C_Finalize(NULL);
}
