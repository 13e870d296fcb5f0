/* SPDX-License-Identifier: Apache-2.0 */
#include "service/store/pseudonyms.h"

#include "service/store/internal.h"

struct err store_pseudonym_key_get(const struct store *s, struct str period, struct dek *out, bool *found)
{
    static const struct sql sql = {"pseudonym_key_get",
                                   "SELECT kek, wrapped FROM nexus.pseudonym_keys WHERE period = $1"};
    CLEANUP(db_rows_free) struct db_rows *r = NULL;
    TRY(store_run(s, &sql, (struct db_param[]){P_TEXT(period)}, 1, &r));
    *found = db_count(r) > 0;
    if (!*found)
        return OK;
    struct bytes kek;
    TRY(db_get_bytes(r, 0, 0, s->arena, &kek));
    if (kek.n != sizeof out->kek.v)
        return FAIL(ERR_DB, "a CKA_ID of %zu bytes", kek.n);
    memcpy(out->kek.v, kek.p, kek.n);
    return db_get_bytes(r, 0, 1, s->arena, &out->wrapped);
}

struct err store_pseudonym_key_offer(const struct store *s, struct str period, const struct dek *k)
{
    static const struct sql sql = {"pseudonym_key_offer",
                                   "INSERT INTO nexus.pseudonym_keys (period, kek, wrapped) VALUES ($1, $2, $3) "
                                   "ON CONFLICT DO NOTHING"};
    const struct db_param p[] = {P_TEXT(period), P_BYTES(bytes_of(k->kek.v, sizeof k->kek.v)), P_BYTES(k->wrapped)};
    return store_run(s, &sql, p, COUNT(p), NULL);
}
