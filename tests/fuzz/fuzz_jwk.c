/* SPDX-License-Identifier: Apache-2.0
 * A key or set that is accepted, written and read again has the same kid, algorithm and thumbprint, and holds nothing
 * of a private key. */
#include "crypto/jwk.h"
#include "tests/fuzz/fuzz.h"

static const struct crypto *crypto(void)
{
    static struct crypto *c; /* made once for all inputs of this process */
    if (c == NULL)
        FUZZ_OK(crypto_new("default", &c));
    return c;
}

static void check_key(struct arena *a, const struct jwk *k)
{
    struct buf b = buf_in(a, 8192);
    struct json_writer w = json_writer(&b);
    jwk_write(k, &w, NULL);
    FUZZ_OK(buf_status(&b));
    const struct json *obj = NULL;
    FUZZ_OK(json_parse(a, buf_bytes(&b), &obj));
    FUZZ_CHECK(json_get(obj, "d") == NULL && json_get(obj, "k") == NULL);
    CLEANUP(jwk_free) struct jwk *back = NULL;
    struct err e = jwk_parse(crypto(), obj, &back);
    /* OpenSSL judges a modulus by random bases (SP 800-56B section 6.4.2.2): one that is not the product of two large
     * primes passes at times. */
    if (e.code == ERR_INVALID_JWKS && str_is(json_get(obj, "kty")->s, "RSA"))
        return;
    FUZZ_OK(e);
    uint8_t t1[SHA256_LEN];
    uint8_t t2[SHA256_LEN];
    jwk_thumbprint(k, t1);
    jwk_thumbprint(back, t2);
    FUZZ_CHECK(memcmp(t1, t2, sizeof t1) == 0);
    FUZZ_CHECK(jwk_alg(k) == jwk_alg(back) && str_eq(jwk_kid(k), jwk_kid(back)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    CLEANUP(arena_free) struct arena *a = fuzz_arena();
    const struct json *obj = NULL;
    struct err e = json_parse(a, bytes_of(data, size), &obj);
    if (err_is(&e))
        return 0;
    CLEANUP(jwk_free) struct jwk *k = NULL;
    e = jwk_parse(crypto(), obj, &k);
    FUZZ_CHECK(err_is(&e) ? e.code == ERR_INVALID_JWKS && k == NULL : k != NULL);
    if (k != NULL)
        check_key(a, k);

    CLEANUP(jwks_free) struct jwks loose = {0};
    CLEANUP(jwks_free) struct jwks strict = {0};
    e = jwks_parse(crypto(), obj, 0, JWKS_MAX, false, &loose);
    FUZZ_CHECK(!err_is(&e) || e.code == ERR_INVALID_JWKS);
    bool refused = err_is(&e);
    e = jwks_parse(crypto(), obj, 0, JWKS_MAX, true, &strict);
    FUZZ_CHECK(err_is(&e) || (!refused && strict.n == loose.n));
    for (size_t i = 0; i < loose.n; i++)
        FUZZ_CHECK(jwks_find(&loose, jwk_kid(loose.keys[i])) == loose.keys[i]);
    return 0;
}
