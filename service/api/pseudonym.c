/* SPDX-License-Identifier: Apache-2.0 */
#include "service/api/pseudonym.h"

#include "crypto/b64u.h"
#include "service/api/dek.h"
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

/* The month's key, made by whichever broker needs it first; whoever made one too takes that one. */
static struct err find_or_make(const struct call *c, struct str period, struct dek *out)
{
    struct store s = call_store(c);
    bool found = false;
    TRY(store_pseudonym_key_get(&s, period, out, &found));
    if (found)
        return OK;
    TRY(dek_make(c, period, out));
    TRY(store_pseudonym_key_offer(&s, period, out));
    TRY(store_pseudonym_key_get(&s, period, out, &found));
    return found ? OK : FAIL(ERR_DB_CONFLICT, "the key of %.*s was destroyed as it was made", STR_FMT(period));
}

static struct err load(const struct call *c, struct str period)
{
    struct pseudonyms *p = c->api->pseudonyms;
    struct dek wrapped;
    struct secret *key = NULL;
    TRY(find_or_make(c, period, &wrapped));
    TRY(dek_unwrap(c, period, &wrapped, &key));
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
