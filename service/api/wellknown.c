/* SPDX-License-Identifier: Apache-2.0
 * What verifiers and clients look up: the keys (RFC 7517) and the metadata (RFC 8414, RFC 9728), from snapshots. */
#include "service/api/grants.h"
#include "service/api/keyring.h"

/* Verifiers may keep the keys for five minutes; a new key is published for longer than that before it signs. */
#define JWKS_CACHE "public, max-age=300"

/* RFC 9110 section 13.1.2: "*", or a list of tags that are compared weakly. A tag of ours is quoted hexadecimal, so it
 * can only be found where it stands as a whole. */
static bool is_named(struct str if_none_match, struct str etag)
{
    if (if_none_match.p == NULL || etag.n == 0)
        return false;
    return str_is(if_none_match, "*") || memmem(if_none_match.p, if_none_match.n, etag.p, etag.n) != NULL;
}

struct err api_jwks(const struct app *app, const struct http_request *req, struct http_reply *out)
{
    CLEANUP(keyset_release) const struct keyset *keys = keyring_take(app->keyring);
    struct str etag = arena_str(req->arena, keys->etag);
    struct buf b = http_body(req);
    bool same = is_named(req->if_none_match, keys->etag);
    if (!same)
        buf_str(&b, keys->jwks_json);
    TRY(http_reply_json(same ? 304 : 200, &b, out));
    http_set_header(out, "Cache-Control", STR(JWKS_CACHE));
    if (etag.n > 0)
        http_add_header(out, "ETag", etag);
    return OK;
}

/* RFC 8414 section 3, RFC 9728 section 3.1: the well-known part, with which the route begins, stands before the path of
 * the issuer. Without that path too: a TLS front may have taken it off. */
static struct err check_place(const struct app *app, const struct http_request *req, const char *well_known)
{
    struct str origin, path;
    http_split_origin(app->config->base_url, &origin, &path);
    size_t n = strlen(well_known);
    struct str behind = {req->path.p + n, req->path.n - n};
    return behind.n == 0 || str_eq(behind, path) ? OK : FAIL(ERR_NOT_FOUND, "that is the metadata of no path of ours");
}

static struct str join(const struct http_request *req, struct str base, const char *path)
{
    return arena_printf(req->arena, "%.*s%s", STR_FMT(base), path);
}

static void put_strings(struct json_writer *w, const char *name, const char *const *v, size_t n)
{
    json_begin_array(w, name);
    for (size_t i = 0; i < n; i++)
        json_put_str(w, NULL, str_of(v[i]));
    json_end_array(w);
}

/* Assertions and proofs are verified with every algorithm of this program. */
static void put_algs(struct json_writer *w, const char *name)
{
    json_begin_array(w, name);
    for (int alg = 0; alg < JOSE_ALG_COUNT; alg++)
        json_put_str(w, NULL, str_of(jose_alg_name((enum jose_alg)alg)));
    json_end_array(w);
}

static void put_grant_types(struct json_writer *w)
{
    json_begin_array(w, "grant_types_supported");
    for (const struct grant *const *g = grants; *g != NULL; g++)
        json_put_str(w, NULL, str_of((*g)->type));
    json_end_array(w);
}

/* The OAuth endpoints, and how agents authenticate there. */
static void put_endpoints(struct json_writer *w, const struct http_request *req, struct str issuer)
{
    static const struct {
        const char *path, *endpoint, *methods, *algs;
    } endpoints[] = {
        {"/oauth/token", "token_endpoint", "token_endpoint_auth_methods_supported",
         "token_endpoint_auth_signing_alg_values_supported"},
        {"/oauth/introspect", "introspection_endpoint", "introspection_endpoint_auth_methods_supported",
         "introspection_endpoint_auth_signing_alg_values_supported"},
        {"/oauth/revoke", "revocation_endpoint", "revocation_endpoint_auth_methods_supported",
         "revocation_endpoint_auth_signing_alg_values_supported"},
    };
    static const char *const methods[] = {"private_key_jwt"};
    for (size_t i = 0; i < COUNT(endpoints); i++) {
        json_put_str(w, endpoints[i].endpoint, join(req, issuer, endpoints[i].path));
        put_strings(w, endpoints[i].methods, methods, COUNT(methods));
        put_algs(w, endpoints[i].algs);
    }
}

static struct err reply_document(const struct buf *b, struct http_reply *out)
{
    TRY(http_reply_json(200, b, out));
    http_set_header(out, "Cache-Control", STR(JWKS_CACHE));
    return OK;
}

/* Truthful: only what this broker serves. There is no authorization endpoint, so response_types_supported, which RFC
 * 8414 section 2 requires, is empty. */
struct err api_metadata(const struct app *app, const struct http_request *req, struct http_reply *out)
{
    /* draft-ietf-oauth-identity-assertion-authz-grant, on the metadata of whoever takes such grants. */
    static const char *const profiles[] = {"urn:ietf:params:oauth:grant-profile:id-jag"};
    TRY(check_place(app, req, HTTP_SERVER_METADATA));
    struct str issuer = app->config->base_url;
    struct buf b = http_body(req);
    struct json_writer w = json_writer(&b);
    json_begin_object(&w, NULL);
    json_put_str(&w, "issuer", issuer);
    json_put_str(&w, "jwks_uri", join(req, issuer, "/.well-known/jwks.json"));
    put_endpoints(&w, req, issuer);
    put_strings(&w, "response_types_supported", NULL, 0);
    put_grant_types(&w);
    put_strings(&w, "authorization_grant_profiles_supported", profiles, COUNT(profiles));
    put_algs(&w, "dpop_signing_alg_values_supported");
    /* RFC 9701 section 7: what the call key signs, where there is one. */
    CLEANUP(keyset_release) const struct keyset *keys = keyring_take(app->keyring);
    const char *alg = keys->call != NULL ? jose_alg_name(jwk_alg(keys->call)) : NULL;
    put_strings(&w, "introspection_signing_alg_values_supported", &alg, alg != NULL ? 1 : 0);
    json_put_str(&w, "agent_sessions_endpoint", join(req, issuer, "/v1/agent-sessions"));
    json_end_object(&w);
    return reply_document(&b, out);
}

/* RFC 9728 section 2: the API of this broker as a protected resource. The tokens that it takes are its own. */
struct err api_resource_metadata(const struct app *app, const struct http_request *req, struct http_reply *out)
{
    static const char *const methods[] = {"header"};
    TRY(check_place(app, req, HTTP_RESOURCE_METADATA));
    struct str resource = app->config->base_url;
    struct buf b = http_body(req);
    struct json_writer w = json_writer(&b);
    json_begin_object(&w, NULL);
    json_put_str(&w, "resource", resource);
    json_begin_array(&w, "authorization_servers");
    json_put_str(&w, NULL, resource);
    json_end_array(&w);
    json_put_str(&w, "jwks_uri", join(req, resource, "/.well-known/jwks.json"));
    put_strings(&w, "bearer_methods_supported", methods, COUNT(methods));
    put_algs(&w, "dpop_signing_alg_values_supported");
    json_put_str(&w, "resource_name", STR("Nexus Broker"));
    json_end_object(&w);
    return reply_document(&b, out);
}
