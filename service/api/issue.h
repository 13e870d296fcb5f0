/* SPDX-License-Identifier: Apache-2.0
 * Opening a session, whichever endpoint it came by: the agent proves itself, the subject is looked at, the policy
 * decides, ONE statement makes session, one-time ids and intent durable, then the HSM signs. */
#ifndef SERVICE_API_ISSUE_H
#define SERVICE_API_ISSUE_H

#include "base/rand.h"
#include "service/api/auth.h"
#include "service/api/dpop.h"
#include "service/core/policy.h"

enum { ISSUE_IDS_MAX = 3 };

/* What a session rests on besides the agent. All p == NULL: an autonomous session. */
struct subject {
    const struct user *user;      /* somebody vouched for it just now */
    int64_t revision;             /* of the issuers that said who vouches; 0: they had no part in it */
    const struct session *parent; /* whose token is exchanged */
    const struct session *actor;  /* whose token came along to show who acts */
    struct str sub_p;             /* pseudonym of the user, for the record */
    struct one_time id;           /* of the user's token; space.p == NULL: it is not of one use */
    struct str must_bind;         /* the key that the proof must be of (cnf of an assertion); p == NULL: any */
};

struct issuing;
/* Looks at what the agent acts for. Called when the agent, its assertion and its DPoP proof have been checked, on rows
 * that were read just now; and once more when the issuing statement found that something had changed meanwhile. */
typedef struct err subject_fn(struct issuing *i, void *arg, struct subject *out);

struct issuing {
    struct call call;
    const struct http_request *req; /* whose DPoP proof it is */
    struct str agent_id, assertion; /* who asks, and its client assertion */
    struct session_ask ask;
    const char *op;         /* "session.open", "session.obo", "token.exchange", ...: names a refusal */
    const char *grant_type; /* kept with the session */
    subject_fn *look;       /* NULL: an autonomous session */
    void *arg;
    enum err_code bad_user; /* what ERR_USER_TOKEN is called here */

    /* Filled here. */
    const struct keyset *keys; /* released by issue() */
    struct agent_auth auth;
    struct dpop_use proof;   /* the key that the token is bound to */
    int64_t revision;        /* of issuers and scopes, as they were decided on */
    int64_t *chain_versions; /* of the chain's other agents, likewise */
    struct subject subject;
    struct session session;
    struct str signing_input;
    char id[ID_TEXT], jti[ID_TEXT];
    struct str token;
};

/* On OK session and token are set. Refusals after the agent has proved itself use up its assertion and are on record.
 * Errors: those of auth_assertion, of look, of policy_session and policy_delegation; ERR_INVALID_CLIENT for an
 * assertion that was used before, ERR_DPOP_PROOF for a proof, ERR_USER_TOKEN for a user's token; ERR_DPOP_MISSING when
 * agent or subject want a binding; 503s. */
struct err issue(struct issuing *i);

#endif
