/* SPDX-License-Identifier: Apache-2.0 */
#include "service/store/revoke.h"
#include "tests/unit/service/store_support.h"

#include <pthread.h>
#include <stdatomic.h>

static const struct sql leaves = {"t_leaves", "SELECT count(*) FROM nexus.audit_leaves WHERE writer = $1"};
static const struct sql row_open = {
    "t_row_open", "SELECT count(*) FROM nexus.agent_sessions WHERE session_id = $1 AND closed_at IS NULL"};
static const struct sql begin = {"t_begin", "BEGIN"}, commit = {"t_commit", "COMMIT"}, undo = {"t_undo", "ROLLBACK"};

static int64_t leaf_count(const struct actor *a)
{
    return number_of(a, &leaves, P_TEXT(str_of(a->writer.id)));
}

static struct session opened(struct actor *a, const struct agent *g, const char *user)
{
    enum issue_result result;
    struct session n = session_for(a, g);
    n.obo = user != NULL;
    n.acting_for = user != NULL ? str_of(user) : (struct str){NULL, 0};
    assert_ok(issue(a, &n, 1, random_hash(a), &result));
    assert_int_equal(result, ISSUE_DONE);
    return n;
}

static struct str_list before(struct actor *a, struct str first, struct str_list rest)
{
    struct str *v = arena_array(a->arena, rest.n + 1, sizeof *v);
    assert_non_null(v);
    v[0] = first;
    for (size_t i = 0; i < rest.n; i++)
        v[i + 1] = rest.v[i];
    return (struct str_list){v, rest.n + 1};
}

/* A session of the agent that was exchanged from the parent's token, not yet in the database. */
static struct session child_of(struct actor *a, const struct agent *g, const struct session *parent)
{
    struct session n = session_for(a, g);
    n.chain = before(a, g->id, parent->chain);
    n.ancestors = before(a, parent->id, parent->ancestors);
    return n;
}

static struct session exchanged(struct actor *a, const struct agent *g, const struct session *parent)
{
    enum issue_result result;
    struct session n = child_of(a, g, parent);
    assert_ok(issue(a, &n, 1, random_hash(a), &result));
    assert_int_equal(result, ISSUE_DONE);
    return n;
}

struct counts {
    int64_t closed, descendants;
};

static struct err try_revoke(struct actor *a, struct revoke_ask ask, struct counts *out)
{
    struct store s = store_of(a);
    struct batch b = batch_of(a, 1, 1, LEAF_ADMIN);
    TRY(store_sessions_revoke(&s, &ask, &b.leaves, &out->closed, &out->descendants));
    batch_done(a, &b, true);
    return OK;
}

static void revoke(struct actor *a, struct revoke_ask ask, int64_t closed, int64_t descendants)
{
    struct counts n;
    int64_t had = leaf_count(a);
    assert_ok(try_revoke(a, ask, &n));
    assert_int_equal(n.closed, closed);
    assert_int_equal(n.descendants, descendants);
    assert_int_equal(leaf_count(a), had + 2);
}

/* What the row says, and what a reader is told: these are the same, but for a child that came after its parent's end.
 */
static void assert_open(const struct actor *a, const struct session *n, bool row, bool live)
{
    struct store s = store_of(a);
    struct session got;
    assert_int_equal(number_of(a, &row_open, P_TEXT(n->id)), row);
    assert_ok(store_session_get(&s, n->id, &got));
    assert_int_equal(got.closed_us == 0, live);
    if (!live && !row)
        assert_true(got.closed_us >= n->created_us);
}

static bool close_one(struct actor *a, struct str id)
{
    struct store s = store_of(a);
    struct batch b = batch_of(a, 0, 1, LEAF_CLOSE);
    bool now = false;
    assert_ok(store_session_close(&s, id, &b.leaves, &now));
    batch_done(a, &b, now);
    return now;
}

static void of_an_agent_all_open_sessions_end(void **state)
{
    (void)state;
    static const struct sql expire = {
        "t_expire", "WITH u AS (UPDATE nexus.agent_sessions SET created_at = now() - interval '2 hours', "
                    "expires_at = now() - interval '1 hour' WHERE session_id = $1 RETURNING 1) SELECT count(*) FROM u"};
    struct actor a, owner;
    actor_open(&a, BROKER);
    actor_begin(&a);
    actor_open(&owner, OWNER);
    struct agent g = agent_registered(&a), other = agent_registered(&a);
    struct session n[] = {opened(&a, &g, NULL), opened(&a, &g, "u1"), opened(&a, &g, NULL), opened(&a, &g, NULL)};
    struct session others = opened(&a, &other, "u1");
    assert_true(close_one(&a, n[2].id));
    assert_int_equal(number_of(&owner, &expire, P_TEXT(n[3].id)), 1);
    struct store s = store_of(&a);
    struct session first, second;
    assert_ok(store_session_get(&s, n[2].id, &first));

    revoke(&a, (struct revoke_ask){.agent_id = g.id}, 2, 0);
    assert_open(&a, &n[0], false, false);
    assert_open(&a, &n[1], false, false);
    assert_open(&a, &n[3], true, true); /* its time was over already */
    assert_open(&a, &others, true, true);
    assert_ok(store_session_get(&s, n[2].id, &second));
    assert_int_equal(second.closed_us, first.closed_us);
    revoke(&a, (struct revoke_ask){.agent_id = g.id}, 0, 0);
    revoke(&a, (struct revoke_ask){.agent_id = STR("nobody")}, 0, 0);
    /* The agent itself is as it was. */
    struct session again = opened(&a, &g, NULL);
    assert_open(&a, &again, true, true);
    actor_close(&owner);
    actor_close(&a);
}

static void of_a_user_all_open_sessions_end(void **state)
{
    (void)state;
    struct actor a;
    actor_open(&a, BROKER);
    actor_begin(&a);
    struct agent g = agent_registered(&a), h = agent_registered(&a);
    const char *user = fresh(&a, "user-").p;
    struct session n[] = {opened(&a, &g, user), opened(&a, &h, user)};
    struct session others[] = {opened(&a, &g, NULL), opened(&a, &g, "another")};
    revoke(&a, (struct revoke_ask){.user_id = g.id}, 0, 0); /* an agent's name is no user's */
    revoke(&a, (struct revoke_ask){.user_id = str_of(user)}, 2, 0);
    for (size_t i = 0; i < COUNT(n); i++) {
        assert_open(&a, &n[i], false, false);
        assert_open(&a, &others[i], true, true);
    }
    revoke(&a, (struct revoke_ask){.user_id = STR("nobody")}, 0, 0);
    actor_close(&a);
}

/* A -> B -> C, each by its own agent, and D beside them from A. */
struct family {
    struct agent agents[4];
    struct session a, b, c, d, stranger;
};

static struct family family(struct actor *a)
{
    struct family f;
    for (size_t i = 0; i < COUNT(f.agents); i++)
        f.agents[i] = agent_registered(a);
    f.a = opened(a, &f.agents[0], NULL);
    f.b = exchanged(a, &f.agents[1], &f.a);
    f.c = exchanged(a, &f.agents[2], &f.b);
    f.d = exchanged(a, &f.agents[3], &f.a);
    f.stranger = opened(a, &f.agents[1], NULL);
    return f;
}

static void a_session_takes_its_descendants_along(void **state)
{
    (void)state;
    struct actor a;
    actor_open(&a, BROKER);
    actor_begin(&a);
    struct family f = family(&a);
    revoke(&a, (struct revoke_ask){.session_id = f.b.id}, 1, 1);
    assert_open(&a, &f.a, true, true);
    assert_open(&a, &f.b, false, false);
    assert_open(&a, &f.c, false, false);
    assert_open(&a, &f.d, true, true);
    revoke(&a, (struct revoke_ask){.session_id = f.a.id}, 1, 1);
    assert_open(&a, &f.d, false, false);
    assert_open(&a, &f.stranger, true, true);
    revoke(&a, (struct revoke_ask){.session_id = f.a.id}, 0, 0);

    f = family(&a);
    assert_true(close_one(&a, f.a.id));
    assert_open(&a, &f.b, false, false);
    assert_open(&a, &f.c, false, false);
    assert_open(&a, &f.d, false, false);
    assert_open(&a, &f.stranger, true, true);
    assert_false(close_one(&a, f.b.id));
    actor_close(&a);
}

static void an_agent_takes_what_came_of_its_sessions_along(void **state)
{
    (void)state;
    struct actor a;
    actor_open(&a, BROKER);
    actor_begin(&a);
    struct family f = family(&a);
    revoke(&a, (struct revoke_ask){.agent_id = f.agents[1].id}, 2, 1);
    assert_open(&a, &f.a, true, true);
    assert_open(&a, &f.b, false, false);
    assert_open(&a, &f.c, false, false);
    assert_open(&a, &f.d, true, true);

    f = family(&a);
    struct agent out;
    int64_t closed = 0;
    f.agents[0].active = false;
    struct store s = store_of(&a);
    struct batch b = batch_of(&a, 0, 1, LEAF_ADMIN);
    assert_ok(store_agent_update(&s, &f.agents[0], &b.leaves, &out, &closed));
    batch_done(&a, &b, true);
    assert_int_equal(closed, 1);
    assert_open(&a, &f.c, false, false);
    assert_open(&a, &f.d, false, false);
    assert_open(&a, &f.stranger, true, true);
    actor_close(&a);
}

/* A child can be inserted at the very moment when its parent ends, by a broker that saw it open. */
static void a_child_that_comes_after_its_parents_end_is_dead(void **state)
{
    (void)state;
    static const struct sql reopen = {
        "t_reopen", "WITH u AS (UPDATE nexus.agent_sessions SET closed_at = NULL WHERE session_id = $1 RETURNING 1) "
                    "SELECT count(*) FROM u"};
    struct actor a, owner;
    actor_open(&a, BROKER);
    actor_begin(&a);
    actor_open(&owner, OWNER);
    struct family f = family(&a);
    assert_true(close_one(&a, f.a.id));
    struct session late = child_of(&a, &f.agents[3], &f.a);
    enum issue_result result;
    assert_ok(issue(&a, &late, 1, random_hash(&a), &result));
    assert_int_equal(result, ISSUE_LINEAGE_ENDED);
    assert_int_equal(number_of(&owner, &reopen, P_TEXT(f.c.id)), 1);
    assert_open(&a, &f.c, true, false);
    actor_close(&owner);
    actor_close(&a);
}

static void an_unknown_session_is_an_error_and_writes_nothing(void **state)
{
    (void)state;
    struct actor a;
    actor_open(&a, BROKER);
    actor_begin(&a);
    struct counts n;
    int64_t had = leaf_count(&a);
    assert_fails_with(ERR_SESSION_NOT_FOUND, "sess_none",
                      try_revoke(&a, (struct revoke_ask){.session_id = STR("sess_none")}, &n));
    assert_int_equal(leaf_count(&a), had);
    /* The numbers of its leaves are free. */
    revoke(&a, (struct revoke_ask){.agent_id = STR("nobody")}, 0, 0);
    actor_close(&a);
}

static void without_its_leaf_nothing_ends(void **state)
{
    (void)state;
    struct actor a;
    actor_open(&a, BROKER);
    actor_begin(&a);
    struct family f = family(&a);
    struct leaf_writer now = a.writer;
    a.writer.next = 0; /* taken */
    struct counts n;
    assert_fails_with(ERR_CONFLICT, "audit_leaves_pkey",
                      try_revoke(&a, (struct revoke_ask){.agent_id = f.agents[0].id}, &n));
    a.writer = now;
    assert_open(&a, &f.a, true, true);
    assert_open(&a, &f.b, true, true);
    struct store s = store_of(&a);
    struct batch none = batch_of(&a, 1, 0, LEAF_ADMIN);
    const struct revoke_ask ask = {.agent_id = f.agents[0].id};
    assert_fails(ERR_INTERNAL, store_sessions_revoke(&s, &ask, &none.leaves, &n.closed, &n.descendants));
    assert_open(&a, &f.a, true, true);
    actor_close(&a);
}

/* Somebody who closes the same rows in another order would be waited for, and would wait. */
static void a_descendant_that_another_is_closing_is_not_waited_for(void **state)
{
    (void)state;
    struct actor a, b;
    actor_open(&a, BROKER);
    actor_begin(&a);
    actor_open(&b, BROKER);
    actor_begin(&b);
    struct family f = family(&a);
    assert_ok(exec(&b, &begin));
    assert_true(close_one(&b, f.b.id));
    revoke(&a, (struct revoke_ask){.session_id = f.a.id}, 1, 1); /* D; B and C are being closed */
    assert_ok(exec(&b, &undo));
    assert_open(&a, &f.b, true, false);
    assert_open(&a, &f.c, true, false);
    actor_close(&b);
    actor_close(&a);
}

struct waiter {
    struct revoke_ask ask;
    struct counts n;
    atomic_bool done;
};

static void *revoke_once(void *arg)
{
    struct waiter *w = arg;
    struct actor a;
    actor_open(&a, BROKER);
    actor_begin(&a);
    assert_ok(try_revoke(&a, w->ask, &w->n));
    actor_close(&a);
    atomic_store(&w->done, true);
    return NULL;
}

/* Step by step: an issuer that has not committed yet makes the revocation wait, and its session is closed. */
static void a_revocation_waits_for_a_session_being_opened(void **state)
{
    (void)state;
    static const struct sql waiting = {"t_waiting",
                                       "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"};
    struct actor issuer, watch;
    actor_open(&issuer, BROKER);
    actor_begin(&issuer);
    actor_open(&watch, SUPER);
    struct agent g = agent_registered(&issuer);
    const char *user = fresh(&issuer, "user-").p;
    struct revoke_ask asks[] = {{.agent_id = g.id}, {.user_id = str_of(user)}};
    for (size_t i = 0; i < COUNT(asks); i++) {
        struct waiter w = {.ask = asks[i]};
        assert_ok(exec(&issuer, &begin));
        struct session n = opened(&issuer, &g, user);
        pthread_t t;
        assert_int_equal(pthread_create(&t, NULL, revoke_once, &w), 0);
        while (number(&watch, &waiting) == 0 && !atomic_load(&w.done))
            sched_yield();
        assert_ok(exec(&issuer, &commit));
        pthread_join(t, NULL);
        assert_int_equal(w.n.closed, 1);
        assert_open(&issuer, &n, false, false);
    }
    actor_close(&watch);
    actor_close(&issuer);
}

/* 32 who open sessions of one agent on behalf of one user, while somebody revokes again and again. */
enum { OPENERS = 32, ROUNDS = 16, OPENED_MAX = 4096 };

struct race;
struct opener {
    struct race *race;
    pthread_t thread;
    atomic_size_t n;
    char ids[OPENED_MAX][64];
};
struct race {
    struct agent agent;
    const char *user;
    atomic_bool stop;
    struct opener *openers;
};

static void *open_until_stopped(void *arg)
{
    struct opener *o = arg;
    struct actor a;
    actor_open(&a, BROKER);
    actor_begin(&a);
    size_t n = 0;
    while (!atomic_load(&o->race->stop) && n < OPENED_MAX) {
        struct session s = opened(&a, &o->race->agent, o->race->user);
        memcpy(o->ids[n], s.id.p, s.id.n + 1);
        atomic_store(&o->n, ++n);
        arena_reset(a.arena);
    }
    actor_close(&a);
    return NULL;
}

/* All that were opened by now, by calls that have been answered. */
static struct str_list opened_by_now(const struct actor *a, const struct race *r)
{
    struct str *v = arena_array(a->arena, (size_t)OPENERS * OPENED_MAX, sizeof *v);
    assert_non_null(v);
    size_t n = 0;
    for (size_t i = 0; i < OPENERS; i++) {
        size_t has = atomic_load(&r->openers[i].n);
        for (size_t k = 0; k < has; k++)
            v[n++] = str_of(r->openers[i].ids[k]);
    }
    return (struct str_list){v, n};
}

static struct str_list wait_for_more(const struct actor *a, const struct race *r, size_t than)
{
    int64_t give_up = clock_mono_us() + 20000000;
    struct str_list l = opened_by_now(a, r);
    while (l.n < than + OPENERS && clock_mono_us() < give_up) {
        sched_yield();
        arena_reset(a->arena);
        l = opened_by_now(a, r);
    }
    assert_true(l.n > than);
    return l;
}

static void no_session_outlives_a_revocation(void **state)
{
    (void)state;
    static const struct sql survivors = {
        "t_survivors", "SELECT count(*) FROM nexus.agent_sessions WHERE session_id = ANY($1) AND closed_at IS NULL"};
    struct actor registrar, a;
    actor_open(&registrar, BROKER);
    actor_begin(&registrar);
    actor_open(&a, BROKER);
    actor_begin(&a);
    struct race r = {.agent = agent_registered(&registrar), .user = fresh(&registrar, "user-").p};
    r.openers = test_calloc(OPENERS, sizeof *r.openers);
    for (size_t i = 0; i < OPENERS; i++) {
        r.openers[i].race = &r;
        assert_int_equal(pthread_create(&r.openers[i].thread, NULL, open_until_stopped, &r.openers[i]), 0);
    }
    size_t seen = 0;
    int64_t closed = 0;
    const struct revoke_ask asks[] = {{.agent_id = r.agent.id}, {.user_id = str_of(r.user)}};
    for (int round = 0; round < ROUNDS; round++) {
        struct str_list l = wait_for_more(&a, &r, seen);
        seen = l.n;
        struct counts n;
        assert_ok(try_revoke(&a, asks[round % 2], &n));
        assert_true(n.closed > 0 && n.descendants == 0);
        closed += n.closed;
        assert_int_equal(number_of(&a, &survivors, P_TEXTS(l)), 0);
        arena_reset(a.arena);
    }
    atomic_store(&r.stop, true);
    for (size_t i = 0; i < OPENERS; i++)
        pthread_join(r.openers[i].thread, NULL);
    struct counts last;
    assert_ok(try_revoke(&a, asks[0], &last));
    assert_int_equal(closed + last.closed, opened_by_now(&a, &r).n); /* each once */
    test_free(r.openers);
    actor_close(&a);
    actor_close(&registrar);
}

/* Several who close the same sessions at once: nobody fails, and each session is closed by one of them. */
struct closers {
    struct revoke_ask ask;
    struct counts n;
    pthread_barrier_t *start;
};

static void *revoke_together(void *arg)
{
    struct closers *c = arg;
    struct actor a;
    actor_open(&a, BROKER);
    actor_begin(&a);
    pthread_barrier_wait(c->start);
    assert_ok(try_revoke(&a, c->ask, &c->n));
    actor_close(&a);
    return NULL;
}

static void several_who_close_at_once_share_the_work(void **state)
{
    (void)state;
    enum { PAIRS = 100, CLOSERS = 4, TURNS = 5 };
    struct actor a;
    actor_open(&a, BROKER);
    actor_begin(&a);
    for (int turn = 0; turn < TURNS; turn++) {
        struct agent g = agent_registered(&a), h = agent_registered(&a);
        const char *user = fresh(&a, "user-").p;
        for (int i = 0; i < PAIRS; i++) {
            struct session root = opened(&a, &g, user), child = child_of(&a, &h, &root);
            enum issue_result result;
            child.obo = true;
            child.acting_for = root.acting_for;
            assert_ok(issue(&a, &child, 1, random_hash(&a), &result));
            assert_int_equal(result, ISSUE_DONE);
        }
        pthread_barrier_t start;
        pthread_barrier_init(&start, NULL, CLOSERS);
        struct closers c[CLOSERS] = {{.ask.agent_id = g.id},
                                     {.ask.user_id = str_of(user)},
                                     {.ask.agent_id = h.id},
                                     {.ask.user_id = str_of(user)}};
        pthread_t t[CLOSERS];
        int64_t total = 0;
        for (size_t i = 0; i < CLOSERS; i++) {
            c[i].start = &start;
            assert_int_equal(pthread_create(&t[i], NULL, revoke_together, &c[i]), 0);
        }
        for (size_t i = 0; i < CLOSERS; i++) {
            pthread_join(t[i], NULL);
            total += c[i].n.closed + c[i].n.descendants;
        }
        pthread_barrier_destroy(&start);
        assert_int_equal(total, 2 * PAIRS);
    }
    actor_close(&a);
}

/* Whoever has 50,000 sessions must not read them all to close some. */
static void nothing_scans_the_table(void **state)
{
    (void)state;
    static const struct sql fill = {
        "t_fill", "INSERT INTO nexus.agent_sessions (session_id, agent_id, scopes, jti, kid, audiences, created_at, "
                  "expires_at, obo, acting_for, clearance_level, chain, ancestors) "
                  "SELECT 'scan_' || i, 'scan-agent-' || i % 5, '{}', 'scan_' || i, '', '{}', now(), "
                  "now() + interval '1 hour', true, 'scan-user-' || i / 10000, 0, '{}', "
                  "CASE WHEN i % 50 = 49 THEN ARRAY['scan_' || i - 1] ELSE '{}' END FROM generate_series(0, 49999) i"};
    static const struct sql analyze = {"t_analyze", "ANALYZE nexus.agent_sessions"};
    static const struct sql report = {"t_report", "SELECT pg_stat_force_next_flush()"};
    static const struct sql scans = {
        "t_scans",
        "SELECT seq_scan FROM pg_stat_user_tables WHERE schemaname = 'nexus' AND relname = 'agent_sessions'"};
    struct actor a, owner;
    actor_open(&owner, OWNER);
    assert_ok(exec(&owner, &fill));
    assert_ok(exec(&owner, &analyze));
    assert_ok(exec(&owner, &report));
    actor_open(&a, BROKER);
    actor_begin(&a);
    int64_t had = number(&owner, &scans);
    revoke(&a, (struct revoke_ask){.session_id = STR("scan_48")}, 1, 1);
    assert_true(close_one(&a, STR("scan_49998")));
    revoke(&a, (struct revoke_ask){.agent_id = STR("scan-agent-0")}, 10000, 0);
    revoke(&a, (struct revoke_ask){.agent_id = STR("scan-agent-3")}, 9998, 998);
    revoke(&a, (struct revoke_ask){.user_id = STR("scan-user-0")}, 5800, 0);
    assert_ok(exec(&a, &report));
    assert_int_equal(number(&owner, &scans), had);
    actor_close(&a);
    actor_close(&owner);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(of_an_agent_all_open_sessions_end),
        cmocka_unit_test(of_a_user_all_open_sessions_end),
        cmocka_unit_test(a_session_takes_its_descendants_along),
        cmocka_unit_test(an_agent_takes_what_came_of_its_sessions_along),
        cmocka_unit_test(a_child_that_comes_after_its_parents_end_is_dead),
        cmocka_unit_test(an_unknown_session_is_an_error_and_writes_nothing),
        cmocka_unit_test(without_its_leaf_nothing_ends),
        cmocka_unit_test(a_descendant_that_another_is_closing_is_not_waited_for),
        cmocka_unit_test(a_revocation_waits_for_a_session_being_opened),
        cmocka_unit_test(no_session_outlives_a_revocation),
        cmocka_unit_test(several_who_close_at_once_share_the_work),
        cmocka_unit_test(nothing_scans_the_table),
    };
    return cmocka_run_group_tests_name("store_revoke", tests, migrate_schema, NULL);
}
