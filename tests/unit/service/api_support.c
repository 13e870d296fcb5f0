/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/service/api_support.h"

#include "service/api/background.h"
#include "service/api/bulkhead.h"
#include "service/api/health.h"
#include "service/api/keyring.h"
#include "service/api/time_guard.h"

#include <stdlib.h>

enum { ARENA_BYTES = 4194304, CALL_US = 10000000, OWNER_US = 30000000 };

static struct db *owner_db(void)
{
    struct db *db = NULL;
    assert_ok(db_new(str_of(getenv("NEXUS_MIGRATE_DATABASE_URL")), &db));
    return db;
}

static void migrate(struct bench *b)
{
    CLEANUP(db_free) struct db *db = owner_db();
    struct store s = {.db = db, .arena = b->arena, .deadline_us = clock_mono_us() + OWNER_US};
    int64_t applied = 0;
    assert_ok(store_migrate(&s, &applied));
}

int bench_open(void **state)
{
    void *fx = NULL;
    (void)fx_make(&fx);
    struct bench *b = calloc(1, sizeof *b);
    assert_non_null(b);
    b->fx = fx;
    fx_start(b->fx);
    assert_ok(arena_new(ARENA_BYTES, &b->arena));
    b->config = (struct config){.base_url = STR("https://broker.example"),
                                .database_url = str_of(getenv("DATABASE_URL")),
                                .backend_auth_url = STR("https://users.example/api/"),
                                .backend_timeout_ms = 3000,
                                .clock_skew_max_s = 30};
    b->app = (struct app){.config = &b->config,
                          .crypto = b->fx->crypto,
                          .clock = clock_real(),
                          .hsm = hsm_supervisor_connector(b->fx->sup),
                          .instance = "00000000000000000000000000000001"};
    assert_ok(api_metrics_new(&b->app.metrics));
    assert_ok(keyring_new(&b->app.keyring));
    assert_ok(health_new(&b->app.health));
    assert_ok(bulkhead_new(1, b->app.metrics, &b->app.outbound));
    migrate(b);
    assert_ok(api_new(&b->app, &b->api));
    struct call c = bench_call(b);
    assert_ok(time_guard_check(&c));
    *state = b;
    return 0;
}

int bench_close(void **state)
{
    struct bench *b = *state;
    if (b == NULL)
        return 0; /* the opening failed, and said why */
    api_free(&b->api);
    bulkhead_free(&b->app.outbound);
    health_free(&b->app.health);
    keyring_free(&b->app.keyring);
    metrics_free(&b->app.metrics);
    arena_free(&b->arena);
    void *fx = b->fx;
    (void)fx_remove(&fx);
    free(b);
    return 0;
}

int bench_reset(void **state)
{
    struct bench *b = *state;
    arena_reset(b->arena);
    return 0;
}

struct call bench_call_of(struct bench *b, struct api *api)
{
    return (struct call){
        .api = api, .arena = b->arena, .deadline_us = clock_mono_us() + CALL_US, .req_id = STR("req-of-test")};
}

struct call bench_call(struct bench *b)
{
    return bench_call_of(b, b->api);
}

struct ring_key bench_key(struct bench *b, uint8_t id, enum hsm_purpose purpose)
{
    struct hsm_key key = fx_generate(b->fx, id, purpose, purpose == HSM_KEK ? HSM_AES_256 : HSM_EC_P256);
    int64_t now = clock_now_us(&b->app.clock);
    struct ring_key row = {.id = key.id,
                           .purpose = purpose,
                           .type = key.type,
                           .state = KEY_ACTIVE,
                           .created_us = now,
                           .activated_us = now};
    if (purpose != HSM_KEK) {
        CLEANUP(jwk_free) struct jwk *jwk = NULL;
        assert_ok(jwk_from_ec(b->app.crypto, JOSE_ES256, key.point, &jwk));
        struct buf text = buf_in(b->fx->a, 4096);
        struct json_writer w = json_writer(&text);
        jwk_write(jwk, &w, NULL);
        row.kid = arena_str(b->fx->a, jwk_kid(jwk));
        row.alg = STR("ES256");
        row.jwk = buf_view(&text);
    }
    struct call c = bench_call(b);
    const struct leaf_fields f = {.kind = LEAF_ADMIN, .op = "key.activate", .kid = row.kid, .exp = -1};
    struct recording r;
    assert_ok(record_begin(&c, &f, &r));
    struct store s = call_store(&c);
    assert_ok(record_end(&c, &r, store_key_insert(&s, &row, STR("{}"), &r.batch), true));
    assert_ok(background_load_keys(b->api, b->arena, c.deadline_us));
    return row;
}

struct jwk *bench_jwk(struct bench *b, const struct ring_key *key)
{
    const struct json *obj = NULL;
    struct jwk *jwk = NULL;
    assert_ok(json_parse(b->arena, str_bytes(key->jwk), &obj));
    assert_ok(jwk_parse(b->app.crypto, obj, &jwk));
    return jwk;
}

static void run(struct bench *b, struct db *db, const struct sql *sql, struct db_rows **rows)
{
    const struct db_call q = {.sql = sql, .deadline_us = clock_mono_us() + OWNER_US};
    assert_ok(db_run(db, &q, b->arena, rows));
    if (rows != NULL)
        assert_int_equal(db_count(*rows), 1);
}

int64_t bench_number(struct bench *b, const struct sql *sql)
{
    CLEANUP(db_free) struct db *db = owner_db();
    CLEANUP(db_rows_free) struct db_rows *rows = NULL;
    int64_t n = 0;
    run(b, db, sql, &rows);
    assert_ok(db_get_int(rows, 0, 0, &n));
    return n;
}

struct str bench_text(struct bench *b, const struct sql *sql)
{
    CLEANUP(db_free) struct db *db = owner_db();
    CLEANUP(db_rows_free) struct db_rows *rows = NULL;
    struct str text;
    run(b, db, sql, &rows);
    assert_ok(db_get_text(rows, 0, 0, b->arena, &text));
    return text;
}

void bench_exec(struct bench *b, const struct sql *sql)
{
    CLEANUP(db_free) struct db *db = owner_db();
    run(b, db, sql, NULL);
}
