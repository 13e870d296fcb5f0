/* SPDX-License-Identifier: Apache-2.0
 * What the readers of bodies, forms and queries share and nobody else sees. */
#ifndef SERVICE_HTTP_INTERNAL_H
#define SERVICE_HTTP_INTERNAL_H

#include "service/http/http.h"

/* ERR_UNSUPPORTED_MEDIA unless the body is of that type, with charset=utf-8 at most. */
struct err http_check_type(const struct http_request *req, const char *type);

/* Takes the next name=value, not decoded, off the front; false at the end, where rest->p becomes NULL. */
bool http_next_param(struct str *rest, struct str *name, struct str *value, bool *has_value);

#endif
