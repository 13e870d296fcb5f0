/* SPDX-License-Identifier: Apache-2.0
 * What the tests of the store share: connections by role, audit writers, leaves, and assertions over struct err. */
#ifndef TESTS_UNIT_SERVICE_STORE_SUPPORT_H
#define TESTS_UNIT_SERVICE_STORE_SUPPORT_H

#include "base/clock.h"
#include "service/store/store.h"
#include "tests/unit/base/check.h"

#define BROKER "DATABASE_URL"
#define OWNER  "NEXUS_MIGRATE_DATABASE_URL"
#define SUPER  "TEST_SUPERUSER_URL"

/* One connection with its surroundings: what a worker of the broker has. */
struct actor {
    struct crypto *crypto;
    struct arena *arena;
    struct db *db;
    struct leaf_writer writer;
};
void actor_open(struct actor *a, const char *role);
void actor_close(struct actor *a);
/* Starts an audit writer on the connection. */
void actor_begin(struct actor *a);
struct store store_of(const struct actor *a);

/* Leaves for one statement, and where the writer stands after it. */
struct batch {
    struct leaf_batch leaves;
    struct leaf_writer after_always, after_effect;
};
struct batch batch_of(const struct actor *a, size_t n_always, size_t n_effect, enum leaf_kind effect);
/* Moves the writer on. */
void batch_done(struct actor *a, const struct batch *b, bool effect_in);

/* Runs a statement without rows, or one that gives one bigint. */
struct err exec(const struct actor *a, const struct sql *sql);
int64_t number(const struct actor *a, const struct sql *sql);
int64_t number_of(const struct actor *a, const struct sql *sql, struct db_param p);

/* Group fixtures: the schema is there when the tests begin. */
int migrate_schema(void **state);

/* A fresh name with a prefix, in the actor's arena. */
struct str fresh(const struct actor *a, const char *prefix);
/* An active agent with two scopes, registered. */
struct agent agent_registered(struct actor *a);
/* A session of the agent that lives for a quarter of an hour, not yet in the database. */
struct session session_for(const struct actor *a, const struct agent *g);
struct err issue(struct actor *a, const struct session *s, int64_t version, const uint8_t *jti,
                 enum issue_result *result);
/* 32 random bytes in the actor's arena. */
const uint8_t *random_hash(const struct actor *a);

#endif
