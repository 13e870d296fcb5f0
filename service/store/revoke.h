/* SPDX-License-Identifier: Apache-2.0
 * Ending sessions of an agent or a user, or one; and with each all that were exchanged from it. */
#ifndef SERVICE_STORE_REVOKE_H
#define SERVICE_STORE_REVOKE_H

#include "service/store/store.h"

/* Exactly one is set. */
struct revoke_ask {
    struct str agent_id, user_id, session_id;
};
/* Closes the open sessions of an agent or a user, or one session. Every one that was open when this returns OK is
 * closed, also those that were being opened meanwhile by others. *closed counts them, *descendants what was closed
 * because of them. An agent or a user whom nobody knows has no sessions, a session that nobody knows is
 * ERR_SESSION_NOT_FOUND, and nothing is written then; else the effect leaves are in. */
struct err store_sessions_revoke(const struct store *s, const struct revoke_ask *ask, const struct leaf_batch *l,
                                 int64_t *closed, int64_t *descendants);
/* Who vouched for the user in its open sessions, at most USER_ISSUERS_MAX. p == NULL: the back end. */
enum { USER_ISSUERS_MAX = 16 };
struct err store_user_issuers(const struct store *s, struct str user_id, struct str_list *out);

#endif
