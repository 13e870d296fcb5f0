/* SPDX-License-Identifier: Apache-2.0 */
#include "hsm/signer/watch.h"

#include "base/clock.h"
#include "base/log.h"
#include "hsm/supervisor.h"

#include <poll.h>
#include <pthread.h>
#include <unistd.h>

enum { STUCK_MAX = 4, HOPELESS = 3, LOOKS_PER_TIMEOUT = 4, LOOK_MIN_MS = 20, LOOK_MAX_MS = 1000 };

void watch_begin(struct watch_slot *s)
{
    atomic_store(&s->since_us, clock_mono_us());
}

void watch_end(struct watch_slot *s)
{
    atomic_store(&s->since_us, 0);
}

struct watch_slot *watch_join(struct watch *w)
{
    for (size_t i = 0; i < COUNT(w->slots); i++) {
        if (!atomic_exchange(&w->slots[i].used, true))
            return &w->slots[i];
    }
    return NULL;
}

void watch_quit(struct watch_slot *s)
{
    atomic_store(&s->since_us, 0);
    atomic_store(&s->used, false);
}

static int64_t time_in_call(const struct watch_slot *s, int64_t now_us)
{
    int64_t since = atomic_load(&s->since_us);
    return since == 0 ? 0 : now_us - since;
}

const char *watch_judge(const struct watch *w, int64_t now_us)
{
    int64_t longest = time_in_call(&w->healer, now_us);
    int threads = 0, stuck = 0;
    for (size_t i = 0; i < COUNT(w->slots); i++) {
        int64_t t = time_in_call(&w->slots[i], now_us);
        threads += atomic_load(&w->slots[i].used);
        stuck += t > w->timeout_us;
        longest = t > longest ? t : longest;
    }
    if (longest > HOPELESS * w->timeout_us)
        return "a call into the module does not end";
    if (stuck > STUCK_MAX || 2 * stuck > threads)
        return "too many calls into the module are stuck";
    return NULL;
}

static void *look(void *arg)
{
    const struct watch *w = arg;
    int64_t ms = w->timeout_us / 1000 / LOOKS_PER_TIMEOUT;
    int pause = (int)(ms < LOOK_MIN_MS ? LOOK_MIN_MS : ms > LOOK_MAX_MS ? LOOK_MAX_MS : ms);
    for (;;) {
        (void)poll(NULL, 0, pause);
        const char *why = watch_judge(w, clock_mono_us());
        if (why == NULL)
            continue;
        LOG(LOG_ERROR, "the signer ends, to be replaced", LOG_CSTR("reason", why));
        _exit(SIGNER_EXIT_POISONED);
    }
    return NULL;
}

struct err watch_start(struct watch *w, int64_t timeout_us)
{
    pthread_t t;
    w->timeout_us = timeout_us;
    if (pthread_create(&t, NULL, look, w) != 0)
        return FAIL(ERR_NO_MEMORY, "the watching thread");
    pthread_detach(t);
    return OK;
}
