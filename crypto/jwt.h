/* SPDX-License-Identifier: Apache-2.0
 * JWT claims (RFC 7519) and the rule set of each kind of JWT. The rule sets are disjoint (RFC 8725 section 3.12): what
 * passes as one kind cannot pass as another, because typ, iss and aud differ. */
#ifndef CRYPTO_JWT_H
#define CRYPTO_JWT_H

#include "crypto/jws.h"

/* Longest iss, sub, jti or aud in bytes, and the most values of an aud array. */
enum { JWT_NAME_MAX = 1024, JWT_AUD_MAX = 16 };

/* Registered claims, and the object for the rest. Absent: p == NULL, set == false. */
struct jwt_claims {
    struct str iss, sub, jti;
    struct str_list aud; /* one item where aud was a string */
    bool aud_is_array;
    struct json_int exp, nbf, iat;
    const struct json *all;
};

/* Reads the payload of a token. ERR_JOSE_MALFORMED or ERR_JOSE_CLAIM: not an object, a claim of the wrong type, a
 * date that is not an integer in [0, 2^53), a name that is empty, longer than JWT_NAME_MAX or has control bytes, an aud
 * that is neither a string nor 1 to JWT_AUD_MAX strings. */
struct err jwt_claims_parse(struct arena *a, const struct jws *j, struct jwt_claims *out);

/* How one kind of JWT must look. */
struct jwt_rules {
    const char *const *typ; /* NULL-ended list of accepted typ values */
    bool typ_may_be_absent;
    struct str iss;        /* must equal; p == NULL: only present */
    struct str sub;        /* must equal; p == NULL: only present */
    struct str aud;        /* must equal; p == NULL: only present */
    bool aud_must_be_sole; /* a single string (rfc7523bis), not an array; else aud must be among the values */
    bool need_jti, need_iat;
    size_t jti_max;         /* longest jti in bytes; 0: JWT_NAME_MAX */
    int64_t max_lifetime_s; /* exp at most this far after now and, with iat, after iat; 0: no limit */
    int64_t skew_s;         /* allowance for exp in the past, and for nbf and iat in the future */
};

/* ERR_JOSE_CLAIM or ERR_JOSE_EXPIRED with a detail for the log that names the claim. */
struct err jwt_check(const struct jwt_rules *r, const struct jws *j, const struct jwt_claims *claims, int64_t now_s);

#endif
