/* SPDX-License-Identifier: Apache-2.0
 * Who the user is that an agent wants to act for, by a token of whoever vouches for it. Called by issue() once the
 * agent has proved itself. On OK, out has the user, its pseudonym, the one-time id and the key that the token demands.
 * Trouble of the service (ERR_ISSUER_KEYS, ERR_BACKEND_AUTH, ERR_DB_*) passes through. */
#ifndef SERVICE_API_USER_CONTEXT_H
#define SERVICE_API_USER_CONTEXT_H

#include "service/api/issue.h"

/* A user context token: of a registered issuer, or, when its issuer is not registered, as the back end says.
 * ERR_USER_TOKEN; ERR_OBO_NOT_CONFIGURED when there is neither an active issuer nor a back end. */
struct err user_context_check(struct issuing *i, struct str token, struct subject *out);

/* A token of a registered issuer alone. ERR_USER_TOKEN. */
struct err issuer_token_check(struct issuing *i, struct str token, struct subject *out);

/* The assertion of a JWT bearer grant (RFC 7523 section 2.1), or an ID-JAG: of a registered issuer. Keeps what is asked
 * for to the resources of an ID-JAG. ERR_GRANT; ERR_INVALID_AUDIENCE for another resource. */
struct err assertion_check(struct issuing *i, struct str assertion, struct subject *out);

#endif
