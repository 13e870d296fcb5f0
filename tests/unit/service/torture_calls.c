/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/service/torture_calls.h"

#include "base/arena.h"
#include "service/net/net.h"

#include <libpq-fe.h>
#include <openssl/evp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

static const char *const names[FAIL_COUNT] = {
    [FAIL_NOTHING] = "nothing", [FAIL_MALLOC] = "malloc",         [FAIL_ARENA] = "arena",  [FAIL_PQ_SEND] = "PQsend...",
    [FAIL_EVP] = "EVP_...",     [FAIL_PQ_RESULT] = "PQgetResult", [FAIL_NET] = "net_call",
};

/* One thread runs requests; _Thread_local keeps the supervisor's thread out of the count. */
static _Thread_local struct {
    enum fail_kind kind;
    long left; /* the call that brings this to 0 fails */
    bool fired;
} plan;

const char *fail_name(enum fail_kind kind)
{
    return names[kind];
}

void fail_begin(enum fail_kind kind, long k)
{
    plan.kind = kind;
    plan.left = k;
    plan.fired = false;
}

bool fail_end(void)
{
    plan.kind = FAIL_NOTHING;
    return plan.fired;
}

static bool must_fail(enum fail_kind kind)
{
    if (plan.kind != kind || --plan.left != 0)
        return false;
    plan.fired = true;
    return true;
}

/* --- Memory. */

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

char *__real_strdup(const char *s);
char *__wrap_strdup(const char *s);
char *__wrap_strdup(const char *s)
{
    return must_fail(FAIL_MALLOC) ? NULL : __real_strdup(s);
}

char *__real_strndup(const char *s, size_t n);
char *__wrap_strndup(const char *s, size_t n);
char *__wrap_strndup(const char *s, size_t n)
{
    return must_fail(FAIL_MALLOC) ? NULL : __real_strndup(s, n);
}

/* --- Arenas. The calls of arena.c to itself do not come by here. */

struct err __real_arena_new(size_t max, struct arena **out);
struct err __wrap_arena_new(size_t max, struct arena **out);
struct err __wrap_arena_new(size_t max, struct arena **out)
{
    return must_fail(FAIL_ARENA) ? FAIL(ERR_NO_MEMORY, "arena of %zu bytes", max) : __real_arena_new(max, out);
}

void *__real_arena_alloc(struct arena *a, size_t n);
void *__wrap_arena_alloc(struct arena *a, size_t n);
void *__wrap_arena_alloc(struct arena *a, size_t n)
{
    return must_fail(FAIL_ARENA) ? NULL : __real_arena_alloc(a, n);
}

void *__real_arena_array(struct arena *a, size_t count, size_t size);
void *__wrap_arena_array(struct arena *a, size_t count, size_t size);
void *__wrap_arena_array(struct arena *a, size_t count, size_t size)
{
    return must_fail(FAIL_ARENA) ? NULL : __real_arena_array(a, count, size);
}

struct str __real_arena_str(struct arena *a, struct str s);
struct str __wrap_arena_str(struct arena *a, struct str s);
struct str __wrap_arena_str(struct arena *a, struct str s)
{
    return must_fail(FAIL_ARENA) ? (struct str){NULL, 0} : __real_arena_str(a, s);
}

struct bytes __real_arena_bytes(struct arena *a, struct bytes b);
struct bytes __wrap_arena_bytes(struct arena *a, struct bytes b);
struct bytes __wrap_arena_bytes(struct arena *a, struct bytes b)
{
    return must_fail(FAIL_ARENA) ? (struct bytes){NULL, 0} : __real_arena_bytes(a, b);
}

/* Arguments of this kind cannot be handed on, so it is done here. */
struct str __wrap_arena_printf(struct arena *a, const char *fmt, ...) PRINTF_LIKE(2, 3);
struct str __wrap_arena_printf(struct arena *a, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    char *text = NULL;
    int n = vasprintf(&text, fmt, ap);
    va_end(ap);
    struct str s = {NULL, 0};
    if (n >= 0 && !must_fail(FAIL_ARENA))
        s = __real_arena_str(a, (struct str){text, (size_t)n});
    if (n >= 0)
        free(text);
    return s;
}

/* --- libpq. */

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

/* --- OpenSSL. */

EVP_PKEY_CTX *__real_EVP_PKEY_CTX_new_from_pkey(OSSL_LIB_CTX *lib, EVP_PKEY *key, const char *props);
EVP_PKEY_CTX *__wrap_EVP_PKEY_CTX_new_from_pkey(OSSL_LIB_CTX *lib, EVP_PKEY *key, const char *props);
EVP_PKEY_CTX *__wrap_EVP_PKEY_CTX_new_from_pkey(OSSL_LIB_CTX *lib, EVP_PKEY *key, const char *props)
{
    return must_fail(FAIL_EVP) ? NULL : __real_EVP_PKEY_CTX_new_from_pkey(lib, key, props);
}

EVP_PKEY_CTX *__real_EVP_PKEY_CTX_new_from_name(OSSL_LIB_CTX *lib, const char *name, const char *props);
EVP_PKEY_CTX *__wrap_EVP_PKEY_CTX_new_from_name(OSSL_LIB_CTX *lib, const char *name, const char *props);
EVP_PKEY_CTX *__wrap_EVP_PKEY_CTX_new_from_name(OSSL_LIB_CTX *lib, const char *name, const char *props)
{
    return must_fail(FAIL_EVP) ? NULL : __real_EVP_PKEY_CTX_new_from_name(lib, name, props);
}

EVP_MD_CTX *__real_EVP_MD_CTX_new(void);
EVP_MD_CTX *__wrap_EVP_MD_CTX_new(void);
EVP_MD_CTX *__wrap_EVP_MD_CTX_new(void)
{
    return must_fail(FAIL_EVP) ? NULL : __real_EVP_MD_CTX_new();
}

int __real_EVP_Digest(const void *p, size_t n, unsigned char *md, unsigned *size, const EVP_MD *type, ENGINE *e);
int __wrap_EVP_Digest(const void *p, size_t n, unsigned char *md, unsigned *size, const EVP_MD *type, ENGINE *e);
int __wrap_EVP_Digest(const void *p, size_t n, unsigned char *md, unsigned *size, const EVP_MD *type, ENGINE *e)
{
    return must_fail(FAIL_EVP) ? 0 : __real_EVP_Digest(p, n, md, size, type, e);
}

/* The parameters are OpenSSL's, as many as they are. */
unsigned char *__real_EVP_Q_mac(OSSL_LIB_CTX *lib, const char *name, const char *props, const char *sub,
                                const OSSL_PARAM *params, const void *key, size_t key_n, const unsigned char *p,
                                size_t n, unsigned char *out, size_t size, size_t *len);
unsigned char *__wrap_EVP_Q_mac(OSSL_LIB_CTX *lib, const char *name, const char *props, const char *sub,
                                const OSSL_PARAM *params, const void *key, size_t key_n, const unsigned char *p,
                                size_t n, unsigned char *out, size_t size, size_t *len);
unsigned char *__wrap_EVP_Q_mac(OSSL_LIB_CTX *lib, const char *name, const char *props, const char *sub,
                                const OSSL_PARAM *params, const void *key, size_t key_n, const unsigned char *p,
                                size_t n, unsigned char *out, size_t size, size_t *len)
{
    return must_fail(FAIL_EVP) ? NULL
                               : __real_EVP_Q_mac(lib, name, props, sub, params, key, key_n, p, n, out, size, len);
}

/* --- The network. */

static _Thread_local const struct web_page *served;

void network_serve(const struct web_page *pages)
{
    served = pages;
}

static bool ends_with(struct str s, struct str end)
{
    return s.n >= end.n && str_eq((struct str){s.p + s.n - end.n, end.n}, end);
}

struct err __wrap_net_call(struct net *n, const struct net_request *q, struct arena *a, struct net_reply *out);
struct err __wrap_net_call(struct net *n, const struct net_request *q, struct arena *a, struct net_reply *out)
{
    (void)n;
    for (const struct web_page *p = served; p != NULL && p->path != NULL && !must_fail(FAIL_NET); p++) {
        if (!ends_with(q->url, str_of(p->path)))
            continue;
        *out = (struct net_reply){
            .status = 200, .content_type = STR("application/json"), .body = arena_bytes(a, str_bytes(p->body))};
        return out->body.p != NULL ? OK : FAIL(ERR_NO_MEMORY, "a page");
    }
    return FAIL(ERR_NET, "as planned");
}
