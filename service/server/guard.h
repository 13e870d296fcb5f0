/* SPDX-License-Identifier: Apache-2.0
 * The strictness that libmicrohttpd 0.9.75 lacks, applied to a request's header before anything else sees it. Where two
 * readers of one message could disagree (RFC 9112 section 11.2, request smuggling), the message is refused. Pure. */
#ifndef SERVICE_SERVER_GUARD_H
#define SERVICE_SERVER_GUARD_H

#include "base/err.h"
#include "base/span.h"

#include <stdint.h>

enum { GUARD_FIELDS_MAX = 64, GUARD_TARGET_MAX = 8192 };

struct guard_field {
    struct str name, value;
};

/* A header as the library parsed it. The views point into the library's buffer (guard_layout relies on that), but for
 * target, which is a copy of the raw request target: at is where it stood. */
struct guard_head {
    struct str method, target, version;
    const char *at;
    struct guard_field fields[GUARD_FIELDS_MAX];
    size_t n;     /* fields seen: may be more than fit */
    size_t bytes; /* of the whole header, from the method to the empty line */
};

/* What the server needs of a header. Values are trimmed; p == NULL: absent. */
struct guard_facts {
    struct str host, content_type, accept, authorization, api_key, dpop, if_none_match, request_id, traceparent;
    bool chunked, has_length;
    uint64_t length;
};

/* ERR_BAD_HTTP, ERR_URI_TOO_LONG or ERR_HEADERS_TOO_LARGE. */
struct err guard_head(const struct guard_head *h, size_t max_bytes, struct guard_facts *out);

/* Checks that the parts lie side by side with nothing between them but what the grammar puts there. What the library
 * drops or forgives on its way (a NUL and what follows it, bare LF, folded lines, nameless fields, extra spaces in the
 * request line) leaves a gap. ERR_BAD_HTTP. Only for versions whose buffers are known to work so. */
struct err guard_layout(const struct guard_head *h);

/* W3C Trace Context level 1: version "-" trace-id "-" parent-id "-" flags. */
bool guard_traceparent_ok(struct str v);
/* [A-Za-z0-9._-]{8,64} */
bool guard_request_id_ok(struct str v);

#endif
