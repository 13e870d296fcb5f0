/* SPDX-License-Identifier: Apache-2.0 */
#include "service/core/uuid.h"
#include "service/store/providers.h"
#include "tests/unit/service/store_support.h"

#include <stdlib.h>

static const struct sql leaves = {"t_leaves", "SELECT count(*) FROM nexus.audit_leaves WHERE writer = $1"};
static const struct sql rows = {"t_rows", "SELECT count(*) FROM nexus.providers WHERE name = $1"};
static const struct sql live = {"t_live", "SELECT count(*) FROM nexus.providers WHERE deleted_at IS NULL"};
static const struct sql clear = {"t_clear", "UPDATE nexus.providers SET deleted_at = now() WHERE deleted_at IS NULL"};

static int64_t leaves_of(const struct actor *a)
{
    return number_of(a, &leaves, P_TEXT(str_of(a->writer.id)));
}

/* A write, with a leaf of its own and one that was waiting. */
struct write {
    struct actor *a;
    struct batch b;
    struct store s;
    int64_t leaves;
    bool changed;
};

static struct write begin(struct actor *a)
{
    return (struct write){.a = a, .b = batch_of(a, 1, 1, LEAF_ADMIN), .s = store_of(a), .leaves = leaves_of(a)};
}

static void took_effect(struct write *w, struct err e)
{
    assert_ok(e);
    assert_true(w->changed);
    assert_int_equal(leaves_of(w->a), w->leaves + 2);
    batch_done(w->a, &w->b, true);
}

/* What was waiting is in; the write's own leaf is not. */
static void found_nothing(struct write *w, struct err e)
{
    assert_ok(e);
    assert_false(w->changed);
    assert_int_equal(leaves_of(w->a), w->leaves + 1);
    batch_done(w->a, &w->b, false);
}

static void was_refused(const struct write *w, enum err_code code, struct err e)
{
    assert_fails(code, e);
    assert_int_equal(leaves_of(w->a), w->leaves);
}

static struct str scopes[] = {{"read", 4}, {"https://a.example/x", 19}};
static const uint8_t sealed[] = {1, 0, 255}, wrapped[] = {9, 8, 7}, other[] = {4, 5};

static struct provider provider_made(const struct actor *a)
{
    char id[UUID_TEXT];
    assert_ok(uuid_make(id));
    struct provider p = {.id = arena_str(a->arena, str_of(id)),
                         .name = fresh(a, "p-"),
                         .description = STR("fl\xc3\xbcgt"),
                         .category = STR("mail"),
                         .auth = PROVIDER_OAUTH2,
                         .auth_header = STR("client_secret_basic"),
                         .client_id = STR("client"),
                         .secret = {.dek = {.wrapped = bytes_of(wrapped, sizeof wrapped)},
                                    .sealed = bytes_of(sealed, sizeof sealed),
                                    .version = 1,
                                    .fingerprint = STR("fingerprint")},
                         .auth_url = STR("https://a.example/authorize"),
                         .token_url = STR("https://a.example/token"),
                         .issuer = STR("https://a.example"),
                         .scopes = {scopes, COUNT(scopes)},
                         .api_base_url = STR("https://api.a.example"),
                         .user_info_endpoint = STR("/me"),
                         .params = STR("{\"prompt\":\"consent\"}"),
                         .downscope = DOWNSCOPE_EXCHANGE,
                         .allow_full_token = true};
    memset(p.secret.dek.kek.v, 3, sizeof p.secret.dek.kek.v);
    return p;
}

static void same_provider(const struct provider *x, const struct provider *y)
{
    const struct {
        struct str x, y;
    } texts[] = {{x->id, y->id},
                 {x->name, y->name},
                 {x->description, y->description},
                 {x->category, y->category},
                 {x->auth_header, y->auth_header},
                 {x->client_id, y->client_id},
                 {x->auth_url, y->auth_url},
                 {x->token_url, y->token_url},
                 {x->issuer, y->issuer},
                 {x->api_base_url, y->api_base_url},
                 {x->user_info_endpoint, y->user_info_endpoint},
                 {x->params, y->params},
                 {x->secret.fingerprint, y->secret.fingerprint}};
    for (size_t i = 0; i < COUNT(texts); i++)
        assert_true(str_eq(texts[i].x, texts[i].y) && (texts[i].x.p == NULL) == (texts[i].y.p == NULL));
    assert_true(bytes_eq(x->secret.sealed, y->secret.sealed));
    assert_true((x->secret.sealed.p == NULL) == (y->secret.sealed.p == NULL));
    assert_true(bytes_eq(x->secret.dek.wrapped, y->secret.dek.wrapped));
    assert_memory_equal(x->secret.dek.kek.v, y->secret.dek.kek.v, sizeof x->secret.dek.kek.v);
    assert_int_equal(x->secret.version, y->secret.version);
    assert_int_equal(x->scopes.n, y->scopes.n);
    for (size_t i = 0; i < x->scopes.n; i++)
        assert_true(str_eq(x->scopes.v[i], y->scopes.v[i]));
    assert_true(x->auth == y->auth && x->downscope == y->downscope);
    assert_true(x->enable_discovery == y->enable_discovery && x->allow_full_token == y->allow_full_token);
}

static void registered(struct actor *a, const struct provider *p)
{
    struct write w = begin(a);
    took_effect(&w, store_provider_insert(&w.s, p, &w.b.leaves, &w.changed));
}

static void a_provider_is_kept_as_given(void **state)
{
    struct actor *a = *state;
    struct provider p = provider_made(a), got;
    registered(a, &p);
    struct store s = store_of(a);
    assert_ok(store_provider_get(&s, p.id, &got));
    same_provider(&got, &p);
    assert_true(got.version == 1 && got.created_us > 0 && got.updated_us == got.created_us);

    char id[UUID_TEXT];
    assert_ok(uuid_make(id));
    struct provider bare = {.id = str_of(id),
                            .name = fresh(a, "bare-"),
                            .auth = PROVIDER_AWS_SIGV4,
                            .params = STR("{}"),
                            .enable_discovery = true};
    registered(a, &bare);
    assert_ok(store_provider_get(&s, bare.id, &got));
    same_provider(&got, &bare);
    assert_ok(uuid_make(id));
    assert_fails(ERR_PROVIDER_NOT_FOUND, store_provider_get(&s, str_of(id), &got));
}

static void a_name_is_one_providers(void **state)
{
    struct actor *a = *state;
    struct provider p = provider_made(a), twin = provider_made(a), got;
    registered(a, &p);
    twin.name = p.name;
    struct write w = begin(a);
    was_refused(&w, ERR_PROVIDER_EXISTS, store_provider_insert(&w.s, &twin, &w.b.leaves, &w.changed));
    twin.name = fresh(a, "p-");
    registered(a, &twin);
    twin.name = p.name;
    twin.version = 1;
    w = begin(a);
    was_refused(&w, ERR_PROVIDER_EXISTS, store_provider_update(&w.s, &twin, &w.b.leaves, &w.changed, &got));
    /* By its name, in any case of its letters. */
    struct store s = store_of(a);
    struct str upper = arena_str(a->arena, p.name);
    char *c = arena_alloc(a->arena, upper.n);
    assert_non_null(c);
    for (size_t i = 0; i < upper.n; i++)
        c[i] = upper.p[i] >= 'a' && upper.p[i] <= 'z' ? (char)(upper.p[i] - 'a' + 'A') : upper.p[i];
    assert_ok(store_provider_find(&s, p.name, &got));
    assert_true(str_eq(got.id, p.id));
    assert_ok(store_provider_find(&s, (struct str){c, upper.n}, &got));
    assert_true(str_eq(got.id, p.id));
    assert_fails(ERR_PROVIDER_NOT_FOUND, store_provider_find(&s, STR("%"), &got));
}

static void a_provider_changes_in_all_but_its_id(void **state)
{
    struct actor *a = *state;
    struct provider p = provider_made(a), got;
    registered(a, &p);
    struct provider changed = {.id = p.id,
                               .name = fresh(a, "new-"),
                               .auth = PROVIDER_API_KEY,
                               .params = STR("{}"),
                               .secret = {.dek = p.secret.dek, .version = 2},
                               .version = 1};
    struct write w = begin(a);
    took_effect(&w, store_provider_update(&w.s, &changed, &w.b.leaves, &w.changed, &got));
    same_provider(&got, &changed);
    assert_true(got.version == 2 && got.updated_us > got.created_us);
    /* Whoever decided on an older version changes nothing. */
    w = begin(a);
    found_nothing(&w, store_provider_update(&w.s, &changed, &w.b.leaves, &w.changed, &got));
    changed.version = 2;
    changed.enable_discovery = true;
    w = begin(a);
    took_effect(&w, store_provider_update(&w.s, &changed, &w.b.leaves, &w.changed, &got));
    same_provider(&got, &changed);
}

/* A data key may have been wrapped under a new KEK between the reading and the writing. */
static void a_data_key_stays_as_it_is_wrapped(void **state)
{
    struct actor *a = *state;
    struct provider p = provider_made(a), got;
    struct provider_secret kept = p.secret;
    p.secret = (struct provider_secret){.version = 0};
    registered(a, &p);
    p.version = 1;
    p.secret = kept;
    struct write w = begin(a);
    took_effect(&w, store_provider_update(&w.s, &p, &w.b.leaves, &w.changed, &got));
    same_provider(&got, &p);
    p.version = 2;
    p.secret.dek.wrapped = bytes_of(other, sizeof other);
    memset(p.secret.dek.kek.v, 4, sizeof p.secret.dek.kek.v);
    p.secret.sealed = bytes_of(other, sizeof other);
    w = begin(a);
    took_effect(&w, store_provider_update(&w.s, &p, &w.b.leaves, &w.changed, &got));
    assert_true(bytes_eq(got.secret.dek.wrapped, kept.dek.wrapped));
    assert_memory_equal(got.secret.dek.kek.v, kept.dek.kek.v, sizeof kept.dek.kek.v);
    assert_true(bytes_eq(got.secret.sealed, p.secret.sealed));
}

static void a_deleted_provider_leaves_its_name(void **state)
{
    struct actor *a = *state;
    struct provider p = provider_made(a), next = provider_made(a), got;
    registered(a, &p);
    struct write w = begin(a);
    took_effect(&w, store_provider_delete(&w.s, p.id, &w.b.leaves, &w.changed));
    struct store s = store_of(a);
    assert_fails(ERR_PROVIDER_NOT_FOUND, store_provider_get(&s, p.id, &got));
    assert_fails(ERR_PROVIDER_NOT_FOUND, store_provider_find(&s, p.name, &got));
    w = begin(a);
    found_nothing(&w, store_provider_delete(&w.s, p.id, &w.b.leaves, &w.changed));
    p.version = 2;
    w = begin(a);
    found_nothing(&w, store_provider_update(&w.s, &p, &w.b.leaves, &w.changed, &got));
    next.name = p.name;
    registered(a, &next);
    assert_int_equal(number_of(a, &rows, P_TEXT(p.name)), 2);
    assert_ok(store_provider_find(&s, p.name, &got));
    assert_true(str_eq(got.id, next.id));
}

static void a_change_needs_a_leaf(void **state)
{
    struct actor *a = *state;
    struct provider p = provider_made(a), got;
    struct batch b = batch_of(a, 1, 0, LEAF_ADMIN);
    struct store s = store_of(a);
    bool changed = false;
    assert_fails(ERR_INTERNAL, store_provider_insert(&s, &p, &b.leaves, &changed));
    assert_fails(ERR_PROVIDER_NOT_FOUND, store_provider_get(&s, p.id, &got));
    registered(a, &p);
    assert_fails(ERR_INTERNAL, store_provider_delete(&s, p.id, &b.leaves, &changed));
    p.version = 1;
    p.category = STR("other");
    assert_fails(ERR_INTERNAL, store_provider_update(&s, &p, &b.leaves, &changed, &got));
    assert_ok(store_provider_get(&s, p.id, &got));
    assert_str(got.category, "mail");
}

/* Behind the rules there are the table's own. */
static void the_table_refuses_halves(void **state)
{
    struct actor *a = *state;
    struct provider p = provider_made(a);
    p.secret.fingerprint = (struct str){NULL, 0};
    struct write w = begin(a);
    was_refused(&w, ERR_DB, store_provider_insert(&w.s, &p, &w.b.leaves, &w.changed));
    p = provider_made(a);
    p.secret.dek.wrapped = (struct bytes){NULL, 0};
    was_refused(&w, ERR_DB, store_provider_insert(&w.s, &p, &w.b.leaves, &w.changed));
    p = provider_made(a);
    p.secret.version = 0;
    was_refused(&w, ERR_DB, store_provider_insert(&w.s, &p, &w.b.leaves, &w.changed));
    p = provider_made(a);
    p.id = STR("00000000-0000-4000-8000-00000000000A");
    was_refused(&w, ERR_DB, store_provider_insert(&w.s, &p, &w.b.leaves, &w.changed));
    p = provider_made(a);
    p.name = STR("Acme");
    was_refused(&w, ERR_DB, store_provider_insert(&w.s, &p, &w.b.leaves, &w.changed));
}

static void there_is_room_for_500(void **state)
{
    struct actor *a = *state;
    struct actor owner;
    actor_open(&owner, OWNER);
    assert_ok(exec(&owner, &clear));
    actor_close(&owner);
    for (int i = 0; i < PROVIDERS_MAX; i++) {
        struct provider p = provider_made(a);
        registered(a, &p);
    }
    struct provider p = provider_made(a), *all = NULL, got;
    struct write w = begin(a);
    found_nothing(&w, store_provider_insert(&w.s, &p, &w.b.leaves, &w.changed));
    assert_int_equal(number(a, &live), PROVIDERS_MAX);
    size_t n = 0;
    struct store s = store_of(a);
    assert_ok(store_provider_list(&s, &all, &n));
    assert_int_equal(n, PROVIDERS_MAX);
    for (size_t k = 1; k < n; k++)
        assert_true(strcmp(all[k - 1].name.p, all[k].name.p) < 0);
    assert_ok(store_provider_get(&s, all[0].id, &got));
    assert_true(str_eq(got.name, all[0].name) && got.scopes.n == all[0].scopes.n && got.auth == all[0].auth);
    assert_true(str_eq(got.description, all[0].description) && str_eq(got.category, all[0].category));
    assert_true(str_eq(got.api_base_url, all[0].api_base_url));
    assert_true(str_eq(got.user_info_endpoint, all[0].user_info_endpoint));
    w = begin(a);
    took_effect(&w, store_provider_delete(&w.s, all[0].id, &w.b.leaves, &w.changed));
    registered(a, &p);
}

static int open_actor(void **state)
{
    struct actor *a = calloc(1, sizeof *a);
    assert_non_null(a);
    actor_open(a, BROKER);
    actor_begin(a);
    *state = a;
    return 0;
}

static int close_actor(void **state)
{
    actor_close(*state);
    free(*state);
    return 0;
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, open_actor, close_actor)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_provider_is_kept_as_given),
        TEST(a_name_is_one_providers),
        TEST(a_provider_changes_in_all_but_its_id),
        TEST(a_data_key_stays_as_it_is_wrapped),
        TEST(a_deleted_provider_leaves_its_name),
        TEST(a_change_needs_a_leaf),
        TEST(the_table_refuses_halves),
        TEST(there_is_room_for_500),
    };
    return cmocka_run_group_tests(tests, migrate_schema, NULL);
}
