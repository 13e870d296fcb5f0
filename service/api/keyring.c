/* SPDX-License-Identifier: Apache-2.0 */
#include "service/api/keyring.h"

#include "base/buf.h"
#include "base/rand.h"
#include "crypto/json.h"

#include <pthread.h>
#include <stdlib.h>

enum { KEYSET_ARENA = 262144, JWKS_BODY_MAX = 131072 };

struct keyring {
    pthread_mutex_t lock; /* guards the pointer only; what it points to is immutable */
    struct keyset *current;
};

static void keyset_drop(struct keyset *s)
{
    if (s == NULL || atomic_fetch_sub(&s->refs, 1) != 1)
        return;
    /* The arrays lie in the arena; the keys are the crypto layer's own. */
    for (size_t i = 0; i < s->published.n; i++)
        jwk_free(&s->published.keys[i]);
    for (size_t i = 0; i < s->calls.n; i++)
        jwk_free(&s->calls.keys[i]);
    struct arena *a = s->arena;
    arena_free(&a); /* the set itself lies in its arena */
}

static void keyset_drop_auto(struct keyset **s)
{
    keyset_drop(*s);
    *s = NULL;
}

static struct err keyset_new(struct keyset **out)
{
    CLEANUP(arena_free) struct arena *a = NULL;
    TRY(arena_new(KEYSET_ARENA, &a));
    struct keyset *s = arena_alloc(a, sizeof *s);
    if (s == NULL)
        return FAIL(ERR_NO_MEMORY, "keyset");
    atomic_init(&s->refs, 1);
    s->arena = a;
    s->jwks_json = STR("{\"keys\":[]}");
    a = NULL;
    *out = s;
    return OK;
}

static bool is_published(const struct ring_key *k, enum hsm_purpose purpose)
{
    return k->purpose == purpose && (k->state == KEY_ACTIVE || k->state == KEY_RETIRING);
}

/* The part of a snapshot that holds the keys of one purpose. */
struct ring {
    enum hsm_purpose purpose;
    struct jwks *keys;
    const struct jwk **active;
    struct hsm_key_id *active_id;
};

static struct err add_key(struct keyset *s, const struct crypto *c, const struct ring_key *row, const struct ring *to)
{
    const struct json *obj = NULL;
    TRY(json_parse(s->arena, str_bytes(row->jwk), &obj));
    struct jwk *k = NULL;
    TRY(jwk_parse(c, obj, &k));
    to->keys->keys[to->keys->n++] = k;
    if (!str_eq(jwk_kid(k), row->kid))
        return FAIL(ERR_DB, "signing key %.*s holds the JWK of another key", STR_FMT(row->kid));
    if (row->state == KEY_ACTIVE) {
        *to->active = k;
        *to->active_id = row->id;
    }
    return OK;
}

static struct err fill(struct keyset *s, const struct crypto *c, const struct ring_key *rows, size_t n,
                       const struct ring *to)
{
    to->keys->keys = arena_array(s->arena, n, sizeof(struct jwk *)); /* NOLINT(bugprone-sizeof-expression): pointers */
    if (to->keys->keys == NULL)
        return FAIL(ERR_NO_MEMORY, "%zu keys", n);
    for (size_t i = 0; i < n; i++) {
        if (is_published(&rows[i], to->purpose))
            TRY(add_key(s, c, &rows[i], to));
    }
    return OK;
}

static struct err write_body(struct keyset *s, const struct crypto *c)
{
    struct buf b = buf_in(s->arena, JWKS_BODY_MAX);
    struct json_writer w = json_writer(&b);
    json_begin_object(&w, NULL);
    json_begin_array(&w, "keys");
    for (size_t i = 0; i < s->published.n; i++)
        jwk_write(s->published.keys[i], &w, NULL);
    for (size_t i = 0; i < s->calls.n; i++)
        jwk_write(s->calls.keys[i], &w, NULL);
    json_end_array(&w);
    json_end_object(&w);
    TRY(buf_status(&b));
    s->jwks_json = buf_view(&b);
    uint8_t hash[SHA256_LEN];
    TRY(crypto_sha256(c, buf_bytes(&b), hash));
    char hex[33];
    hex_encode(hash, 16, hex);
    s->etag = arena_printf(s->arena, "\"%s\"", hex);
    return s->etag.p != NULL ? OK : FAIL(ERR_NO_MEMORY, "etag");
}

struct err keyring_new(struct keyring **out)
{
    struct keyring *k = calloc(1, sizeof *k);
    if (k == NULL)
        return FAIL(ERR_NO_MEMORY, "keyring");
    pthread_mutex_init(&k->lock, NULL);
    struct err e = keyset_new(&k->current);
    if (err_is(&e)) {
        free(k);
        return e;
    }
    *out = k;
    return OK;
}

void keyring_free(struct keyring **k)
{
    if (*k == NULL)
        return;
    keyset_drop((*k)->current);
    pthread_mutex_destroy(&(*k)->lock);
    free(*k);
    *k = NULL;
}

struct err keyring_load(struct keyring *k, const struct crypto *c, const struct ring_key *rows, size_t n)
{
    CLEANUP(keyset_drop_auto) struct keyset *s = NULL;
    TRY(keyset_new(&s));
    const struct ring sessions = {HSM_SESSION, &s->published, &s->active, &s->active_id};
    const struct ring calls = {HSM_CALL, &s->calls, &s->call, &s->call_id};
    TRY(fill(s, c, rows, n, &sessions));
    TRY(fill(s, c, rows, n, &calls));
    TRY(write_body(s, c));
    pthread_mutex_lock(&k->lock);
    struct keyset *old = k->current;
    k->current = s;
    pthread_mutex_unlock(&k->lock);
    s = old; /* dropped at the end of scope; readers that hold it keep it alive */
    return OK;
}

const struct keyset *keyring_take(struct keyring *k)
{
    pthread_mutex_lock(&k->lock);
    struct keyset *s = k->current;
    atomic_fetch_add(&s->refs, 1);
    pthread_mutex_unlock(&k->lock);
    return s;
}

void keyset_release(const struct keyset **s)
{
    /* The count is the one member that changes behind a const view. */
    union {
        const struct keyset *view;
        struct keyset *own;
    } u = {.view = *s};
    keyset_drop(u.own);
    *s = NULL;
}
