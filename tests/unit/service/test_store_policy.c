/* SPDX-License-Identifier: Apache-2.0 */
#include "service/store/policy.h"
#include "tests/unit/service/store_support.h"

#include <pthread.h>
#include <stdlib.h>

static const struct sql leaves = {"t_leaves", "SELECT count(*) FROM nexus.audit_leaves WHERE writer = $1"};
static const struct sql issuers = {"t_issuers", "SELECT count(*) FROM nexus.issuers"};

static int64_t leaves_of(const struct actor *a)
{
    return number_of(a, &leaves, P_TEXT(str_of(a->writer.id)));
}

static int64_t revision(const struct actor *a)
{
    struct store s = store_of(a);
    int64_t n = 0;
    assert_ok(store_policy_revision(&s, &n));
    return n;
}

/* A write of an issuer or a scope, with a leaf of its own and one that was waiting. */
struct write {
    struct actor *a;
    struct batch b;
    struct store s;
    int64_t leaves, revision;
};

static struct write begin(struct actor *a)
{
    return (struct write){
        .a = a, .b = batch_of(a, 1, 1, LEAF_ADMIN), .s = store_of(a), .leaves = leaves_of(a), .revision = revision(a)};
}

static void took_effect(struct write *w, struct err e)
{
    assert_ok(e);
    assert_int_equal(leaves_of(w->a), w->leaves + 2);
    assert_int_equal(revision(w->a), w->revision + 1);
    batch_done(w->a, &w->b, true);
}

/* Nothing of it stays, not even what was waiting. */
static void was_refused(const struct write *w, enum err_code code, struct err e)
{
    assert_fails(code, e);
    assert_int_equal(leaves_of(w->a), w->leaves);
    assert_int_equal(revision(w->a), w->revision);
}

static struct str algorithms[] = {{"ES256", 5}, {"EdDSA", 5}};

static struct issuer issuer_made(const struct actor *a)
{
    struct str url = arena_printf(a->arena, "https://%.*s.example", STR_FMT(fresh(a, "i")));
    assert_non_null(url.p);
    return (struct issuer){.id = fresh(a, "iss_"),
                           .issuer = url,
                           .jwks_uri = STR("https://keys.example/jwks?v=1"),
                           .algorithms = {algorithms, COUNT(algorithms)},
                           .audience = STR("https://broker.example"),
                           .typ = STR("jwt"),
                           .claim_user_id = STR("/sub"),
                           .claim_tenant_id = STR("/t\xc3\xa4"),
                           .claim_clearance = STR("/a~1b/0"),
                           .claim_permissions = STR("/scp"),
                           .max_age_s = 600,
                           .one_time_jti = true,
                           .active = true};
}

static void same_issuer(const struct issuer *x, const struct issuer *y)
{
    const struct str xs[] = {x->id,
                             x->issuer,
                             x->jwks,
                             x->jwks_uri,
                             x->audience,
                             x->typ,
                             x->claim_user_id,
                             x->claim_tenant_id,
                             x->claim_clearance,
                             x->claim_permissions};
    const struct str ys[] = {y->id,
                             y->issuer,
                             y->jwks,
                             y->jwks_uri,
                             y->audience,
                             y->typ,
                             y->claim_user_id,
                             y->claim_tenant_id,
                             y->claim_clearance,
                             y->claim_permissions};
    for (size_t i = 0; i < COUNT(xs); i++)
        assert_true(str_eq(xs[i], ys[i]) && (xs[i].p == NULL) == (ys[i].p == NULL));
    assert_int_equal(x->algorithms.n, y->algorithms.n);
    for (size_t i = 0; i < x->algorithms.n; i++)
        assert_true(str_eq(x->algorithms.v[i], y->algorithms.v[i]));
    assert_true(x->discovery == y->discovery && x->one_time_jti == y->one_time_jti && x->active == y->active);
    assert_int_equal(x->max_age_s, y->max_age_s);
}

static void an_issuer_is_kept_as_given(void **state)
{
    struct actor *a = *state;
    struct issuer i = issuer_made(a), got;
    struct write w = begin(a);
    took_effect(&w, store_issuer_insert(&w.s, &i, &w.b.leaves, &i.created_us));
    struct store s = store_of(a);
    assert_ok(store_issuer_get(&s, i.id, &got));
    same_issuer(&got, &i);
    assert_true(got.version == 1 && got.created_us == i.created_us && got.updated_us == i.created_us);
    struct issuer twin = issuer_made(a);
    twin.issuer = i.issuer;
    w = begin(a);
    was_refused(&w, ERR_ISSUER_EXISTS, store_issuer_insert(&w.s, &twin, &w.b.leaves, &twin.created_us));
    assert_fails(ERR_ISSUER_NOT_FOUND, store_issuer_get(&s, twin.id, &got));
}

static void an_issuer_changes_in_all_but_its_name(void **state)
{
    struct actor *a = *state;
    struct issuer i = issuer_made(a), got, changed;
    struct write w = begin(a);
    took_effect(&w, store_issuer_insert(&w.s, &i, &w.b.leaves, &i.created_us));
    changed = i;
    changed.version = 1;
    changed.jwks = STR("{\"keys\":[]}");
    changed.jwks_uri = changed.typ = (struct str){NULL, 0};
    changed.algorithms.n = 1;
    changed.audience = STR("other");
    changed.claim_user_id = STR("/oid");
    changed.claim_tenant_id = STR("/tid");
    changed.claim_clearance = STR("/c");
    changed.claim_permissions = STR("/p");
    changed.max_age_s = 0;
    changed.one_time_jti = changed.active = false;
    w = begin(a);
    took_effect(&w, store_issuer_update(&w.s, &changed, &w.b.leaves, &got));
    same_issuer(&got, &changed);
    assert_true(got.version == 2 && got.created_us == i.created_us && got.updated_us > got.created_us);
    w = begin(a);
    was_refused(&w, ERR_CONFLICT, store_issuer_update(&w.s, &changed, &w.b.leaves, &got));
    changed.version = 2;
    changed.issuer = STR("https://another.example");
    w = begin(a);
    was_refused(&w, ERR_CONFLICT, store_issuer_update(&w.s, &changed, &w.b.leaves, &got));
}

static void a_deleted_issuer_may_come_back(void **state)
{
    struct actor *a = *state;
    struct issuer i = issuer_made(a), got;
    struct write w = begin(a);
    took_effect(&w, store_issuer_insert(&w.s, &i, &w.b.leaves, &i.created_us));
    w = begin(a);
    took_effect(&w, store_issuer_delete(&w.s, i.id, &w.b.leaves));
    struct store s = store_of(a);
    assert_fails(ERR_ISSUER_NOT_FOUND, store_issuer_get(&s, i.id, &got));
    w = begin(a);
    was_refused(&w, ERR_ISSUER_NOT_FOUND, store_issuer_delete(&w.s, i.id, &w.b.leaves));
    w = begin(a);
    took_effect(&w, store_issuer_insert(&w.s, &i, &w.b.leaves, &i.created_us));
}

/* Several brokers at once: as many as there is room for get in, and each change counts. */
enum { RACERS = 4, EACH = 8, ROOM = 10 };

struct racer {
    pthread_t thread;
    int made, full;
};

static void *race(void *arg)
{
    struct racer *me = arg;
    struct actor a;
    actor_open(&a, BROKER);
    actor_begin(&a);
    for (int n = 0; n < EACH; n++) {
        struct issuer i = issuer_made(&a);
        struct batch b = batch_of(&a, 0, 1, LEAF_ADMIN);
        struct store s = store_of(&a);
        struct err e = store_issuer_insert(&s, &i, &b.leaves, &i.created_us);
        batch_done(&a, &b, !err_is(&e));
        me->made += !err_is(&e);
        me->full += e.code == ERR_INVALID_REQUEST;
    }
    actor_close(&a);
    return NULL;
}

static void there_are_never_too_many_issuers(void **state)
{
    struct actor *a = *state;
    while (number(a, &issuers) < ISSUERS_MAX - ROOM) {
        struct issuer i = issuer_made(a);
        struct write w = begin(a);
        took_effect(&w, store_issuer_insert(&w.s, &i, &w.b.leaves, &i.created_us));
    }
    int64_t before = revision(a);
    struct racer r[RACERS] = {{.made = 0}};
    for (int n = 0; n < RACERS; n++)
        assert_int_equal(pthread_create(&r[n].thread, NULL, race, &r[n]), 0);
    int made = 0, full = 0;
    for (int n = 0; n < RACERS; n++) {
        assert_int_equal(pthread_join(r[n].thread, NULL), 0);
        made += r[n].made;
        full += r[n].full;
    }
    assert_int_equal(made, ROOM);
    assert_int_equal(full, RACERS * EACH - ROOM);
    assert_int_equal(number(a, &issuers), ISSUERS_MAX);
    assert_int_equal(revision(a), before + ROOM);
    struct issuer i = issuer_made(a), *all = NULL;
    struct write w = begin(a);
    was_refused(&w, ERR_INVALID_REQUEST, store_issuer_insert(&w.s, &i, &w.b.leaves, &i.created_us));
    size_t n = 0;
    struct store s = store_of(a);
    assert_ok(store_issuer_list(&s, &all, &n));
    assert_int_equal(n, ISSUERS_MAX);
    for (size_t k = 1; k < n; k++)
        assert_true(strcmp(all[k - 1].issuer.p, all[k].issuer.p) < 0);
}

static void a_scope_is_kept_changed_and_deleted(void **state)
{
    struct actor *a = *state;
    struct scope_rule d = {.name = fresh(a, "acme:"),
                           .description = STR("fl\xc3\xbcgt"),
                           .min_clearance = CLEARANCE_MAX,
                           .max_ttl_s = 60,
                           .requires_obo = true},
                      got;
    struct write w = begin(a);
    took_effect(&w, store_scope_insert(&w.s, &d, &w.b.leaves, &d.created_us));
    struct store s = store_of(a);
    assert_ok(store_scope_get(&s, d.name, &got));
    assert_true(str_eq(got.name, d.name) && str_eq(got.description, d.description));
    assert_true(got.min_clearance == CLEARANCE_MAX && got.max_ttl_s == 60 && got.requires_obo);
    assert_true(got.created_us == d.created_us && got.updated_us == d.created_us);
    w = begin(a);
    was_refused(&w, ERR_SCOPE_EXISTS, store_scope_insert(&w.s, &d, &w.b.leaves, &d.created_us));

    struct scope_rule bare = {.name = d.name, .description = STR("")};
    w = begin(a);
    took_effect(&w, store_scope_update(&w.s, &bare, &w.b.leaves, &got));
    assert_true(got.description.n == 0 && got.min_clearance == 0 && got.max_ttl_s == 0 && !got.requires_obo);
    assert_true(got.created_us == d.created_us && got.updated_us > got.created_us);
    w = begin(a);
    took_effect(&w, store_scope_delete(&w.s, d.name, &w.b.leaves));
    assert_fails(ERR_SCOPE_NOT_FOUND, store_scope_get(&s, d.name, &got));
    w = begin(a);
    was_refused(&w, ERR_SCOPE_NOT_FOUND, store_scope_update(&w.s, &bare, &w.b.leaves, &got));
    w = begin(a);
    was_refused(&w, ERR_SCOPE_NOT_FOUND, store_scope_delete(&w.s, d.name, &w.b.leaves));
}

/* Every worker reads the register again when the revision grows, and decides anew. */
static void the_revision_grows_with_conditions_alone(void **state)
{
    struct actor *a = *state;
    struct scope_rule d = {.name = fresh(a, "acme:"), .description = STR("one"), .min_clearance = 3}, got;
    struct write w = begin(a);
    took_effect(&w, store_scope_insert(&w.s, &d, &w.b.leaves, &d.created_us));
    static const struct {
        const char *description;
        int64_t min_clearance, max_ttl_s;
        bool requires_obo, decides;
    } steps[] = {
        {"two", 3, 0, false, false}, {"two", 3, 0, false, false},  {"two", 4, 0, false, true},
        {"two", 4, 60, false, true}, {"three", 4, 60, true, true}, {"three", 4, 60, true, false},
        {"", 4, 60, true, false},    {"three", 4, 0, true, true},  {"four", 4, 0, true, false},
        {"four", 4, 0, false, true}, {"four", 4, 0, false, false},
    };
    for (size_t i = 0; i < COUNT(steps); i++) {
        d.description = str_of(steps[i].description);
        d.min_clearance = steps[i].min_clearance;
        d.max_ttl_s = steps[i].max_ttl_s;
        d.requires_obo = steps[i].requires_obo;
        w = begin(a);
        assert_ok(store_scope_update(&w.s, &d, &w.b.leaves, &got));
        batch_done(a, &w.b, true);
        if (revision(a) != w.revision + (steps[i].decides ? 1 : 0))
            fail_msg("step %zu", i);
        /* It is on record, and shown, all the same. */
        assert_int_equal(leaves_of(a), w.leaves + 2);
        assert_true(str_eq(got.description, d.description) && got.min_clearance == d.min_clearance);
        assert_true(got.max_ttl_s == d.max_ttl_s && got.requires_obo == d.requires_obo);
    }
}

static void a_change_needs_a_leaf(void **state)
{
    struct actor *a = *state;
    struct scope_rule d = {.name = fresh(a, "acme:"), .description = STR("")}, got;
    struct batch b = batch_of(a, 1, 0, LEAF_ADMIN);
    struct store s = store_of(a);
    assert_fails(ERR_INTERNAL, store_scope_insert(&s, &d, &b.leaves, &d.created_us));
    assert_fails(ERR_SCOPE_NOT_FOUND, store_scope_get(&s, d.name, &got));
}

/* What was decided before a change of the policy grants nothing after it. */
static void a_session_is_not_issued_on_an_older_policy(void **state)
{
    struct actor *a = *state;
    struct agent g = agent_registered(a);
    struct session n = session_for(a, &g);
    struct issue_request q = {.session = &n, .agent_version = 1, .policy_revision = revision(a)};
    struct scope_rule d = {.name = fresh(a, "acme:"), .description = STR("")};
    struct write w = begin(a);
    took_effect(&w, store_scope_insert(&w.s, &d, &w.b.leaves, &d.created_us));
    struct issue_answer answer;
    struct batch b = batch_of(a, 0, 1, LEAF_INTENT);
    struct store s = store_of(a);
    assert_ok(store_session_issue(&s, &q, &b.leaves, &answer));
    assert_int_equal(answer.result, ISSUE_CHANGED);
    q.policy_revision = revision(a);
    assert_ok(store_session_issue(&s, &q, &b.leaves, &answer));
    assert_int_equal(answer.result, ISSUE_DONE);
    batch_done(a, &b, true);
}

static void there_are_never_too_many_scopes(void **state)
{
    static const struct sql fill = {"t_fill", "INSERT INTO nexus.scopes (name) SELECT 'fill:' || g FROM "
                                              "generate_series(1, 1000 - (SELECT count(*) FROM nexus.scopes)) g"};
    struct actor *a = *state;
    assert_ok(exec(a, &fill));
    struct scope_rule d = {.name = fresh(a, "acme:"), .description = STR("")}, *all = NULL;
    struct write w = begin(a);
    was_refused(&w, ERR_INVALID_REQUEST, store_scope_insert(&w.s, &d, &w.b.leaves, &d.created_us));
    size_t n = 0;
    struct store s = store_of(a);
    assert_ok(store_scope_list(&s, &all, &n));
    assert_int_equal(n, SCOPE_RULES_MAX);
    for (size_t k = 1; k < n; k++)
        assert_true(strcmp(all[k - 1].name.p, all[k].name.p) < 0);
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
        TEST(an_issuer_is_kept_as_given),
        TEST(an_issuer_changes_in_all_but_its_name),
        TEST(a_deleted_issuer_may_come_back),
        TEST(a_scope_is_kept_changed_and_deleted),
        TEST(the_revision_grows_with_conditions_alone),
        TEST(a_change_needs_a_leaf),
        TEST(a_session_is_not_issued_on_an_older_policy),
        TEST(there_are_never_too_many_issuers),
        TEST(there_are_never_too_many_scopes),
    };
    return cmocka_run_group_tests(tests, migrate_schema, NULL);
}
