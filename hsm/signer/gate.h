/* SPDX-License-Identifier: Apache-2.0
 * The gate before the module. Every operation enters, borrowing a session, and leaves, giving it back; when the token
 * is gone the gate shuts, so that C_Finalize never meets a call in flight and requests are refused at once instead of
 * piling up. Sessions are lent, not owned: a token with few sessions still serves every client.
 * An epoch is the life between two C_Initialize. All functions may be called on any thread. */
#ifndef HSM_SIGNER_GATE_H
#define HSM_SIGNER_GATE_H

#include "base/err.h"
#include "hsm/signer/attr.h"

#include <pthread.h>

enum { GATE_SESSIONS_MAX = 256 };

struct gate {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool open, stopping;
    uint64_t epoch;
    int inside;        /* leases given out */
    int sessions;      /* open ones, lent or idle */
    int most, limit;   /* how many there may be now, and by configuration */
    int64_t shrunk_us; /* when the token last said that it has no more */
    int idle_n;
    CK_SESSION_HANDLE idle[GATE_SESSIONS_MAX]; /* the last one used is lent first */
};

void gate_init(struct gate *g, int limit);

/* Lends a session; session is CK_INVALID_HANDLE when the caller is to open one. Waits a little for one when the token
 * has no more. ERR_HSM_UNAVAILABLE: the gate is shut, or no session came free. */
struct err gate_enter(struct gate *g, CK_FUNCTION_LIST *f, struct lease *out);
/* Takes the session back. With CK_INVALID_HANDLE the session is lost (closed by the caller, or never opened). */
void gate_leave(struct gate *g, const struct lease *l);

/* The token had no session for us: there are at most as many as there are now. */
void gate_no_more_sessions(struct gate *g);

/* Shuts the gate if it is still in that epoch; the healing thread then wakes. */
void gate_shut(struct gate *g, uint64_t epoch);

/* For the healing thread: waits for a shut gate; waits until nobody is inside (false: the deadline passed); opens. */
void gate_wait_shut(struct gate *g);
bool gate_drain(struct gate *g, int64_t deadline_us);
void gate_open(struct gate *g);

/* Shuts the gate for good, without waking the healing thread. False when it was shut already: the healing thread is at
 * work in the module then. */
bool gate_stop(struct gate *g);

#endif
