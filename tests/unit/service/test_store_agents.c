/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/service/store_support.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

static const struct sql open_sessions = {
    "t_open", "SELECT count(*) FROM nexus.agent_sessions WHERE agent_id = $1 AND closed_at IS NULL"};
static const struct sql leaves = {"t_leaves", "SELECT count(*) FROM nexus.audit_leaves WHERE writer = $1"};

static struct err update(struct actor *a, const struct agent *g, struct agent *out, int64_t *closed)
{
    struct store s = store_of(a);
    struct batch b = batch_of(a, 1, 1, LEAF_ADMIN);
    TRY(store_agent_update(&s, g, &b.leaves, out, closed));
    batch_done(a, &b, true);
    return OK;
}

static struct err delete (struct actor *a, struct str id, int64_t *closed)
{
    struct store s = store_of(a);
    struct batch b = batch_of(a, 0, 1, LEAF_ADMIN);
    TRY(store_agent_delete(&s, id, &b.leaves, closed));
    batch_done(a, &b, true);
    return OK;
}

static void an_agent_is_kept_as_given(void **state)
{
    (void)state;
    struct str one[] = {STR("ws-1")}, two[] = {STR("https://a"), STR("https://b")};
    struct actor a;
    actor_open(&a, BROKER);
    actor_begin(&a);
    struct store s = store_of(&a);
    struct agent got, g = {.id = fresh(&a, "agent:"),
                           .description = STR("does things"),
                           .workspaces = {one, 1},
                           .allowed_audiences = {two, 2},
                           .jwks = STR("{ \"keys\": [] }"),
                           .max_ttl_s = 60};
    struct batch b = batch_of(&a, 0, 1, LEAF_ADMIN);
    assert_ok(store_agent_insert(&s, &g, &b.leaves, &g.created_us));
    batch_done(&a, &b, true);
    assert_ok(store_agent_get(&s, g.id, &got));
    assert_true(str_eq(got.id, g.id) && str_eq(got.description, g.description) && str_eq(got.jwks, g.jwks));
    assert_int_equal(got.allowed_scopes.n, 0);
    assert_true(got.workspaces.n == 1 && str_is(got.workspaces.v[0], "ws-1"));
    assert_true(got.allowed_audiences.n == 2 && str_is(got.allowed_audiences.v[1], "https://b"));
    assert_true(got.max_ttl_s == 60 && !got.active && got.version == 1);
    const struct clock c = clock_real();
    assert_true(got.created_us == g.created_us && llabs(clock_now_us(&c) - got.created_us) < 10000000);
    assert_int_equal(number_of(&a, &leaves, P_TEXT(str_of(a.writer.id))), 1);

    struct batch again = batch_of(&a, 0, 1, LEAF_ADMIN);
    assert_fails(ERR_AGENT_EXISTS, store_agent_insert(&s, &g, &again.leaves, &g.created_us));
    assert_int_equal(number_of(&a, &leaves, P_TEXT(str_of(a.writer.id))), 1);
    assert_fails(ERR_AGENT_NOT_FOUND, store_agent_get(&s, STR("nobody"), &got));
    actor_close(&a);
}

static void an_update_needs_the_version_it_saw(void **state)
{
    (void)state;
    struct actor a;
    actor_open(&a, BROKER);
    actor_begin(&a);
    struct agent g = agent_registered(&a), out;
    int64_t closed = 9;
    g.description = STR("changed");
    assert_ok(update(&a, &g, &out, &closed));
    assert_true(out.version == 2 && str_is(out.description, "changed") && out.active && closed == 0);
    assert_true(out.updated_us > out.created_us && out.created_us == g.created_us);
    int64_t before = number_of(&a, &leaves, P_TEXT(str_of(a.writer.id)));
    assert_fails(ERR_CONFLICT, update(&a, &g, &out, &closed));
    struct agent stranger = g;
    stranger.id = STR("nobody");
    assert_fails(ERR_AGENT_NOT_FOUND, update(&a, &stranger, &out, &closed));
    assert_int_equal(number_of(&a, &leaves, P_TEXT(str_of(a.writer.id))), before);
    actor_close(&a);
}

static void deactivation_closes_the_open_sessions(void **state)
{
    (void)state;
    enum issue_result result;
    struct actor a;
    actor_open(&a, BROKER);
    actor_begin(&a);
    struct agent g = agent_registered(&a), other = agent_registered(&a), out;
    struct session n[3] = {session_for(&a, &g), session_for(&a, &g), session_for(&a, &other)};
    for (size_t i = 0; i < COUNT(n); i++)
        assert_ok(issue(&a, &n[i], 1, random_hash(&a), &result));
    int64_t closed = 0;
    g.active = false;
    assert_ok(update(&a, &g, &out, &closed));
    assert_int_equal(closed, 2);
    assert_false(out.active);
    assert_int_equal(number_of(&a, &open_sessions, P_TEXT(g.id)), 0);
    assert_int_equal(number_of(&a, &open_sessions, P_TEXT(other.id)), 1);
    struct session m = session_for(&a, &g);
    assert_ok(issue(&a, &m, 2, random_hash(&a), &result));
    assert_int_equal(result, ISSUE_CHANGED);
    actor_close(&a);
}

static void a_deleted_agent_is_gone_for_good(void **state)
{
    (void)state;
    enum issue_result result;
    struct actor a;
    actor_open(&a, BROKER);
    actor_begin(&a);
    struct store s = store_of(&a);
    struct agent g = agent_registered(&a), out;
    struct session n = session_for(&a, &g);
    assert_ok(issue(&a, &n, 1, random_hash(&a), &result));
    int64_t closed = 0;
    assert_ok(delete (&a, g.id, &closed));
    assert_int_equal(closed, 1);
    assert_fails(ERR_AGENT_NOT_FOUND, store_agent_get(&s, g.id, &out));
    assert_fails(ERR_AGENT_NOT_FOUND, delete (&a, g.id, &closed));
    g.version = 2;
    assert_fails(ERR_AGENT_NOT_FOUND, update(&a, &g, &out, &closed));
    struct batch b = batch_of(&a, 0, 1, LEAF_ADMIN);
    assert_fails(ERR_AGENT_EXISTS, store_agent_insert(&s, &g, &b.leaves, &g.created_us));
    actor_close(&a);
}

static void pages_hold_each_agent_once(void **state)
{
    (void)state;
    enum { MADE = 7 };
    struct actor a;
    actor_open(&a, BROKER);
    actor_begin(&a);
    struct store s = store_of(&a);
    struct agent made[MADE], out;
    int64_t closed = 0;
    for (size_t i = 0; i < MADE; i++)
        made[i] = agent_registered(&a);
    made[3].active = false;
    assert_ok(update(&a, &made[3], &out, &closed));
    struct agent_filter f = {.by_active = true, .active = true, .limit = 2};
    size_t found = 0, expect = MADE;
    do {
        struct agent *page = NULL;
        size_t n = 0;
        assert_ok(store_agent_list(&s, &f, &page, &n, &f.cursor));
        for (size_t i = 0; i < n && expect > 0; i++, found++) {
            expect -= expect == 4 ? 2 : 1; /* number 3 is not active */
            assert_true(str_eq(page[i].id, made[expect].id));
        }
    } while (f.cursor.p != NULL && expect > 0);
    assert_int_equal(found, MADE - 1);
    struct agent *page = NULL;
    size_t n = 0;
    f = (struct agent_filter){.limit = 1000};
    assert_ok(store_agent_list(&s, &f, &page, &n, &f.cursor));
    assert_true(n >= MADE && f.cursor.p == NULL);
    actor_close(&a);
}

static void foreign_cursors_are_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",          "x",         "!!!", "MTIz", "MTIzOg", "OmFi", "LTE6YQ", "MDphYg", "OTk5OTk5OTk5OTk5OTk5OTk5OTk6YQ",
        "MTIzOmFi=", "MTIzOmFj\n"};
    struct actor a;
    actor_open(&a, BROKER);
    struct store s = store_of(&a);
    for (size_t i = 0; i < COUNT(bad); i++) {
        struct agent *page = NULL;
        size_t n = 0;
        struct str next;
        struct agent_filter f = {.limit = 10, .cursor = str_of(bad[i])};
        assert_fails_with(ERR_INVALID_REQUEST, "cursor", store_agent_list(&s, &f, &page, &n, &next));
    }
    actor_close(&a);
}

/* The race of "active: false" against issuers: whatever was issued before is closed, nothing is issued after. */
struct race {
    struct agent agent;
    atomic_bool stop;
    atomic_int issued;
};

static void *issue_until_refused(void *arg)
{
    struct race *r = arg;
    struct actor a;
    actor_open(&a, BROKER);
    actor_begin(&a);
    enum issue_result result = ISSUE_DONE;
    while (result == ISSUE_DONE && !atomic_load(&r->stop)) {
        struct session n = session_for(&a, &r->agent);
        assert_ok(issue(&a, &n, 1, random_hash(&a), &result));
        atomic_fetch_add(&r->issued, result == ISSUE_DONE);
        arena_reset(a.arena);
    }
    actor_close(&a);
    return NULL;
}

static void no_session_slips_past_a_deactivation(void **state)
{
    (void)state;
    enum { THREADS = 8, ROUNDS = 10 };
    struct actor a;
    actor_open(&a, BROKER);
    actor_begin(&a);
    for (int round = 0; round < ROUNDS; round++) {
        struct race r = {.agent = agent_registered(&a)};
        pthread_t t[THREADS];
        for (size_t i = 0; i < THREADS; i++)
            assert_int_equal(pthread_create(&t[i], NULL, issue_until_refused, &r), 0);
        int64_t give_up = clock_mono_us() + 10000000;
        while (atomic_load(&r.issued) < 4 * THREADS && clock_mono_us() < give_up)
            sched_yield();
        struct agent g = r.agent, out;
        int64_t closed = 0;
        g.active = false;
        assert_ok(update(&a, &g, &out, &closed));
        int64_t open_now = number_of(&a, &open_sessions, P_TEXT(g.id));
        atomic_store(&r.stop, round % 2 == 0);
        for (size_t i = 0; i < THREADS; i++)
            pthread_join(t[i], NULL);
        assert_int_equal(open_now, 0);
        assert_int_equal(number_of(&a, &open_sessions, P_TEXT(g.id)), 0);
        assert_int_equal(closed, atomic_load(&r.issued));
    }
    actor_close(&a);
}

/* The same, step by step: an issuer that has not committed yet makes the change wait, and its session is closed. */
static void a_change_waits_for_an_issuer_under_way(void **state)
{
    (void)state;
    static const struct sql begin = {"t_begin", "BEGIN"}, commit = {"t_commit", "COMMIT"};
    struct actor a, b;
    actor_open(&a, BROKER);
    actor_begin(&a);
    actor_open(&b, BROKER);
    actor_begin(&b);
    struct agent g = agent_registered(&a), out;
    struct session n = session_for(&b, &g);
    enum issue_result result;
    assert_ok(exec(&b, &begin));
    assert_ok(issue(&b, &n, 1, random_hash(&b), &result));
    assert_int_equal(result, ISSUE_DONE);

    g.active = false;
    int64_t closed = 0;
    struct store s = store_of(&a);
    s.deadline_us = clock_mono_us() + 300000;
    struct batch leaf = batch_of(&a, 0, 1, LEAF_ADMIN);
    assert_fails(ERR_DEADLINE, store_agent_update(&s, &g, &leaf.leaves, &out, &closed));
    assert_ok(exec(&b, &commit));
    actor_begin(&a);
    assert_ok(update(&a, &g, &out, &closed));
    assert_int_equal(closed, 1);
    actor_close(&b);
    actor_close(&a);
}

/* The other way round: the change came first, so the issuer sees it, though its statement began before. */
static void *issue_once(void *arg)
{
    struct race *r = arg;
    struct actor a;
    actor_open(&a, BROKER);
    actor_begin(&a);
    struct session n = session_for(&a, &r->agent);
    enum issue_result result;
    assert_ok(issue(&a, &n, 1, random_hash(&a), &result));
    atomic_store(&r->issued, (int)result);
    actor_close(&a);
    return NULL;
}

static void an_issuer_waits_for_a_change_under_way(void **state)
{
    (void)state;
    static const struct sql begin = {"t_begin", "BEGIN"}, commit = {"t_commit", "COMMIT"};
    static const struct sql touch = {
        "t_touch", "WITH u AS (UPDATE nexus.agents SET version = 2 WHERE id = $1 RETURNING version) TABLE u"};
    static const struct sql waiting = {"t_waiting",
                                       "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"};
    struct actor a;
    actor_open(&a, SUPER);
    actor_begin(&a);
    struct race r = {.agent = agent_registered(&a), .issued = -1};
    assert_ok(exec(&a, &begin));
    assert_int_equal(number_of(&a, &touch, P_TEXT(r.agent.id)), 2);
    pthread_t t;
    assert_int_equal(pthread_create(&t, NULL, issue_once, &r), 0);
    int64_t give_up = clock_mono_us() + 1500000;
    struct actor watch;
    actor_open(&watch, SUPER);
    while (number(&watch, &waiting) == 0 && clock_mono_us() < give_up)
        sched_yield();
    assert_int_equal(number(&watch, &waiting), 1);
    assert_ok(exec(&a, &commit));
    pthread_join(t, NULL);
    assert_int_equal(atomic_load(&r.issued), ISSUE_CHANGED);
    actor_close(&watch);
    actor_close(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_agent_is_kept_as_given),
        cmocka_unit_test(an_update_needs_the_version_it_saw),
        cmocka_unit_test(deactivation_closes_the_open_sessions),
        cmocka_unit_test(a_deleted_agent_is_gone_for_good),
        cmocka_unit_test(pages_hold_each_agent_once),
        cmocka_unit_test(foreign_cursors_are_refused),
        cmocka_unit_test(no_session_slips_past_a_deactivation),
        cmocka_unit_test(a_change_waits_for_an_issuer_under_way),
        cmocka_unit_test(an_issuer_waits_for_a_change_under_way),
    };
    return cmocka_run_group_tests_name("store_agents", tests, migrate_schema, NULL);
}
