/* SPDX-License-Identifier: Apache-2.0
 * What verifiers and clients look up: the keys (RFC 7517) and the metadata (RFC 8414), from snapshots. */
#include "service/api/api.h"
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

static struct str join(const struct http_request *req, struct str base, const char *path)
{
    return arena_printf(req->arena, "%.*s%s", STR_FMT(base), path);
}

/* Truthful: only what this broker serves. There is no authorization endpoint and no grant type at an OAuth token
 * endpoint yet, so the lists of RFC 8414 section 2 that would default to something are given, empty. */
struct err api_metadata(const struct app *app, const struct http_request *req, struct http_reply *out)
{
    struct str issuer = app->config->base_url;
    struct buf b = http_body(req);
    struct json_writer w = json_writer(&b);
    json_begin_object(&w, NULL);
    json_put_str(&w, "issuer", issuer);
    json_put_str(&w, "jwks_uri", join(req, issuer, "/.well-known/jwks.json"));
    json_begin_array(&w, "response_types_supported");
    json_end_array(&w);
    json_begin_array(&w, "grant_types_supported");
    json_end_array(&w);
    json_begin_array(&w, "token_endpoint_auth_methods_supported");
    json_put_str(&w, NULL, STR("private_key_jwt"));
    json_end_array(&w);
    json_begin_array(&w, "token_endpoint_auth_signing_alg_values_supported");
    for (int alg = 0; alg < JOSE_ALG_COUNT; alg++)
        json_put_str(&w, NULL, str_of(jose_alg_name((enum jose_alg)alg)));
    json_end_array(&w);
    json_put_str(&w, "agent_sessions_endpoint", join(req, issuer, "/v1/agent-sessions"));
    json_end_object(&w);
    TRY(http_reply_json(200, &b, out));
    http_set_header(out, "Cache-Control", STR(JWKS_CACHE));
    return OK;
}
