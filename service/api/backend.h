/* SPDX-License-Identifier: Apache-2.0
 * The application's back end, which knows the users of tokens that no registered issuer made (upstream reference D). */
#ifndef SERVICE_API_BACKEND_H
#define SERVICE_API_BACKEND_H

#include "service/api/record.h"

/* Asks BACKEND_AUTH_URL, which must be set, whose token this is. The request proves who asks, and about which token, by
 * a JWT of the call key. ERR_USER_TOKEN when the back end does not accept the token, ERR_BACKEND_AUTH when it cannot be
 * asked or makes no sense; what stands in the way of signing (ERR_NO_ACTIVE_KEY, ERR_HSM_*, ERR_DB_*) passes through.
 */
struct err backend_verify(const struct call *c, struct str token, struct user *out);

#endif
