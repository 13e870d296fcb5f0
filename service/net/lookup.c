/* SPDX-License-Identifier: Apache-2.0 */
#include "service/net/lookup.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

/* Shared by the caller and the thread; whoever lets go last frees it. */
struct lookup {
    atomic_int users;
    pthread_mutex_t lock;
    pthread_cond_t ended;
    bool done; /* under the lock; result and list are set before it and stay */
    int result;
    struct addrinfo *list;
    char host[LOOKUP_HOST_MAX + 1];
};

static struct err lookup_new(const char *host, struct lookup **out)
{
    struct lookup *l = calloc(1, sizeof *l);
    if (l == NULL)
        return FAIL(ERR_NO_MEMORY, "name lookup");
    atomic_init(&l->users, 1);
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&l->ended, &attr);
    pthread_condattr_destroy(&attr);
    pthread_mutex_init(&l->lock, NULL);
    (void)snprintf(l->host, sizeof l->host, "%s", host);
    *out = l;
    return OK;
}

void lookup_free(struct lookup **l)
{
    struct lookup *p = *l;
    *l = NULL;
    if (p == NULL || atomic_fetch_sub(&p->users, 1) != 1)
        return;
    if (p->list != NULL)
        freeaddrinfo(p->list);
    pthread_cond_destroy(&p->ended);
    pthread_mutex_destroy(&p->lock);
    free(p);
}

const struct addrinfo *lookup_list(const struct lookup *l)
{
    return l->list;
}

/* One entry an address, not one for each type of socket. */
static int resolve(struct lookup *l, int flags)
{
    const struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = flags};
    return getaddrinfo(l->host, NULL, &hints, &l->list);
}

static void *run(void *arg)
{
    struct lookup *l = arg;
    int result = resolve(l, 0);
    pthread_mutex_lock(&l->lock);
    l->result = result;
    l->done = true;
    pthread_cond_signal(&l->ended);
    pthread_mutex_unlock(&l->lock);
    lookup_free(&l);
    return NULL;
}

static struct err start(struct lookup *l)
{
    pthread_attr_t attr;
    pthread_attr_init(&attr);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    atomic_fetch_add(&l->users, 1);
    pthread_t thread;
    int r = pthread_create(&thread, &attr, run, l);
    pthread_attr_destroy(&attr);
    if (r == 0)
        return OK;
    atomic_fetch_sub(&l->users, 1);
    return FAIL(ERR_NO_MEMORY, "no thread for a name lookup: errno %d", r);
}

static bool wait_done(struct lookup *l, int64_t deadline_us)
{
    const struct timespec until = {.tv_sec = (time_t)(deadline_us / 1000000),
                                   .tv_nsec = (long)(deadline_us % 1000000) * 1000};
    pthread_mutex_lock(&l->lock);
    int r = 0;
    while (!l->done && r == 0)
        r = pthread_cond_timedwait(&l->ended, &l->lock, &until);
    bool done = l->done;
    pthread_mutex_unlock(&l->lock);
    return done;
}

/* A free place among those left behind; NULL: all of them hang. */
static struct lookup **find_place(struct lookups *ls)
{
    struct lookup **place = NULL;
    for (size_t i = 0; i < LOOKUPS_LEFT_MAX; i++) {
        if (ls->left[i] != NULL && wait_done(ls->left[i], 0))
            lookup_free(&ls->left[i]);
        if (ls->left[i] == NULL)
            place = &ls->left[i];
    }
    return place;
}

void lookups_wipe(struct lookups *ls)
{
    for (size_t i = 0; i < LOOKUPS_LEFT_MAX; i++)
        lookup_free(&ls->left[i]);
}

struct err lookup_host(struct lookups *ls, const char *host, int64_t deadline_us, struct lookup **out)
{
    CLEANUP(lookup_free) struct lookup *l = NULL;
    TRY(lookup_new(host, &l));
    if (resolve(l, AI_NUMERICHOST) != 0) {
        struct lookup **place = find_place(ls);
        if (place == NULL)
            return FAIL(ERR_NET, "name lookups hang; check this machine's name service (host %s)", host);
        TRY(start(l));
        if (!wait_done(l, deadline_us)) {
            *place = l;
            l = NULL;
            return FAIL(ERR_NET, "timed out looking up the name %s", host);
        }
        if (l->result != 0)
            return FAIL(ERR_NET, "the name %s cannot be looked up: %s", host, gai_strerror(l->result));
    }
    *out = l;
    l = NULL;
    return OK;
}
