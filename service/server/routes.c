/* SPDX-License-Identifier: Apache-2.0
 * Every endpoint of the broker, once. Adding one is a line here and a file in service/api. */
#include "service/server/server.h"

#define ADMIN  ROLE_ADMIN
#define READER ((unsigned)ROLE_ADMIN | (unsigned)ROLE_AUDITOR)
#define SHOWN  ((unsigned)ROLE_ADMIN | (unsigned)ROLE_AUDITOR | (unsigned)ROLE_GATEWAY)

/* Roles 0: the endpoint authenticates its caller by itself (agents present assertions or tokens), or is public. Of two
 * patterns that fit a path the later one counts. */
static const struct api_route routes[] = {
    {HTTP_POST, "/admin/v1/agents", ADMIN, .handler = api_agent_create},
    {HTTP_GET, "/admin/v1/agents", READER, .handler = api_agent_list},
    {HTTP_GET, "/admin/v1/agents/{id}", READER, .handler = api_agent_get},
    {HTTP_PATCH, "/admin/v1/agents/{id}", ADMIN, .handler = api_agent_update},
    {HTTP_DELETE, "/admin/v1/agents/{id}", ADMIN, .handler = api_agent_delete},
    {HTTP_POST, "/admin/v1/issuers", ADMIN, .handler = api_issuer_create},
    {HTTP_GET, "/admin/v1/issuers", READER, .handler = api_issuer_list},
    {HTTP_GET, "/admin/v1/issuers/{id}", READER, .handler = api_issuer_get},
    {HTTP_PATCH, "/admin/v1/issuers/{id}", ADMIN, .handler = api_issuer_update},
    {HTTP_DELETE, "/admin/v1/issuers/{id}", ADMIN, .handler = api_issuer_delete},
    {HTTP_POST, "/admin/v1/scopes", ADMIN, .handler = api_scope_create},
    {HTTP_GET, "/admin/v1/scopes", READER, .handler = api_scope_list},
    {HTTP_GET, "/admin/v1/scopes/{name}", READER, .handler = api_scope_get},
    {HTTP_PATCH, "/admin/v1/scopes/{name}", ADMIN, .handler = api_scope_update},
    {HTTP_DELETE, "/admin/v1/scopes/{name}", ADMIN, .handler = api_scope_delete},
    {HTTP_GET, "/admin/v1/sessions", READER, .handler = api_session_list},
    {HTTP_POST, "/admin/v1/sessions/revoke", ADMIN, .handler = api_sessions_revoke},
    {HTTP_POST, "/providers", ADMIN, .handler = api_provider_create},
    {HTTP_GET, "/providers", SHOWN, .handler = api_provider_list},
    {HTTP_GET, "/providers/{id}", SHOWN, .handler = api_provider_get},
    {HTTP_PUT, "/providers/{id}", ADMIN, .handler = api_provider_replace},
    {HTTP_PATCH, "/providers/{id}", ADMIN, .handler = api_provider_update},
    {HTTP_DELETE, "/providers/{id}", ADMIN, .handler = api_provider_delete},
    {HTTP_GET, "/providers/metadata", SHOWN, .handler = api_provider_metadata},
    {HTTP_GET, "/providers/by-name/{name}", SHOWN, .handler = api_provider_find},
    {HTTP_DELETE, "/providers/by-name/{name}", ADMIN, .handler = api_provider_delete_named},
    {HTTP_POST, "/v1/providers", ADMIN, .handler = api_provider_create},
    {HTTP_GET, "/v1/providers", SHOWN, .handler = api_provider_metadata},
    {HTTP_GET, "/v1/providers/{id}", SHOWN, .handler = api_provider_get},
    {HTTP_PUT, "/v1/providers/{id}", ADMIN, .handler = api_provider_replace},
    {HTTP_PATCH, "/v1/providers/{id}", ADMIN, .handler = api_provider_update},
    {HTTP_DELETE, "/v1/providers/{id}", ADMIN, .handler = api_provider_delete},
    {HTTP_GET, "/v1/providers/metadata", SHOWN, .handler = api_provider_metadata},
    {HTTP_GET, "/v1/providers/by-name/{name}", SHOWN, .handler = api_provider_find},
    {HTTP_DELETE, "/v1/providers/by-name/{name}", ADMIN, .handler = api_provider_delete_named},
    {HTTP_POST, "/v1/agent-sessions", 0, .handler = api_session_create},
    {HTTP_POST, "/v1/agent-sessions/obo", 0, .handler = api_session_create_obo},
    {HTTP_GET, "/v1/agent-sessions/{id}", 0, .handler = api_session_get},
    {HTTP_DELETE, "/v1/agent-sessions/{id}", 0, .handler = api_session_close},
    {HTTP_POST, "/oauth/token", 0, .handler = api_oauth_token, .oauth = true},
    {HTTP_POST, "/oauth/introspect", 0, .handler = api_oauth_introspect, .oauth = true},
    {HTTP_POST, "/oauth/revoke", 0, .handler = api_oauth_revoke, .oauth = true},
    {HTTP_GET, "/.well-known/jwks.json", 0, .inline_handler = api_jwks},
    {HTTP_GET, "/.well-known/oauth-authorization-server", 0, .inline_handler = api_metadata},
    {HTTP_GET, "/.well-known/oauth-authorization-server/*", 0, .inline_handler = api_metadata},
    {HTTP_GET, "/.well-known/oauth-protected-resource", 0, .inline_handler = api_resource_metadata},
    {HTTP_GET, "/.well-known/oauth-protected-resource/*", 0, .inline_handler = api_resource_metadata},
    {HTTP_GET, "/health", 0, .inline_handler = api_health_live},
    {HTTP_GET, "/ready", 0, .inline_handler = api_health_ready},
};

const struct api_route *server_routes(size_t *n)
{
    *n = COUNT(routes);
    return routes;
}
