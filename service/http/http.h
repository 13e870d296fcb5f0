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
    struct str if_none_match;
    struct str body;
    struct str request_id;  /* always set: the caller's if well formed, else ours */
    struct str traceparent; /* W3C; p == NULL: absent or ill-formed */
    struct str peer;        /* address, without port */
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
 * and 429, WWW-Authenticate: Bearer on 401. */
void http_reply_error(const struct http_request *req, const struct err *e, struct http_reply *out);

/* Starts a JSON reply body; http_reply_json ends it (status, content type, Cache-Control: no-store). */
enum { HTTP_BODY_MAX = 6 << 20 };
struct buf http_body(const struct http_request *req);
struct err http_reply_json(int status, const struct buf *body, struct http_reply *out);

/* The body as a JSON object bound by a table. ERR_UNSUPPORTED_MEDIA unless application/json (charset=utf-8 allowed). */
struct err http_bind_json(const struct http_request *req, const struct json_field *table, size_t n,
                          enum json_unknown unknown, void *out);

/* One query parameter, percent-decoded. p == NULL: absent. ERR_INVALID_REQUEST when it stands twice, or is ill-formed.
 */
struct err http_query(const struct http_request *req, const char *name, struct str *out);
/* ERR_INVALID_REQUEST naming the first parameter that is not among the n known ones. */
struct err http_query_only(const struct http_request *req, const char *const *names, size_t n);

/* The token of "Authorization: Bearer <token>" (RFC 6750 section 2.1); p == NULL when there is none of that scheme. */
struct str http_bearer(const struct http_request *req);

/* Percent-decoding into the arena; refuses ill-formed escapes, %00 and bytes that are not UTF-8. */
struct err http_percent_decode(struct arena *a, struct str in, bool plus_is_space, struct str *out);

#endif
