// SPDX-License-Identifier: Apache-2.0
// The Cryptoki face: one wrapper per row of calls.h, and the function list made of them. NEXUS_SHIM_MODULE names the
// real module, NEXUS_SHIM_SCRIPT what to do wrong (the grammar is in script.h), NEXUS_SHIM_LOG where calls are counted.
#include "own.h"
#include "state.h"

// Where the real module's output goes if the script wants another answer: the caller's buffer must stay as it was.
#define SCRATCH_SIZE 1024

// The columns of a row, as calls.h explains them; `name_` and so on, for the rows use the plain words.
#define WRAP_PLAIN(name, flags_, session_, mechanism_, parameters, arguments)                                          \
    static CK_RV shim_##name parameters                                                                                \
    {                                                                                                                  \
        struct call call = {.id = CALL_##name, .session = (session_), .mechanism = (mechanism_)};                      \
        CK_RV rv = CKR_OK;                                                                                             \
        call_enter(&call);                                                                                             \
        if (call.forward)                                                                                              \
            rv = call.real->name arguments;                                                                            \
        return call_leave(&call, rv);                                                                                  \
    }

#define WRAP_OUTPUT(name, flags_, session_, mechanism_, parameters, arguments)                                         \
    static CK_RV shim_##name parameters                                                                                \
    {                                                                                                                  \
        CK_BYTE scratch[SCRATCH_SIZE];                                                                                 \
        CK_ULONG scratch_len = sizeof(scratch);                                                                        \
        struct call call = {.id = CALL_##name, .session = (session_), .mechanism = (mechanism_)};                      \
        CK_RV rv = CKR_OK;                                                                                             \
        call.out = out;                                                                                                \
        call.out_len = out_len;                                                                                        \
        call_enter(&call);                                                                                             \
        if (call.effect.answered) {                                                                                    \
            out = scratch;                                                                                             \
            out_len = &scratch_len;                                                                                    \
        }                                                                                                              \
        if (call.forward)                                                                                              \
            rv = call.real->name arguments;                                                                            \
        return call_leave(&call, rv);                                                                                  \
    }

#define WRAP_OWN(name, flags_, session_, mechanism_, parameters, arguments)                                            \
    static CK_RV shim_##name parameters                                                                                \
    {                                                                                                                  \
        struct call call = {.id = CALL_##name, .session = (session_), .mechanism = (mechanism_)};                      \
        CK_RV rv = CKR_OK;                                                                                             \
        call_enter(&call);                                                                                             \
        if (call.forward)                                                                                              \
            rv = own_##name(&call, CALL_BARE arguments);                                                               \
        return call_leave(&call, rv);                                                                                  \
    }

CALLS(WRAP_PLAIN, WRAP_OUTPUT, WRAP_OWN)

#define INFO(name, flags_, ...)        [CALL_##name] = {#name, (flags_)},
#define INFO_OUTPUT(name, flags_, ...) [CALL_##name] = {#name, (flags_) | CALL_OUTPUT},
const struct call_info call_infos[CALL_COUNT] = {CALLS(INFO, INFO_OUTPUT, INFO)};

// Not const only because Cryptoki's type for it is not; nobody writes to it.
#define ENTRY(name, ...) .name = shim_##name,
static CK_FUNCTION_LIST function_list = {.version = {2, 40}, CALLS(ENTRY, ENTRY, ENTRY)};

CK_FUNCTION_LIST *own_function_list(void)
{
    return &function_list;
}

__attribute__((visibility("default"))) CK_RV C_GetFunctionList(CK_FUNCTION_LIST **list)
{
    CK_RV rv = state_open();
    return rv == CKR_OK ? shim_C_GetFunctionList(list) : rv;
}
