/* SPDX-License-Identifier: Apache-2.0
 * The vault, with a real token and database: what is sealed opens at its place only, each use of a KEK is on record,
 * and data keys are kept no longer and no more than is said. Time is moved on by the linker's hand: clock_mono_us leads
 * through here. */
#include "tests/unit/service/api_support.h"

#include "base/rand.h"
#include "crypto/envelope.h"
#include "service/api/vault.h"

#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

enum { LIFETIME_S = 60, MANY = 64, KEK = 3, NEXT_KEK = 4 };

#define TOKEN STR("1//a-refresh-token-of-acme")

/* The supervisor's thread reads it too. */
static _Atomic int64_t later_us;

int64_t __real_clock_mono_us(void);
int64_t __wrap_clock_mono_us(void);
int64_t __wrap_clock_mono_us(void)
{
    return __real_clock_mono_us() + atomic_load(&later_us);
}

static void pass_s(int64_t seconds)
{
    atomic_fetch_add(&later_us, seconds * 1000000);
}

/* A worker with a vault of its own kind, whose line to the signer can be cut. */
struct worker {
    struct bench *b;
    struct config config;
    struct app app;
    struct api *api;
    struct hsm_connector signer;
    int line; /* the last socket; owned by the worker's client */
    bool cut;
};

static struct err line_connect(void *self, int64_t deadline_us, int *fd)
{
    struct worker *w = self;
    if (w->cut)
        return FAIL(ERR_HSM_UNAVAILABLE, "as planned");
    TRY(w->signer.connect(w->signer.self, deadline_us, fd));
    w->line = *fd;
    return OK;
}

static void worker_open(struct bench *b, int64_t lifetime_s, int64_t most, struct worker *w)
{
    *w = (struct worker){.b = b, .config = b->config, .app = b->app, .signer = b->app.hsm, .line = -1};
    w->config.dek_cache_s = lifetime_s;
    w->config.dek_cache_max = most;
    w->app.config = &w->config;
    w->app.hsm = (struct hsm_connector){.self = w, .connect = line_connect};
    assert_ok(api_new(&w->app, &w->api));
}

static void cut_line(struct worker *w)
{
    w->cut = true;
    if (w->line >= 0)
        assert_int_equal(shutdown(w->line, SHUT_RDWR), 0);
}

static void worker_close(struct worker *w)
{
    api_free(&w->api);
}

static struct call call_by(struct worker *w)
{
    return bench_call_of(w->b, w->api);
}

static struct dek make_dek(struct worker *w)
{
    struct call c = call_by(w);
    struct dek d;
    assert_ok(vault_make_dek(&c, &d));
    return d;
}

static const struct sealed_place here = {
    .tenant = {"acme", 4}, .owner = {"connection:c1", 13}, .column = {"refresh_token", 13}, .version = 7};

static struct bytes seal(struct worker *w, const struct dek *d, const struct sealed_place *p, struct str text)
{
    struct call c = call_by(w);
    struct bytes sealed;
    assert_ok(vault_seal(&c, d, p, str_bytes(text), &sealed));
    return sealed;
}

static struct err try_open(struct worker *w, const struct dek *d, const struct sealed_place *p, struct bytes sealed)
{
    struct call c = call_by(w);
    CLEANUP(secret_free) struct secret *plain = NULL;
    struct err e = vault_open(&c, d, p, sealed, &plain);
    assert_int_equal(plain == NULL, err_is(&e));
    if (plain != NULL)
        assert_true(str_eq(bytes_str(secret_bytes(plain)), TOKEN));
    return e;
}

/* The data key in clear, behind the broker's back. */
static struct secret *plain_key(struct bench *b, const struct dek *d)
{
    struct secret *key = NULL;
    assert_ok(hsm_unwrap(b->fx->c, &d->kek, d->wrapped, fx_deadline(), &key));
    assert_int_equal(key->n, HSM_DEK_LEN);
    return key;
}

/* Uses of the KEK that are on record as they must be: intent, then an outcome of the same operation. */
#define PAIRS(op, reason)                                                                                              \
    "WITH l AS (SELECT *, convert_from(leaf, 'UTF8')::json AS j FROM nexus.audit_leaves) "                             \
    "SELECT count(*) FROM l i JOIN l o ON o.corr_writer = i.writer AND o.corr_seq = i.seq "                            \
    "WHERE i.kind = 'intent' AND o.kind = 'outcome' AND i.j ->> 'op' = '" op "' AND o.j ->> 'op' = '" op "' "          \
    "AND o.j ->> 'reason' = '" reason "' AND i.j ->> 'key_id' = repeat('03', 16) AND i.j ->> 'detail' = 'dek' "        \
    "AND i.j ->> 'req_id' = 'req-of-test'"
static const struct sql wraps = {"t_wraps", PAIRS("wrap", "ok")};
static const struct sql unwraps = {"t_unwraps", PAIRS("unwrap", "ok")};
static const struct sql failed_wraps = {"t_failed_wraps", PAIRS("wrap", "ERR_HSM_UNAVAILABLE")};
static const struct sql failed_unwraps = {"t_failed_unwraps", PAIRS("unwrap", "ERR_HSM_UNAVAILABLE")};
static const struct sql intents = {"t_intents", "SELECT count(*) FROM nexus.audit_leaves WHERE kind = 'intent'"};
static const struct sql open_intents = {
    "t_open", "SELECT count(*) FROM nexus.audit_leaves i WHERE kind = 'intent' AND NOT EXISTS "
              "(SELECT FROM nexus.audit_leaves o WHERE o.kind = 'outcome' AND o.corr_writer = "
              "i.writer AND o.corr_seq = i.seq)"};

static void test_without_a_kek_there_is_no_key(void **state)
{
    struct bench *b = *state;
    struct call c = bench_call(b);
    struct dek d;
    assert_err(vault_make_dek(&c, &d), ERR_NO_ACTIVE_KEY);
    assert_int_equal(bench_number(b, &intents), 0);
    (void)bench_key(b, KEK, HSM_KEK);
}

static void test_any_worker_opens_what_one_sealed(void **state)
{
    struct bench *b = *state;
    struct worker one, other;
    worker_open(b, LIFETIME_S, MANY, &one);
    worker_open(b, 0, 0, &other);
    int64_t before = bench_number(b, &wraps);
    struct dek d = make_dek(&one);
    assert_int_equal(bench_number(b, &wraps), before + 1);
    struct bytes sealed = seal(&one, &d, &here, TOKEN);
    assert_null(memmem(sealed.p, sealed.n, "refresh", 7));
    assert_ok(try_open(&one, &d, &here, sealed));
    assert_ok(try_open(&other, &d, &here, sealed));
    CLEANUP(secret_free) struct secret *key = plain_key(b, &d);
    assert_null(memmem(d.wrapped.p, d.wrapped.n, key->p, key->n));
    worker_close(&one);
    worker_close(&other);
}

static void test_each_key_is_another(void **state)
{
    struct bench *b = *state;
    struct worker w;
    worker_open(b, 0, 0, &w);
    struct dek one = make_dek(&w), two = make_dek(&w);
    CLEANUP(secret_free) struct secret *key = plain_key(b, &one), *other = plain_key(b, &two);
    assert_memory_not_equal(key->p, other->p, HSM_DEK_LEN);
    worker_close(&w);
}

static struct str flipped(struct bench *b, struct str s, size_t bit)
{
    char *p = arena_alloc(b->arena, s.n);
    memcpy(p, s.p, s.n);
    p[bit / 8] = (char)(p[bit / 8] ^ (1 << bit % 8));
    return (struct str){p, s.n};
}

static void assert_sealed_off(struct worker *w, const struct dek *d, const struct sealed_place *p, struct bytes sealed)
{
    struct err e = try_open(w, d, p, sealed);
    assert_int_equal(e.code, ERR_SEALED);
    assert_non_null(strstr(e.detail, "version"));
}

static void test_each_bit_of_the_place_counts(void **state)
{
    struct bench *b = *state;
    struct worker w;
    worker_open(b, LIFETIME_S, MANY, &w);
    struct dek d = make_dek(&w);
    struct bytes sealed = seal(&w, &d, &here, TOKEN);
    struct sealed_place p = here;
    struct str *const parts[] = {&p.tenant, &p.owner, &p.column};
    for (size_t i = 0; i < COUNT(parts); i++) {
        struct str right = *parts[i];
        for (size_t bit = 0; bit < 8 * right.n; bit++) {
            *parts[i] = flipped(b, right, bit);
            assert_sealed_off(&w, &d, &p, sealed);
        }
        *parts[i] = (struct str){NULL, 0};
        assert_sealed_off(&w, &d, &p, sealed);
        *parts[i] = right;
    }
    for (int bit = 0; bit < 64; bit++) {
        p.version = (int64_t)((uint64_t)here.version ^ UINT64_C(1) << bit);
        assert_sealed_off(&w, &d, &p, sealed);
    }
    p.version = here.version;
    assert_ok(try_open(&w, &d, &p, sealed));
    struct err e = try_open(&w, &d, &p, bytes_of(sealed.p, sealed.n - 1));
    assert_int_equal(e.code, ERR_SEALED);
    assert_string_equal(e.detail, "refresh_token of connection:c1, version 7: the value, its key or its place is not "
                                  "what it was when it was sealed");
    worker_close(&w);
}

/* Characters that go from one part to its neighbour make another place. */
static void test_the_parts_of_a_place_do_not_run_together(void **state)
{
    struct bench *b = *state;
    struct worker w;
    worker_open(b, LIFETIME_S, MANY, &w);
    struct dek d = make_dek(&w);
    static const struct sealed_place places[] = {
        {{"ab", 2}, {"cd", 2}, {"ef", 2}, 1}, {{"abc", 3}, {"d", 1}, {"ef", 2}, 1},
        {{"ab", 2}, {"c", 1}, {"def", 3}, 1}, {{"", 0}, {"abcd", 4}, {"ef", 2}, 1},
        {{"abcd", 4}, {"ef", 2}, {"", 0}, 1}, {{"ab\0c", 4}, {"d", 1}, {"ef", 2}, 1},
        {{"cd", 2}, {"ab", 2}, {"ef", 2}, 1}, {{"ab", 2}, {"cd", 2}, {"ef\1", 3}, 0}};
    for (size_t i = 0; i < COUNT(places); i++) {
        struct bytes sealed = seal(&w, &d, &places[i], TOKEN);
        for (size_t k = 0; k < COUNT(places); k++) {
            if (k == i)
                assert_ok(try_open(&w, &d, &places[k], sealed));
            else
                assert_sealed_off(&w, &d, &places[k], sealed);
        }
    }
    worker_close(&w);
}

/* The form of what lies in databases: it must never change. Built here by hand. */
static void test_the_form_at_rest(void **state)
{
    struct bench *b = *state;
    struct worker w;
    worker_open(b, 0, 0, &w);
    struct dek d = make_dek(&w);
    struct bytes sealed = seal(&w, &d, &here, TOKEN);
    CLEANUP(secret_free) struct secret *key = plain_key(b, &d), *plain = NULL;
    uint8_t check[SHA256_LEN];
    assert_ok(crypto_hmac_sha256(b->app.crypto, secret_bytes(key), bytes_of("check", 6), check));
    struct buf aad = buf_in(b->arena, 1024);
    static const char place[] = "\0\0\0\4acme\0\0\0\15connection:c1\0\0\0\15refresh_token\0\0\0\0\0\0\0\7";
    buf_add(&aad, place, sizeof place - 1);
    buf_add(&aad, check, sizeof check);
    assert_ok(envelope_open(b->app.crypto, secret_bytes(key), buf_bytes(&aad), sealed, &plain));
    assert_true(str_eq(bytes_str(secret_bytes(plain)), TOKEN));
    worker_close(&w);
}

static void test_a_key_outlives_its_kek(void **state)
{
    struct bench *b = *state;
    struct worker w;
    worker_open(b, LIFETIME_S, MANY, &w);
    struct dek d = make_dek(&w), anew;
    struct bytes sealed = seal(&w, &d, &here, TOKEN);
    (void)fx_generate(b->fx, NEXT_KEK, HSM_KEK, HSM_AES_256);
    anew.kek = fx_id(NEXT_KEK);
    CLEANUP(secret_free) struct secret *key = plain_key(b, &d);
    assert_ok(hsm_wrap(b->fx->c, &anew.kek, secret_bytes(key), b->arena, fx_deadline(), &anew.wrapped));
    assert_false(bytes_eq(anew.wrapped, d.wrapped));
    assert_ok(try_open(&w, &anew, &here, sealed));
    worker_close(&w);
}

/* --- Rows, as whoever can write to the database may change them. */

static const struct sql make_table = {
    "t_table", "CREATE TABLE nexus.vault_rows (id text PRIMARY KEY, version bigint NOT NULL, dek_kek bytea NOT NULL, "
               "dek_wrapped bytea NOT NULL, secret bytea NOT NULL)"};
static const struct sql grant = {"t_grant", "GRANT ALL ON nexus.vault_rows TO nexus_broker"};
static const struct sql empty = {"t_empty", "DELETE FROM nexus.vault_rows"};

static void put_row(struct worker *w, const char *id, int64_t version)
{
    static const struct sql sql = {"t_put", "INSERT INTO nexus.vault_rows VALUES ($1, $2, $3, $4, $5)"};
    struct dek d = make_dek(w);
    struct sealed_place p = {.tenant = STR("acme"), .owner = str_of(id), .column = STR("secret"), .version = version};
    const struct db_param values[] = {P_TEXT(str_of(id)), P_INT(version), P_BYTES(bytes_of(d.kek.v, sizeof d.kek.v)),
                                      P_BYTES(d.wrapped), P_BYTES(seal(w, &d, &p, TOKEN))};
    struct call c = call_by(w);
    const struct db_call q = {.sql = &sql, .params = values, .n = COUNT(values), .deadline_us = c.deadline_us};
    assert_ok(db_run(w->api->db, &q, w->b->arena, NULL));
}

static struct err open_row(struct worker *w, const char *id)
{
    static const struct sql sql = {"t_get",
                                   "SELECT version, dek_kek, dek_wrapped, secret FROM nexus.vault_rows WHERE id = $1"};
    const struct db_param values[] = {P_TEXT(str_of(id))};
    struct call c = call_by(w);
    const struct db_call q = {.sql = &sql, .params = values, .n = COUNT(values), .deadline_us = c.deadline_us};
    CLEANUP(db_rows_free) struct db_rows *r = NULL;
    struct sealed_place p = {.tenant = STR("acme"), .owner = str_of(id), .column = STR("secret")};
    struct dek d;
    struct bytes kek, sealed;
    assert_ok(db_run(w->api->db, &q, w->b->arena, &r));
    assert_ok(db_get_int(r, 0, 0, &p.version));
    assert_ok(db_get_bytes(r, 0, 1, w->b->arena, &kek));
    assert_ok(db_get_bytes(r, 0, 2, w->b->arena, &d.wrapped));
    assert_ok(db_get_bytes(r, 0, 3, w->b->arena, &sealed));
    assert_int_equal(kek.n, sizeof d.kek.v);
    memcpy(d.kek.v, kek.p, kek.n);
    return try_open(w, &d, &p, sealed);
}

#define COPY(columns)                                                                                                  \
    "UPDATE nexus.vault_rows SET (" columns ") = (SELECT " columns " FROM nexus.vault_rows WHERE id = 'alice') "       \
    "WHERE id = 'carol'"

static void test_a_changed_row_does_not_open(void **state)
{
    struct bench *b = *state;
    static const struct {
        struct sql sql;
        enum err_code expect;
    } changes[] = {
        {{"t_copy_row", COPY("version, dek_kek, dek_wrapped, secret")}, ERR_SEALED},
        {{"t_copy_secret", COPY("version, secret")}, ERR_SEALED},
        {{"t_copy_key", COPY("dek_kek, dek_wrapped")}, ERR_SEALED},
        {{"t_version", "UPDATE nexus.vault_rows SET version = version + 1"}, ERR_SEALED},
        {{"t_secret", "UPDATE nexus.vault_rows SET secret = set_bit(secret, 200, 1 - get_bit(secret, 200))"},
         ERR_SEALED},
        {{"t_cut", "UPDATE nexus.vault_rows SET secret = substr(secret, 1, length(secret) - 1)"}, ERR_SEALED},
        {{"t_no_key", "UPDATE nexus.vault_rows SET dek_wrapped = ''"}, ERR_SEALED},
        {{"t_long_key", "UPDATE nexus.vault_rows SET dek_wrapped = decode(repeat('01', 300), 'hex')"}, ERR_SEALED},
        {{"t_key", "UPDATE nexus.vault_rows SET dek_wrapped = set_bit(dek_wrapped, 90, 1 - get_bit(dek_wrapped, 90))"},
         ERR_HSM_REFUSED},
        {{"t_kek", "UPDATE nexus.vault_rows SET dek_kek = decode(repeat('07', 16), 'hex')"}, ERR_HSM_REFUSED}};
    struct worker w;
    worker_open(b, LIFETIME_S, MANY, &w);
    bench_exec(b, &make_table);
    bench_exec(b, &grant);
    for (size_t i = 0; i < COUNT(changes); i++) {
        put_row(&w, "alice", 2);
        put_row(&w, "carol", 2);
        assert_ok(open_row(&w, "carol"));
        bench_exec(b, &changes[i].sql);
        assert_err(open_row(&w, "carol"), changes[i].expect);
        bench_exec(b, &empty);
    }
    worker_close(&w);
}

/* --- The keys that are kept. */

/* How many unwraps a use of the key costs. */
static int64_t cost(struct worker *w, const struct dek *d, struct bytes sealed)
{
    int64_t before = bench_number(w->b, &unwraps);
    assert_ok(try_open(w, d, &here, sealed));
    return bench_number(w->b, &unwraps) - before;
}

static void test_nothing_is_kept_when_told_so(void **state)
{
    struct bench *b = *state;
    static const struct {
        int64_t lifetime_s, most;
    } off[] = {{0, MANY}, {LIFETIME_S, 0}};
    for (size_t i = 0; i < COUNT(off); i++) {
        struct worker w;
        worker_open(b, off[i].lifetime_s, off[i].most, &w);
        struct dek d = make_dek(&w);
        struct bytes sealed = seal(&w, &d, &here, TOKEN);
        assert_int_equal(cost(&w, &d, sealed), 1);
        assert_int_equal(cost(&w, &d, sealed), 1);
        worker_close(&w);
    }
}

static void test_a_key_is_kept_for_its_time(void **state)
{
    struct bench *b = *state;
    struct worker w;
    worker_open(b, LIFETIME_S, MANY, &w);
    struct dek d = make_dek(&w);
    struct bytes sealed = seal(&w, &d, &here, TOKEN);
    assert_int_equal(cost(&w, &d, sealed), 0);
    /* Being used does not prolong it. */
    pass_s(LIFETIME_S / 2);
    assert_int_equal(cost(&w, &d, sealed), 0);
    pass_s(LIFETIME_S / 2);
    assert_int_equal(cost(&w, &d, sealed), 1);
    assert_int_equal(cost(&w, &d, sealed), 0);
    worker_close(&w);
}

static void test_the_least_recently_used_goes_first(void **state)
{
    struct bench *b = *state;
    struct worker w;
    struct dek d[3];
    struct bytes sealed[COUNT(d)];
    worker_open(b, LIFETIME_S, 2, &w);
    for (size_t i = 0; i < COUNT(d); i++) {
        d[i] = make_dek(&w);
        sealed[i] = seal(&w, &d[i], &here, TOKEN);
    }
    /* 1 and 2 are kept. */
    assert_int_equal(cost(&w, &d[1], sealed[1]), 0);
    assert_int_equal(cost(&w, &d[0], sealed[0]), 1);
    assert_int_equal(cost(&w, &d[1], sealed[1]), 0);
    assert_int_equal(cost(&w, &d[0], sealed[0]), 0);
    assert_int_equal(cost(&w, &d[2], sealed[2]), 1);
    assert_int_equal(cost(&w, &d[1], sealed[1]), 1);
    worker_close(&w);
}

/* --- Looks for a key in all of this process's memory but its own. */
struct scanner {
    uint8_t needle[HSM_DEK_LEN], chunk[1 << 16];
};

static struct scanner *scanner_new(struct bench *b, const struct dek *d)
{
    struct scanner *s = mmap(NULL, sizeof *s, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(s != MAP_FAILED);
    struct secret *key = plain_key(b, d);
    memcpy(s->needle, key->p, HSM_DEK_LEN);
    secret_free(&key);
    return s;
}

/* A sanitizer's shadow is huge, and holds no keys. */
static bool is_worth_a_look(const char *permissions, uintptr_t from, uintptr_t to)
{
    return strncmp(permissions, "rw", 2) == 0 && to - from <= UINTPTR_MAX >> 32;
}

static size_t copies_between(struct scanner *s, int mem, uintptr_t from, uintptr_t to)
{
    size_t found = 0;
    while (from < to) {
        size_t n = to - from < sizeof s->chunk ? to - from : sizeof s->chunk;
        ssize_t got = pread(mem, s->chunk, n, (off_t)from);
        if (got < (ssize_t)HSM_DEK_LEN)
            break;
        const uint8_t *hit = memmem(s->chunk, (size_t)got, s->needle, HSM_DEK_LEN);
        if (hit != NULL) {
            uintptr_t at = from + (size_t)(hit - s->chunk), own = (uintptr_t)s;
            found += at < own || at >= own + sizeof *s ? 1 : 0;
            from = at + 1;
        } else {
            from += (size_t)got == to - from ? (size_t)got : (size_t)got - HSM_DEK_LEN + 1;
        }
    }
    return found;
}

static size_t copies(struct scanner *s)
{
    size_t found = 0;
    FILE *maps = fopen("/proc/self/maps", "re");
    int mem = open("/proc/self/mem", O_RDONLY | O_CLOEXEC);
    assert_non_null(maps);
    assert_true(mem >= 0);
    char line[512], permissions[8];
    while (fgets(line, sizeof line, maps) != NULL) {
        char *end = NULL;
        uintptr_t from = strtoul(line, &end, 16), to = strtoul(end + 1, &end, 16);
        (void)snprintf(permissions, sizeof permissions, "%.4s", end + 1);
        if (is_worth_a_look(permissions, from, to))
            found += copies_between(s, mem, from, to);
    }
    (void)close(mem);
    (void)fclose(maps);
    return found;
}

static void scanner_free(struct scanner **s)
{
    (void)munmap(*s, sizeof **s);
}

static void test_a_key_that_is_dropped_is_gone_from_memory(void **state)
{
    struct bench *b = *state;
    struct worker w, off;
    worker_open(b, LIFETIME_S, 1, &w);
    worker_open(b, 0, MANY, &off);
    struct dek d = make_dek(&w), other = make_dek(&w);
    CLEANUP(scanner_free) struct scanner *s = scanner_new(b, &d);
    assert_int_equal(copies(s), 0);
    struct bytes sealed = seal(&off, &d, &here, TOKEN);
    assert_int_equal(copies(s), 0);
    /* For lack of room. */
    assert_ok(try_open(&w, &d, &here, sealed));
    assert_int_equal(copies(s), 1);
    (void)seal(&w, &other, &here, TOKEN);
    assert_int_equal(copies(s), 0);
    /* Its time is over, and nobody asks. */
    assert_ok(try_open(&w, &d, &here, sealed));
    pass_s(LIFETIME_S - 1);
    api_idle(w.api, b->arena);
    assert_int_equal(copies(s), 1);
    pass_s(1);
    api_idle(w.api, b->arena);
    assert_int_equal(copies(s), 0);
    /* The end. */
    assert_ok(try_open(&w, &d, &here, sealed));
    assert_int_equal(copies(s), 1);
    worker_close(&w);
    worker_close(&off);
    assert_int_equal(copies(s), 0);
}

static void test_without_the_hsm(void **state)
{
    struct bench *b = *state;
    struct worker w;
    worker_open(b, LIFETIME_S, MANY, &w);
    struct dek d = make_dek(&w), other = make_dek(&w), more;
    struct bytes sealed = seal(&w, &d, &here, TOKEN), out;
    struct str fingerprint;
    int64_t unwrapped = bench_number(b, &failed_unwraps), wrapped = bench_number(b, &failed_wraps);
    cut_line(&w);
    struct call c = call_by(&w);
    /* A key that is kept does; any other does not. */
    assert_ok(try_open(&w, &d, &here, sealed));
    assert_err(vault_seal(&c, &other, &here, str_bytes(TOKEN), &out), ERR_HSM_UNAVAILABLE);
    assert_err(vault_fingerprint(&c, &other, str_bytes(TOKEN), &fingerprint), ERR_HSM_UNAVAILABLE);
    assert_err(vault_make_dek(&c, &more), ERR_HSM_UNAVAILABLE);
    pass_s(LIFETIME_S);
    assert_err(try_open(&w, &d, &here, sealed), ERR_HSM_UNAVAILABLE);
    assert_int_equal(bench_number(b, &failed_unwraps), unwrapped + 3);
    /* There were no random bytes to wrap. */
    assert_int_equal(bench_number(b, &failed_wraps), wrapped);
    w.cut = false;
    assert_ok(try_open(&w, &d, &here, sealed));
    (void)make_dek(&w);
    worker_close(&w);
}

static struct str fingerprint(struct worker *w, const struct dek *d, struct str secret)
{
    struct call c = call_by(w);
    struct str text;
    assert_ok(vault_fingerprint(&c, d, str_bytes(secret), &text));
    assert_int_equal(text.n, 16);
    return text;
}

/* By an implementation of HMAC that is not ours. */
static void test_fingerprints(void **state)
{
    struct bench *b = *state;
    struct worker w, off;
    char hex[2 * HSM_DEK_LEN + 1];
    worker_open(b, LIFETIME_S, MANY, &w);
    worker_open(b, 0, 0, &off);
    struct dek d = make_dek(&w), other = make_dek(&w);
    struct str f = fingerprint(&w, &d, STR("client-secret"));
    assert_true(str_eq(f, fingerprint(&off, &d, STR("client-secret"))));
    assert_false(str_eq(f, fingerprint(&w, &d, STR("client-secreT"))));
    assert_false(str_eq(f, fingerprint(&w, &d, STR(""))));
    assert_false(str_eq(f, fingerprint(&w, &other, STR("client-secret"))));
    CLEANUP(secret_free) struct secret *key = plain_key(b, &d);
    hex_encode(key->p, key->n, hex);
    static const char command[] =
        "test \"$(printf 'fingerprint\\0client-secret' | openssl dgst -sha256 -mac HMAC -macopt hexkey:%s -binary | "
        "base64 | tr -- '+/' '-_' | cut -c1-16)\" = '%.*s'";
    fx_shell(b->fx, arena_printf(b->arena, command, hex, STR_FMT(f)).p);
    worker_close(&w);
    worker_close(&off);
}

static void test_limits(void **state)
{
    struct bench *b = *state;
    struct worker w;
    worker_open(b, LIFETIME_S, MANY, &w);
    struct dek d = make_dek(&w);
    struct call c = call_by(&w);
    struct sealed_place far = here;
    struct bytes out;
    far.owner = (struct str){arena_alloc(b->arena, 5000), 5000};
    assert_err(vault_seal(&c, &d, &far, str_bytes(TOKEN), &out), ERR_TOO_LARGE);
    struct bytes much = {arena_alloc(b->arena, ENVELOPE_PLAIN_MAX + 1), ENVELOPE_PLAIN_MAX + 1};
    assert_err(vault_seal(&c, &d, &here, much, &out), ERR_TOO_LARGE);
    worker_close(&w);
}

static void test_the_record_is_whole(void **state)
{
    struct bench *b = *state;
    assert_int_equal(bench_number(b, &open_intents), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_without_a_kek_there_is_no_key, bench_reset),
        cmocka_unit_test_setup(test_any_worker_opens_what_one_sealed, bench_reset),
        cmocka_unit_test_setup(test_each_key_is_another, bench_reset),
        cmocka_unit_test_setup(test_each_bit_of_the_place_counts, bench_reset),
        cmocka_unit_test_setup(test_the_parts_of_a_place_do_not_run_together, bench_reset),
        cmocka_unit_test_setup(test_the_form_at_rest, bench_reset),
        cmocka_unit_test_setup(test_a_key_outlives_its_kek, bench_reset),
        cmocka_unit_test_setup(test_a_changed_row_does_not_open, bench_reset),
        cmocka_unit_test_setup(test_nothing_is_kept_when_told_so, bench_reset),
        cmocka_unit_test_setup(test_a_key_is_kept_for_its_time, bench_reset),
        cmocka_unit_test_setup(test_the_least_recently_used_goes_first, bench_reset),
        cmocka_unit_test_setup(test_a_key_that_is_dropped_is_gone_from_memory, bench_reset),
        cmocka_unit_test_setup(test_without_the_hsm, bench_reset),
        cmocka_unit_test_setup(test_fingerprints, bench_reset),
        cmocka_unit_test_setup(test_limits, bench_reset),
        cmocka_unit_test_setup(test_the_record_is_whole, bench_reset),
    };
    return cmocka_run_group_tests(tests, bench_open, bench_close);
}
