// SPDX-License-Identifier: Apache-2.0
// The calls that do more than pass through. Each asks call->real and changes the answer as the script wants it; rules
// for single calls are already applied by call_enter. Any thread, no lock held.
#ifndef SHIM_OWN_H
#define SHIM_OWN_H

#include "call.h"

#define OWN_NOTHING(...)
#define OWN_DECLARE(name, flags, session, mechanism, parameters, arguments)                                            \
    CK_RV own_##name(struct call *call, CALL_BARE parameters);
CALLS(OWN_NOTHING, OWN_NOTHING, OWN_DECLARE)
#undef OWN_NOTHING
#undef OWN_DECLARE

// The function list that callers get (shim.c).
CK_FUNCTION_LIST *own_function_list(void);

#endif
