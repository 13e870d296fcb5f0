/* SPDX-License-Identifier: Apache-2.0 */
#include "service/store/internal.h"

/* The names as text, turned back into enums; a name of a later version is an error, not a guess. */
static struct err key_names(const struct store *s, const struct db_rows *r, size_t row, struct ring_key *out)
{
    struct str purpose, type, state;
    TRY(db_get_text(r, row, 1, s->arena, &purpose));
    TRY(db_get_text(r, row, 2, s->arena, &type));
    TRY(db_get_text(r, row, 3, s->arena, &state));
    bool ok = hsm_purpose_parse(purpose, &out->purpose) && hsm_key_type_parse(type, &out->type) &&
              key_state_parse(state, &out->state);
    return ok ? OK
              : FAIL(ERR_DB, "a signing key of purpose %.*s, type %.*s, state %.*s", STR_FMT(purpose), STR_FMT(type),
                     STR_FMT(state));
}

static struct err key_row(const struct store *s, const struct db_rows *r, size_t row, struct ring_key *out)
{
    struct bytes id;
    *out = (struct ring_key){.created_us = 0};
    TRY(db_get_bytes(r, row, 0, s->arena, &id));
    if (id.n != sizeof out->id.v)
        return FAIL(ERR_DB, "a CKA_ID of %zu bytes", id.n);
    memcpy(out->id.v, id.p, id.n);
    TRY(key_names(s, r, row, out));
    TRY(db_get_text(r, row, 4, s->arena, &out->kid));
    TRY(db_get_text(r, row, 5, s->arena, &out->alg));
    TRY(db_get_text(r, row, 6, s->arena, &out->jwk));
    TRY(db_get_time(r, row, 7, &out->created_us));
    return db_get_time(r, row, 8, &out->activated_us);
}

struct err store_key_list(const struct store *s, struct ring_key **out, size_t *n)
{
    static const struct sql sql = {"key_list",
                                   "SELECT cka_id, purpose, type, state, kid, alg, jwk, created_at, activated_at "
                                   "FROM nexus.signing_keys ORDER BY created_at, cka_id"};
    CLEANUP(db_rows_free) struct db_rows *r = NULL;
    TRY(store_run(s, &sql, NULL, 0, &r));
    *n = db_count(r);
    *out = arena_array(s->arena, *n, sizeof **out);
    if (*out == NULL)
        return FAIL(ERR_NO_MEMORY, "%zu keys", *n);
    for (size_t i = 0; i < *n; i++)
        TRY(key_row(s, r, i, &(*out)[i]));
    return OK;
}

struct err store_key_insert(const struct store *s, const struct ring_key *k, struct str evidence_json,
                            const struct leaf_batch *l)
{
    static const struct sql sql = {
        "key_insert",
        "WITH e AS (INSERT INTO nexus.signing_keys (cka_id, purpose, type, state, kid, alg, jwk, evidence, created_at, "
        "activated_at) VALUES ($10, $11, $12, $13, $14, $15, $16, $17::text::jsonb, coalesce($18, now()), "
        "CASE WHEN $13 <> 'pending' THEN coalesce($19, now()) END) RETURNING 1), "
        "l AS (" LEAVES_INSERT("e") ") SELECT count(*) FROM e"};
    struct db_param p[LEAF_PARAMS + 10] = {[LEAF_PARAMS] = P_BYTES(bytes_of(k->id.v, sizeof k->id.v)),
                                           P_TEXT(str_of(hsm_purpose_name(k->purpose))),
                                           P_TEXT(str_of(hsm_key_type_name(k->type))),
                                           P_TEXT(str_of(key_state_name(k->state))),
                                           P_TEXT(k->kid),
                                           P_TEXT(k->alg),
                                           P_TEXT(k->jwk),
                                           P_TEXT(evidence_json),
                                           P_TIME(k->created_us),
                                           P_TIME(k->activated_us)};
    TRY(leaves_bind(s, l, true, p));
    return store_run(s, &sql, p, COUNT(p), NULL);
}
