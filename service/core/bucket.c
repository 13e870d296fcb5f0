/* SPDX-License-Identifier: Apache-2.0 */
#include "service/core/bucket.h"

#include "base/rand.h"

#include <pthread.h>
#include <stdlib.h>

enum { WAYS = 8, LOCKS = 64, TOKEN = 1000000 /* a token is a million parts: rate * microseconds are parts */ };

struct bucket {
    uint64_t name;    /* keyed hash; 0: unused */
    int64_t level;    /* parts left at that time */
    int64_t stamp_us; /* of the last use */
};

struct set {
    struct bucket ways[WAYS];
};

struct buckets {
    uint64_t key[2];
    int64_t rate, full;
    size_t mask;
    pthread_mutex_t locks[LOCKS];
    struct set sets[];
};

static uint64_t rotl(uint64_t x, int n)
{
    return (x << n) | (x >> (64 - n));
}

static void sip_rounds(uint64_t v[static 4], int n)
{
    while (n-- > 0) {
        v[0] += v[1];
        v[1] = rotl(v[1], 13) ^ v[0];
        v[0] = rotl(v[0], 32);
        v[2] += v[3];
        v[3] = rotl(v[3], 16) ^ v[2];
        v[0] += v[3];
        v[3] = rotl(v[3], 21) ^ v[0];
        v[2] += v[1];
        v[1] = rotl(v[1], 17) ^ v[2];
        v[2] = rotl(v[2], 32);
    }
}

/* SipHash-2-4 under a random key: names come from callers, who must not be able to choose whose set they fall into. */
static uint64_t name_hash(const uint64_t key[static 2], struct str s)
{
    uint64_t v[4] = {key[0] ^ UINT64_C(0x736f6d6570736575), key[1] ^ UINT64_C(0x646f72616e646f6d),
                     key[0] ^ UINT64_C(0x6c7967656e657261), key[1] ^ UINT64_C(0x7465646279746573)};
    uint64_t word = 0;
    for (size_t i = 0; i < s.n; i++) {
        word |= (uint64_t)(unsigned char)s.p[i] << (8 * (i % 8));
        if (i % 8 == 7) {
            v[3] ^= word;
            sip_rounds(v, 2);
            v[0] ^= word;
            word = 0;
        }
    }
    word |= (uint64_t)s.n << 56;
    v[3] ^= word;
    sip_rounds(v, 2);
    v[0] ^= word;
    v[2] ^= 0xff;
    sip_rounds(v, 4);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

struct err buckets_new(size_t capacity, int64_t rate_per_s, int64_t burst, struct buckets **out)
{
    if (rate_per_s < 1 || burst < 1 || rate_per_s > INT64_MAX / TOKEN / 4 || burst > INT64_MAX / TOKEN / 4)
        return FAIL(ERR_CONFIG, "rate %lld, burst %lld", (long long)rate_per_s, (long long)burst);
    size_t sets = 1;
    while (sets * WAYS < capacity)
        sets *= 2;
    struct buckets *b = calloc(1, sizeof *b + sets * sizeof b->sets[0]);
    if (b == NULL)
        return FAIL(ERR_NO_MEMORY, "%zu buckets", capacity);
    b->rate = rate_per_s;
    b->full = burst * TOKEN;
    b->mask = sets - 1;
    for (size_t i = 0; i < LOCKS; i++)
        pthread_mutex_init(&b->locks[i], NULL);
    struct err e = rand_bytes((uint8_t *)b->key, sizeof b->key);
    if (err_is(&e)) {
        buckets_free(&b);
        return e;
    }
    *out = b;
    return OK;
}

void buckets_free(struct buckets **b)
{
    if (*b == NULL)
        return;
    for (size_t i = 0; i < LOCKS; i++)
        pthread_mutex_destroy(&(*b)->locks[i]);
    free(*b);
    *b = NULL;
}

/* What a bucket holds now. A clock that runs backward, or a wait longer than a full refill, changes nothing more. */
static int64_t level_at(const struct buckets *b, const struct bucket *w, int64_t now_us)
{
    int64_t waited = now_us - w->stamp_us;
    if (waited <= 0)
        return w->level;
    if (waited >= (b->full - w->level) / b->rate + 1)
        return b->full;
    return w->level + waited * b->rate;
}

/* The bucket of that name. A new one replaces, in this order: an unused one, one that is full (forgetting it loses
 * nothing), the least recently used. */
static struct bucket *find(const struct buckets *b, struct set *s, uint64_t name, int64_t now_us)
{
    struct bucket *victim = &s->ways[0];
    int best = 0; /* 1: full, 2: unused */
    for (size_t i = 0; i < WAYS; i++) {
        struct bucket *w = &s->ways[i];
        if (w->name == name)
            return w;
        int rank = w->name == 0 ? 2 : level_at(b, w, now_us) >= b->full ? 1 : 0;
        if (rank > best || (rank == best && w->stamp_us < victim->stamp_us)) {
            victim = w;
            best = rank;
        }
    }
    *victim = (struct bucket){.name = name, .level = b->full, .stamp_us = now_us};
    return victim;
}

bool buckets_take(struct buckets *b, struct str name, int64_t now_us, int64_t *retry_after_s)
{
    uint64_t h = name_hash(b->key, name);
    size_t at = (size_t)(h >> 32) & b->mask;
    h = h != 0 ? h : 1;
    pthread_mutex_t *lock = &b->locks[at % LOCKS];
    pthread_mutex_lock(lock);
    struct bucket *w = find(b, &b->sets[at], h, now_us);
    w->level = level_at(b, w, now_us);
    if (now_us > w->stamp_us)
        w->stamp_us = now_us;
    int64_t missing = TOKEN - w->level;
    if (missing <= 0)
        w->level -= TOKEN;
    pthread_mutex_unlock(lock);
    if (missing <= 0)
        return true;
    int64_t wait_us = (missing + b->rate - 1) / b->rate;
    *retry_after_s = (wait_us + TOKEN - 1) / TOKEN;
    return false;
}
