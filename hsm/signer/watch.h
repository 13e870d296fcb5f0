/* SPDX-License-Identifier: Apache-2.0
 * The watch over calls into the module, which have no time-outs of their own. A call that takes too long cannot be
 * ended but by ending the process, so when too many are stuck the signer exits and its supervisor starts another. */
#ifndef HSM_SIGNER_WATCH_H
#define HSM_SIGNER_WATCH_H

#include "base/err.h"

#include <stdatomic.h>
#include <stdint.h>

/* The broker has up to 258 clients (256 workers, its background and its health check). Each may have a thread that is
 * stuck for a request that it gave up, and a new one. */
enum { WATCH_SLOTS = 520 };

/* A thread that calls the module. since_us is the monotonic time at which its call began, 0 outside of calls. */
struct watch_slot {
    _Atomic bool used;
    _Atomic int64_t since_us;
};

struct watch {
    int64_t timeout_us;
    struct watch_slot healer; /* start and re-initialise: watched, but not counted as a client */
    struct watch_slot slots[WATCH_SLOTS];
};

/* Starts the watching thread. */
struct err watch_start(struct watch *w, int64_t timeout_us);

/* A slot for a new thread; NULL when there are WATCH_SLOTS threads already. */
struct watch_slot *watch_join(struct watch *w);
void watch_quit(struct watch_slot *s);

void watch_begin(struct watch_slot *s);
void watch_end(struct watch_slot *s);

/* Why the process must end at that time, or NULL: more than four calls or more than half of the threads are past the
 * time-out, or one is past three of them. */
const char *watch_judge(const struct watch *w, int64_t now_us);

#endif
