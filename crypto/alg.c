/* SPDX-License-Identifier: Apache-2.0 */
#include "crypto/internal.h"

/* RFC 7518 section 3.1 and RFC 8037 section 3.1. Neither "none" nor any HMAC is in this table or in this program. */
static const struct jose_alg_info algs[] = {
    [JOSE_ES256] = {"ES256", JOSE_KTY_EC, "P-256", 32},    [JOSE_ES384] = {"ES384", JOSE_KTY_EC, "P-384", 48},
    [JOSE_PS256] = {"PS256", JOSE_KTY_RSA, NULL, 0},       [JOSE_RS256] = {"RS256", JOSE_KTY_RSA, NULL, 0},
    [JOSE_EDDSA] = {"EdDSA", JOSE_KTY_OKP, "Ed25519", 32},
};
_Static_assert(COUNT(algs) == JOSE_ALG_COUNT, "one row for each algorithm");

static const char *const kty_names[] = {[JOSE_KTY_EC] = "EC", [JOSE_KTY_RSA] = "RSA", [JOSE_KTY_OKP] = "OKP"};
_Static_assert(COUNT(kty_names) == JOSE_KTY_COUNT, "one name for each key type");

const struct jose_alg_info *jose_alg_info(enum jose_alg alg)
{
    return &algs[alg];
}

const char *jose_kty_name(enum jose_kty kty)
{
    return kty_names[kty];
}

const char *jose_alg_name(enum jose_alg alg)
{
    return algs[alg].name;
}

struct err jose_alg_parse(struct str name, enum jose_alg *out)
{
    for (size_t i = 0; i < COUNT(algs); i++) {
        if (str_is(name, algs[i].name)) {
            *out = (enum jose_alg)i;
            return OK;
        }
    }
    return FAIL(ERR_JOSE_ALG, "alg is none of ES256, ES384, PS256, RS256, EdDSA");
}

bool is_unreserved(char c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.' || c == '_' ||
           c == '~' || c == '-';
}

static bool is_base64(char c)
{
    return is_unreserved(c) ? strchr("._~-", c) == NULL : c == '+' || c == '/' || c == '=';
}

bool jose_kid_ok(struct str kid)
{
    bool plain = true, base64 = true;
    for (size_t i = 0; i < kid.n; i++) {
        plain = plain && is_unreserved(kid.p[i]);
        base64 = base64 && is_base64(kid.p[i]);
    }
    return kid.n > 0 && kid.n <= JWK_KID_MAX && (plain || base64);
}
