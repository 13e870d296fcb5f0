/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/service/store_support.h"

#include "base/rand.h"

#include <stdio.h>
#include <stdlib.h>

enum { ARENA_BYTES = 16777216, PATIENCE_US = 20000000 };

void actor_open(struct actor *a, const char *role)
{
    *a = (struct actor){.db = NULL};
    const char *dsn = getenv(role);
    assert_non_null(dsn);
    assert_ok(crypto_new("default", &a->crypto));
    assert_ok(arena_new(ARENA_BYTES, &a->arena));
    assert_ok(db_new(str_of(dsn), &a->db));
}

void actor_close(struct actor *a)
{
    db_free(&a->db);
    arena_free(&a->arena);
    crypto_free(&a->crypto);
}

struct store store_of(const struct actor *a)
{
    return (struct store){.db = a->db, .arena = a->arena, .deadline_us = clock_mono_us() + PATIENCE_US};
}

void actor_begin(struct actor *a)
{
    assert_ok(leaf_writer_init(&a->writer));
    struct store s = store_of(a);
    assert_ok(store_writer_begin(&s, a->writer.id, STR("test")));
}

static void make(const struct actor *a, struct leaf_writer *w, enum leaf_kind kind, struct leaf *out)
{
    const struct leaf_fields f = {.kind = kind, .op = "test", .jti = STR("some-jti"), .at_us = 1, .exp = -1};
    assert_ok(leaf_make(a->crypto, w, &f, a->arena, out));
}

struct batch batch_of(const struct actor *a, size_t n_always, size_t n_effect, enum leaf_kind effect)
{
    struct leaf *l = arena_array(a->arena, n_always + n_effect, sizeof *l);
    assert_non_null(l);
    struct leaf_writer w = a->writer;
    for (size_t i = 0; i < n_always; i++)
        make(a, &w, LEAF_REFUSAL, &l[i]);
    struct batch b = {.after_always = w};
    for (size_t i = 0; i < n_effect; i++)
        make(a, &w, effect, &l[n_always + i]);
    b.after_effect = w;
    b.leaves = (struct leaf_batch){
        .writer = a->writer.id, .always = l, .n_always = n_always, .effect = l + n_always, .n_effect = n_effect};
    return b;
}

void batch_done(struct actor *a, const struct batch *b, bool effect_in)
{
    a->writer = effect_in ? b->after_effect : b->after_always;
}

struct err exec(const struct actor *a, const struct sql *sql)
{
    const struct db_call call = {.sql = sql, .deadline_us = clock_mono_us() + PATIENCE_US};
    return db_run(a->db, &call, a->arena, NULL);
}

static int64_t one_number(const struct actor *a, const struct sql *sql, const struct db_param *p, size_t n)
{
    const struct db_call call = {.sql = sql, .params = p, .n = n, .deadline_us = clock_mono_us() + PATIENCE_US};
    struct db_rows *r = NULL;
    int64_t v = 0;
    assert_ok(db_run(a->db, &call, a->arena, &r));
    assert_ok(db_get_int(r, 0, 0, &v));
    db_rows_free(&r);
    return v;
}

int64_t number(const struct actor *a, const struct sql *sql)
{
    return one_number(a, sql, NULL, 0);
}

int64_t number_of(const struct actor *a, const struct sql *sql, struct db_param p)
{
    return one_number(a, sql, &p, 1);
}

int migrate_schema(void **state)
{
    (void)state;
    struct actor owner;
    actor_open(&owner, OWNER);
    struct store s = store_of(&owner);
    int64_t applied = 0;
    assert_ok(store_migrate(&s, &applied));
    actor_close(&owner);
    return 0;
}

struct str fresh(const struct actor *a, const char *prefix)
{
    char id[ID_TEXT];
    assert_ok(rand_id(prefix, id));
    struct str s = arena_str(a->arena, str_of(id));
    assert_non_null(s.p);
    return s;
}

const uint8_t *random_hash(const struct actor *a)
{
    uint8_t *p = arena_alloc(a->arena, SHA256_LEN);
    assert_non_null(p);
    assert_ok(rand_bytes(p, SHA256_LEN));
    return p;
}

static struct str scopes[] = {{"acme:read", 9}, {"acme:write", 10}};

struct agent agent_registered(struct actor *a)
{
    struct agent g = {.id = fresh(a, "agent-"),
                      .description = STR("d\xc3\xa4"),
                      .allowed_scopes = {scopes, COUNT(scopes)},
                      .jwks = STR("{\"keys\":[]}"),
                      .max_ttl_s = 900,
                      .active = true,
                      .version = 1};
    struct batch b = batch_of(a, 0, 1, LEAF_ADMIN);
    struct store s = store_of(a);
    assert_ok(store_agent_insert(&s, &g, &b.leaves, &g.created_us));
    batch_done(a, &b, true);
    return g;
}

struct session session_for(const struct actor *a, const struct agent *g)
{
    const struct clock c = clock_real();
    int64_t now = clock_now_us(&c);
    struct str *names = arena_array(a->arena, 2, sizeof *names);
    assert_non_null(names);
    names[0] = g->id;
    names[1] = STR("https://api.example");
    return (struct session){.id = fresh(a, "sess_"),
                            .agent_id = g->id,
                            .scopes = {scopes, 1},
                            .jti = fresh(a, ""),
                            .kid = STR("kid"),
                            .audiences = {names + 1, 1},
                            .chain = {names, 1},
                            .grant_type = STR("session"),
                            .created_us = now,
                            .expires_us = now + INT64_C(900000000),
                            .clearance_level = 1};
}

struct err issue(struct actor *a, const struct session *n, int64_t version, const uint8_t *jti,
                 enum issue_result *result)
{
    struct store s = store_of(a);
    struct batch b = batch_of(a, 1, 1, LEAF_INTENT);
    struct one_time id = {.space = n->agent_id, .until_us = n->expires_us};
    memcpy(id.hash, jti, sizeof id.hash);
    struct issue_request q = {.session = n, .agent_version = version, .ids = &id, .n_ids = 1};
    TRY(store_policy_revision(&s, &q.policy_revision));
    int64_t versions[CHAIN_MAX] = {0};
    for (size_t i = 1; i < n->chain.n; i++) {
        struct agent other = {.version = 0};
        struct err gone = store_agent_get(&s, n->chain.v[i], &other);
        versions[i - 1] = err_is(&gone) ? 0 : other.version;
    }
    q.chain_versions = versions;
    struct issue_answer answer;
    TRY(store_session_issue(&s, &q, &b.leaves, &answer));
    *result = answer.result;
    batch_done(a, &b, *result == ISSUE_DONE);
    return OK;
}
