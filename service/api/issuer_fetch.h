/* SPDX-License-Identifier: Apache-2.0
 * Getting the keys of an issuer from where its registration says that they are: within it, at a URL, or by discovery
 * (OpenID Connect Discovery 1.0 section 4, RFC 8414 section 3). */
#ifndef SERVICE_API_ISSUER_FETCH_H
#define SERVICE_API_ISSUER_FETCH_H

#include "service/api/record.h"

/* At least one key. Takes fetch_timeout_ms at most, and no longer than c may, although what is fetched is for all
 * callers: a worker that nobody waits for any more is needed elsewhere. A fetch that c had too little time for is a
 * failed one for the others, too. ERR_ISSUER_KEYS. Free the keys with jwks_free. */
struct err issuer_fetch(const struct call *c, const struct issuer *i, struct jwks *out);

#endif
