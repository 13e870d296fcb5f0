/* SPDX-License-Identifier: Apache-2.0
 * API keys, signing keys, migrations and the checks at start. */
#include "tests/unit/service/store_support.h"

#include "base/rand.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

static struct err insert_key(struct actor *a, struct str name, const uint8_t *hash, int64_t expires_us)
{
    struct store s = store_of(a);
    struct batch b = batch_of(a, 0, 1, LEAF_ADMIN);
    const struct api_key k = {.name = name, .prefix = STR("nxk_abcd"), .role = ROLE_AUDITOR, .expires_us = expires_us};
    TRY(store_api_key_insert(&s, &k, hash, &b.leaves));
    batch_done(a, &b, true);
    return OK;
}

static void an_api_key_works_until_revoked(void **state)
{
    (void)state;
    struct actor a;
    actor_open(&a, BROKER);
    actor_begin(&a);
    struct store s = store_of(&a);
    const uint8_t *hash = random_hash(&a);
    struct str name = fresh(&a, "key-");
    struct api_key k, *all = NULL;
    size_t n = 0;
    assert_ok(insert_key(&a, name, hash, 0));
    assert_fails_with(ERR_CONFLICT, "api_keys_pkey", insert_key(&a, name, random_hash(&a), 0));
    assert_fails_with(ERR_CONFLICT, "api_keys_hash_key", insert_key(&a, fresh(&a, "key-"), hash, 0));
    assert_ok(store_api_key_use(&s, hash, &k));
    assert_true(str_eq(k.name, name) && k.role == ROLE_AUDITOR && str_is(k.prefix, "nxk_abcd"));
    assert_true(k.created_us > 0 && k.expires_us == 0 && k.revoked_us == 0 && k.last_used_us == 0);
    assert_ok(store_api_key_use(&s, hash, &k));
    int64_t used = k.last_used_us;
    assert_true(used >= k.created_us);
    /* Once a minute at most. */
    assert_ok(store_api_key_use(&s, hash, &k));
    assert_int_equal(k.last_used_us, used);
    assert_fails(ERR_INVALID_API_KEY, store_api_key_use(&s, random_hash(&a), &k));

    bool now = false;
    struct batch b = batch_of(&a, 0, 1, LEAF_ADMIN);
    assert_ok(store_api_key_revoke(&s, name, &b.leaves, &now));
    assert_true(now);
    batch_done(&a, &b, now);
    assert_fails(ERR_INVALID_API_KEY, store_api_key_use(&s, hash, &k));
    b = batch_of(&a, 0, 1, LEAF_ADMIN);
    assert_ok(store_api_key_revoke(&s, name, &b.leaves, &now));
    assert_false(now);
    assert_ok(store_api_key_list(&s, &all, &n));
    assert_true(n == 1 && str_eq(all[0].name, name) && all[0].revoked_us >= used);
    actor_close(&a);
}

static void an_expired_api_key_is_refused(void **state)
{
    (void)state;
    struct actor a;
    actor_open(&a, BROKER);
    actor_begin(&a);
    struct store s = store_of(&a);
    const struct clock c = clock_real();
    const uint8_t *old = random_hash(&a), *young = random_hash(&a);
    struct api_key k;
    assert_ok(insert_key(&a, fresh(&a, "key-"), old, clock_now_us(&c) - 1000000));
    assert_ok(insert_key(&a, fresh(&a, "key-"), young, clock_now_us(&c) + 60000000));
    assert_fails(ERR_INVALID_API_KEY, store_api_key_use(&s, old, &k));
    assert_ok(store_api_key_use(&s, young, &k));
    actor_close(&a);
}

static struct err insert_ring_key(struct actor *a, struct ring_key *k)
{
    struct store s = store_of(a);
    struct batch b = batch_of(a, 0, 1, LEAF_ADMIN);
    assert_ok(rand_bytes(k->id.v, sizeof k->id.v));
    TRY(store_key_insert(&s, k, STR("{\"local\":true}"), &b.leaves));
    batch_done(a, &b, true);
    return OK;
}

static void a_ring_has_one_active_key(void **state)
{
    (void)state;
    struct actor a;
    actor_open(&a, BROKER);
    actor_begin(&a);
    struct store s = store_of(&a);
    struct ring_key k = {.purpose = HSM_SESSION,
                         .type = HSM_EC_P256,
                         .state = KEY_ACTIVE,
                         .kid = fresh(&a, ""),
                         .alg = STR("ES256"),
                         .jwk = STR("{\"kty\":\"EC\"}")};
    struct ring_key kek = {.purpose = HSM_KEK, .type = HSM_AES_256, .state = KEY_ACTIVE};
    assert_ok(insert_ring_key(&a, &k));
    assert_ok(insert_ring_key(&a, &kek));
    struct ring_key second = k;
    second.kid = fresh(&a, "");
    assert_fails_with(ERR_CONFLICT, "signing_keys_one_active", insert_ring_key(&a, &second));
    second.state = KEY_PENDING;
    assert_ok(insert_ring_key(&a, &second));
    struct ring_key *all = NULL;
    size_t n = 0;
    assert_ok(store_key_list(&s, &all, &n));
    assert_int_equal(n, 3);
    assert_memory_equal(all[0].id.v, k.id.v, sizeof k.id.v);
    assert_true(all[0].purpose == HSM_SESSION && all[0].type == HSM_EC_P256 && all[0].state == KEY_ACTIVE);
    assert_true(str_eq(all[0].kid, k.kid) && str_is(all[0].alg, "ES256") && str_eq(all[0].jwk, k.jwk));
    assert_true(all[0].created_us > 0 && all[0].activated_us > 0);
    assert_true(all[1].purpose == HSM_KEK && all[1].kid.p == NULL && all[1].jwk.p == NULL);
    assert_true(all[2].state == KEY_PENDING && all[2].activated_us == 0);
    actor_close(&a);
}

/* --- migrations and checks: each on a database of its own --- */

/* A DSN like the one of the role, for another database. */
static void open_on(struct actor *a, const char *role, const char *database)
{
    actor_open(a, role);
    const char *dsn = getenv(role), *slash = strstr(dsn, "@/"), *query = strchr(dsn, '?');
    struct str other = arena_printf(a->arena, "%.*s@/%s%s", (int)(slash - dsn), dsn, database, query);
    assert_non_null(other.p);
    db_free(&a->db);
    assert_ok(db_new(other, &a->db));
}

static void make_database(const struct sql *create)
{
    struct actor super;
    actor_open(&super, SUPER);
    assert_ok(exec(&super, create));
    actor_close(&super);
}

static void *migrate_fresh(void *arg)
{
    atomic_int *applied = arg;
    struct actor a;
    open_on(&a, OWNER, "fresh");
    struct store s = store_of(&a);
    int64_t n = 0;
    assert_ok(store_migrate(&s, &n));
    atomic_fetch_add(applied, (int)n);
    actor_close(&a);
    return NULL;
}

static void migrations_run_once_however_many_start(void **state)
{
    (void)state;
    static const struct sql create = {"t_create", "CREATE DATABASE fresh OWNER nexus_owner"};
    enum { THREADS = 4 };
    make_database(&create);
    struct actor broker;
    open_on(&broker, BROKER, "fresh");
    struct store s = store_of(&broker);
    int64_t n = 0;
    assert_fails_with(ERR_CONFIG, "nexus-broker migrate", store_check_server(&s, false));
    atomic_int applied = 0;
    pthread_t t[THREADS];
    for (size_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&t[i], NULL, migrate_fresh, &applied), 0);
    for (size_t i = 0; i < THREADS; i++)
        pthread_join(t[i], NULL);
    assert_int_equal(atomic_load(&applied), store_schema_version());
    assert_ok(store_check_server(&s, false));
    /* With nothing to do, the broker's role can say so. */
    assert_ok(store_migrate(&s, &n));
    assert_int_equal(n, 0);
    actor_close(&broker);
}

static void another_version_is_refused(void **state)
{
    (void)state;
    static const struct sql create = {"t_create", "CREATE DATABASE versions OWNER nexus_owner"};
    static const struct sql edit = {"t_edit", "UPDATE nexus.schema_migrations SET sha256 = '\\x00' WHERE version = 1"};
    static const struct sql newer = {"t_newer", "INSERT INTO nexus.schema_migrations VALUES (999, 'later', '\\x00')"};
    static const struct sql none = {"t_none", "DELETE FROM nexus.schema_migrations"};
    make_database(&create);
    struct actor a;
    open_on(&a, OWNER, "versions");
    struct store s = store_of(&a);
    int64_t n = 0;
    assert_ok(store_migrate(&s, &n));
    assert_ok(exec(&a, &edit));
    assert_fails_with(ERR_CONFIG, "another text", store_migrate(&s, &n));
    assert_ok(exec(&a, &newer));
    assert_fails_with(ERR_CONFIG, "newer", store_migrate(&s, &n));
    assert_fails_with(ERR_CONFIG, "nexus-broker migrate", store_check_server(&s, true));
    assert_ok(exec(&a, &none));
    assert_fails_with(ERR_CONFIG, "nexus-broker migrate", store_check_server(&s, true));
    /* A migration that fails leaves nothing behind it. */
    assert_fails(ERR_DB, store_migrate(&s, &n));
    assert_fails_with(ERR_CONFIG, "older", store_check_server(&s, true));
    actor_close(&a);
}

static void a_role_that_could_rewrite_the_log_is_refused(void **state)
{
    (void)state;
    static const struct sql grant = {"t_grant", "GRANT DELETE ON nexus.audit_leaves TO nexus_broker"};
    static const struct sql column = {"t_column", "GRANT UPDATE (jti) ON nexus.audit_leaves TO nexus_broker"};
    static const struct sql revoke = {"t_revoke",
                                      "REVOKE DELETE, UPDATE (jti) ON nexus.audit_leaves FROM nexus_broker"};
    static const char *const roles[] = {OWNER, SUPER};
    for (size_t i = 0; i < COUNT(roles); i++) {
        struct actor a;
        actor_open(&a, roles[i]);
        struct store s = store_of(&a);
        assert_fails_with(ERR_CONFIG, "role", store_check_server(&s, false));
        assert_ok(store_check_server(&s, true));
        actor_close(&a);
    }
    struct actor owner, broker;
    actor_open(&owner, OWNER);
    actor_open(&broker, BROKER);
    struct store s = store_of(&broker);
    assert_ok(store_check_server(&s, false));
    assert_ok(exec(&owner, &grant));
    assert_fails_with(ERR_CONFIG, "leaves", store_check_server(&s, false));
    assert_ok(exec(&owner, &revoke));
    assert_ok(exec(&owner, &column));
    assert_fails_with(ERR_CONFIG, "leaves", store_check_server(&s, false));
    assert_ok(exec(&owner, &revoke));
    assert_ok(store_check_server(&s, false));
    actor_close(&broker);
    actor_close(&owner);
}

/* Waits until the reload has reached the server. */
static struct err check_until(const struct actor *a, enum err_code want)
{
    int64_t give_up = clock_mono_us() + 5000000;
    struct store s = store_of(a);
    struct err e;
    do {
        e = store_check_server(&s, false);
    } while (e.code != want && clock_mono_us() < give_up);
    return e;
}

static void settings_that_lose_commits_are_refused(void **state)
{
    (void)state;
    static const struct sql off[] = {{"t_fsync", "ALTER SYSTEM SET fsync = off"},
                                     {"t_pages", "ALTER SYSTEM SET full_page_writes = off"}};
    static const char *const named[] = {"fsync", "full_page_writes"};
    static const struct sql reset = {"t_reset", "ALTER SYSTEM RESET ALL"};
    static const struct sql reload = {"t_reload", "SELECT pg_reload_conf()"};
    static const struct sql async = {"t_async", "SET synchronous_commit = off"};
    struct actor super, a;
    actor_open(&super, SUPER);
    actor_open(&a, BROKER);
    for (size_t i = 0; i < COUNT(off); i++) {
        assert_ok(exec(&super, &off[i]));
        assert_ok(exec(&super, &reload));
        assert_fails_with(ERR_CONFIG, named[i], check_until(&a, ERR_CONFIG));
        assert_ok(exec(&super, &reset));
        assert_ok(exec(&super, &reload));
        assert_ok(check_until(&a, ERR_NONE));
    }
    assert_ok(exec(&a, &async));
    assert_fails_with(ERR_CONFIG, "synchronous_commit", check_until(&a, ERR_CONFIG));
    actor_close(&a);
    actor_close(&super);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_api_key_works_until_revoked),
        cmocka_unit_test(an_expired_api_key_is_refused),
        cmocka_unit_test(a_ring_has_one_active_key),
        cmocka_unit_test(migrations_run_once_however_many_start),
        cmocka_unit_test(another_version_is_refused),
        cmocka_unit_test(a_role_that_could_rewrite_the_log_is_refused),
        cmocka_unit_test(settings_that_lose_commits_are_refused),
    };
    return cmocka_run_group_tests_name("store_admin", tests, migrate_schema, NULL);
}
