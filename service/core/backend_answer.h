/* SPDX-License-Identifier: Apache-2.0
 * What the back end says about a user context token (upstream reference D): {user_id, tenant_id, clearance_level,
 * permissions[], expires_at?}. Pure. */
#ifndef SERVICE_CORE_BACKEND_ANSWER_H
#define SERVICE_CORE_BACKEND_ANSWER_H

#include "base/arena.h"
#include "service/core/domain.h"

enum { PERMISSIONS_MAX = 1024 };

/* Of an HTTP status and a body. The user's issuer stays p == NULL. ERR_USER_TOKEN when the back end refused the token
 * (400, 401, 403) or says that it has expired; ERR_BACKEND_AUTH for everything that is no answer. */
struct err backend_answer_read(int status, struct bytes body, int64_t now_us, struct arena *a, struct user *out);

#endif
