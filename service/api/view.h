/* SPDX-License-Identifier: Apache-2.0
 * How the domain's structs look in JSON, and the query parameters that lists share. One place, so that an object looks
 * the same wherever it is shown. */
#ifndef SERVICE_API_VIEW_H
#define SERVICE_API_VIEW_H

#include "service/core/domain.h"
#include "service/http/http.h"

/* The members of a session object (upstream reference C.4), without tokens, into an object that is open. */
void view_session_members(struct json_writer *w, const struct session *s, int64_t now_us);

/* The same for a session that was just opened, with its token under both of its names. */
void view_opened_members(struct json_writer *w, const struct session *s, struct str token, int64_t now_us);

/* The members of an agent object, into an object that is open. */
void view_agent_members(struct json_writer *w, const struct agent *a);

/* ?name=true|false; *given tells whether it was there. */
struct err view_query_bool(const struct http_request *req, const char *name, bool *given, bool *value);
/* ?name=RFC 3339 in UTC ("2026-01-02T03:04:05Z", fractions allowed); 0 when absent. */
struct err view_query_time(const struct http_request *req, const char *name, int64_t *us);
/* ?cursor= and ?limit= (1 to 100, default 50: a page of the largest agents fits a reply). */
struct err view_query_page(const struct http_request *req, struct str *cursor, size_t *limit);

#endif
