/* SPDX-License-Identifier: Apache-2.0
 * Token buckets by name (an address, an agent id): a bounded table that forgets full buckets first. Refusing costs no
 * signature check and no database access. Any thread. Time comes from the caller. */
#ifndef SERVICE_CORE_BUCKET_H
#define SERVICE_CORE_BUCKET_H

#include "base/err.h"
#include "base/span.h"

#include <stdint.h>

struct buckets;
/* At most `capacity` names are remembered; a new name takes the place of the least recently used in its set. */
struct err buckets_new(size_t capacity, int64_t rate_per_s, int64_t burst, struct buckets **out);
void buckets_free(struct buckets **b);
/* Takes one token. false: none left; *retry_after_s (at least 1) says when to come again. */
bool buckets_take(struct buckets *b, struct str name, int64_t now_us, int64_t *retry_after_s);

#endif
