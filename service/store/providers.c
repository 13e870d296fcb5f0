/* SPDX-License-Identifier: Apache-2.0 */
#include "service/store/providers.h"

#include "service/core/provider_rules.h"
#include "service/store/internal.h"

#define SETTING_COLUMNS                                                                                                \
    "name, description, category, auth_type, auth_header, client_id, auth_url, token_url, issuer, enable_discovery, "  \
    "scopes, api_base_url, user_info_endpoint, params, downscope, allow_full_token, dek_kek, dek_wrapped, "            \
    "client_secret_sealed, client_secret_version, client_secret_fingerprint"
#define PROVIDER_COLUMNS "id, " SETTING_COLUMNS ", version, created_at, updated_at"

static struct err texts_of_row(const struct store *s, const struct db_rows *r, size_t row, struct provider *p)
{
    const struct {
        int column;
        struct str *to;
    } texts[] = {{0, &p->id},
                 {1, &p->name},
                 {2, &p->description},
                 {3, &p->category},
                 {5, &p->auth_header},
                 {6, &p->client_id},
                 {7, &p->auth_url},
                 {8, &p->token_url},
                 {9, &p->issuer},
                 {12, &p->api_base_url},
                 {13, &p->user_info_endpoint},
                 {14, &p->params},
                 {21, &p->secret.fingerprint}};
    for (size_t i = 0; i < COUNT(texts); i++)
        TRY(db_get_text(r, row, texts[i].column, s->arena, texts[i].to));
    return OK;
}

static struct err secret_of_row(const struct store *s, const struct db_rows *r, size_t row, struct provider_secret *out)
{
    struct bytes kek;
    TRY(db_get_bytes(r, row, 17, s->arena, &kek));
    if (kek.p != NULL && kek.n != sizeof out->dek.kek.v)
        return FAIL(ERR_DB, "a CKA_ID of %zu bytes", kek.n);
    if (kek.p != NULL)
        memcpy(out->dek.kek.v, kek.p, kek.n);
    TRY(db_get_bytes(r, row, 18, s->arena, &out->dek.wrapped));
    TRY(db_get_bytes(r, row, 19, s->arena, &out->sealed));
    return db_get_int(r, row, 20, &out->version);
}

/* Another name than ours is of a later version of this program, or of somebody's hand in the database. */
static struct err take_names(struct str auth, struct str downscope, struct provider *p)
{
    struct err e = provider_auth_parse(auth, &p->auth);
    if (!err_is(&e))
        e = downscope_parse(downscope, &p->downscope);
    return err_is(&e) ? FAIL(ERR_DB, "provider %.*s: %s", STR_FMT(p->id), e.detail) : OK;
}

static struct err provider_row(const struct store *s, const struct db_rows *r, size_t row, struct provider *out)
{
    *out = (struct provider){.version = 0};
    TRY(texts_of_row(s, r, row, out));
    struct str auth, downscope;
    TRY(db_get_text(r, row, 4, s->arena, &auth));
    TRY(db_get_text(r, row, 15, s->arena, &downscope));
    TRY(take_names(auth, downscope, out));
    TRY(secret_of_row(s, r, row, &out->secret));
    TRY(db_get_bool(r, row, 10, &out->enable_discovery));
    TRY(db_get_texts(r, row, 11, s->arena, &out->scopes));
    TRY(db_get_bool(r, row, 16, &out->allow_full_token));
    TRY(db_get_int(r, row, 22, &out->version));
    TRY(db_get_time(r, row, 23, &out->created_us));
    return db_get_time(r, row, 24, &out->updated_us);
}

enum { PROVIDER_PARAMS = LEAF_PARAMS + 23 };

/* $10 to $31: what a registration or a change writes; $32: what its statement must find. */
static void provider_bind(const struct provider *p, int64_t condition, struct db_param out[static PROVIDER_PARAMS])
{
    const struct provider_secret *x = &p->secret;
    bool has_dek = x->dek.wrapped.p != NULL;
    const struct db_param own[] = {P_TEXT(p->id),
                                   P_TEXT(p->name),
                                   P_TEXT(p->description),
                                   P_TEXT(p->category),
                                   P_TEXT(str_of(provider_auth_name(p->auth))),
                                   P_TEXT(p->auth_header),
                                   P_TEXT(p->client_id),
                                   P_TEXT(p->auth_url),
                                   P_TEXT(p->token_url),
                                   P_TEXT(p->issuer),
                                   P_BOOL(p->enable_discovery),
                                   P_TEXTS(p->scopes),
                                   P_TEXT(p->api_base_url),
                                   P_TEXT(p->user_info_endpoint),
                                   P_TEXT(p->params),
                                   P_TEXT(str_of(downscope_name(p->downscope))),
                                   P_BOOL(p->allow_full_token),
                                   P_BYTES(bytes_of(has_dek ? x->dek.kek.v : NULL, sizeof x->dek.kek.v)),
                                   P_BYTES(x->dek.wrapped),
                                   P_BYTES(x->sealed),
                                   P_INT(x->version),
                                   P_TEXT(x->fingerprint),
                                   P_INT(condition)};
    _Static_assert(COUNT(own) == PROVIDER_PARAMS - LEAF_PARAMS, "a value for each parameter");
    memcpy(out + LEAF_PARAMS, own, sizeof own);
}

/* What the constraint's name means to who registers. */
static struct err as_exists(struct err e, struct str name)
{
    if (e.code == ERR_CONFLICT && strcmp(e.detail, "providers_name") == 0)
        return FAIL(ERR_PROVIDER_EXISTS, "%.*s", STR_FMT(name));
    return e;
}

/* The limit keeps replies within bounds; of several who register at the same moment more than one may be the last. */
struct err store_provider_insert(const struct store *s, const struct provider *p, const struct leaf_batch *l,
                                 bool *changed)
{
    static const struct sql sql = {
        "provider_insert",
        "WITH e AS (INSERT INTO nexus.providers (id, " SETTING_COLUMNS
        ") SELECT $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23, $24, $25, $26, $27, $28, $29, "
        "$30, $31 WHERE (SELECT count(*) FROM nexus.providers WHERE deleted_at IS NULL) < $32 RETURNING 1), "
        "l AS (" LEAVES_INSERT("e") ") SELECT 1 FROM e"};
    struct db_param params[PROVIDER_PARAMS];
    provider_bind(p, PROVIDERS_MAX, params);
    TRY(leaves_bind(s, l, true, params));
    CLEANUP(db_rows_free) struct db_rows *r = NULL;
    TRY(as_exists(store_run(s, &sql, params, COUNT(params), &r), p->name));
    *changed = db_count(r) > 0;
    return OK;
}

static struct err get_one(const struct store *s, const struct sql *sql, struct str key, struct provider *out)
{
    CLEANUP(db_rows_free) struct db_rows *r = NULL;
    TRY(store_run(s, sql, (struct db_param[]){P_TEXT(key)}, 1, &r));
    if (db_count(r) == 0)
        return FAIL(ERR_PROVIDER_NOT_FOUND, "%.*s", STR_FMT(key));
    return provider_row(s, r, 0, out);
}

struct err store_provider_get(const struct store *s, struct str id, struct provider *out)
{
    static const struct sql sql = {"provider_get", "SELECT " PROVIDER_COLUMNS
                                                   " FROM nexus.providers WHERE id = $1 AND deleted_at IS NULL"};
    return get_one(s, &sql, id, out);
}

struct err store_provider_find(const struct store *s, struct str name, struct provider *out)
{
    static const struct sql sql = {"provider_find", "SELECT " PROVIDER_COLUMNS " FROM nexus.providers "
                                                    "WHERE name = lower($1) AND deleted_at IS NULL"};
    return get_one(s, &sql, name, out);
}

static struct err summary_row(const struct store *s, const struct db_rows *r, size_t row, struct provider *out)
{
    *out = (struct provider){.version = 0};
    struct str auth;
    TRY(db_get_text(r, row, 0, s->arena, &out->id));
    TRY(db_get_text(r, row, 1, s->arena, &out->name));
    TRY(db_get_text(r, row, 2, s->arena, &out->description));
    TRY(db_get_text(r, row, 3, s->arena, &out->category));
    TRY(db_get_text(r, row, 4, s->arena, &auth));
    TRY(db_get_texts(r, row, 5, s->arena, &out->scopes));
    TRY(db_get_text(r, row, 6, s->arena, &out->api_base_url));
    TRY(db_get_text(r, row, 7, s->arena, &out->user_info_endpoint));
    return take_names(auth, STR("none"), out);
}

struct err store_provider_list(const struct store *s, struct provider **out, size_t *n)
{
    static const struct sql sql = {
        "provider_list", "SELECT id, name, description, category, auth_type, scopes, api_base_url, user_info_endpoint "
                         "FROM nexus.providers WHERE deleted_at IS NULL ORDER BY name"};
    CLEANUP(db_rows_free) struct db_rows *r = NULL;
    TRY(store_run(s, &sql, NULL, 0, &r));
    *n = db_count(r);
    *out = arena_array(s->arena, *n, sizeof **out);
    if (*out == NULL)
        return FAIL(ERR_NO_MEMORY, "%zu providers", *n);
    for (size_t i = 0; i < *n; i++)
        TRY(summary_row(s, r, i, &(*out)[i]));
    return OK;
}

struct err store_provider_update(const struct store *s, const struct provider *p, const struct leaf_batch *l,
                                 bool *changed, struct provider *out)
{
    static const struct sql sql = {
        "provider_update",
        "WITH e AS (UPDATE nexus.providers SET name = $11, description = $12, category = $13, auth_type = $14, "
        "auth_header = $15, client_id = $16, auth_url = $17, token_url = $18, issuer = $19, enable_discovery = $20, "
        "scopes = $21, api_base_url = $22, user_info_endpoint = $23, params = $24, downscope = $25, "
        "allow_full_token = $26, dek_kek = coalesce(dek_kek, $27), dek_wrapped = coalesce(dek_wrapped, $28), "
        "client_secret_sealed = $29, client_secret_version = $30, client_secret_fingerprint = $31, "
        "version = version + 1, updated_at = now() WHERE id = $10 AND version = $32 AND deleted_at IS NULL "
        "RETURNING " PROVIDER_COLUMNS "), l AS (" LEAVES_INSERT("e") ") SELECT " PROVIDER_COLUMNS " FROM e"};
    struct db_param params[PROVIDER_PARAMS];
    provider_bind(p, p->version, params);
    TRY(leaves_bind(s, l, true, params));
    CLEANUP(db_rows_free) struct db_rows *r = NULL;
    TRY(as_exists(store_run(s, &sql, params, COUNT(params), &r), p->name));
    *changed = db_count(r) > 0;
    return *changed ? provider_row(s, r, 0, out) : OK;
}

struct err store_provider_delete(const struct store *s, struct str id, const struct leaf_batch *l, bool *changed)
{
    static const struct sql sql = {"provider_delete",
                                   "WITH e AS (UPDATE nexus.providers SET deleted_at = now(), updated_at = now(), "
                                   "version = version + 1 WHERE id = $10 AND deleted_at IS NULL RETURNING 1), "
                                   "l AS (" LEAVES_INSERT("e") ") SELECT 1 FROM e"};
    struct db_param p[LEAF_PARAMS + 1] = {[LEAF_PARAMS] = P_TEXT(id)};
    TRY(leaves_bind(s, l, true, p));
    CLEANUP(db_rows_free) struct db_rows *r = NULL;
    TRY(store_run(s, &sql, p, COUNT(p), &r));
    *changed = db_count(r) > 0;
    return OK;
}
