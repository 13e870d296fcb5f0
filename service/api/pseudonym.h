/* SPDX-License-Identifier: Apache-2.0
 * What stands in the audit log in place of a user. A user has one pseudonym per calendar month (UTC), the same at every
 * broker; whose it is can be told only with that month's key, which lies in the database wrapped under the HSM's KEK.
 * Each worker unwraps it once a month. */
#ifndef SERVICE_API_PSEUDONYM_H
#define SERVICE_API_PSEUDONYM_H

#include "service/api/record.h"

struct pseudonyms;
struct err pseudonyms_new(struct pseudonyms **out);
void pseudonyms_free(struct pseudonyms **p);

/* user_issuer: who vouched for the user; p == NULL: the back end. ERR_NO_ACTIVE_KEY when there is no KEK to wrap a new
 * month's key under, ERR_HSM_* and ERR_DB_* otherwise. */
struct err pseudonym_of(const struct call *c, struct str user_issuer, struct str user_id, struct str *out);

#endif
