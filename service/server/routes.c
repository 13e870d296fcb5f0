/* SPDX-License-Identifier: Apache-2.0
 * Every endpoint of the broker, once. Adding one is a line here and a file in service/api. */
#include "service/server/server.h"

#define ADMIN  ROLE_ADMIN
#define READER ((unsigned)ROLE_ADMIN | (unsigned)ROLE_AUDITOR)

/* Roles 0: the endpoint authenticates its caller by itself (agents present assertions or tokens), or is public. */
static const struct api_route routes[] = {
    {HTTP_POST, "/admin/v1/agents", ADMIN, api_agent_create, NULL},
    {HTTP_GET, "/admin/v1/agents", READER, api_agent_list, NULL},
    {HTTP_GET, "/admin/v1/agents/{id}", READER, api_agent_get, NULL},
    {HTTP_PATCH, "/admin/v1/agents/{id}", ADMIN, api_agent_update, NULL},
    {HTTP_DELETE, "/admin/v1/agents/{id}", ADMIN, api_agent_delete, NULL},
    {HTTP_GET, "/admin/v1/sessions", READER, api_session_list, NULL},
    {HTTP_POST, "/v1/agent-sessions", 0, api_session_create, NULL},
    {HTTP_GET, "/v1/agent-sessions/{id}", 0, api_session_get, NULL},
    {HTTP_DELETE, "/v1/agent-sessions/{id}", 0, api_session_close, NULL},
    {HTTP_GET, "/.well-known/jwks.json", 0, NULL, api_jwks},
    {HTTP_GET, "/.well-known/oauth-authorization-server", 0, NULL, api_metadata},
    {HTTP_GET, "/health", 0, NULL, api_health_live},
    {HTTP_GET, "/ready", 0, NULL, api_health_ready},
};

const struct api_route *server_routes(size_t *n)
{
    *n = COUNT(routes);
    return routes;
}
