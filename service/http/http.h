/* SPDX-License-Identifier: Apache-2.0
 * A request and its reply as plain values. The server fills a request, an endpoint fills a reply; neither sees the
 * HTTP library. Everything lies in the worker's arena and is wiped when the reply has been handed over. */
#ifndef SERVICE_HTTP_HTTP_H
#define SERVICE_HTTP_HTTP_H

#include "base/arena.h"
#include "base/err.h"
#include "crypto/json.h"

#include <stdint.h>

enum http_method { HTTP_GET, HTTP_HEAD, HTTP_POST, HTTP_PUT, HTTP_PATCH, HTTP_DELETE, HTTP_OTHER };
const char *http_method_name(enum http_method m);

enum { HTTP_PATH_ARGS = 2, HTTP_REPLY_HEADERS = 8 };

struct http_request {
    struct arena *arena;
    enum http_method method;
    struct str path;                 /* as sent, without the query */
    struct str query;                /* raw; p == NULL: none */
    struct str args[HTTP_PATH_ARGS]; /* what stood for {..} in the route's pattern, percent-decoded */
    struct str content_type;         /* p == NULL: absent; likewise below */
    struct str authorization;
    struct str api_key; /* X-API-Key */
    struct str dpop;    /* a proof (RFC 9449 section 4.1) */
    struct str accept;
    struct str if_none_match;
    struct str body;
    struct str request_id;  /* always set: the caller's if well formed, else ours */
    struct str traceparent; /* W3C; p == NULL: absent or ill-formed */
    struct str peer;        /* address, without port */
    struct str issuer;      /* BASE_URL, for what a refusal says of this service; p == NULL: not known */
    bool oauth;             /* refusals have OAuth's form: the route's, set before anything can be refused */
    int64_t deadline_us;    /* monotonic; outbound calls inherit it */
};

struct http_header {
    const char *name;
    struct str value;
};

struct http_reply {
    int status;
    const char *content_type;
    struct str body;
    struct http_header headers[HTTP_REPLY_HEADERS];
    size_t n_headers;
    const char *outcome; /* metrics label: "ok", or the wire code of the refusal */
};

/* A header more; silently ignored past HTTP_REPLY_HEADERS would be a bug, so it aborts in that case. */
void http_add_header(struct http_reply *r, const char *name, struct str value);
/* The same, but takes the place of a header of that name. */
void http_set_header(struct http_reply *r, const char *name, struct str value);

/* {"error": code, "message": text} with the status of the error's table entry; sets outcome. Retry-After: 1 on 503
 * and 429, WWW-Authenticate on 401. Where req->oauth is set: {"error", "error_description"} (RFC 6749 section 5.2).
 * RFC 9449 section 9: a DPoP proof that does not do is 401 when a token came by the DPoP scheme, else 400. */
void http_reply_error(const struct http_request *req, const struct err *e, struct http_reply *out);

/* The error's outside form by itself, and the body of a reply without detail in a buffer of the caller's, for replies
 * that have no request or must not touch its arena. */
struct err_public http_error_public(enum err_code code, bool oauth);
struct str http_error_body(const struct err_public *pub, bool oauth, char *to, size_t max);

/* Starts a JSON reply body; http_reply_json ends it (status, content type, Cache-Control: no-store). */
enum { HTTP_BODY_MAX = 6 << 20 };
struct buf http_body(const struct http_request *req);
struct err http_reply_json(int status, const struct buf *body, struct http_reply *out);

/* The body as a JSON object bound by a table. ERR_UNSUPPORTED_MEDIA unless application/json (charset=utf-8 allowed). */
struct err http_bind_json(const struct http_request *req, const struct json_field *table, size_t n,
                          enum json_unknown unknown, void *out);

/* The body as a form (application/x-www-form-urlencoded, charset=utf-8 allowed) bound by a table of BIND_STR and
 * BIND_STR_LIST. A parameter stands once, but for those in repeatable (ends in NULL; their fields are BIND_STR_LIST);
 * one without a value counts as left out; unknown ones are ignored (RFC 6749 sections 3.1 and 3.2). None may stand in
 * the query. ERR_UNSUPPORTED_MEDIA, or ERR_INVALID_REQUEST naming the parameter. */
struct err http_bind_form(const struct http_request *req, const struct json_field *table, size_t n,
                          const char *const *repeatable, void *out);

/* One query parameter, percent-decoded. p == NULL: absent. ERR_INVALID_REQUEST when it stands twice, or is ill-formed.
 */
struct err http_query(const struct http_request *req, const char *name, struct str *out);
/* ERR_INVALID_REQUEST naming the first parameter that is not among the n known ones. */
struct err http_query_only(const struct http_request *req, const char *const *names, size_t n);

/* The token of "Authorization: Bearer <token>" (RFC 6750 section 2.1); p == NULL when there is none of that scheme. */
struct str http_bearer(const struct http_request *req);
/* The same of "Authorization: DPoP <token>" (RFC 9449 section 7.1). */
struct str http_dpop_token(const struct http_request *req);

/* RFC 9728 section 3, RFC 8414 section 3: these stand before the path of the resource or issuer. */
#define HTTP_RESOURCE_METADATA "/.well-known/oauth-protected-resource"
#define HTTP_SERVER_METADATA   "/.well-known/oauth-authorization-server"

/* Splits a URL into "https://host:1" and "/path", which is empty when there is none. */
void http_split_origin(struct str url, struct str *origin, struct str *path);

/* Percent-decoding into the arena; refuses ill-formed escapes, %00 and bytes that are not UTF-8. */
struct err http_percent_decode(struct arena *a, struct str in, bool plus_is_space, struct str *out);

#endif
