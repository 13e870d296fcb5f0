/* SPDX-License-Identifier: Apache-2.0
 * What endpoints work with. struct app is shared by all threads and read-only but for what guards itself; struct api is
 * one worker's own: a database connection, a signer socket, an audit writer, a cache of agents. */
#ifndef SERVICE_API_API_H
#define SERVICE_API_API_H

#include "base/clock.h"
#include "base/metric.h"
#include "hsm/client.h"
#include "service/config.h"
#include "service/core/bucket.h"
#include "service/http/http.h"
#include "service/store/store.h"

enum metric_id {
#define M(id, ...) id,
#include "service/metrics.def"
#undef M
    M_COUNT
};

struct keyring;     /* api/keyring.h: the published keys, as an immutable snapshot that is replaced whole */
struct health;      /* api/health.h: what is known of database and HSM */
struct issuer_keys; /* api/issuer_keys.h: the keys of those who vouch for users, as they were fetched */
struct bulkhead;    /* api/bulkhead.h: places for workers that wait for somebody outside */

struct app {
    const struct config *config;
    const struct crypto *crypto;
    struct clock clock;
    struct metrics *metrics;
    struct buckets *agents; /* per agent, before any signature is checked */
    struct keyring *keyring;
    struct health *health;
    struct issuer_keys *issuer_keys;
    struct bulkhead *outbound;
    struct hsm_connector hsm;
    char instance[WRITER_ID_LEN + 1]; /* random, one per start */
};

struct agent_cache;
struct catalogue_cache; /* api/catalogue.h */
struct dpop_nonces;     /* api/dpop.h */
struct net;             /* net/net.h */
struct pseudonyms;      /* api/pseudonym.h */
struct recorder;        /* api/record.h: the worker's audit writer, and the outcome that waits to be written */
struct vault;           /* api/vault.h */

struct api {
    const struct app *app;
    struct db *db;
    struct hsm_client *hsm;
    struct agent_cache *cache;
    struct catalogue_cache *catalogue;
    struct dpop_nonces *nonces;
    struct net *net; /* outbound HTTP */
    struct pseudonyms *pseudonyms;
    struct recorder *recorder;
    struct vault *vault;
    struct api_key caller; /* whose role the last api_require_role accepted; its text lies in that request's arena */
};

/* The registry of service/metrics.def's families, for app.metrics. */
struct err api_metrics_new(struct metrics **out);

struct err api_new(const struct app *app, struct api **out);
void api_free(struct api **api);

/* Called by the worker when no request came for a while, and before it ends: writes outcomes that wait, wipes
 * data keys whose time is over. */
void api_idle(struct api *api, struct arena *arena);

/* An endpoint. A returned error becomes the reply by http_reply_error; out is then ignored. */
typedef struct err api_handler(struct api *api, const struct http_request *req, struct http_reply *out);
/* An endpoint that answers from snapshots, on the HTTP thread: no I/O, no lock held for long. */
typedef struct err api_inline_handler(const struct app *app, const struct http_request *req, struct http_reply *out);

/* One line of the route table (service/server/routes.c). Exactly one of handler and inline_handler is set. */
struct api_route {
    enum http_method method;
    const char
        *pattern; /* "/admin/v1/agents/{id}"; a last segment "*" is any path, which the endpoint looks at itself */
    unsigned
        roles; /* mask of enum role that an API key must have; 0: the endpoint authenticates by itself, or is public */
    api_handler *handler;
    api_inline_handler *inline_handler;
    bool oauth; /* refusals on this path have the form of RFC 6749 section 5.2, replies that of section 5.1 */
};

/* Checks the API key of a request against a mask of roles. *who (may be NULL) is filled on success. */
struct err api_require_role(struct api *api, const struct http_request *req, unsigned roles, struct api_key *who);

/* Endpoints, by file. */
api_handler api_agent_create, api_agent_list, api_agent_get, api_agent_update, api_agent_delete; /* agents.c */
api_handler api_session_create_obo;                                                              /* obo.c */
api_handler api_oauth_token;                                                                     /* token.c */
api_handler api_oauth_introspect, api_oauth_revoke;                                              /* introspect.c */
api_handler api_session_create, api_session_get, api_session_close, api_session_list;            /* sessions.c */
api_handler api_sessions_revoke;                                                                 /* revoke_sessions.c */
api_handler api_issuer_create, api_issuer_list, api_issuer_get, api_issuer_update, api_issuer_delete; /* issuers.c */
/* providers.c */
api_handler api_provider_create, api_provider_list, api_provider_metadata, api_provider_get, api_provider_find;
api_handler api_provider_replace, api_provider_update, api_provider_delete, api_provider_delete_named;
api_handler api_scope_create, api_scope_list, api_scope_get, api_scope_update, api_scope_delete; /* scopes.c */
api_inline_handler api_jwks, api_metadata, api_resource_metadata;                                /* wellknown.c */
api_inline_handler api_health_live, api_health_ready;                                            /* health.c */

#endif
