/* SPDX-License-Identifier: Apache-2.0
 * The domain's structs. Store turns rows into them and back; core decides over them; api shows them. Plain values,
 * whose text lies in some arena. Times are microseconds since 1970 UTC. */
#ifndef SERVICE_CORE_DOMAIN_H
#define SERVICE_CORE_DOMAIN_H

#include "base/err.h"
#include "base/span.h"
#include "hsm/wire.h"

#include <stdint.h>

enum {
    AGENT_ID_MAX = 128,
    DESCRIPTION_MAX = 1024,
    AUDIENCE_MAX = 512,
    LISTED_MAX = 64,
    TTL_DEFAULT_S = 900,
    TTL_MAX_S = 3600,
    USER_ID_MAX = 256,
    TENANT_ID_MAX = 256,
    CLEARANCE_MAX = 1000000,
    AUDIENCES_MAX = 8,
    CHAIN_MAX = 8,
    POINTER_MAX = 256,
    ISSUERS_MAX = 100,
    SCOPE_RULES_MAX = 1000
};

struct agent {
    struct str id, description;
    struct str_list allowed_scopes, workspaces, allowed_audiences;
    struct str jwks; /* {"keys":[..]}, public members only, as kept */
    int64_t max_ttl_s;
    bool active;
    struct str_list delegates_to; /* agents that may act after this one */
    bool require_dpop;            /* its tokens are bound to a key, always */
    int64_t version;              /* grows with every change; an issuing statement names the one it decided on */
    int64_t created_us, updated_us;
};

struct session {
    struct str id, agent_id;
    struct str_list scopes, audiences;
    struct str jti, kid;
    int64_t created_us, expires_us;
    int64_t closed_us; /* 0: open; also the time when one of the ancestors ended */
    bool obo;
    struct str acting_for, tenant_id; /* the user; p == NULL: none */
    int64_t clearance_level;
    struct str_list chain;     /* the agents that act, the current one (agent_id) first */
    struct str_list ancestors; /* the sessions it was exchanged from, nearest first */
    struct str grant_type;     /* how it was opened: "session", or the OAuth grant's last word */
    struct str user_issuer;    /* who vouched for the user; p == NULL: none, or the back end */
    struct str cnf_jkt;        /* thumbprint of the key that its token is bound to; p == NULL: a bearer token */
};

/* A user, as whoever vouched for it says. */
struct user {
    struct str id, tenant_id, issuer; /* tenant_id, issuer: p == NULL: none */
    int64_t clearance_level;
    struct str_list permissions;
    int64_t expires_us; /* no session outlives it; 0: not said */
};

/* A data key, wrapped under a KEK of the HSM. It lies in the row of what it protects. */
struct dek {
    struct hsm_key_id kek;
    struct bytes wrapped;
};

/* Who may vouch for users: where its keys come from (exactly one of jwks, jwks_uri, discovery), what its tokens must
 * look like, and where in them the user stands (RFC 6901 pointers). */
struct issuer {
    struct str id, issuer;
    struct str jwks, jwks_uri; /* p == NULL: another source */
    bool discovery;
    struct str_list algorithms;
    struct str audience, typ; /* typ.p == NULL: JWT, at+jwt or none */
    struct str claim_user_id, claim_tenant_id, claim_clearance, claim_permissions;
    int64_t max_age_s; /* 0: none */
    bool one_time_jti, active;
    int64_t version, created_us, updated_us;
};

/* The conditions of a scope. */
struct scope_rule {
    struct str name, description;
    int64_t min_clearance;
    int64_t max_ttl_s; /* 0: none */
    bool requires_obo;
    int64_t created_us, updated_us;
};

enum role { ROLE_NONE = 0, ROLE_ADMIN = 1, ROLE_AUDITOR = 2, ROLE_GATEWAY = 4 };
bool role_parse(struct str s, enum role *out);
const char *role_name(enum role r);

struct api_key {
    struct str name, prefix;
    enum role role;
    int64_t created_us, expires_us, revoked_us, last_used_us; /* 0: never */
};

enum key_state { KEY_PENDING, KEY_ACTIVE, KEY_RETIRING, KEY_RETIRED };
const char *key_state_name(enum key_state s);
bool key_state_parse(struct str s, enum key_state *out);

/* A key of a ring, as the database knows it. */
struct ring_key {
    struct hsm_key_id id;
    enum hsm_purpose purpose;
    enum hsm_key_type type;
    enum key_state state;
    struct str kid; /* of signing keys: the RFC 7638 thumbprint; p == NULL for a KEK */
    struct str alg; /* JOSE name; p == NULL for a KEK */
    struct str jwk; /* public JWK as JSON; p == NULL for a KEK */
    int64_t created_us, activated_us;
};

#endif
