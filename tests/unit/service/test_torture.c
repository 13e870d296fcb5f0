/* SPDX-License-Identifier: Apache-2.0
 * Torture (T10): the main requests run against real parts while the k-th call of one kind (allocation, arena, libpq,
 * OpenSSL) fails, for k = 1, 2, 3, ... until a run in which none failed. Whatever fails, the broker neither crashes nor
 * leaks (the sanitizer presets watch), answers with a 5xx or succeeds, and a token that comes out has its intent.
 * The calls are caught by the linker (--wrap), so the code under test is the broker's own. Cryptoki calls live in the
 * signer's process, where the shim fails them (tests/unit/hsm/test_faults.c). */
#include "tests/unit/hsm/fixture.h"

#include "base/rand.h"
#include "base/secret.h"
#include "crypto/b64u.h"
#include "crypto/private_signer.h"
#include "service/api/health.h"
#include "service/api/issuer_keys.h"
#include "service/api/keyring.h"
#include "service/api/record.h"
#include "service/core/assertion.h"
#include "service/core/token.h"

#include <libpq-fe.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <time.h>

enum { K_MAX = 2000, REQUEST_ARENA = 1048576, DEADLINE_MS = 5000, API_KEY_LEN = 47 };

/* --- The wrapped calls. What fails is set between requests; the linker sends every call of the broker's code here. */

enum kind { FAIL_NOTHING, FAIL_MALLOC, FAIL_ARENA, FAIL_PQ_SEND, FAIL_PQ_RESULT, FAIL_EVP, KIND_COUNT };
static const char *const kind_names[KIND_COUNT] = {
    [FAIL_NOTHING] = "nothing",   [FAIL_MALLOC] = "malloc/calloc",  [FAIL_ARENA] = "arena_alloc",
    [FAIL_PQ_SEND] = "PQsend...", [FAIL_PQ_RESULT] = "PQgetResult", [FAIL_EVP] = "EVP_..._CTX_new"};

/* One thread runs requests; _Thread_local keeps the supervisor's thread out of the count. */
static _Thread_local struct {
    enum kind kind;
    long left; /* the call that brings this to 0 fails */
    bool fired;
} plan;

static bool must_fail(enum kind kind)
{
    if (plan.kind != kind || --plan.left != 0)
        return false;
    plan.fired = true;
    return true;
}

void *__real_malloc(size_t n);
void *__wrap_malloc(size_t n);
void *__wrap_malloc(size_t n)
{
    return must_fail(FAIL_MALLOC) ? NULL : __real_malloc(n);
}

void *__real_calloc(size_t count, size_t n);
void *__wrap_calloc(size_t count, size_t n);
void *__wrap_calloc(size_t count, size_t n)
{
    return must_fail(FAIL_MALLOC) ? NULL : __real_calloc(count, n);
}

void *__real_arena_alloc(struct arena *a, size_t n);
void *__wrap_arena_alloc(struct arena *a, size_t n);
void *__wrap_arena_alloc(struct arena *a, size_t n)
{
    return must_fail(FAIL_ARENA) ? NULL : __real_arena_alloc(a, n);
}

int __real_PQsendQueryPrepared(PGconn *c, const char *name, int n, const char *const *values, const int *lengths,
                               const int *formats, int result);
int __wrap_PQsendQueryPrepared(PGconn *c, const char *name, int n, const char *const *values, const int *lengths,
                               const int *formats, int result);
int __wrap_PQsendQueryPrepared(PGconn *c, const char *name, int n, const char *const *values, const int *lengths,
                               const int *formats, int result)
{
    return must_fail(FAIL_PQ_SEND) ? 0 : __real_PQsendQueryPrepared(c, name, n, values, lengths, formats, result);
}

int __real_PQsendPrepare(PGconn *c, const char *name, const char *text, int n, const Oid *types);
int __wrap_PQsendPrepare(PGconn *c, const char *name, const char *text, int n, const Oid *types);
int __wrap_PQsendPrepare(PGconn *c, const char *name, const char *text, int n, const Oid *types)
{
    return must_fail(FAIL_PQ_SEND) ? 0 : __real_PQsendPrepare(c, name, text, n, types);
}

PGresult *__real_PQgetResult(PGconn *c);
PGresult *__wrap_PQgetResult(PGconn *c);
PGresult *__wrap_PQgetResult(PGconn *c)
{
    return must_fail(FAIL_PQ_RESULT) ? NULL : __real_PQgetResult(c);
}

EVP_PKEY_CTX *__real_EVP_PKEY_CTX_new_from_pkey(OSSL_LIB_CTX *lib, EVP_PKEY *key, const char *props);
EVP_PKEY_CTX *__wrap_EVP_PKEY_CTX_new_from_pkey(OSSL_LIB_CTX *lib, EVP_PKEY *key, const char *props);
EVP_PKEY_CTX *__wrap_EVP_PKEY_CTX_new_from_pkey(OSSL_LIB_CTX *lib, EVP_PKEY *key, const char *props)
{
    return must_fail(FAIL_EVP) ? NULL : __real_EVP_PKEY_CTX_new_from_pkey(lib, key, props);
}

EVP_MD_CTX *__real_EVP_MD_CTX_new(void);
EVP_MD_CTX *__wrap_EVP_MD_CTX_new(void);
EVP_MD_CTX *__wrap_EVP_MD_CTX_new(void)
{
    return must_fail(FAIL_EVP) ? NULL : __real_EVP_MD_CTX_new();
}

/* --- A broker without its HTTP server: one worker's parts, a token, a database. */

struct bench {
    struct fx *fx;
    struct config config;
    struct app app;
    struct api *api;
    struct arena *arena; /* of a request */
    struct private_signer *agent_key;
    struct str agent_jwk;
    char api_key[API_KEY_LEN + 1];
};

static struct call bench_call(struct bench *b)
{
    return (struct call){.api = b->api,
                         .arena = b->arena,
                         .deadline_us = clock_mono_us() + DEADLINE_MS * INT64_C(1000),
                         .req_id = STR("torture")};
}

static void add_api_key(struct bench *b)
{
    uint8_t raw[32], hash[SHA256_LEN];
    assert_ok(rand_bytes(raw, sizeof raw));
    struct str text = b64u_text(b->arena, bytes_of(raw, sizeof raw));
    (void)snprintf(b->api_key, sizeof b->api_key, "nxk_%.*s", STR_FMT(text));
    assert_ok(crypto_sha256(b->app.crypto, str_bytes(str_of(b->api_key)), hash));
    struct call c = bench_call(b);
    int64_t now = clock_now_us(&b->app.clock);
    const struct api_key k = {.name = STR("torture"),
                              .prefix = STR("nxk_"),
                              .role = ROLE_ADMIN,
                              .created_us = now,
                              .expires_us = now + 3600000000};
    const struct leaf_fields f = {.kind = LEAF_ADMIN, .op = "api_key.create", .target = k.name, .exp = -1};
    struct recording r;
    assert_ok(record_begin(&c, &f, &r));
    struct store s = call_store(&c);
    assert_ok(record_end(&c, &r, store_api_key_insert(&s, &k, hash, &r.batch), true));
}

static void add_session_key(struct bench *b)
{
    struct hsm_key key = fx_generate(b->fx, 1, HSM_SESSION, HSM_EC_P256);
    struct jwk *jwk = NULL;
    assert_ok(jwk_from_ec(b->app.crypto, JOSE_ES256, key.point, &jwk));
    struct buf text = buf_in(b->fx->a, 4096);
    struct json_writer w = json_writer(&text);
    jwk_write(jwk, &w, NULL);
    int64_t now = clock_now_us(&b->app.clock);
    struct ring_key row = {.id = key.id,
                           .purpose = HSM_SESSION,
                           .type = HSM_EC_P256,
                           .state = KEY_ACTIVE,
                           .kid = jwk_kid(jwk),
                           .alg = STR("ES256"),
                           .jwk = buf_view(&text),
                           .created_us = now,
                           .activated_us = now};
    struct call c = bench_call(b);
    const struct leaf_fields f = {.kind = LEAF_ADMIN, .op = "key.activate", .kid = row.kid, .exp = -1};
    struct recording r;
    assert_ok(record_begin(&c, &f, &r));
    struct store s = call_store(&c);
    assert_ok(record_end(&c, &r, store_key_insert(&s, &row, STR("{}"), &r.batch), true));
    assert_ok(keyring_load(b->app.keyring, b->app.crypto, &row, 1));
    jwk_free(&jwk);
}

static void add_agent_key(struct bench *b)
{
    const char *pem = fx_path(b->fx, "agent.pem");
    struct str make =
        arena_printf(b->fx->a, "openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out %s", pem);
    fx_shell(b->fx, make.p);
    CLEANUP(secret_free) struct secret *text = NULL;
    assert_ok(secret_from_file(pem, 4096, &text));
    assert_ok(private_signer_new(b->app.crypto, secret_bytes(text), JOSE_RS256, &b->agent_key));
    struct str get = arena_printf(b->fx->a, "umask 077 && openssl pkey -in %s -pubout -out %s.pub", pem, pem);
    fx_shell(b->fx, get.p);
    struct str pub, name = arena_printf(b->fx->a, "%s.pub", pem);
    CLEANUP(secret_free) struct secret *pub_text = NULL;
    assert_ok(secret_from_file(name.p, 4096, &pub_text));
    struct jwk *jwk = NULL;
    assert_ok(jwk_from_pem(b->app.crypto, secret_bytes(pub_text), JOSE_RS256, &jwk));
    struct buf out = buf_in(b->fx->a, 4096);
    struct json_writer w = json_writer(&out);
    jwk_write(jwk, &w, NULL);
    pub = buf_view(&out);
    b->agent_jwk = pub;
    jwk_free(&jwk);
}

static int setup(void **state)
{
    void *fx = NULL;
    (void)fx_make(&fx);
    struct bench *b = calloc(1, sizeof *b);
    assert_non_null(b);
    b->fx = fx;
    fx_start(b->fx);
    assert_ok(arena_new(REQUEST_ARENA, &b->arena));
    b->config = (struct config){
        .base_url = STR("https://broker.example"), .database_url = str_of(getenv("DATABASE_URL")), .agent_cache_s = 0};
    b->app = (struct app){.config = &b->config,
                          .crypto = b->fx->crypto,
                          .clock = clock_real(),
                          .hsm = hsm_supervisor_connector(b->fx->sup),
                          .instance = "00000000000000000000000000000001"};
    assert_ok(api_metrics_new(&b->app.metrics));
    assert_ok(buckets_new(64, 1000000, 1000000, &b->app.agents));
    assert_ok(keyring_new(&b->app.keyring));
    assert_ok(health_new(&b->app.health));
    assert_ok(issuer_keys_new(&b->app.issuer_keys));
    CLEANUP(db_free) struct db *owner = NULL;
    assert_ok(db_new(str_of(getenv("NEXUS_MIGRATE_DATABASE_URL")), &owner));
    struct store s = {.db = owner, .arena = b->arena, .deadline_us = clock_mono_us() + INT64_C(30000000)};
    int64_t applied = 0;
    assert_ok(store_migrate(&s, &applied));
    assert_ok(api_new(&b->app, &b->api));
    add_api_key(b);
    add_session_key(b);
    add_agent_key(b);
    *state = b;
    return 0;
}

static int teardown(void **state)
{
    struct bench *b = *state;
    if (b == NULL)
        return 0; /* the setup failed, and said why */
    private_signer_free(&b->agent_key);
    api_free(&b->api);
    issuer_keys_free(&b->app.issuer_keys);
    health_free(&b->app.health);
    keyring_free(&b->app.keyring);
    buckets_free(&b->app.agents);
    metrics_free(&b->app.metrics);
    arena_free(&b->arena);
    void *fx = b->fx;
    (void)fx_remove(&fx);
    free(b);
    return 0;
}

/* --- The main requests. Each is prepared with nothing failing, and run with the plan in force. */

static struct http_request request(struct bench *b, struct str body)
{
    return (struct http_request){.arena = b->arena,
                                 .method = HTTP_POST,
                                 .path = STR("/"),
                                 .content_type = STR("application/json"),
                                 .body = body,
                                 .request_id = STR("torture"),
                                 .peer = STR("127.0.0.1"),
                                 .deadline_us = clock_mono_us() + DEADLINE_MS * INT64_C(1000)};
}

/* Runs the handler with call k of a kind failing. The status of the answer, and its body where it is no error. */
static int run(struct bench *b, api_handler *handler, struct http_request *req, struct str *body, enum kind kind,
               long k)
{
    struct http_reply reply = {.status = 0};
    plan.kind = kind;
    plan.left = k;
    plan.fired = false;
    struct err e = handler(b->api, req, &reply);
    plan.kind = FAIL_NOTHING;
    int status = err_is(&e) ? err_public(e.code)->status : reply.status;
    if (status < 500 && err_is(&e))
        print_message("%s: %s (%s:%d)\n", err_name(e.code), e.detail, e.file, e.line);
    *body = err_is(&e) ? STR("") : reply.body;
    return status;
}

static int register_agent(struct bench *b, const char *id, enum kind kind, long k)
{
    struct str body =
        arena_printf(b->arena, "{\"agent_id\":\"%s\",\"allowed_scopes\":[\"s:1\"],\"jwks\":{\"keys\":[%.*s]}}", id,
                     STR_FMT(b->agent_jwk));
    struct http_request req = request(b, body);
    req.api_key = str_of(b->api_key);
    struct str ignored;
    return run(b, api_agent_create, &req, &ignored, kind, k);
}

static struct str assertion(struct bench *b, const char *id)
{
    char jti[ID_TEXT];
    assert_ok(rand_id("", jti));
    int64_t now = clock_now_s(&b->app.clock);
    struct str claims = arena_printf(
        b->arena,
        "{\"iss\":\"%s\",\"sub\":\"%s\",\"aud\":\"https://broker.example\",\"jti\":\"%s\",\"iat\":%lld,\"exp\":%lld}",
        id, id, jti, (long long)now, (long long)now + 60);
    struct jws_signer signer = private_signer_jws(b->agent_key);
    struct str token;
    assert_ok(jws_sign(b->arena, &signer, STR("client-authentication+jwt"), str_bytes(claims), &token));
    return token;
}

static int open_session(struct bench *b, const char *id, enum kind kind, long k, struct str *reply)
{
    struct str token = assertion(b, id);
    struct str body =
        arena_printf(b->arena,
                     "{\"agent_id\":\"%s\",\"scopes\":[\"s:1\"],\"client_assertion_type\":\"" ASSERTION_TYPE
                     "\",\"client_assertion\":\"%.*s\"}",
                     id, STR_FMT(token));
    struct http_request req = request(b, body);
    return run(b, api_session_create, &req, reply, kind, k);
}

static int on_session(struct bench *b, api_handler *handler, struct str session_id, struct str token, enum kind kind,
                      long k)
{
    struct http_request req = request(b, STR(""));
    req.args[0] = session_id;
    req.authorization = arena_printf(b->arena, "Bearer %.*s", STR_FMT(token));
    struct str ignored;
    return run(b, handler, &req, &ignored, kind, k);
}

static struct str member(struct bench *b, struct str reply, const char *name)
{
    const struct json *obj = NULL;
    assert_ok(json_parse(b->arena, str_bytes(reply), &obj));
    const struct json *m = json_get(obj, name);
    assert_non_null(m);
    return m->s;
}

/* The second promise: the token's signing input is what an intent leaf of the database recorded. */
static void assert_recorded(struct bench *b, struct str token)
{
    static const struct sql find = {
        "torture_find",
        "SELECT count(*) FROM nexus.audit_leaves WHERE kind = 'intent' AND strpos(convert_from(leaf, 'UTF8'), $1) > 0"};
    struct jws j;
    assert_ok(jws_parse(b->arena, token, &j));
    uint8_t hash[SHA256_LEN];
    assert_ok(crypto_sha256(b->app.crypto, str_bytes(j.signing_input), hash));
    const struct db_param p = P_TEXT(b64u_text(b->arena, bytes_of(hash, sizeof hash)));
    CLEANUP(db_rows_free) struct db_rows *rows = NULL;
    const struct db_call q = {.sql = &find, .params = &p, .n = 1, .deadline_us = clock_mono_us() + INT64_C(5000000)};
    assert_ok(db_run(b->api->db, &q, b->arena, &rows));
    int64_t n = 0;
    assert_ok(db_get_int(rows, 0, 0, &n));
    assert_int_equal(n, 1);
}

static void assert_survived(int status, enum kind kind, long k)
{
    if (status >= 500 || (!plan.fired && status < 300) || (plan.fired && status < 300))
        return;
    fail_msg("status %d when call %ld of %s failed", status, k, kind_names[kind]);
}

/* After a failure the connection comes back with a short backoff; until then every call fails at once. */
static void heal(struct bench *b)
{
    const struct timespec nap = {.tv_nsec = 5000000};
    struct call c = bench_call(b);
    struct err e = db_connect(b->api->db, c.deadline_us);
    while (err_is(&e) && clock_mono_us() < c.deadline_us) {
        (void)nanosleep(&nap, NULL);
        e = db_connect(b->api->db, c.deadline_us);
    }
    assert_ok(e);
    /* An outcome whose write went through while its answer was lost is found to be there already: once. */
    e = record_append(&c, NULL);
    assert_ok(e.code == ERR_DB_CONFLICT ? record_append(&c, NULL) : e);
    arena_reset(b->arena);
}

/* Runs one request for each k until none failed any more, which must be a success. */
typedef int torture_fn(struct bench *b, enum kind kind, long k);
static void torture(struct bench *b, torture_fn *once)
{
    for (int kind = FAIL_MALLOC; kind < KIND_COUNT; kind++) {
        long k = 1;
        for (; k < K_MAX; k++) {
            int status = once(b, (enum kind)kind, k);
            assert_survived(status, (enum kind)kind, k);
            arena_reset(b->arena);
            if (!plan.fired) {
                assert_in_range(status, 200, 299);
                break;
            }
            heal(b);
        }
        assert_in_range(k, 2, K_MAX - 1);
        print_message("%-16s %ld calls failed in turn\n", kind_names[kind], k - 1);
    }
}

static int once_register(struct bench *b, enum kind kind, long k)
{
    char id[ID_TEXT];
    assert_ok(rand_id("a-", id));
    return register_agent(b, id, kind, k);
}

static int once_open(struct bench *b, enum kind kind, long k)
{
    struct str reply;
    int status = open_session(b, "torture", kind, k, &reply);
    if (status == 201)
        assert_recorded(b, member(b, reply, "session_token"));
    return status;
}

static int on_fresh_session(struct bench *b, api_handler *handler, enum kind kind, long k)
{
    struct str reply;
    int opened = open_session(b, "torture", FAIL_NOTHING, 0, &reply);
    assert_int_equal(opened, 201);
    return on_session(b, handler, member(b, reply, "session_id"), member(b, reply, "session_token"), kind, k);
}

static int once_get(struct bench *b, enum kind kind, long k)
{
    return on_fresh_session(b, api_session_get, kind, k);
}

static int once_close(struct bench *b, enum kind kind, long k)
{
    return on_fresh_session(b, api_session_close, kind, k);
}

static void test_t10_registering_an_agent(void **state)
{
    torture(*state, once_register);
}

static void test_t10_opening_a_session(void **state)
{
    struct bench *b = *state;
    assert_int_equal(register_agent(b, "torture", FAIL_NOTHING, 0), 201);
    torture(b, once_open);
}

static void test_t10_reading_a_session(void **state)
{
    torture(*state, once_get);
}

static void test_t10_closing_a_session(void **state)
{
    torture(*state, once_close);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_t10_registering_an_agent),
        cmocka_unit_test(test_t10_opening_a_session),
        cmocka_unit_test(test_t10_reading_a_session),
        cmocka_unit_test(test_t10_closing_a_session),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
