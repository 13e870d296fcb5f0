/* SPDX-License-Identifier: Apache-2.0 */
#include "service/api/vault.h"

#include "crypto/b64u.h"
#include "crypto/envelope.h"
#include "service/api/dek.h"

#include <stdlib.h>

_Static_assert(ENVELOPE_KEY_LEN == (int)HSM_DEK_LEN, "what the HSM wraps is what seals");

enum { PLACE_MAX = 4096, FINGERPRINT_LEN = 16 };

/* What a data key computes besides sealed values; the NUL at the end of each text parts it from what follows. */
#define USE_CHECK       "check"
#define USE_FINGERPRINT "fingerprint"

/* A data key that is kept, named by its wrapped form. */
struct slot {
    uint64_t used;    /* the vault's count at the last use; 0: the slot is free */
    int64_t until_us; /* monotonic */
    struct hsm_key_id kek;
    size_t wrapped_n;
    uint8_t wrapped[HSM_BLOB_MAX];
};

struct vault {
    int64_t lifetime_us;
    uint64_t uses;
    struct secret *keys; /* of all slots, in their order: few pages are locked, however many keys there are */
    size_t n;
    struct slot slot[];
};

struct err vault_new(int64_t lifetime_s, int64_t most, struct vault **out)
{
    size_t n = lifetime_s > 0 && most > 0 ? (size_t)most : 0;
    CLEANUP(vault_free) struct vault *v = calloc(1, sizeof *v + n * sizeof v->slot[0]);
    if (v == NULL)
        return FAIL(ERR_NO_MEMORY, "a vault of %zu keys", n);
    TRY(secret_new(n * HSM_DEK_LEN, &v->keys));
    v->lifetime_us = lifetime_s * 1000000;
    v->n = n;
    *out = v;
    v = NULL;
    return OK;
}

void vault_free(struct vault **v)
{
    if (*v == NULL)
        return;
    secret_free(&(*v)->keys);
    free(*v);
    *v = NULL;
}

static uint8_t *key_at(const struct vault *v, const struct slot *s)
{
    return v->keys->p + (size_t)(s - v->slot) * HSM_DEK_LEN;
}

static void drop(struct vault *v, struct slot *s)
{
    explicit_bzero(key_at(v, s), HSM_DEK_LEN);
    *s = (struct slot){.used = 0};
}

void vault_expire(struct vault *v)
{
    int64_t now = clock_mono_us();
    for (size_t i = 0; i < v->n; i++) {
        if (v->slot[i].used > 0 && now >= v->slot[i].until_us)
            drop(v, &v->slot[i]);
    }
}

static struct slot *find(struct vault *v, const struct dek *d)
{
    for (size_t i = 0; i < v->n; i++) {
        struct slot *s = &v->slot[i];
        if (s->used > 0 && memcmp(s->kek.v, d->kek.v, sizeof s->kek.v) == 0 &&
            bytes_eq(bytes_of(s->wrapped, s->wrapped_n), d->wrapped))
            return s;
    }
    return NULL;
}

/* In place of the one that was not used for longest; a free slot is one that never was. */
static void keep(struct vault *v, const struct dek *d, struct bytes key)
{
    if (v->n == 0)
        return;
    struct slot *s = &v->slot[0];
    for (size_t i = 1; i < v->n; i++) {
        if (v->slot[i].used < s->used)
            s = &v->slot[i];
    }
    drop(v, s);
    *s = (struct slot){
        .used = ++v->uses, .until_us = clock_mono_us() + v->lifetime_us, .kek = d->kek, .wrapped_n = d->wrapped.n};
    memcpy(s->wrapped, d->wrapped.p, d->wrapped.n);
    memcpy(key_at(v, s), key.p, HSM_DEK_LEN);
}

/* *key is good until the vault is used again, and as long as *own, which the caller frees. */
static struct err key_of(const struct call *c, const struct dek *d, struct secret **own, struct bytes *key)
{
    struct vault *v = c->api->vault;
    vault_expire(v);
    struct slot *s = find(v, d);
    if (s != NULL) {
        s->used = ++v->uses;
        *key = bytes_of(key_at(v, s), HSM_DEK_LEN);
        return OK;
    }
    TRY(dek_unwrap(c, STR("dek"), d, own));
    *key = secret_bytes(*own);
    keep(v, d, *key);
    return OK;
}

struct err vault_make_dek(const struct call *c, struct dek *out)
{
    return dek_make(c, STR("dek"), out);
}

static void put_number(struct buf *b, uint64_t n, size_t len)
{
    for (size_t i = len; i > 0; i--)
        buf_char(b, (char)(uint8_t)(n >> (8 * (i - 1))));
}

/* The length before each text: no two places have one form. */
static void put_text(struct buf *b, struct str s)
{
    put_number(b, s.n, 4);
    buf_str(b, s);
}

/* Attack C09. The key's check value stands for the key, since a tag of GCM alone can be made to fit two keys. It is not
 * the wrapped form's hash: that changes when the key is wrapped under a new KEK, and what is sealed must not. */
static struct err place_aad(const struct call *c, struct bytes key, const struct sealed_place *p, struct bytes *out)
{
    uint8_t check[SHA256_LEN];
    TRY(crypto_hmac_sha256(c->api->app->crypto, key, bytes_of(USE_CHECK, sizeof USE_CHECK), check));
    struct buf b = buf_in(c->arena, PLACE_MAX);
    put_text(&b, p->tenant);
    put_text(&b, p->owner);
    put_text(&b, p->column);
    put_number(&b, (uint64_t)p->version, 8);
    buf_add(&b, check, sizeof check);
    TRY(buf_status(&b));
    *out = buf_bytes(&b);
    return OK;
}

struct err vault_seal(const struct call *c, const struct dek *d, const struct sealed_place *p, struct bytes plain,
                      struct bytes *out)
{
    CLEANUP(secret_free) struct secret *own = NULL;
    struct bytes key, aad;
    TRY(key_of(c, d, &own, &key));
    TRY(place_aad(c, key, p, &aad));
    return envelope_seal(c->api->app->crypto, key, aad, plain, c->arena, out);
}

struct err vault_open(const struct call *c, const struct dek *d, const struct sealed_place *p, struct bytes sealed,
                      struct secret **out)
{
    CLEANUP(secret_free) struct secret *own = NULL;
    struct bytes key, aad;
    TRY(key_of(c, d, &own, &key));
    TRY(place_aad(c, key, p, &aad));
    struct err e = envelope_open(c->api->app->crypto, key, aad, sealed, out);
    if (e.code != ERR_SEALED)
        return e;
    return FAIL(ERR_SEALED, "%.*s of %.*s, version %lld: %s", STR_FMT(p->column), STR_FMT(p->owner),
                (long long)p->version, e.detail);
}

struct err vault_fingerprint(const struct call *c, const struct dek *d, struct bytes secret, struct str *out)
{
    CLEANUP(secret_free) struct secret *own = NULL, *text = NULL;
    struct bytes key;
    uint8_t hash[SHA256_LEN];
    TRY(key_of(c, d, &own, &key));
    TRY(secret_new(sizeof USE_FINGERPRINT + secret.n, &text));
    memcpy(text->p, USE_FINGERPRINT, sizeof USE_FINGERPRINT);
    if (secret.n > 0)
        memcpy(text->p + sizeof USE_FINGERPRINT, secret.p, secret.n);
    text->n = sizeof USE_FINGERPRINT + secret.n;
    TRY(crypto_hmac_sha256(c->api->app->crypto, key, secret_bytes(text), hash));
    *out = b64u_text(c->arena, bytes_of(hash, sizeof hash));
    if (out->p == NULL)
        return FAIL(ERR_NO_MEMORY, "a fingerprint");
    out->n = FINGERPRINT_LEN;
    return OK;
}
