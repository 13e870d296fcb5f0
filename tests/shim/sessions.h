// SPDX-License-Identifier: Apache-2.0
// The sessions that are open through the shim, so that a limit can be kept and a change of token can be noticed.
// A plain table inside the shim's state: nothing to free, the caller holds the shim's lock.
#ifndef SHIM_SESSIONS_H
#define SHIM_SESSIONS_H

#include <p11-kit/pkcs11.h>
#include <stdbool.h>
#include <stddef.h>

#define SESSIONS_MAX 4096

struct session {
    CK_SESSION_HANDLE handle;
    CK_SLOT_ID slot;
    unsigned epoch; // which token was in the slot when it was opened
};

struct sessions {
    struct session open[SESSIONS_MAX];
    size_t count;
    size_t opening; // promised, but not yet answered by the real module
};

// Promises room for one more session; false if `limit` are open already, or the table is full.
bool sessions_reserve(struct sessions *sessions, size_t limit);

// Keeps the promise, with the session that was opened, or takes it back (opened == NULL).
void sessions_settle(struct sessions *sessions, const struct session *opened);

// The epoch of a session; false for one that was not opened here.
bool sessions_epoch(const struct sessions *sessions, CK_SESSION_HANDLE handle, unsigned *epoch);

void sessions_remove(struct sessions *sessions, CK_SESSION_HANDLE handle);
void sessions_remove_slot(struct sessions *sessions, CK_SLOT_ID slot);

#endif
