/* SPDX-License-Identifier: Apache-2.0 */
#include "service/api/pseudonym.h"

#include "base/rand.h"
#include "crypto/b64u.h"
#include "service/api/health.h"
#include "service/store/pseudonyms.h"

#include <stdlib.h>

enum { PERIOD_LEN = 7 /* "2026-01" */, PSEUDONYM_LEN = 22 /* 132 bits of the HMAC */, INPUT_MAX = 4096 };

struct pseudonyms {
    char period[PERIOD_LEN + 1]; /* "": no key yet */
    struct secret *key;
};

struct err pseudonyms_new(struct pseudonyms **out)
{
    *out = calloc(1, sizeof **out);
    return *out != NULL ? OK : FAIL(ERR_NO_MEMORY, "pseudonyms");
}

void pseudonyms_free(struct pseudonyms **p)
{
    if (*p == NULL)
        return;
    secret_free(&(*p)->key);
    free(*p);
    *p = NULL;
}

/* One use of a KEK, on record like every use of a key. */
static struct err intend(const struct call *c, const char *op, const struct hsm_key_id *kek, struct str period,
                         struct recording *intent)
{
    char hex[2 * HSM_KEY_ID_LEN + 1];
    hex_encode(kek->v, sizeof kek->v, hex);
    const struct leaf_fields f = {
        .kind = LEAF_INTENT, .op = op, .key_id = str_of(hex), .actor = STR("self"), .detail = period, .exp = -1};
    return record_leaf(c, &f, intent);
}

/* As for signatures: a signer that lost its configuration while we serve is an HSM that is away. */
static struct err as_away(struct err e)
{
    return e.code == ERR_CONFIG ? err_as(e, ERR_HSM_UNAVAILABLE) : e;
}

static struct err settle(const struct call *c, const struct recording *intent, const char *op, struct err how)
{
    how = as_away(how);
    health_report_error(c->api->app->health, &how);
    struct err recorded = record_outcome(c, intent, op, &how);
    TRY(how);
    return recorded;
}

static struct err unwrap(const struct call *c, struct str period, const struct pseudonym_key *k, struct secret **out)
{
    CLEANUP(secret_free) struct secret *key = NULL;
    struct recording intent;
    TRY(intend(c, "unwrap", &k->kek, period, &intent));
    TRY(settle(c, &intent, "unwrap", hsm_unwrap(c->api->hsm, &k->kek, k->wrapped, c->deadline_us, &key)));
    *out = key;
    key = NULL;
    return OK;
}

static struct err active_kek(const struct call *c, struct hsm_key_id *out)
{
    struct store s = call_store(c);
    struct ring_key *rows = NULL;
    size_t n = 0;
    TRY(store_key_list(&s, &rows, &n));
    for (size_t i = 0; i < n; i++) {
        if (rows[i].purpose == HSM_KEK && rows[i].state == KEY_ACTIVE) {
            *out = rows[i].id;
            return OK;
        }
    }
    return FAIL(ERR_NO_ACTIVE_KEY, "no active KEK: run nexus-broker provision");
}

/* A key of the token's own generator, wrapped at once. */
static struct err make(const struct call *c, struct str period, struct pseudonym_key *out)
{
    CLEANUP(secret_free) struct secret *key = NULL;
    TRY(active_kek(c, &out->kek));
    TRY(secret_new(HSM_DEK_LEN, &key));
    key->n = HSM_DEK_LEN;
    TRY(as_away(hsm_random(c->api->hsm, key->p, key->n, c->deadline_us)));
    struct recording intent;
    TRY(intend(c, "wrap", &out->kek, period, &intent));
    struct err e = hsm_wrap(c->api->hsm, &out->kek, secret_bytes(key), c->arena, c->deadline_us, &out->wrapped);
    return settle(c, &intent, "wrap", e);
}

/* The month's key, made by whichever broker needs it first; whoever made one too takes that one. */
static struct err find_or_make(const struct call *c, struct str period, struct pseudonym_key *out)
{
    struct store s = call_store(c);
    bool found = false;
    TRY(store_pseudonym_key_get(&s, period, out, &found));
    if (found)
        return OK;
    TRY(make(c, period, out));
    TRY(store_pseudonym_key_offer(&s, period, out));
    TRY(store_pseudonym_key_get(&s, period, out, &found));
    return found ? OK : FAIL(ERR_DB_CONFLICT, "the key of %.*s was destroyed as it was made", STR_FMT(period));
}

static struct err load(const struct call *c, struct str period)
{
    struct pseudonyms *p = c->api->pseudonyms;
    struct pseudonym_key wrapped;
    struct secret *key = NULL;
    TRY(find_or_make(c, period, &wrapped));
    TRY(unwrap(c, period, &wrapped, &key));
    secret_free(&p->key);
    p->key = key;
    memcpy(p->period, period.p, PERIOD_LEN);
    return OK;
}

struct err pseudonym_of(const struct call *c, struct str user_issuer, struct str user_id, struct str *out)
{
    const struct app *app = c->api->app;
    struct pseudonyms *p = c->api->pseudonyms;
    char now[CLOCK_TEXT];
    struct str period = {clock_rfc3339(clock_now_us(&app->clock), now).p, PERIOD_LEN};
    if (!str_is(period, p->period))
        TRY(load(c, period));
    /* NUL stands in neither of them, so no two users have one text. */
    struct buf text = buf_in(c->arena, INPUT_MAX);
    buf_add(&text, "sub", sizeof "sub");
    buf_str(&text, user_issuer);
    buf_char(&text, '\0');
    buf_str(&text, user_id);
    TRY(buf_status(&text));
    uint8_t hash[SHA256_LEN];
    TRY(crypto_hmac_sha256(app->crypto, secret_bytes(p->key), buf_bytes(&text), hash));
    *out = b64u_text(c->arena, bytes_of(hash, sizeof hash));
    if (out->p == NULL)
        return FAIL(ERR_NO_MEMORY, "a pseudonym");
    out->n = PSEUDONYM_LEN;
    return OK;
}
