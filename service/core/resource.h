/* SPDX-License-Identifier: Apache-2.0
 * The resource parameter. Pure. */
#ifndef SERVICE_CORE_RESOURCE_H
#define SERVICE_CORE_RESOURCE_H

#include "base/err.h"
#include "base/span.h"

/* RFC 8707 section 2: an absolute URI (RFC 3986 section 4.3) without a fragment. ERR_INVALID_AUDIENCE. */
struct err resource_check(struct str resource);

#endif
