/* SPDX-License-Identifier: Apache-2.0 */
#include "service/api/dek.h"

#include "base/rand.h"
#include "service/api/health.h"

static struct err intend(const struct call *c, const char *op, const struct hsm_key_id *kek, struct str detail,
                         struct recording *intent)
{
    char hex[2 * HSM_KEY_ID_LEN + 1];
    hex_encode(kek->v, sizeof kek->v, hex);
    const struct leaf_fields f = {
        .kind = LEAF_INTENT, .op = op, .key_id = str_of(hex), .actor = STR("self"), .detail = detail, .exp = -1};
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

struct err dek_make(const struct call *c, struct str detail, struct dek *out)
{
    CLEANUP(secret_free) struct secret *key = NULL;
    TRY(active_kek(c, &out->kek));
    TRY(secret_new(HSM_DEK_LEN, &key));
    key->n = HSM_DEK_LEN;
    TRY(as_away(hsm_random(c->api->hsm, key->p, key->n, c->deadline_us)));
    struct recording intent;
    TRY(intend(c, "wrap", &out->kek, detail, &intent));
    struct err e = hsm_wrap(c->api->hsm, &out->kek, secret_bytes(key), c->arena, c->deadline_us, &out->wrapped);
    return settle(c, &intent, "wrap", e);
}

struct err dek_unwrap(const struct call *c, struct str detail, const struct dek *d, struct secret **out)
{
    CLEANUP(secret_free) struct secret *key = NULL;
    struct recording intent;
    if (d->wrapped.n == 0 || d->wrapped.n > HSM_BLOB_MAX)
        return FAIL(ERR_SEALED, "a data key cannot be wrapped in %zu bytes: its row was changed", d->wrapped.n);
    TRY(intend(c, "unwrap", &d->kek, detail, &intent));
    TRY(settle(c, &intent, "unwrap", hsm_unwrap(c->api->hsm, &d->kek, d->wrapped, c->deadline_us, &key)));
    *out = key;
    key = NULL;
    return OK;
}
