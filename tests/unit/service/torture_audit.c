/* SPDX-License-Identifier: Apache-2.0
 * What must be on record, as SQL finds it. */
#include "tests/unit/service/torture.h"

#include "crypto/b64u.h"

#include <stdio.h>

enum { PATIENCE_US = 10000000 };

int64_t torture_count(struct torture *t, const struct sql *sql, const char *first, const char *second)
{
    const struct db_param p[] = {P_TEXT(str_of(first)), P_TEXT(str_of(second))};
    CLEANUP(db_rows_free) struct db_rows *rows = NULL;
    const struct db_call q = {.sql = sql, .params = p, .n = 2, .deadline_us = clock_mono_us() + PATIENCE_US};
    assert_ok(db_run(t->owner, &q, t->b->arena, &rows));
    int64_t n = 0;
    assert_ok(db_get_int(rows, 0, 0, &n));
    return n;
}

void torture_check_recorded(struct torture *t, struct str token)
{
    static const struct sql intents = {"torture_intents",
                                       "SELECT count(*) FROM nexus.audit_leaves WHERE kind = 'intent' AND "
                                       "strpos(convert_from(leaf, 'UTF8'), '\"in_sha256\":\"' || $1 || '\"') > 0"};
    struct jws j;
    assert_ok(jws_parse(t->b->arena, token, &j));
    uint8_t hash[SHA256_LEN];
    assert_ok(crypto_sha256(t->b->app.crypto, str_bytes(j.signing_input), hash));
    struct str text = b64u_text(t->b->arena, bytes_of(hash, sizeof hash));
    assert_int_equal(torture_count(t, &intents, arena_str(t->b->arena, text).p, NULL), 1);
}

int64_t torture_leaves(struct torture *t, const char *op, const char *target)
{
    /* Leaves are canonical, so a member is found as text. Names are chosen to stand in one place only. */
    static const struct sql leaves = {
        "torture_leaves", "SELECT count(*) FROM (SELECT convert_from(leaf, 'UTF8') text FROM nexus.audit_leaves) l "
                          "WHERE strpos(text, '\"op\":\"' || $1 || '\"') > 0 AND ($2 IS NULL OR strpos(text, $2) > 0)"};
    return torture_count(t, &leaves, op, target);
}

void torture_check_effect(struct torture *t, const struct answer *a, int64_t effects, int64_t leaves)
{
    if (effects != leaves || effects > 1)
        fail_msg("%lld effects with %lld leaves when call %ld of %s failed", (long long)effects, (long long)leaves,
                 t->k, fail_name(t->kind));
    if (a->status < 300 && effects != 1)
        fail_msg("status %d without an effect when call %ld of %s failed", a->status, t->k, fail_name(t->kind));
}

/* --- Of the whole record: what must not be found. */

#define LEAVES                                                                                                         \
    "WITH l AS (SELECT writer, seq, kind, jti, corr_writer, corr_seq, leaf, leaf_hash, "                               \
    "convert_from(leaf, 'UTF8')::json b FROM nexus.audit_leaves) "
#define B64U(bytes) "translate(rtrim(encode(" bytes ", 'base64'), '='), '+/', '-_')"
/* What stands in one of two queries only. */
#define DIFFERENCE(one, other)                                                                                         \
    LEAVES "SELECT count(*) FROM ((" one " EXCEPT ALL " other ") UNION ALL (" other " EXCEPT ALL " one ")) d"

static const struct sql promises[] = {
    {"a session without its one intent, or an intent without its session",
     DIFFERENCE("SELECT session_id, jti FROM nexus.agent_sessions",
                "SELECT b ->> 'session', jti FROM l WHERE kind = 'intent' AND b ->> 'session' IS NOT NULL")},
    {"an agent without its registration, or a registration without its agent",
     DIFFERENCE("SELECT id FROM nexus.agents", "SELECT b ->> 'target' FROM l WHERE b ->> 'op' = 'agent.register'")},
    {"a leaf that does not follow the one before it",
     LEAVES "SELECT count(*) FROM (SELECT *, row_number() OVER chain - 1 AS place, coalesce(lag(leaf_hash) OVER chain, "
            "decode(repeat('00', 32), 'hex')) AS before FROM l WINDOW chain AS (PARTITION BY writer ORDER BY seq)) c "
            "WHERE seq <> place OR (b ->> 'iseq')::bigint <> seq OR b ->> 'inst' <> writer "
            "OR leaf_hash <> sha256('\\x00'::bytea || leaf) OR b ->> 'prev' <> " B64U("before")},
    {"an outcome without its intent",
     LEAVES "SELECT count(*) FROM l o WHERE kind = 'outcome' AND NOT EXISTS (SELECT 1 FROM nexus.audit_leaves i "
            "WHERE i.writer = o.corr_writer AND i.seq = o.corr_seq AND i.kind = 'intent' "
            "AND i.jti IS NOT DISTINCT FROM o.jti)"},
    {"an open session whose signature failed",
     LEAVES "SELECT count(*) FROM nexus.agent_sessions s JOIN nexus.audit_leaves i ON i.kind = 'intent' "
            "AND i.jti = s.jti JOIN l o ON o.corr_writer = i.writer AND o.corr_seq = i.seq "
            "WHERE s.closed_at IS NULL AND o.b ->> 'reason' <> 'ok'"},
    {"a pseudonym key that was wrapped off the record",
     LEAVES "SELECT count(*) FROM nexus.pseudonym_keys k WHERE NOT EXISTS (SELECT 1 FROM l "
            "WHERE kind = 'intent' AND b ->> 'op' = 'wrap' AND b ->> 'detail' = period)"},
};

/* The signer counts every use of a key, and each outcome tells the number of its own. */
static void check_uses(struct torture *t)
{
    static const struct sql numbers = {"torture_uses",
                                       LEAVES "SELECT count(DISTINCT b ->> 'sgnr_ctr') FROM l "
                                              "WHERE kind = 'outcome' AND (b ->> 'sgnr_ctr')::bigint > $1::bigint"};
    struct hsm_info info;
    assert_ok(hsm_hello(t->b->api->hsm, t->b->arena, clock_mono_us() + PATIENCE_US, &info));
    char before[24];
    (void)snprintf(before, sizeof before, "%llu", (unsigned long long)t->uses);
    assert_int_equal(torture_count(t, &numbers, before, NULL), info.mark.counter - t->uses);
}

void torture_check_audit(struct torture *t)
{
    for (size_t i = 0; i < COUNT(promises); i++) {
        int64_t n = torture_count(t, &promises[i], NULL, NULL);
        if (n != 0)
            fail_msg("%lld times: %s", (long long)n, promises[i].name);
    }
    check_uses(t);
}
