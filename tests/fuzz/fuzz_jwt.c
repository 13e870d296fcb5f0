/* SPDX-License-Identifier: Apache-2.0
 * The input is a payload. What passes the rules has the claims that the rules ask for, by a second and simpler reading.
 */
#include "crypto/jwt.h"
#include "tests/fuzz/fuzz.h"

enum { NOW = 1800000000, SKEW = 30, LIFETIME = 300, JTI_MAX = 64 };

static bool is(const struct json *payload, const char *claim, const char *want)
{
    const struct json *v = json_get(payload, claim);
    return v != NULL && v->type == JSON_STR && str_is(v->s, want);
}

static void check_accepted(const struct json *payload)
{
    const struct json *exp = json_get(payload, "exp");
    const struct json *iat = json_get(payload, "iat");
    const struct json *nbf = json_get(payload, "nbf");
    const struct json *jti = json_get(payload, "jti");
    FUZZ_CHECK(is(payload, "iss", "a") && is(payload, "sub", "a") && is(payload, "aud", "b"));
    FUZZ_CHECK(jti != NULL && jti->s.n > 0 && jti->s.n <= JTI_MAX);
    FUZZ_CHECK(exp != NULL && exp->type == JSON_INT);
    FUZZ_CHECK(exp->i > NOW - SKEW && exp->i <= NOW + LIFETIME);
    FUZZ_CHECK(nbf == NULL || (nbf->i >= 0 && nbf->i <= NOW + SKEW));
    FUZZ_CHECK(iat == NULL || (iat->i <= NOW + SKEW && iat->i < exp->i && iat->i >= exp->i - LIFETIME));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const typ[] = {"jwt", NULL};
    const struct jwt_rules rules = {.typ = typ,
                                    .typ_may_be_absent = true,
                                    .iss = STR("a"),
                                    .sub = STR("a"),
                                    .aud = STR("b"),
                                    .aud_must_be_sole = true,
                                    .need_jti = true,
                                    .jti_max = JTI_MAX,
                                    .max_lifetime_s = LIFETIME,
                                    .skew_s = SKEW};
    CLEANUP(arena_free) struct arena *a = fuzz_arena();
    const struct jws j = {.payload = bytes_of(data, size)};
    struct jwt_claims claims = {0};
    struct err e = jwt_claims_parse(a, &j, &claims);
    if (err_is(&e)) {
        FUZZ_CHECK(e.code == ERR_JOSE_MALFORMED || e.code == ERR_JOSE_CLAIM);
        return 0;
    }
    e = jwt_check(&rules, &j, &claims, NOW);
    FUZZ_CHECK(e.code == ERR_NONE || e.code == ERR_JOSE_CLAIM || e.code == ERR_JOSE_EXPIRED);
    if (!err_is(&e))
        check_accepted(claims.all);
    return 0;
}
