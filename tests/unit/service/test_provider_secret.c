/* SPDX-License-Identifier: Apache-2.0
 * Client secrets, with a real token and database: what a row holds opens in that row only. */
#include "tests/unit/service/api_support.h"

#include "service/api/provider_secret.h"
#include "service/api/vault.h"
#include "service/core/uuid.h"
#include "service/store/providers.h"

static struct provider made(struct bench *b, const char *name)
{
    char id[UUID_TEXT];
    assert_ok(uuid_make(id));
    return (struct provider){
        .id = arena_str(b->arena, str_of(id)), .name = str_of(name), .auth = PROVIDER_API_KEY, .params = STR("{}")};
}

static void sealed_with(struct bench *b, struct provider *p, const char *secret)
{
    struct call c = bench_call(b);
    assert_ok(provider_secret_seal(&c, str_of(secret), p));
}

static struct err try_open(struct bench *b, const struct provider *p, const char *want)
{
    struct call c = bench_call(b);
    CLEANUP(secret_free) struct secret *plain = NULL;
    struct err e = provider_secret_open(&c, p, &plain);
    assert_int_equal(plain == NULL, err_is(&e));
    if (plain != NULL)
        assert_true(str_is(bytes_str(secret_bytes(plain)), want));
    return e;
}

static struct provider stored(struct bench *b, const struct provider *p)
{
    struct call c = bench_call(b);
    struct store s = call_store(&c);
    struct recording r;
    const struct leaf_fields f = {.kind = LEAF_ADMIN, .op = "provider.register", .target = p->id, .exp = -1};
    assert_ok(record_begin(&c, &f, &r));
    bool changed = false;
    struct err e = store_provider_insert(&s, p, &r.batch, &changed);
    assert_ok(record_end(&c, &r, e, changed));
    struct provider got;
    assert_ok(store_provider_get(&s, p->id, &got));
    return got;
}

static struct provider read_again(struct bench *b, const struct provider *p)
{
    struct call c = bench_call(b);
    struct store s = call_store(&c);
    struct provider got;
    assert_ok(store_provider_get(&s, p->id, &got));
    return got;
}

static void test_without_a_kek_nothing_is_sealed(void **state)
{
    struct bench *b = *state;
    struct call c = bench_call(b);
    struct provider p = made(b, "early");
    assert_err(provider_secret_seal(&c, STR("s3cret"), &p), ERR_NO_ACTIVE_KEY);
    assert_true(p.secret.sealed.p == NULL && p.secret.dek.wrapped.p == NULL && p.secret.version == 0);
    (void)bench_key(b, 3, HSM_KEK);
}

static void test_each_secret_is_a_version_of_its_own(void **state)
{
    struct bench *b = *state;
    struct provider p = made(b, "versions");
    sealed_with(b, &p, "first");
    const struct provider before = p;
    assert_int_equal(p.secret.version, 1);
    assert_int_equal(p.secret.fingerprint.n, 16);
    assert_ok(try_open(b, &p, "first"));
    sealed_with(b, &p, "second");
    assert_int_equal(p.secret.version, 2);
    assert_ok(try_open(b, &p, "second"));
    /* One data key: what belongs to it is told apart by the version. */
    assert_true(bytes_eq(p.secret.dek.wrapped, before.secret.dek.wrapped));
    assert_false(str_eq(p.secret.fingerprint, before.secret.fingerprint));
    struct provider back = p;
    back.secret.sealed = before.secret.sealed;
    assert_err(try_open(b, &back, NULL), ERR_SEALED);
    back.secret.version = 1;
    assert_ok(try_open(b, &back, "first"));
    sealed_with(b, &p, "first");
    assert_true(str_eq(p.secret.fingerprint, before.secret.fingerprint) && p.secret.version == 3);
}

/* Attack: who can write to the database gives a provider of his own the secret of another, and has it sent to himself.
 */
static void test_a_row_copied_over_another_does_not_open(void **state)
{
    struct bench *b = *state;
    struct provider victim = made(b, "victim"), thief = made(b, "thief");
    sealed_with(b, &victim, "the-victims");
    sealed_with(b, &thief, "the-thiefs");
    victim = stored(b, &victim);
    thief = stored(b, &thief);
    assert_ok(try_open(b, &victim, "the-victims"));
    assert_ok(try_open(b, &thief, "the-thiefs"));

    static const struct sql sealed_alone = {
        "t_copy", "UPDATE nexus.providers t SET client_secret_sealed = v.client_secret_sealed FROM nexus.providers v "
                  "WHERE t.name = 'thief' AND v.name = 'victim' RETURNING 1"};
    static const struct sql with_its_key = {
        "t_copy_key",
        "UPDATE nexus.providers t SET client_secret_sealed = v.client_secret_sealed, dek_kek = v.dek_kek, "
        "dek_wrapped = v.dek_wrapped, client_secret_version = v.client_secret_version, "
        "client_secret_fingerprint = v.client_secret_fingerprint FROM nexus.providers v "
        "WHERE t.name = 'thief' AND v.name = 'victim' RETURNING 1"};
    const struct sql *const copies[] = {&sealed_alone, &with_its_key};
    for (size_t i = 0; i < COUNT(copies); i++) {
        bench_exec(b, copies[i]);
        thief = read_again(b, &thief);
        assert_true(bytes_eq(thief.secret.sealed, victim.secret.sealed));
        assert_err(try_open(b, &thief, NULL), ERR_SEALED);
    }
    assert_true(bytes_eq(thief.secret.dek.wrapped, victim.secret.dek.wrapped));
    /* At another place of its own row, or for another owner of the same id, it does not open either. */
    struct call c = bench_call(b);
    CLEANUP(secret_free) struct secret *plain = NULL;
    struct sealed_place place = {.tenant = STR("-"),
                                 .owner = arena_printf(b->arena, "connection:%.*s", STR_FMT(victim.id)),
                                 .column = STR("client_secret"),
                                 .version = 1};
    assert_err(vault_open(&c, &victim.secret.dek, &place, victim.secret.sealed, &plain), ERR_SEALED);
    place.owner = arena_printf(b->arena, "provider:%.*s", STR_FMT(victim.id));
    place.column = STR("access_token");
    assert_err(vault_open(&c, &victim.secret.dek, &place, victim.secret.sealed, &plain), ERR_SEALED);
    place.column = STR("client_secret");
    assert_ok(vault_open(&c, &victim.secret.dek, &place, victim.secret.sealed, &plain));
    assert_ok(try_open(b, &victim, "the-victims"));
}

#define TEST(f) cmocka_unit_test_setup(f, bench_reset)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_without_a_kek_nothing_is_sealed),
        TEST(test_each_secret_is_a_version_of_its_own),
        TEST(test_a_row_copied_over_another_does_not_open),
    };
    return cmocka_run_group_tests(tests, bench_open, bench_close);
}
