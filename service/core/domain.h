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
    TTL_MAX_S = 3600
};

struct agent {
    struct str id, description;
    struct str_list allowed_scopes, workspaces, allowed_audiences;
    struct str jwks; /* {"keys":[..]}, public members only, as kept */
    int64_t max_ttl_s;
    bool active;
    int64_t version; /* grows with every change; an issuing statement names the one it decided on */
    int64_t created_us, updated_us;
};

struct session {
    struct str id, agent_id;
    struct str_list scopes;
    struct str jti, kid, audience;
    int64_t created_us, expires_us;
    int64_t closed_us; /* 0: open */
    bool obo;
    struct str acting_for, tenant_id; /* p == NULL: none */
    int64_t clearance_level;
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
