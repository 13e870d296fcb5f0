/* SPDX-License-Identifier: Apache-2.0
 * What a registered issuer and a defined scope may look like. Pure. */
#ifndef SERVICE_CORE_ISSUER_RULES_H
#define SERVICE_CORE_ISSUER_RULES_H

#include "base/arena.h"
#include "service/core/domain.h"

enum {
    ISSUER_URL_MAX = 512,
    ISSUER_JWKS_URI_MAX = 1024,
    ISSUER_KEYS_MAX = 100,
    ISSUER_TYP_MAX = 64,
    ISSUER_AGE_MAX_S = 31536000
};

/* Where this broker stands. */
struct issuer_site {
    struct str own;     /* its own issuer identifier: nobody else's */
    bool http_loopback; /* this machine's issuers may be reached over plain http */
};

/* Checks each member that is set (p != NULL) and lower-cases typ; jwks is not looked at. What is wrong with issuer is
 * ERR_INVALID_ISSUER, all else ERR_INVALID_REQUEST naming the field. */
struct err issuer_check(const struct issuer_site *site, struct arena *a, struct issuer *i);

/* A name of RFC 6749 section 3.3 that can stand in a path: no '/', and neither "." nor "..". Trimmed.
 * ERR_INVALID_SCOPE.
 */
struct err scope_name_check(struct arena *a, struct str raw, struct str *out);

#endif
