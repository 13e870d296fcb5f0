/* SPDX-License-Identifier: Apache-2.0
 * The broker's JSON API over HTTP. Redirects are never followed (they could carry a credential elsewhere), TLS is
 * always verified, and plain HTTP goes to this machine only. */
#ifndef CLI_HTTP_CLIENT_H
#define CLI_HTTP_CLIENT_H

#include "cli/cli.h"

enum http_auth {
    AUTH_NONE,
    AUTH_ADMIN, /* an API key for administration: NEXUS_ADMIN_KEY_FILE, else NEXUS_API_KEY_FILE */
    AUTH_KEY,   /* any API key: NEXUS_API_KEY_FILE, else NEXUS_ADMIN_KEY_FILE */
    AUTH_TOKEN, /* the session token in token_file */
};

struct http_call {
    const char *method;
    struct str path;       /* with its query, encoded; from the broker's root */
    struct str body;       /* JSON; p == NULL: none */
    enum http_auth auth;   /* --api-key-file stands in for the variables */
    struct str token_file; /* for AUTH_TOKEN */
};

/* A successful answer. */
struct http_answer {
    struct str body;
    const struct json *json; /* the body, read: an object */
};

/* One request; the answer lies in a. Any other outcome than 2xx with a JSON object has failed with a message. */
struct err http_json(struct cli *cli, struct arena *a, const struct http_call *call, struct http_answer *out);

/* GET of a whole URL, without credentials: a published key set. */
struct err http_get_url(struct cli *cli, struct arena *a, struct str url, struct http_answer *out);

/* The broker's address, without a slash at its end. */
struct str http_base_url(const struct cli *cli);

/* Percent-encoded for a path segment or a query value. */
void http_escape(struct buf *out, struct str s);

/* "/a/b/" and an id that may hold anything. */
struct str http_path(struct arena *a, const char *prefix, struct str id);

#endif
