/* SPDX-License-Identifier: Apache-2.0
 * Torture (T10): a request runs against real parts while the k-th call of one kind (malloc, arena, libpq, OpenSSL,
 * network) fails, for k = 1, 2, 3, ... until a run in which none failed. Whatever fails, the broker neither crashes nor
 * leaks (the sanitizer presets watch), succeeds or answers with an error that is its own trouble (5xx), and leaves
 * nothing half done. */
#ifndef TESTS_UNIT_SERVICE_TORTURE_H
#define TESTS_UNIT_SERVICE_TORTURE_H

#include "tests/unit/service/api_support.h"
#include "tests/unit/service/torture_calls.h"

#include "crypto/private_signer.h"

enum { API_KEY_LEN = 47 };

struct torture_key {
    struct private_signer *signer;
    struct str jwk; /* its public half */
};

struct torture {
    struct bench *b;
    struct db *owner;                  /* the schema's, by which the test looks at what became of a request */
    struct torture_key agents, issuer; /* every agent has the same key */
    char admin[API_KEY_LEN + 1], gateway[API_KEY_LEN + 1];
    uint64_t uses;    /* of keys, counted by the signer, when the first request came */
    struct str token; /* what all requests of a test have in common, if anything */
    enum fail_kind kind;
    long k;
    bool fired; /* the last request had a call failing */
};

struct answer {
    int status;
    struct str body;
};

/* For cmocka, as a group's fixture: a broker that has all its keys, and nobody registered. */
int torture_open(void **state);
int torture_close(void **state);

/* One request of a kind: prepares it, sends it by torture_try, and checks what became of it. */
typedef struct answer torture_fn(struct torture *t);
/* Runs it for every kind and k. After each kind, what is on record is checked as a whole (torture_audit.c). */
void torture(struct torture *t, torture_fn *once);

/* Sends a request as a worker would get it; the planned call fails on the way. */
struct answer torture_try(struct torture *t, const struct http_request *req);
/* The same with nothing failing; fails the test when the status is another. */
struct str torture_do(struct torture *t, const struct http_request *req, int status);

/* --- torture_requests.c --- Everything lies in the bench's arena, which is emptied after each request. */
struct http_request torture_json(struct torture *t, const char *path, struct str body);
/* With the agent's assertion behind the parameters. */
struct http_request torture_form(struct torture *t, const char *path, const char *agent, struct str params);
/* Adds the DPoP header: a proof by the agents' key, with the nonce in force. */
void torture_add_proof(struct torture *t, struct http_request *req);

struct str torture_assertion(struct torture *t, const char *agent);
/* A token of https://idp.example for the user, who may s:1. */
struct str torture_user_token(struct torture *t, const char *user);
/* A fresh name with a prefix. */
const char *torture_name(struct torture *t, const char *prefix);
/* A text member of a JSON object; or true for a boolean one. */
struct str torture_member(struct torture *t, struct str json, const char *name);
bool torture_flag(struct torture *t, struct str json, const char *name);

/* Registers an agent with the scope s:1, after which delegates_to (NULL: nobody) may act. */
void torture_agent(struct torture *t, const char *id, const char *delegates_to);
/* Registers https://idp.example, whose keys are in the registration. */
void torture_issuer(struct torture *t);
/* The agent asks for a session on behalf of whom the user's token names. */
struct http_request torture_obo(struct torture *t, const char *agent, struct str user_token);
/* The agent asks for a token in exchange for a session token. */
struct http_request torture_exchange(struct torture *t, const char *agent, struct str token);

/* --- torture_audit.c --- A number that the schema's owner finds by two texts, as $1 and $2 (p == NULL: NULL). */
int64_t torture_count(struct torture *t, const struct sql *sql, const char *first, const char *second);
/* The token's signing input is what one intent leaf of the database recorded. */
void torture_check_recorded(struct torture *t, struct str token);
/* Leaves of an operation; those that name this agent, session, scope or issuer (NULL: any). */
int64_t torture_leaves(struct torture *t, const char *op, const char *target);
/* The request had its effect once and on record, or not at all; and if it was told that it succeeded, it did. */
void torture_check_effect(struct torture *t, const struct answer *a, int64_t effects, int64_t leaves);
/* What holds for the whole record whenever no outcome waits. */
void torture_check_audit(struct torture *t);

#endif
