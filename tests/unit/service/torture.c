/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/service/torture.h"

#include "base/rand.h"
#include "base/secret.h"
#include "crypto/b64u.h"
#include "service/api/agent_cache.h"
#include "service/api/dpop.h"
#include "service/api/health.h"
#include "service/api/issuer_keys.h"
#include "service/api/pseudonym.h"
#include "service/api/time_guard.h"
#include "service/server/router.h"
#include "service/server/server.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { K_MAX = 2000, PEM_MAX = 4096, PATIENCE_US = 10000000, HOUR_S = 3600 };

/* --- A broker without its HTTP server. */

static void add_api_key(struct torture *t, const char *name, enum role role, char text[static API_KEY_LEN + 1])
{
    struct bench *b = t->b;
    uint8_t raw[32], hash[SHA256_LEN];
    assert_ok(rand_bytes(raw, sizeof raw));
    struct str body = b64u_text(b->arena, bytes_of(raw, sizeof raw));
    (void)snprintf(text, API_KEY_LEN + 1, "nxk_%.*s", STR_FMT(body));
    assert_ok(crypto_sha256(b->app.crypto, str_bytes(str_of(text)), hash));
    struct call c = bench_call(b);
    int64_t now = clock_now_us(&b->app.clock);
    const struct api_key k = {.name = str_of(name),
                              .prefix = STR("nxk_"),
                              .role = role,
                              .created_us = now,
                              .expires_us = now + HOUR_S * INT64_C(1000000)};
    const struct leaf_fields f = {.kind = LEAF_ADMIN, .op = "api_key.create", .target = k.name, .exp = -1};
    struct recording r;
    assert_ok(record_begin(&c, &f, &r));
    struct store s = call_store(&c);
    assert_ok(record_end(&c, &r, store_api_key_insert(&s, &k, hash, &r.batch), true));
}

/* A key of somebody else's, which OpenSSL makes. */
static void make_key(struct torture *t, const char *name, struct torture_key *out)
{
    struct bench *b = t->b;
    const char *pem = fx_path(b->fx, name);
    struct str make =
        arena_printf(b->fx->a,
                     "umask 077; openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out %s && "
                     "openssl pkey -in %s -pubout -out %s.pub",
                     pem, pem, pem);
    fx_shell(b->fx, make.p);
    CLEANUP(secret_free) struct secret *private = NULL;
    CLEANUP(secret_free) struct secret *public = NULL;
    assert_ok(secret_from_file(pem, PEM_MAX, &private));
    assert_ok(secret_from_file(arena_printf(b->fx->a, "%s.pub", pem).p, PEM_MAX, &public));
    assert_ok(private_signer_new(b->app.crypto, secret_bytes(private), JOSE_RS256, &out->signer));
    CLEANUP(jwk_free) struct jwk *jwk = NULL;
    assert_ok(jwk_from_pem(b->app.crypto, secret_bytes(public), JOSE_RS256, &jwk));
    struct buf text = buf_in(b->fx->a, PEM_MAX);
    struct json_writer w = json_writer(&text);
    jwk_write(jwk, &w, NULL);
    out->jwk = buf_view(&text);
}

int torture_open(void **state)
{
    void *bench = NULL;
    (void)bench_open(&bench);
    struct torture *t = calloc(1, sizeof *t);
    assert_non_null(t);
    t->b = bench;
    struct bench *b = t->b;
    b->config.clock_skew_max_s = 30;
    b->config.jwks_cache_s = 300;
    b->config.fetch_timeout_ms = 3000;
    b->config.delegation_depth = 4;
    assert_ok(buckets_new(64, 1000000, 1000000, &b->app.agents));
    assert_ok(issuer_keys_new(&b->app.issuer_keys));
    assert_ok(db_new(str_of(getenv("NEXUS_MIGRATE_DATABASE_URL")), &t->owner));
    (void)bench_key(b, 1, HSM_SESSION);
    (void)bench_key(b, 2, HSM_CALL);
    (void)bench_key(b, 3, HSM_KEK);
    add_api_key(t, "admin", ROLE_ADMIN, t->admin);
    add_api_key(t, "gateway", ROLE_GATEWAY, t->gateway);
    make_key(t, "agents.pem", &t->agents);
    make_key(t, "issuer.pem", &t->issuer);
    const struct call c = bench_call(b);
    assert_ok(time_guard_check(&c));
    struct hsm_info info;
    assert_ok(hsm_hello(b->api->hsm, b->arena, clock_mono_us() + PATIENCE_US, &info));
    t->uses = info.mark.counter;
    *state = t;
    return 0;
}

int torture_close(void **state)
{
    struct torture *t = *state;
    if (t == NULL)
        return 0; /* the opening failed, and said why */
    private_signer_free(&t->agents.signer);
    private_signer_free(&t->issuer.signer);
    db_free(&t->owner);
    buckets_free(&t->b->app.agents);
    issuer_keys_free(&t->b->app.issuer_keys);
    void *bench = t->b;
    free(t);
    return bench_close(&bench);
}

/* --- One request. */

/* What a worker remembers would spare it calls, which could then not fail. */
static void forget(struct bench *b)
{
    agent_cache_free(&b->api->cache);
    assert_ok(agent_cache_new(0, &b->api->cache));
    pseudonyms_free(&b->api->pseudonyms);
    assert_ok(pseudonyms_new(&b->api->pseudonyms));
    dpop_nonces_free(&b->api->nonces);
    assert_ok(dpop_nonces_new(&b->api->nonces));
    issuer_keys_free(&b->app.issuer_keys);
    assert_ok(issuer_keys_new(&b->app.issuer_keys));
}

static struct err handle(struct api *api, const struct api_route *route, const struct http_request *req,
                         struct http_reply *reply)
{
    if (route->roles != 0)
        TRY(api_require_role(api, req, route->roles, NULL));
    return route->handler(api, req, reply);
}

/* As a worker does it (service/server/worker.c). */
static void serve(struct api *api, const struct api_route *route, const struct http_request *req,
                  struct http_reply *reply)
{
    struct err e = handle(api, route, req, reply);
    if (err_is(&e) && getenv("TEST_LOG") != NULL)
        print_message("%s: %s (%s:%d)\n", err_name(e.code), e.detail, e.file, e.line);
    if (err_is(&e))
        http_reply_error(req, &e, reply);
    dpop_offer_nonce(api, req, &e, reply);
}

static struct answer send_request(struct torture *t, const struct http_request *req, enum fail_kind kind, long k)
{
    struct route_table table;
    struct route_match found;
    struct http_request sent = *req;
    struct http_reply reply = {.status = 0};
    table.v = server_routes(&table.n);
    router_find(&table, req->method, req->path, &found);
    assert_non_null(found.route);
    memcpy(sent.args, found.args, sizeof sent.args);
    sent.oauth = found.oauth;
    sent.deadline_us = clock_mono_us() + PATIENCE_US;
    forget(t->b);
    fail_begin(kind, k);
    serve(t->b->api, found.route, &sent, &reply);
    t->fired = fail_end();
    return (struct answer){reply.status, reply.body};
}

/* An error that its reader can do something with. */
static void check_error(struct torture *t, struct str body)
{
    const struct json *obj = NULL;
    assert_ok(json_parse(t->b->arena, str_bytes(body), &obj));
    const struct json *code = json_get(obj, "error"), *text = json_get(obj, "message");
    text = text != NULL ? text : json_get(obj, "error_description");
    assert_true(code != NULL && code->s.n > 0 && text != NULL && text->s.n > 0);
}

/* Whoever asks again later may well succeed, and is told so; but who knows why OpenSSL fails. */
static bool is_own_trouble(int status, enum fail_kind kind)
{
    return status == 503 || (status == 500 && kind == FAIL_EVP);
}

struct answer torture_try(struct torture *t, const struct http_request *req)
{
    struct answer a = send_request(t, req, t->kind, t->k);
    if (a.status < 300)
        return a;
    if (!t->fired || !is_own_trouble(a.status, t->kind))
        fail_msg("status %d when call %ld of %s %s: %.*s", a.status, t->k, fail_name(t->kind),
                 t->fired ? "failed" : "never came", STR_FMT(a.body));
    check_error(t, a.body);
    return a;
}

struct str torture_do(struct torture *t, const struct http_request *req, int status)
{
    struct answer a = send_request(t, req, FAIL_NOTHING, 0);
    if (a.status != status)
        fail_msg("status %d instead of %d: %.*s", a.status, status, STR_FMT(a.body));
    return a.body;
}

/* --- All of them. */

/* After a failure the connection comes back with a short backoff; until then every call fails at once. */
static void heal(struct torture *t)
{
    const struct timespec nap = {.tv_nsec = 5000000};
    struct call c = bench_call(t->b);
    struct err e = db_connect(t->b->api->db, c.deadline_us);
    while (err_is(&e) && clock_mono_us() < c.deadline_us) {
        (void)nanosleep(&nap, NULL);
        e = db_connect(t->b->api->db, c.deadline_us);
    }
    assert_ok(e);
    /* An outcome whose write went through while its answer was lost is found to be there already: once. */
    e = record_append(&c, NULL);
    assert_ok(e.code == ERR_DB_CONFLICT ? record_append(&c, NULL) : e);
    arena_reset(t->b->arena);
}

/* The number of calls that there are to fail. */
static long torture_by(struct torture *t, torture_fn *once)
{
    for (t->k = 1; t->k < K_MAX; t->k++) {
        struct answer a = once(t);
        bool done = !t->fired;
        heal(t);
        if (!done)
            continue;
        assert_in_range(a.status, 200, 299);
        return t->k - 1;
    }
    fail_msg("%d calls of %s and no end", K_MAX, fail_name(t->kind));
    return 0;
}

void torture(struct torture *t, torture_fn *once)
{
    for (int kind = FAIL_MALLOC; kind < FAIL_COUNT; kind++) {
        t->kind = (enum fail_kind)kind;
        long calls = torture_by(t, once);
        assert_true(calls > 0 || kind == FAIL_NET);
        print_message("%-11s %ld calls failed in turn\n", fail_name(t->kind), calls);
        torture_check_audit(t);
        arena_reset(t->b->arena);
    }
}
