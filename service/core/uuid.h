/* SPDX-License-Identifier: Apache-2.0
 * UUIDs (RFC 9562) as text: the ids that clients written for upstream expect of providers and connections. */
#ifndef SERVICE_CORE_UUID_H
#define SERVICE_CORE_UUID_H

#include "base/err.h"
#include "base/span.h"

enum { UUID_LEN = 36, UUID_TEXT = UUID_LEN + 1 };

/* A new one of version 4, in lower case. */
struct err uuid_make(char out[static UUID_TEXT]);

/* The 8-4-4-4-12 form of any version, in either case (RFC 9562 section 4), brought to lower case; false: text is none.
 */
bool uuid_parse(struct str text, char out[static UUID_TEXT]);

#endif
