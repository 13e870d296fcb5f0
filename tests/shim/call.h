// SPDX-License-Identifier: Apache-2.0
// What happens around every call: count it, ask the script, wait, spoil the result, log it.
// A struct call lives on the stack of its wrapper and belongs to one thread.
#ifndef SHIM_CALL_H
#define SHIM_CALL_H

#include "script.h"

#include <time.h>

struct call {
    enum call_id id;
    CK_SESSION_HANDLE session;
    const CK_MECHANISM *mechanism; // what the call asks for, or NULL
    CK_BYTE *out;                  // the caller's buffer (an OUTPUT call), or NULL
    CK_ULONG *out_len;

    // Filled by call_enter.
    const CK_FUNCTION_LIST *real;
    struct effect effect;
    bool forward; // the real module is to be called, even if its answer may not be used
    bool touched; // the shim had a hand in the answer
    bool gated;
    bool swapped;
    CK_FLAGS token_flags;
    CK_ULONG capacity;
    unsigned generation;
    int log_fd;
    struct timespec due; // a gated call does not return before
};

// Decides what is to be done; afterwards call->forward says whether to ask the real module.
// May sleep, and may not return at all (`crash`).
void call_enter(struct call *call);

// Takes the real module's answer (whatever it is if it was not asked) and returns what the caller gets.
CK_RV call_leave(struct call *call, CK_RV rv);

#endif
