/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/service/store_support.h"

#include "service/store/clock.h"

#include <pthread.h>
#include <stdatomic.h>

static const struct sql leaves = {"t_leaves", "SELECT count(*) FROM nexus.audit_leaves WHERE writer = $1"};
static const struct sql sessions = {"t_sessions", "SELECT count(*) FROM nexus.agent_sessions WHERE agent_id = $1"};
static const struct sql guards = {"t_guards", "SELECT count(*) FROM nexus.replay_guard WHERE issuer = $1"};

static int64_t leaf_count(const struct actor *a)
{
    return number_of(a, &leaves, P_TEXT(str_of(a->writer.id)));
}

static void a_session_is_kept_as_given(void **state)
{
    (void)state;
    enum issue_result result;
    struct actor a;
    actor_open(&a, BROKER);
    actor_begin(&a);
    struct store s = store_of(&a);
    struct agent g = agent_registered(&a);
    struct session got, n = session_for(&a, &g);
    n.obo = true;
    n.acting_for = STR("user-7");
    n.clearance_level = 3;
    assert_ok(issue(&a, &n, 1, random_hash(&a), &result));
    assert_int_equal(result, ISSUE_DONE);
    assert_int_equal(leaf_count(&a), 3);
    assert_ok(store_session_get(&s, n.id, &got));
    assert_true(str_eq(got.id, n.id) && str_eq(got.agent_id, g.id) && str_eq(got.jti, n.jti));
    assert_true(str_eq(got.kid, n.kid) && got.audiences.n == 1 && str_eq(got.audiences.v[0], n.audiences.v[0]));
    assert_true(got.scopes.n == 1 && str_eq(got.scopes.v[0], n.scopes.v[0]));
    assert_true(got.created_us == n.created_us && got.expires_us == n.expires_us && got.closed_us == 0);
    assert_true(got.obo && str_is(got.acting_for, "user-7") && got.tenant_id.p == NULL && got.clearance_level == 3);
    assert_fails(ERR_SESSION_NOT_FOUND, store_session_get(&s, STR("sess_none"), &got));
    actor_close(&a);
}

static void an_assertion_is_accepted_once(void **state)
{
    (void)state;
    enum issue_result result;
    struct actor a;
    actor_open(&a, BROKER);
    actor_begin(&a);
    struct agent g = agent_registered(&a), h = agent_registered(&a);
    const uint8_t *jti = random_hash(&a);
    struct session n = session_for(&a, &g), m = session_for(&a, &g), k = session_for(&a, &h);
    assert_ok(issue(&a, &n, 1, jti, &result));
    assert_int_equal(result, ISSUE_DONE);
    int64_t before = leaf_count(&a);
    assert_ok(issue(&a, &m, 1, jti, &result));
    assert_int_equal(result, ISSUE_REPLAYED);
    assert_int_equal(number_of(&a, &sessions, P_TEXT(g.id)), 1);
    /* What was waiting is written all the same, the intent is not; its number is free for the next leaf. */
    assert_int_equal(leaf_count(&a), before + 1);
    /* Ids are the issuer's own. */
    assert_ok(issue(&a, &k, 1, jti, &result));
    assert_int_equal(result, ISSUE_DONE);
    assert_int_equal(leaf_count(&a), before + 3);
    actor_close(&a);
}

static void a_changed_agent_consumes_nothing(void **state)
{
    (void)state;
    enum issue_result result;
    struct actor a;
    actor_open(&a, BROKER);
    actor_begin(&a);
    struct agent g = agent_registered(&a);
    struct session n = session_for(&a, &g);
    const uint8_t *jti = random_hash(&a);
    assert_ok(issue(&a, &n, 7, jti, &result));
    assert_int_equal(result, ISSUE_CHANGED);
    assert_int_equal(number_of(&a, &guards, P_TEXT(g.id)), 0);
    assert_ok(issue(&a, &n, 1, jti, &result));
    assert_int_equal(result, ISSUE_DONE);
    assert_int_equal(number_of(&a, &guards, P_TEXT(g.id)), 1);
    actor_close(&a);
}

/* Attack R: 64 brokers' workers present one assertion at once. */
struct race {
    struct agent agent;
    uint8_t jti[SHA256_LEN];
    pthread_barrier_t start;
    atomic_int done, replayed;
};

static void *issue_same(void *arg)
{
    struct race *r = arg;
    struct actor a;
    actor_open(&a, BROKER);
    actor_begin(&a);
    struct session n = session_for(&a, &r->agent);
    enum issue_result result;
    pthread_barrier_wait(&r->start);
    assert_ok(issue(&a, &n, 1, r->jti, &result));
    atomic_fetch_add(&r->done, result == ISSUE_DONE);
    atomic_fetch_add(&r->replayed, result == ISSUE_REPLAYED);
    actor_close(&a);
    return NULL;
}

static void of_64_at_once_one_is_accepted(void **state)
{
    (void)state;
    enum { THREADS = 64 };
    struct actor a;
    actor_open(&a, BROKER);
    actor_begin(&a);
    struct race r = {.agent = agent_registered(&a)};
    memcpy(r.jti, random_hash(&a), sizeof r.jti);
    pthread_barrier_init(&r.start, NULL, THREADS);
    pthread_t t[THREADS];
    for (size_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&t[i], NULL, issue_same, &r), 0);
    for (size_t i = 0; i < THREADS; i++)
        pthread_join(t[i], NULL);
    pthread_barrier_destroy(&r.start);
    assert_int_equal(atomic_load(&r.done), 1);
    assert_int_equal(atomic_load(&r.replayed), THREADS - 1);
    assert_int_equal(number_of(&a, &sessions, P_TEXT(r.agent.id)), 1);
    actor_close(&a);
}

/* All or nothing: a leaf that cannot be written takes the session and the replay id with it. */
static void without_its_leaf_there_is_no_session(void **state)
{
    (void)state;
    enum issue_result result;
    struct actor a;
    actor_open(&a, BROKER);
    actor_begin(&a);
    struct store s = store_of(&a);
    struct agent g = agent_registered(&a);
    struct session n = session_for(&a, &g);
    struct leaf_writer now = a.writer;
    a.writer.next = 0; /* taken by the agent's own leaf */
    assert_fails_with(ERR_CONFLICT, "audit_leaves_pkey", issue(&a, &n, 1, random_hash(&a), &result));
    a.writer = now;
    assert_int_equal(number_of(&a, &sessions, P_TEXT(g.id)), 0);
    assert_int_equal(number_of(&a, &guards, P_TEXT(g.id)), 0);
    assert_int_equal(leaf_count(&a), 1);

    struct batch none = batch_of(&a, 1, 0, LEAF_INTENT);
    const struct one_time id = {.space = g.id, .until_us = n.expires_us};
    const struct issue_request q = {.session = &n, .agent_version = 1, .ids = &id, .n_ids = 1};
    struct issue_answer answer;
    assert_fails(ERR_INTERNAL, store_session_issue(&s, &q, &none.leaves, &answer));
    assert_int_equal(number_of(&a, &sessions, P_TEXT(g.id)), 0);
    actor_close(&a);
}

static void closing_is_idempotent(void **state)
{
    (void)state;
    enum issue_result result;
    struct actor a;
    actor_open(&a, BROKER);
    actor_begin(&a);
    struct store s = store_of(&a);
    struct agent g = agent_registered(&a);
    struct session first, second, n = session_for(&a, &g);
    assert_ok(issue(&a, &n, 1, random_hash(&a), &result));
    bool now = false;
    struct batch b = batch_of(&a, 0, 1, LEAF_CLOSE);
    assert_ok(store_session_close(&s, n.id, &b.leaves, &now));
    assert_true(now);
    batch_done(&a, &b, now);
    assert_ok(store_session_get(&s, n.id, &first));
    assert_true(first.closed_us >= n.created_us);
    int64_t before = leaf_count(&a);
    b = batch_of(&a, 0, 1, LEAF_CLOSE);
    assert_ok(store_session_close(&s, n.id, &b.leaves, &now));
    assert_false(now);
    assert_ok(store_session_get(&s, n.id, &second));
    assert_int_equal(second.closed_us, first.closed_us);
    assert_ok(store_session_close(&s, STR("sess_none"), &b.leaves, &now));
    assert_false(now);
    assert_int_equal(leaf_count(&a), before);
    actor_close(&a);
}

static size_t listed(const struct actor *a, struct session_filter f)
{
    struct store s = store_of(a);
    size_t total = 0;
    struct str last = {NULL, 0};
    f.limit = 2;
    do {
        struct session *page = NULL;
        size_t n = 0;
        assert_ok(store_session_list(&s, &f, &page, &n, &f.cursor));
        for (size_t i = 0; i < n; i++) {
            assert_false(str_eq(last, page[i].id));
            last = page[i].id;
        }
        total += n;
    } while (f.cursor.p != NULL);
    return total;
}

static void lists_filter_and_page(void **state)
{
    (void)state;
    enum issue_result result;
    enum { MADE = 5 };
    struct actor a;
    actor_open(&a, BROKER);
    actor_begin(&a);
    struct store s = store_of(&a);
    struct agent g = agent_registered(&a), h = agent_registered(&a);
    struct session n[MADE];
    for (size_t i = 0; i < MADE; i++) {
        n[i] = session_for(&a, i == 4 ? &h : &g);
        n[i].created_us = n[0].created_us + (int64_t)(i / 2); /* pairs share their time */
        if (i == 1) {
            n[i].obo = true;
            n[i].acting_for = g.id;
        }
        assert_ok(issue(&a, &n[i], 1, random_hash(&a), &result));
    }
    bool now = false;
    struct batch b = batch_of(&a, 0, 1, LEAF_CLOSE);
    assert_ok(store_session_close(&s, n[0].id, &b.leaves, &now));
    batch_done(&a, &b, now);
    int64_t t = n[0].created_us;
    assert_int_equal(listed(&a, (struct session_filter){.agent_id = g.id}), 4);
    assert_int_equal(listed(&a, (struct session_filter){.agent_id = h.id}), 1);
    assert_int_equal(listed(&a, (struct session_filter){.acting_for = g.id}), 1);
    struct session_filter f = {.agent_id = g.id, .by_active = true, .active = true, .now_us = t + 1000000};
    assert_int_equal(listed(&a, f), 3);
    f.active = false;
    assert_int_equal(listed(&a, f), 1);
    f.now_us = n[3].expires_us;
    assert_int_equal(listed(&a, f), 4);
    assert_int_equal(listed(&a, (struct session_filter){.agent_id = g.id, .since_us = t + 1}), 2);
    assert_int_equal(listed(&a, (struct session_filter){.agent_id = g.id, .until_us = t + 1}), 2);
    assert_true(listed(&a, (struct session_filter){.limit = 2}) >= MADE);
    actor_close(&a);
}

static void a_replay_id_alone_is_consumed_once_and_pruned(void **state)
{
    (void)state;
    enum { PAST = 3 };
    struct actor a;
    actor_open(&a, BROKER);
    struct store s = store_of(&a);
    struct str who = fresh(&a, "agent-");
    const struct clock c = clock_real();
    struct one_time id = {.space = who, .until_us = clock_now_us(&c) + 60000000};
    memcpy(id.hash, random_hash(&a), sizeof id.hash);
    bool is_fresh = false;
    assert_ok(store_replay_consume(&s, &id, &is_fresh));
    assert_true(is_fresh);
    assert_ok(store_replay_consume(&s, &id, &is_fresh));
    assert_false(is_fresh);
    int64_t now = clock_now_us(&c), deleted = 0;
    id.until_us = now - 3600 * INT64_C(1000000);
    for (int i = 0; i < PAST; i++) {
        memcpy(id.hash, random_hash(&a), sizeof id.hash);
        assert_ok(store_replay_consume(&s, &id, &is_fresh));
    }
    /* Not yet by what is to be kept; not yet by the broker's clock. */
    assert_ok(store_replay_prune(&s, &(struct replay_prune){now, 3700, 100}, &deleted));
    assert_int_equal(deleted, 0);
    assert_ok(store_replay_prune(&s, &(struct replay_prune){id.until_us, 0, 100}, &deleted));
    assert_int_equal(deleted, 0);
    assert_ok(store_replay_prune(&s, &(struct replay_prune){now, 60, 2}, &deleted));
    assert_int_equal(deleted, 2);
    assert_ok(store_replay_prune(&s, &(struct replay_prune){now, 60, 100}, &deleted));
    assert_int_equal(deleted, 1);
    assert_int_equal(number_of(&a, &guards, P_TEXT(who)), 1);
    actor_close(&a);
}

/* Nor is an id forgotten by a clock that the database's never agreed with (attack J20). */
static void the_latest_time_of_the_database_is_on_record(void **state)
{
    (void)state;
    static const struct sql earlier = {"t_earlier", "UPDATE nexus.clock SET latest = latest - interval '2 hours'"};
    enum { MAX_S = 30 };
    const int64_t hour = 3600 * INT64_C(1000000);
    struct actor a;
    actor_open(&a, BROKER);
    struct store s = store_of(&a);
    const struct clock c = clock_real();
    int64_t now = clock_now_us(&c), theirs = 0, latest = 0, deleted = 0;
    assert_ok(exec(&a, &earlier));
    assert_ok(store_clock(&s, now + hour, MAX_S, &theirs, &latest));
    assert_true(theirs >= now && theirs < now + hour);
    assert_true(latest < now - hour);
    struct one_time id = {.space = fresh(&a, "agent-"), .until_us = now - hour};
    bool is_fresh = false;
    memcpy(id.hash, random_hash(&a), sizeof id.hash);
    assert_ok(store_replay_consume(&s, &id, &is_fresh));
    const struct replay_prune p = {.now_us = now + hour, .keep_s = 60, .limit = 100};
    assert_ok(store_replay_prune(&s, &p, &deleted));
    assert_int_equal(deleted, 0);
    assert_ok(store_clock(&s, now, MAX_S, &theirs, &latest));
    assert_ok(store_clock(&s, now, MAX_S, &theirs, &latest));
    assert_true(latest >= now && latest <= theirs);
    assert_ok(store_replay_prune(&s, &p, &deleted));
    assert_int_equal(deleted, 1);
    actor_close(&a);
}

static void a_nonce_is_the_first_offer_of_its_slot(void **state)
{
    (void)state;
    static const struct sql none = {"t_no_nonces", "DELETE FROM nexus.dpop_nonces"};
    static const struct sql slot_later = {"t_slot_later", "UPDATE nexus.dpop_nonces SET slot = slot - 1"};
    static const struct sql two_slots_later = {"t_two_slots_later", "UPDATE nexus.dpop_nonces SET slot = slot - 2"};
    enum { SLOT_US = 300000000 };
    struct store_nonces first, again, next, last;
    struct actor a, owner;
    actor_open(&a, BROKER);
    actor_open(&owner, OWNER);
    struct store s = store_of(&a);
    assert_ok(exec(&owner, &none));
    assert_ok(store_dpop_nonces(&s, STR("one"), &first));
    assert_ok(store_dpop_nonces(&s, STR("two"), &again));
    assert_string_equal(first.current, "one");
    assert_string_equal(again.current, "one");
    assert_string_equal(again.previous, "");
    assert_true(again.left_us > 0 && again.left_us <= first.left_us && first.left_us <= SLOT_US);
    assert_ok(exec(&owner, &slot_later));
    assert_ok(store_dpop_nonces(&s, STR("three"), &next));
    assert_string_equal(next.current, "three");
    assert_string_equal(next.previous, "one");
    assert_ok(exec(&owner, &two_slots_later));
    assert_ok(store_dpop_nonces(&s, STR("four"), &last));
    assert_string_equal(last.current, "four");
    assert_string_equal(last.previous, "");
    actor_close(&owner);
    actor_close(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_session_is_kept_as_given),
        cmocka_unit_test(an_assertion_is_accepted_once),
        cmocka_unit_test(a_changed_agent_consumes_nothing),
        cmocka_unit_test(of_64_at_once_one_is_accepted),
        cmocka_unit_test(without_its_leaf_there_is_no_session),
        cmocka_unit_test(closing_is_idempotent),
        cmocka_unit_test(lists_filter_and_page),
        cmocka_unit_test(a_replay_id_alone_is_consumed_once_and_pruned),
        cmocka_unit_test(the_latest_time_of_the_database_is_on_record),
        cmocka_unit_test(a_nonce_is_the_first_offer_of_its_slot),
    };
    return cmocka_run_group_tests_name("store_sessions", tests, migrate_schema, NULL);
}
