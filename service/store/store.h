/* SPDX-License-Identifier: Apache-2.0
 * What the rest of the broker asks of the database, one file per aggregate behind it. Every effect and its audit
 * leaves are ONE statement: either all of it is durable, or none of it is. Leaves come in two parts: `always` (outcomes
 * that were waiting for the next write) are inserted whatever the statement decides; `effect` only with the effect, and
 * an effect needs at least one. A number used twice or a second outcome of an intent is ERR_CONFLICT whose detail
 * begins with "audit_leaves"; then nothing was written. Leaves of a writer that was not begun on this very connection
 * are refused with ERR_DB_UNAVAILABLE: connect, begin a new writer, make the leaves anew. */
#ifndef SERVICE_STORE_STORE_H
#define SERVICE_STORE_STORE_H

#include "service/core/domain.h"
#include "service/core/leaf.h"
#include "service/store/db.h"
#include "service/store/once.h"

struct leaf_batch {
    const char *writer;
    const struct leaf *always;
    size_t n_always;
    const struct leaf *effect;
    size_t n_effect;
};

/* A statement's surroundings: connection, arena, deadline. */
struct store {
    struct db *db;
    struct arena *arena;
    int64_t deadline_us;
};

/* --- agents.c --- A page is newest first; cursor is the last page's next (p == NULL: from the start / no more). A
 * cursor that is none: ERR_INVALID_REQUEST naming "cursor". */
/* ERR_AGENT_EXISTS, also for the id of a deleted agent. */
struct err store_agent_insert(const struct store *s, const struct agent *a, const struct leaf_batch *l,
                              int64_t *created_us);
struct err store_agent_get(const struct store *s, struct str agent_id, struct agent *out); /* ERR_AGENT_NOT_FOUND */
struct agent_filter {
    bool by_active, active;
    struct str cursor;
    size_t limit;
};
struct err store_agent_list(const struct store *s, const struct agent_filter *f, struct agent **out, size_t *n,
                            struct str *next);
/* Replaces the changeable columns of the row whose version is a->version (ERR_CONFLICT when it has moved on), gives it
 * the next version, and closes the agent's open sessions when it is not active any more. */
struct err store_agent_update(const struct store *s, const struct agent *a, const struct leaf_batch *l,
                              struct agent *out, int64_t *sessions_closed);
/* Deletes: the row stays for the audit, is never active again, and its id cannot be registered anew. Closes sessions.
 */
struct err store_agent_delete(const struct store *s, struct str agent_id, const struct leaf_batch *l,
                              int64_t *sessions_closed);

/* --- sessions.c --- */
enum issue_result {
    ISSUE_DONE,
    ISSUE_CHANGED,       /* the agent, an agent of the chain, issuers or scopes: read all of them again */
    ISSUE_LINEAGE_ENDED, /* a session that it rests on has ended */
    ISSUE_REPLAYED       /* ids[replayed] was used before; the others are used up */
};
struct issue_answer {
    enum issue_result result;
    size_t replayed;
};
struct issue_request {
    const struct session *session;
    int64_t agent_version;         /* the version that was decided on, which must still stand and be active */
    int64_t policy_revision;       /* likewise, of issuers and scopes */
    const int64_t *chain_versions; /* likewise, of the chain's other agents, in its order */
    const struct one_time *ids;
    size_t n_ids;
};
/* Consumes the ids, checks what the decision rested on, inserts the session and the leaves: one statement. */
struct err store_session_issue(const struct store *s, const struct issue_request *r, const struct leaf_batch *l,
                               struct issue_answer *out);
struct err store_session_get(const struct store *s, struct str session_id,
                             struct session *out); /* ERR_SESSION_NOT_FOUND */
/* Closes it, and all that were exchanged from it (revoke.c). Idempotent: the first close time stays. *closed_now tells
 * whether this call closed it (then the effect leaves are in). */
struct err store_session_close(const struct store *s, struct str session_id, const struct leaf_batch *l,
                               bool *closed_now);
struct session_filter {
    struct str agent_id, acting_for; /* p == NULL: any */
    bool by_active, active;
    int64_t since_us, until_us; /* 0: any */
    int64_t now_us;
    struct str cursor;
    size_t limit;
};
struct err store_session_list(const struct store *s, const struct session_filter *f, struct session **out, size_t *n,
                              struct str *next);
/* --- policy.c --- The number that grows with every change of issuers and scopes, in the change's own statement. */
struct err store_policy_revision(const struct store *s, int64_t *out);

/* --- api_keys.c --- */
struct err store_api_key_insert(const struct store *s, const struct api_key *k, const uint8_t hash[static SHA256_LEN],
                                const struct leaf_batch *l);
/* By hash, if neither revoked nor expired now (database time); ERR_INVALID_API_KEY else. Marks last use, at most once a
 * minute. */
struct err store_api_key_use(const struct store *s, const uint8_t hash[static SHA256_LEN], struct api_key *out);
struct err store_api_key_list(const struct store *s, struct api_key **out, size_t *n);
struct err store_api_key_revoke(const struct store *s, struct str name, const struct leaf_batch *l, bool *revoked_now);

/* --- keys.c --- */
struct err store_key_list(const struct store *s, struct ring_key **out, size_t *n);
/* An active key per ring at most: ERR_CONFLICT (signing_keys_one_active) when another broker provisioned meanwhile. */
struct err store_key_insert(const struct store *s, const struct ring_key *k, struct str evidence_json,
                            const struct leaf_batch *l);

/* --- audit.c --- */
/* Registers a writer for this connection and holds a session advisory lock that shows it is alive. The connection's
 * writer before it ends. */
struct err store_writer_begin(const struct store *s, const char *writer, struct str instance);
/* Appends leaves alone. Both parts of the batch are inserted. */
struct err store_leaves_append(const struct store *s, const struct leaf_batch *l);
/* Intents of dead writers that are older than age_s and have no outcome, oldest first. */
struct open_intent {
    struct str writer;
    int64_t seq;
    struct str jti;
    struct str op; /* with a NUL behind it */
};
struct err store_open_intents(const struct store *s, int64_t age_s, size_t limit, struct open_intent **out, size_t *n);

/* --- checks.c --- */
/* ERR_CONFIG with every setting that breaks durability (fsync, full_page_writes, synchronous_commit), a schema that is
 * not of this program's version, or a role that could change or delete audit leaves. */
struct err store_check_server(const struct store *s, bool accept_privileged_role);

/* --- migrate.c --- Applies what is missing, as one transaction under an advisory lock, and renews the grants; a role
 * that does not own the schema may call it when nothing is missing. ERR_CONFIG when the schema is newer than this
 * program or was made from other files. *applied counts. */
struct err store_migrate(const struct store *s, int64_t *applied);
int64_t store_schema_version(void);

#endif
