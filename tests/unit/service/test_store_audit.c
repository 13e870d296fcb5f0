/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/service/store_support.h"

#include <stdlib.h>

static const struct sql leaves = {"t_leaves", "SELECT count(*) FROM nexus.audit_leaves WHERE writer = $1"};
static const struct sql settled = {
    "t_settled", "SELECT count(*) FROM nexus.audit_writers WHERE writer = $1 AND settled_at IS NOT NULL"};
static const struct sql end = {"t_end", "SELECT pg_terminate_backend($1::int, 5000)::int::bigint"};
static const struct sql backend_pid = {"t_pid", "SELECT pg_backend_pid()::bigint"};

static struct err append(struct actor *a, const struct batch *b)
{
    struct store s = store_of(a);
    TRY(store_leaves_append(&s, &b->leaves));
    batch_done(a, b, true);
    return OK;
}

/* An outcome of the intent that writer made under seq. */
static struct err append_outcome(struct actor *a, const char *writer, int64_t seq)
{
    struct batch b = batch_of(a, 0, 1, LEAF_OUTCOME);
    struct leaf l = b.leaves.effect[0];
    l.corr_writer = arena_str(a->arena, str_of(writer));
    l.corr_seq = seq;
    b.leaves.effect = &l;
    return append(a, &b);
}

static void leaves_are_stored_byte_for_byte(void **state)
{
    (void)state;
    static const struct sql sql = {"t_leaf", "SELECT leaf, leaf_hash, kind, jti FROM nexus.audit_leaves "
                                             "WHERE writer = $1 ORDER BY seq"};
    struct actor a;
    actor_open(&a, BROKER);
    actor_begin(&a);
    struct batch b = batch_of(&a, 1, 2, LEAF_INTENT);
    assert_ok(append(&a, &b));
    const struct db_param p = P_TEXT(str_of(a.writer.id));
    const struct db_call call = {.sql = &sql, .params = &p, .n = 1, .deadline_us = clock_mono_us() + 5000000};
    struct db_rows *r = NULL;
    assert_ok(db_run(a.db, &call, a.arena, &r));
    assert_int_equal(db_count(r), 3);
    for (size_t i = 0; i < 3; i++) {
        const struct leaf *l = i == 0 ? &b.leaves.always[0] : &b.leaves.effect[i - 1];
        struct bytes bytes, hash;
        struct str kind, jti;
        assert_ok(db_get_bytes(r, i, 0, a.arena, &bytes));
        assert_ok(db_get_bytes(r, i, 1, a.arena, &hash));
        assert_ok(db_get_text(r, i, 2, a.arena, &kind));
        assert_ok(db_get_text(r, i, 3, a.arena, &jti));
        assert_true(bytes_eq(bytes, l->bytes) && bytes_eq(hash, bytes_of(l->hash, SHA256_LEN)));
        assert_true(str_is(kind, i == 0 ? "refusal" : "intent") && str_is(jti, "some-jti"));
    }
    db_rows_free(&r);
    actor_close(&a);
}

static void every_kind_of_leaf_is_taken(void **state)
{
    (void)state;
    struct actor a;
    actor_open(&a, BROKER);
    actor_begin(&a);
    for (int k = 0; k < LEAF_KIND_COUNT; k++) {
        struct batch b = batch_of(&a, 0, 1, (enum leaf_kind)k);
        assert_ok(append(&a, &b));
    }
    assert_int_equal(number_of(&a, &leaves, P_TEXT(str_of(a.writer.id))), LEAF_KIND_COUNT);
    actor_close(&a);
}

static void a_number_is_taken_once(void **state)
{
    (void)state;
    struct actor a;
    actor_open(&a, BROKER);
    actor_begin(&a);
    struct batch b = batch_of(&a, 1, 1, LEAF_INTENT);
    struct leaf_writer start = a.writer;
    assert_ok(append(&a, &b));
    a.writer = start;
    assert_fails_with(ERR_CONFLICT, "audit_leaves_pkey", append(&a, &b));
    assert_int_equal(number_of(&a, &leaves, P_TEXT(str_of(a.writer.id))), 2);
    actor_close(&a);
}

static void an_intent_has_one_outcome(void **state)
{
    (void)state;
    struct actor a;
    actor_open(&a, BROKER);
    actor_begin(&a);
    struct batch b = batch_of(&a, 0, 1, LEAF_INTENT);
    assert_ok(append(&a, &b));
    assert_ok(append_outcome(&a, a.writer.id, 0));
    assert_fails_with(ERR_CONFLICT, "audit_leaves_one_outcome", append_outcome(&a, a.writer.id, 0));
    /* The number that failed is free again. */
    assert_ok(append_outcome(&a, a.writer.id, 1));
    assert_int_equal(number_of(&a, &leaves, P_TEXT(str_of(a.writer.id))), 3);
    actor_close(&a);
}

static void a_writer_ends_with_its_connection(void **state)
{
    (void)state;
    struct actor a;
    actor_open(&a, BROKER);
    actor_begin(&a);
    struct batch b = batch_of(&a, 0, 1, LEAF_INTENT);
    db_drop(a.db);
    assert_fails(ERR_DB_UNAVAILABLE, append(&a, &b));
    struct store s = store_of(&a);
    struct batch stranger = b;
    actor_begin(&a);
    stranger.leaves.writer = "00000000000000000000000000000000";
    assert_fails(ERR_DB_UNAVAILABLE, store_leaves_append(&s, &stranger.leaves));
    b = batch_of(&a, 0, 1, LEAF_INTENT);
    assert_ok(append(&a, &b));
    actor_close(&a);
}

static void nobody_changes_leaves(void **state)
{
    (void)state;
    static const struct sql attacks[] = {
        {"t_update", "UPDATE nexus.audit_leaves SET kind = 'close'"},
        {"t_update_none", "UPDATE nexus.audit_leaves SET jti = NULL WHERE seq < 0"},
        {"t_delete", "DELETE FROM nexus.audit_leaves"},
        {"t_truncate", "TRUNCATE nexus.audit_leaves"},
        {"t_upsert", "INSERT INTO nexus.audit_leaves (writer, seq, kind, leaf, leaf_hash) "
                     "SELECT writer, seq, kind, leaf, leaf_hash FROM nexus.audit_leaves "
                     "ON CONFLICT (writer, seq) DO UPDATE SET kind = 'close'"},
    };
    static const struct sql drops[] = {
        {"t_drop", "DROP TABLE nexus.audit_leaves"},
        {"t_trigger", "ALTER TABLE nexus.audit_leaves DISABLE TRIGGER ALL"},
        {"t_function", "CREATE OR REPLACE FUNCTION nexus.refuse_change() RETURNS trigger LANGUAGE plpgsql AS "
                       "$$BEGIN RETURN NULL; END$$"},
        {"t_replica", "SET session_replication_role = replica"},
        {"t_create", "CREATE TABLE nexus.mine (i int)"},
        {"t_key", "UPDATE nexus.api_keys SET role = 'admin'"},
        {"t_agent", "DELETE FROM nexus.agents"},
        {"t_session", "DELETE FROM nexus.agent_sessions"},
        {"t_writer", "UPDATE nexus.audit_writers SET writer = writer"},
    };
    static const char *const roles[] = {BROKER, OWNER, SUPER};
    struct actor a;
    actor_open(&a, BROKER);
    actor_begin(&a);
    struct batch b = batch_of(&a, 0, 1, LEAF_INTENT);
    assert_ok(append(&a, &b));
    for (size_t role = 0; role < COUNT(roles); role++) {
        struct actor m;
        actor_open(&m, roles[role]);
        for (size_t i = 0; i < COUNT(attacks); i++)
            assert_fails_with(ERR_DB, "42501", exec(&m, &attacks[i]));
        actor_close(&m);
    }
    for (size_t i = 0; i < COUNT(drops); i++)
        assert_fails_with(ERR_DB, "42501", exec(&a, &drops[i]));
    struct actor super;
    actor_open(&super, SUPER);
    assert_ok(exec(&super, &drops[3]));
    assert_fails_with(ERR_DB, "42501", exec(&super, &attacks[2]));
    actor_close(&super);
    assert_int_equal(number_of(&a, &leaves, P_TEXT(str_of(a.writer.id))), 1);
    actor_close(&a);
}

static size_t open_intents(const struct actor *a, int64_t age_s, struct open_intent **out)
{
    struct store s = store_of(a);
    size_t n = 0;
    assert_ok(store_open_intents(&s, age_s, 100, out, &n));
    return n;
}

/* The intents of one writer in the list. */
static size_t of_writer(const struct open_intent *list, size_t n, const char *writer)
{
    size_t found = 0;
    for (size_t i = 0; i < n; i++)
        found += str_is(list[i].writer, writer);
    return found;
}

static void intents_of_the_dead_without_outcome_are_found(void **state)
{
    (void)state;
    struct actor super, dead, alive;
    actor_open(&super, SUPER);
    actor_open(&dead, BROKER);
    actor_open(&alive, BROKER);
    actor_begin(&dead);
    actor_begin(&alive);
    struct batch b = batch_of(&dead, 0, 3, LEAF_INTENT);
    assert_ok(append(&dead, &b));
    assert_ok(append_outcome(&dead, dead.writer.id, 1));
    struct batch c = batch_of(&alive, 0, 1, LEAF_INTENT);
    assert_ok(append(&alive, &c));

    struct open_intent *open = NULL;
    size_t n = open_intents(&alive, 0, &open);
    assert_int_equal(of_writer(open, n, dead.writer.id), 0);
    assert_int_equal(number_of(&super, &end, P_INT(number(&dead, &backend_pid))), 1);
    n = open_intents(&alive, 0, &open);
    assert_int_equal(of_writer(open, n, dead.writer.id), 2);
    assert_int_equal(of_writer(open, n, alive.writer.id), 0);
    assert_string_equal(open[n - 1].op.p, "test");
    assert_true(str_is(open[n - 2].jti, "some-jti") && open[n - 2].seq == 0 && open[n - 1].seq == 2);
    assert_int_equal(of_writer(open, open_intents(&alive, 3600, &open), dead.writer.id), 0);
    assert_int_equal(number_of(&super, &settled, P_TEXT(str_of(dead.writer.id))), 0);

    assert_ok(append_outcome(&alive, dead.writer.id, 0));
    assert_ok(append_outcome(&alive, dead.writer.id, 2));
    assert_int_equal(of_writer(open, open_intents(&alive, 0, &open), dead.writer.id), 0);
    assert_int_equal(number_of(&super, &settled, P_TEXT(str_of(dead.writer.id))), 1);
    assert_int_equal(number_of(&super, &settled, P_TEXT(str_of(alive.writer.id))), 0);
    actor_close(&alive);
    actor_close(&dead);
    actor_close(&super);
}

/* A second writer on one connection ends the first: its intents are nobody's then. */
static void the_writer_before_ends_too(void **state)
{
    (void)state;
    struct actor a;
    actor_open(&a, BROKER);
    actor_begin(&a);
    struct leaf_writer first = a.writer;
    struct batch b = batch_of(&a, 0, 1, LEAF_INTENT);
    assert_ok(append(&a, &b));
    actor_begin(&a);
    struct open_intent *open = NULL;
    size_t n = open_intents(&a, 0, &open);
    assert_int_equal(of_writer(open, n, first.id), 1);
    assert_int_equal(of_writer(open, n, a.writer.id), 0);
    actor_close(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(leaves_are_stored_byte_for_byte),
        cmocka_unit_test(every_kind_of_leaf_is_taken),
        cmocka_unit_test(a_number_is_taken_once),
        cmocka_unit_test(an_intent_has_one_outcome),
        cmocka_unit_test(a_writer_ends_with_its_connection),
        cmocka_unit_test(nobody_changes_leaves),
        cmocka_unit_test(intents_of_the_dead_without_outcome_are_found),
        cmocka_unit_test(the_writer_before_ends_too),
    };
    return cmocka_run_group_tests_name("store_audit", tests, migrate_schema, NULL);
}
