/* SPDX-License-Identifier: Apache-2.0 */
#include "crypto/dpop.h"

#include "crypto/b64u.h"
#include "tests/unit/crypto/dpop_vectors.h"
#include "tests/unit/crypto/support.h"
#include "tests/unit/crypto/vectors.h"

#define URL           "https://server.example.com/token"
#define RFC9449_JKT   "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"
#define RFC9449_TOKEN "Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU"
#define ED_KEY        "{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\"}"

/* The iat of the example in RFC 9449 section 4.1. */
enum { NOW = 1562262616 };

static struct dpop_expect at_token(void)
{
    return (struct dpop_expect){.method = STR("POST"), .url = STR(URL), .now_s = NOW};
}

static struct err check(struct fixture *f, struct str proof, const struct dpop_expect *e)
{
    struct dpop_proof out;
    return dpop_check(f->crypto, f->arena, proof, e, &out);
}

/* A header of these members behind typ, alg and the key that signs. */
static struct str header_of(struct fixture *f, const struct test_key *k, const char *more)
{
    struct buf b = buf_in(f->arena, 4096);
    struct json_writer w = json_writer(&b);
    jwk_write(k->jwk, &w, NULL);
    assert_ok(buf_status(&b));
    return arena_printf(f->arena, "{\"typ\":\"dpop+jwt\",\"alg\":\"%s\",\"jwk\":%.*s%s}",
                        jose_alg_name(jwk_alg(k->jwk)), STR_FMT(buf_view(&b)), more);
}

/* A proof of this payload. */
static struct str proof_of(struct fixture *f, const struct test_key *k, const char *payload)
{
    return test_token(f, k, header_of(f, k, ""), str_of(payload));
}

/* A payload for at_token() with more claims behind. */
static const char *claims_and(struct fixture *f, const char *more)
{
    return arena_printf(f->arena, "{\"jti\":\"a\",\"htm\":\"POST\",\"htu\":\"" URL "\",\"iat\":%d%s}", NOW, more).p;
}

static void test_rfc9449_4_1(void **state)
{
    struct fixture *f = *state;
    /* sha256sum of "-BwC3ESc6acc2lTc" */
    static const uint8_t jti_sha256[] = {0xea, 0x07, 0x6c, 0x98, 0x3b, 0x8c, 0x45, 0x78, 0x85, 0xcb, 0x3e,
                                         0xa5, 0x3a, 0x2f, 0x58, 0x8a, 0xe9, 0x48, 0x77, 0xa6, 0x4f, 0x0f,
                                         0x04, 0xfd, 0xa8, 0x40, 0xf3, 0x44, 0xfa, 0x56, 0x1d, 0x65};
    const struct dpop_expect e = at_token();
    struct dpop_proof p;
    assert_ok(dpop_check(f->crypto, f->arena, str_of(rfc9449_4_1_proof), &e, &p));
    assert_string_equal(RFC9449_JKT, p.jkt);
    assert_null(p.nonce.p);
    assert_memory_equal(jti_sha256, p.jti_sha256, sizeof jti_sha256);
}

static void test_rfc9449_7_1(void **state)
{
    struct fixture *f = *state;
    struct dpop_expect e = {.method = STR("GET"),
                            .url = STR("https://resource.example.org/protectedresource"),
                            .access_token = STR(RFC9449_TOKEN),
                            .now_s = NOW + 2};
    struct dpop_proof p;
    assert_ok(dpop_check(f->crypto, f->arena, str_of(rfc9449_7_1_proof), &e, &p));
    assert_string_equal(RFC9449_JKT, p.jkt);
    e.access_token = STR(RFC9449_TOKEN "x");
    assert_fails_with(ERR_DPOP_PROOF, "ath is not", check(f, str_of(rfc9449_7_1_proof), &e));
    e.access_token = (struct str){NULL, 0};
    assert_ok(check(f, str_of(rfc9449_7_1_proof), &e));
}

static void test_jwcrypto_every_other_algorithm(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *proof, *jkt;
    } cases[] = {
        {jwcrypto_rs256_proof, "6U6JY15MtPhxNeLM-AjamWwh_KX3-dXpOU-3RN_D3e0"},
        {jwcrypto_ps256_proof, "6U6JY15MtPhxNeLM-AjamWwh_KX3-dXpOU-3RN_D3e0"},
        {jwcrypto_es384_proof, "s0yB6VotCsB-fk8GP-ME9p39uqrRKF0jUMEaVZGMj3I"},
        {jwcrypto_eddsa_proof, "VY6KsvKovI1s2FSTarBkZw7pmR5jG7PU0hS6tC1xgUc"},
    };
    const struct dpop_expect e = at_token();
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct dpop_proof p;
        assert_ok(dpop_check(f->crypto, f->arena, str_of(cases[i].proof), &e, &p));
        assert_string_equal(cases[i].jkt, p.jkt);
    }
}

static void test_every_algorithm_and_no_other_key(void **state)
{
    struct fixture *f = *state;
    const struct dpop_expect e = at_token();
    for (int alg = 0; alg < JOSE_ALG_COUNT; alg++) {
        struct test_key k = test_key_new(f, (enum jose_alg)alg);
        struct test_key other = test_key_new(f, (enum jose_alg)alg);
        const char *payload = claims_and(f, "");
        struct dpop_proof p;
        assert_ok(dpop_check(f->crypto, f->arena, proof_of(f, &k, payload), &e, &p));
        assert_str(jwk_kid(k.jwk), p.jkt);
        struct str forged = test_token(f, &other, header_of(f, &k, ""), str_of(payload));
        assert_fails_with(ERR_DPOP_PROOF, "signature", check(f, forged, &e));
        test_key_free(&k);
        test_key_free(&other);
    }
}

/* Check 2, and D05 where it reached here: two proofs in one field. */
static void test_check_2_one_well_formed_jwt(void **state)
{
    struct fixture *f = *state;
    const struct dpop_expect e = at_token();
    const char *p = rfc9449_4_1_proof;
    const struct str bad[] = {
        STR(""),
        STR("a.b.c"),
        arena_printf(f->arena, "%s,%s", p, p),
        arena_printf(f->arena, "%s, %s", p, p),
        arena_printf(f->arena, " %s", p),
        arena_printf(f->arena, "%s=", p),
        {p, strlen(p) - 1},
        {p, (size_t)(strrchr(p, '.') - p)},
        {p, (size_t)(strrchr(p, '.') - p) + 1},
    };
    for (size_t i = 0; i < COUNT(bad); i++)
        assert_fails(ERR_DPOP_PROOF, check(f, bad[i], &e));
    assert_ok(check(f, str_of(p), &e));
}

static void test_d12_sizes(void **state)
{
    struct fixture *f = *state;
    const struct dpop_expect e = at_token();
    struct test_key k = test_key_new(f, JOSE_EDDSA);
    size_t short_ones = 0;
    size_t long_ones = 0;
    char pad[6000];
    memset(pad, 'x', sizeof pad);
    size_t rest = proof_of(f, &k, claims_and(f, ",\"pad\":\"\"")).n;
    for (size_t n = (DPOP_PROOF_MAX - rest) / 4 * 3 - 6; long_ones < 3; n++) {
        struct str more = arena_printf(f->arena, ",\"pad\":\"%.*s\"", (int)n, pad);
        struct str proof = proof_of(f, &k, claims_and(f, more.p));
        if (proof.n <= DPOP_PROOF_MAX) {
            assert_ok(check(f, proof, &e));
            short_ones++;
        } else {
            assert_fails_with(ERR_DPOP_PROOF, "longer", check(f, proof, &e));
            long_ones++;
        }
    }
    assert_true(short_ones > 0);
    /* Refused before anything is read of it. */
    char *huge = arena_alloc(f->arena, 100 << 10);
    memset(huge, 'A', 100 << 10);
    size_t used = arena_used(f->arena);
    assert_fails_with(ERR_DPOP_PROOF, "longer", check(f, (struct str){huge, 100 << 10}, &e));
    assert_int_equal(used, arena_used(f->arena));
    test_key_free(&k);
}

static void test_check_3_required_claims(void **state)
{
    struct fixture *f = *state;
    const struct dpop_expect e = at_token();
    struct test_key k = test_key_new(f, JOSE_EDDSA);
    static const struct {
        const char *payload, *why;
    } bad[] = {
        {"{}", "\"jti\": is missing"},
        {"{\"htm\":\"POST\",\"htu\":\"" URL "\",\"iat\":1562262616}", "\"jti\": is missing"},
        {"{\"jti\":\"a\",\"htu\":\"" URL "\",\"iat\":1562262616}", "\"htm\": is missing"},
        {"{\"jti\":\"a\",\"htm\":\"POST\",\"iat\":1562262616}", "\"htu\": is missing"},
        {"{\"jti\":\"a\",\"htm\":\"POST\",\"htu\":\"" URL "\"}", "\"iat\": is missing"},
        {"{\"jti\":\"\",\"htm\":\"POST\",\"htu\":\"" URL "\",\"iat\":1562262616}", "\"jti\""},
        {"{\"jti\":7,\"htm\":\"POST\",\"htu\":\"" URL "\",\"iat\":1562262616}", "\"jti\""},
        {"{\"jti\":null,\"htm\":\"POST\",\"htu\":\"" URL "\",\"iat\":1562262616}", "\"jti\""},
        {"{\"jti\":\"a\",\"htm\":[\"POST\"],\"htu\":\"" URL "\",\"iat\":1562262616}", "\"htm\""},
        {"{\"jti\":\"a\",\"htm\":\"POST\",\"htu\":[\"" URL "\"],\"iat\":1562262616}", "\"htu\""},
        {"{\"jti\":\"a\",\"htm\":\"POST\",\"htu\":\"" URL "\",\"iat\":\"1562262616\"}", "\"iat\""},
        {"{\"jti\":\"a\",\"htm\":\"POST\",\"htu\":\"" URL "\",\"iat\":1562262616.5}", "integer"},
        {"{\"jti\":\"a\",\"jti\":\"b\",\"htm\":\"POST\",\"htu\":\"" URL "\",\"iat\":1562262616}", ""},
        {"[\"jti\"]", "object"},
        {"jti", ""},
    };
    for (size_t i = 0; i < COUNT(bad); i++)
        assert_fails_with(ERR_DPOP_PROOF, bad[i].why, check(f, proof_of(f, &k, bad[i].payload), &e));
    assert_ok(check(f, proof_of(f, &k, claims_and(f, "")), &e));
    /* Section 4.2 gives no meaning to these, of whatever type. */
    const char *more = ",\"aud\":7,\"iss\":[],\"sub\":{},\"ath\":0,\"other\":null";
    assert_ok(check(f, proof_of(f, &k, claims_and(f, more)), &e));
    test_key_free(&k);
}

/* A proof of this header, for what is refused before the signature is looked at. */
static struct err check_header(struct fixture *f, const char *header)
{
    struct str h = test_b64u(f, str_of(header));
    struct str p = test_b64u(f, str_of(claims_and(f, "")));
    const struct dpop_expect e = at_token();
    return check(f, arena_printf(f->arena, "%.*s.%.*s.AAAA", STR_FMT(h), STR_FMT(p)), &e);
}

/* Check 4, and J18: no other kind of JWT passes as a proof. */
static void test_check_4_typ(void **state)
{
    struct fixture *f = *state;
    static const char *const bad[] = {"",
                                      "\"typ\":\"JWT\",",
                                      "\"typ\":\"at+jwt\",",
                                      "\"typ\":7,",
                                      "\"typ\":\"dpop+jwt \",",
                                      "\"typ\":\"\",",
                                      "\"typ\":null,",
                                      "\"typ\":\"x/dpop+jwt\",",
                                      "\"typ\":\"oauth-id-jag+jwt\","};
    for (size_t i = 0; i < COUNT(bad); i++) {
        struct str header = arena_printf(f->arena, "{%s\"alg\":\"EdDSA\",\"jwk\":" ED_KEY "}", bad[i]);
        assert_fails_with(ERR_DPOP_PROOF, "typ", check_header(f, header.p));
    }
    static const char *const good[] = {"dpop+jwt", "DPoP+JWT", "application/dpop+jwt"};
    for (size_t i = 0; i < COUNT(good); i++) {
        struct str header = arena_printf(f->arena, "{\"typ\":\"%s\",\"alg\":\"EdDSA\",\"jwk\":" ED_KEY "}", good[i]);
        assert_fails_with(ERR_DPOP_PROOF, "signature", check_header(f, header.p));
    }
}

/* Check 5. */
static void test_d11_alg(void **state)
{
    struct fixture *f = *state;
    static const char *const bad[] = {"",
                                      "\"alg\":\"none\",",
                                      "\"alg\":\"None\",",
                                      "\"alg\":\"HS256\",",
                                      "\"alg\":\"HS512\",",
                                      "\"alg\":\"ES512\",",
                                      "\"alg\":\"RSA-OAEP\",",
                                      "\"alg\":null,",
                                      "\"alg\":[\"EdDSA\"],"};
    for (size_t i = 0; i < COUNT(bad); i++) {
        struct str header = arena_printf(f->arena, "{\"typ\":\"dpop+jwt\",%s\"jwk\":" ED_KEY "}", bad[i]);
        assert_fails_with(ERR_DPOP_PROOF, "alg", check_header(f, header.p));
    }
}

/* Check 7, and that the header's alg is one for the key. */
static void test_d06_jwk(void **state)
{
    struct fixture *f = *state;
    uint8_t modulus[128];
    memset(modulus, 0xff, sizeof modulus);
    struct str n = b64u_text(f->arena, bytes_of(modulus, sizeof modulus));
    const char *rsa_1024 = arena_printf(f->arena, "{\"kty\":\"RSA\",\"n\":\"%.*s\",\"e\":\"AQAB\"}", STR_FMT(n)).p;
    const char *es256_named = arena_printf(f->arena, "{\"alg\":\"ES256\",%s", rfc7515_a3_key + 1).p;
    const char *rs256_named = arena_printf(f->arena, "{\"alg\":\"RS256\",%s", rfc7515_a2_key + 1).p;
    const struct {
        const char *alg, *jwk, *why;
    } bad[] = {
        {"ES256", rfc7515_a3_private, "private"},
        {"RS256", rfc7515_a2_private, "private"},
        {"EdDSA", rfc8037_a1_private, "private"},
        {"ES256", rfc7520_3_5_oct, "symmetric"},
        {"RS256", rsa_1024, "2048"},
        {"PS256", rsa_1024, "2048"},
        {"RS256", rfc7515_a3_key, "kty and crv"},
        {"ES256", rfc7515_a2_key, "kty and crv"},
        {"ES384", rfc7515_a3_key, "kty and crv"},
        {"ES256", rfc8037_a2_key, "kty and crv"},
        {"EdDSA", jwcrypto_es384_key, "kty and crv"},
        {"ES256", rfc7515_a4_key, "kty and crv"},
        {"ES384", es256_named, "alg"},
        {"PS256", rs256_named, "alg"},
        {"EdDSA", "{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"AA\"}", "Ed25519"},
        {"EdDSA", "{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\"}",
         "small order"},
        {"EdDSA", "{}", "kty"},
        {"EdDSA", "null", "jwk"},
        {"EdDSA", "\"key\"", "jwk"},
        {"EdDSA", "[" ED_KEY "]", "jwk"},
    };
    for (size_t i = 0; i < COUNT(bad); i++) {
        struct str header =
            arena_printf(f->arena, "{\"typ\":\"dpop+jwt\",\"alg\":\"%s\",\"jwk\":%s}", bad[i].alg, bad[i].jwk);
        assert_fails_with(ERR_DPOP_PROOF, bad[i].why, check_header(f, header.p));
        assert_fails_with(ERR_DPOP_PROOF, "jwk", check_header(f, header.p));
    }
    assert_fails_with(ERR_DPOP_PROOF, "jwk", check_header(f, "{\"typ\":\"dpop+jwt\",\"alg\":\"EdDSA\"}"));
    assert_fails_with(ERR_DPOP_PROOF, "jwk", check_header(f, "{\"typ\":\"dpop+jwt\",\"alg\":\"EdDSA\",\"kid\":\"a\"}"));
}

/* An RSA key without alg signs as the header says, and the same bytes are no signature of the other kind. */
static void test_d06_rsa_alg_is_the_headers(void **state)
{
    struct fixture *f = *state;
    struct test_key k = test_key_new(f, JOSE_RS256);
    const struct json *jwk = json_get(json_of(f, header_of(f, &k, "").p), "jwk");
    struct str payload = str_of(claims_and(f, ""));
    const struct dpop_expect e = at_token();
    for (int ps = 0; ps < 2; ps++) {
        struct str header = arena_printf(
            f->arena, "{\"typ\":\"dpop+jwt\",\"alg\":\"%s\",\"jwk\":{\"kty\":\"RSA\",\"n\":\"%s\",\"e\":\"AQAB\"}}",
            ps ? "PS256" : "RS256", json_get(jwk, "n")->s.p);
        struct err got = check(f, test_token(f, &k, header, payload), &e);
        if (ps)
            assert_fails_with(ERR_DPOP_PROOF, "signature", got);
        else
            assert_ok(got);
    }
    test_key_free(&k);
}

/* J05, J06, J07: the header points to no key and has no extension. Its kid, and the jwk's, mean nothing. */
static void test_header_members(void **state)
{
    struct fixture *f = *state;
    const struct dpop_expect e = at_token();
    struct test_key k = test_key_new(f, JOSE_EDDSA);
    struct str payload = str_of(claims_and(f, ""));
    static const char *const bad[] = {",\"jku\":\"https://example.com/jwks\"",
                                      ",\"x5u\":\"https://example.com/c\"",
                                      ",\"x5c\":[]",
                                      ",\"x5t\":\"AAAA\"",
                                      ",\"x5t#S256\":\"AAAA\"",
                                      ",\"crit\":[\"exp\"]",
                                      ",\"crit\":[]",
                                      ",\"b64\":true",
                                      ",\"zip\":\"DEF\""};
    for (size_t i = 0; i < COUNT(bad); i++)
        assert_fails_with(ERR_DPOP_PROOF, "is not accepted",
                          check(f, test_token(f, &k, header_of(f, &k, bad[i]), payload), &e));
    static const char *const good[] = {"", ",\"kid\":\"k-1\"", ",\"kid\":\"did:example:a#/@b\"", ",\"kid\":7",
                                       ",\"cty\":\"x\",\"nonce\":\"y\""};
    for (size_t i = 0; i < COUNT(good); i++)
        assert_ok(check(f, test_token(f, &k, header_of(f, &k, good[i]), payload), &e));
    const struct json *x = json_get(json_get(json_of(f, header_of(f, &k, "").p), "jwk"), "x");
    struct str with_kid = arena_printf(f->arena,
                                       "{\"typ\":\"dpop+jwt\",\"alg\":\"EdDSA\",\"jwk\":{\"kty\":\"OKP\","
                                       "\"crv\":\"Ed25519\",\"x\":\"%s\",\"kid\":\"did:example:a#b\"}}",
                                       x->s.p);
    struct dpop_proof p;
    assert_ok(dpop_check(f->crypto, f->arena, test_token(f, &k, with_kid, payload), &e, &p));
    assert_str(jwk_kid(k.jwk), p.jkt);
    test_key_free(&k);
}

/* A proof is nothing else: what brings its own key is read here only. */
static void test_jwk_stays_refused_elsewhere(void **state)
{
    struct fixture *f = *state;
    struct jws j = {0};
    assert_fails_with(ERR_JOSE_MALFORMED, "jwk", jws_parse(f->arena, str_of(rfc9449_4_1_proof), &j));
    assert_fails_with(ERR_JOSE_MALFORMED, "jwk", jws_parse(f->arena, str_of(rfc9449_7_1_proof), &j));
}

/* Check 8. */
static void test_d03_htm(void **state)
{
    struct fixture *f = *state;
    struct dpop_expect e = at_token();
    struct test_key k = test_key_new(f, JOSE_EDDSA);
    static const char *const methods[] = {"post", "Post", "GET", "", "POST ", "POSTS", "POS"};
    for (size_t i = 0; i < COUNT(methods); i++) {
        struct str payload =
            arena_printf(f->arena, "{\"jti\":\"a\",\"htm\":\"%s\",\"htu\":\"" URL "\",\"iat\":%d}", methods[i], NOW);
        assert_fails_with(ERR_DPOP_PROOF, "htm", check(f, proof_of(f, &k, payload.p), &e));
    }
    e.method = STR("GET");
    assert_fails_with(ERR_DPOP_PROOF, "htm", check(f, proof_of(f, &k, claims_and(f, "")), &e));
    test_key_free(&k);
}

static struct err check_htu(struct fixture *f, const struct test_key *k, const char *htu, const char *url)
{
    struct dpop_expect e = at_token();
    e.url = str_of(url);
    struct str payload = arena_printf(f->arena, "{\"jti\":\"a\",\"htm\":\"POST\",\"htu\":\"%s\",\"iat\":%d}", htu, NOW);
    return check(f, proof_of(f, k, payload.p), &e);
}

/* Check 9: RFC 3986 sections 6.2.2 and 6.2.3. */
static void test_d02_htu_equal(void **state)
{
    struct fixture *f = *state;
    struct test_key k = test_key_new(f, JOSE_EDDSA);
    static const char *const pairs[][2] = {
        {"https://a.example/token", "https://a.example/token"},
        {"HTTPS://a.example/token", "https://a.example/token"},
        {"https://A.eXample/token", "https://a.example/token"},
        {"https://a.example/token", "hTTps://a.EXAMPLE/token"},
        {"https://a.example:443/token", "https://a.example/token"},
        {"https://a.example/token", "https://a.example:443/token"},
        {"https://a.example:/token", "https://a.example/token"},
        {"http://a.example:80/token", "http://a.example/token"},
        {"https://a.example:8443/token", "https://a.example:8443/token"},
        {"https://a.example", "https://a.example/"},
        {"https://a.example/", "https://a.example"},
        {"https://a.example:443", "https://a.example"},
        {"https://a.example?x=1", "https://a.example"},
        {"https://a.example#x", "https://a.example/"},
        {"https://a.example/token?", "https://a.example/token"},
        {"https://a.example/token?a=%zz&b=/../@", "https://a.example/token"},
        {"https://a.example/token#", "https://a.example/token"},
        {"https://a.example/token#a?b", "https://a.example/token"},
        {"https://a.example/token?a#b", "https://a.example/token"},
        {"https://a.example/%74oke%6E", "https://a.example/token"},
        {"https://a.example/%7Eme/%2d%5f%2E-", "https://a.example/~me/-_.-"},
        {"https://a.example/~me", "https://a.example/%7eme"},
        {"https://a.example/a%2fb", "https://a.example/a%2Fb"},
        {"https://a.example/%c3%bc", "https://a.example/%C3%BC"},
        {"https://%61.ex%41mple/token", "https://a.example/token"},
        {"https://a.example/.well-known/...", "https://a.example/.well-known/..."},
        {"https://127.0.0.1:8080/token", "https://127.0.0.1:8080/token"},
        {"https://[::1]/token", "https://[::1]:443/token"},
        {"https://[2001:DB8::1]:8443/token", "https://[2001:db8::1]:8443/token"},
        {"https://xn--BCHER-kva.example/token", "https://xn--bcher-kva.example/token"},
    };
    for (size_t i = 0; i < COUNT(pairs); i++)
        assert_ok(check_htu(f, &k, pairs[i][0], pairs[i][1]));
    test_key_free(&k);
}

static void test_d02_htu_not_equal(void **state)
{
    struct fixture *f = *state;
    struct test_key k = test_key_new(f, JOSE_EDDSA);
    static const char *const pairs[][2] = {
        {"http://a.example/token", "https://a.example/token"},
        {"https://b.example/token", "https://a.example/token"},
        {"https://a.example./token", "https://a.example/token"},
        {"https://a.example.evil/token", "https://a.example/token"},
        {"https://a.exampl/token", "https://a.example/token"},
        {"https://a.example:80/token", "https://a.example/token"},
        {"http://a.example:443/token", "http://a.example/token"},
        {"https://a.example:8443/token", "https://a.example/token"},
        {"https://a.example:0443/token", "https://a.example/token"},
        {"https://a.example:4433/token", "https://a.example/token"},
        {"https://a.example/token/", "https://a.example/token"},
        {"https://a.example//token", "https://a.example/token"},
        {"https://a.example/Token", "https://a.example/token"},
        {"https://a.example/token%20", "https://a.example/token"},
        {"https://a.example/token%00", "https://a.example/token"},
        {"https://a.example/token%3Fx", "https://a.example/token"},
        {"https://a.example/token%23x", "https://a.example/token"},
        {"https://a.example/token;x", "https://a.example/token"},
        {"https://a.example/a%2Fb", "https://a.example/a/b"},
        {"https://a.example/%2574oken", "https://a.example/token"},
        {"https://a.example/%C3%9C", "https://a.example/%C3%BC"},
        {"https://a.example", "https://a.example/token"},
        {"https://a.example/", "https://a.example/token"},
        {"https://a.example?/token", "https://a.example/token"},
        {"https://a.example\\\\token", "https://a.example/token"},
        {"https://a.example%2Ftoken", "https://a.example/token"},
        {"https://a.example%3A443/token", "https://a.example/token"},
        {"https://[::1]/token", "https://[0:0:0:0:0:0:0:1]/token"},
        {"https://[::1/token", "https://[::1]/token"},
    };
    for (size_t i = 0; i < COUNT(pairs); i++)
        assert_fails_with(ERR_DPOP_PROOF, "htu is not the URL", check_htu(f, &k, pairs[i][0], pairs[i][1]));
    test_key_free(&k);
}

static void test_d02_htu_refused(void **state)
{
    struct fixture *f = *state;
    struct test_key k = test_key_new(f, JOSE_EDDSA);
    static const struct {
        const char *htu, *why;
    } bad[] = {
        {"", "http or https"},
        {"/token", "http or https"},
        {"//a.example/token", "http or https"},
        {"a.example/token", "http or https"},
        {"https:a.example/token", "http or https"},
        {"https:/a.example/token", "http or https"},
        {"httpss://a.example/token", "http or https"},
        {"http%73://a.example/token", "http or https"},
        {"ftp://a.example/token", "http or https"},
        {"https://", "no host"},
        {"https:///token", "no host"},
        {"https://:443/token", "no host"},
        {"https://?a.example/token", "no host"},
        {"https://me@a.example/token", "user information"},
        {"https://me:x@a.example/token", "user information"},
        {"https://@a.example/token", "user information"},
        {"https://a.example@b.example/token", "user information"},
        {"https://a.example:@b.example/token", "user information"},
        {"https://a.example:443x/token", "port"},
        {"https://a.example:+443/token", "port"},
        {"https://a.example:443:443/token", "port"},
        {"https://a.example/./token", "dot segment"},
        {"https://a.example/../token", "dot segment"},
        {"https://a.example/x/../token", "dot segment"},
        {"https://a.example/token/.", "dot segment"},
        {"https://a.example/token/..", "dot segment"},
        {"https://a.example/%2e/token", "dot segment"},
        {"https://a.example/x/%2E%2e/token", "dot segment"},
        {"https://a.example/x/.%2e/token?q", "dot segment"},
        {"https://a.example/token%", "hexadecimal"},
        {"https://a.example/token%4", "hexadecimal"},
        {"https://a.example/%g0token", "hexadecimal"},
        {"https://a.example/%0gtoken", "hexadecimal"},
        {"https://a%.example/token", "hexadecimal"},
        {"https://a.example/to ken", "control byte"},
        {"https://a.example/token\\n", "control byte"},
        {"https://a.example/token\\u001f", "control byte"},
        {"https://a.example/token\\u007f", "control byte"},
        {"https://a.example/token?\\t", "control byte"},
        {" https://a.example/token", "control byte"},
        {"https://b\xc3\xbc"
         "cher.example/token",
         "not ASCII"},
    };
    for (size_t i = 0; i < COUNT(bad); i++) {
        assert_fails_with(ERR_DPOP_PROOF, bad[i].why, check_htu(f, &k, bad[i].htu, "https://a.example/token"));
        assert_fails_with(ERR_DPOP_PROOF, "htu", check_htu(f, &k, bad[i].htu, "https://a.example/token"));
    }
    test_key_free(&k);
}

/* The endpoint's own URL is configuration: when it is unfit, that is not the proof's fault. */
static void test_own_url(void **state)
{
    struct fixture *f = *state;
    struct test_key k = test_key_new(f, JOSE_EDDSA);
    static const char *const bad[] = {"", "a.example/token", "https://me@a.example/token",
                                      "https://a.example/../token"};
    for (size_t i = 0; i < COUNT(bad); i++)
        assert_fails(ERR_INTERNAL, check_htu(f, &k, "https://a.example/token", bad[i]));
    test_key_free(&k);
}

/* Check 11. */
static void test_d08_times(void **state)
{
    struct fixture *f = *state;
    const struct dpop_expect e = at_token();
    struct test_key k = test_key_new(f, JOSE_EDDSA);
    static const struct {
        int64_t iat;
        const char *more, *why; /* why == NULL: accepted */
    } cases[] = {
        {NOW, "", NULL},
        {NOW - 60, "", NULL},
        {NOW - 61, "", "iat"},
        {NOW + 10, "", NULL},
        {NOW + 11, "", "iat"},
        {0, "", "iat"},
        {-1, "", "iat"},
        {JSON_INT_MAX, "", "iat"},
        {NOW * INT64_C(1000), "", "iat"},
        {NOW, ",\"exp\":1562262617", NULL},
        {NOW, ",\"exp\":1562262616", "exp"},
        {NOW, ",\"exp\":0", "exp"},
        {NOW, ",\"exp\":9007199254740991", NULL},
        {NOW - 61, ",\"exp\":9007199254740991", "iat"},
        {NOW, ",\"exp\":\"1562262617\"", "exp"},
        {NOW, ",\"exp\":null", "exp"},
        {NOW, ",\"nbf\":1562262616", NULL},
        {NOW, ",\"nbf\":1562262626", NULL},
        {NOW, ",\"nbf\":1562262627", "nbf"},
        {NOW, ",\"nbf\":0", NULL},
        {NOW, ",\"nbf\":\"0\"", "nbf"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct str payload =
            arena_printf(f->arena, "{\"jti\":\"a\",\"htm\":\"POST\",\"htu\":\"" URL "\",\"iat\":%lld%s}",
                         (long long)cases[i].iat, cases[i].more);
        struct err got = check(f, proof_of(f, &k, payload.p), &e);
        if (cases[i].why == NULL)
            assert_ok(got);
        else
            assert_fails_with(ERR_DPOP_PROOF, cases[i].why, got);
    }
    test_key_free(&k);
}

/* A jti is remembered until no broker accepts the proof any more, whatever its exp and whenever it came. */
static void test_d01_replay_until(void **state)
{
    struct fixture *f = *state;
    struct test_key k = test_key_new(f, JOSE_EDDSA);
    struct str proof = proof_of(f, &k, claims_and(f, ",\"exp\":1562262700"));
    struct dpop_expect e = at_token();
    for (int64_t now = NOW - DPOP_IAT_AHEAD_S; now <= NOW + DPOP_IAT_PAST_S; now += 7) {
        struct dpop_proof p;
        e.now_s = now;
        assert_ok(dpop_check(f->crypto, f->arena, proof, &e, &p));
        e.now_s = p.replay_until_us / 1000000;
        assert_fails_with(ERR_DPOP_PROOF, "iat", check(f, proof, &e));
        /* A broker whose clock is 5 s behind. */
        e.now_s -= 5;
        assert_fails_with(ERR_DPOP_PROOF, "iat", check(f, proof, &e));
    }
    test_key_free(&k);
}

/* Check 12 a. */
static void test_d07_ath(void **state)
{
    struct fixture *f = *state;
    struct dpop_expect e = at_token();
    e.access_token = STR(RFC9449_TOKEN);
    struct test_key k = test_key_new(f, JOSE_EDDSA);
    static const struct {
        const char *more, *why; /* why == NULL: accepted */
    } cases[] = {
        {",\"ath\":\"fUHyO2r2Z3DZ53EsNrWBb0xWXoaNy59IiKCAqksmQEo\"", NULL},
        {"", "ath is missing"},
        {",\"ath\":null", "ath is missing"},
        {",\"ath\":[\"fUHyO2r2Z3DZ53EsNrWBb0xWXoaNy59IiKCAqksmQEo\"]", "ath is missing"},
        {",\"ath\":\"\"", "ath is not"},
        {",\"ath\":\"fUHyO2r2Z3DZ53EsNrWBb0xWXoaNy59IiKCAqksmQEp\"", "ath is not"},
        {",\"ath\":\"fUHyO2r2Z3DZ53EsNrWBb0xWXoaNy59IiKCAqksmQEo=\"", "ath is not"},
        {",\"ath\":\"fUHyO2r2Z3DZ53EsNrWBb0xWXoaNy59IiKCAqksmQE\"", "ath is not"},
        {",\"ath\":\"fuhyo2r2z3dz53esnrwbb0xwxoany59iikcaqksmqeo\"", "ath is not"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct err got = check(f, proof_of(f, &k, claims_and(f, cases[i].more)), &e);
        if (cases[i].why == NULL)
            assert_ok(got);
        else
            assert_fails_with(ERR_DPOP_PROOF, cases[i].why, got);
    }
    test_key_free(&k);
}

static struct dpop_proof accepted(struct fixture *f, const struct test_key *k, const char *payload)
{
    const struct dpop_expect e = at_token();
    struct dpop_proof p;
    assert_ok(dpop_check(f->crypto, f->arena, proof_of(f, k, payload), &e, &p));
    return p;
}

static void test_nonce(void **state)
{
    struct fixture *f = *state;
    const struct dpop_expect e = at_token();
    struct test_key k = test_key_new(f, JOSE_EDDSA);
    assert_null(accepted(f, &k, claims_and(f, "")).nonce.p);
    assert_str(accepted(f, &k, claims_and(f, ",\"nonce\":\"eyJ7S_zG.eyJH0-Z.HX4w-7v\"")).nonce,
               "eyJ7S_zG.eyJH0-Z.HX4w-7v");
    struct dpop_proof p = accepted(f, &k, claims_and(f, ",\"nonce\":\"\""));
    assert_non_null(p.nonce.p);
    assert_int_equal(0, p.nonce.n);
    char text[DPOP_NONCE_MAX + 1];
    memset(text, 'n', sizeof text);
    struct str more = arena_printf(f->arena, ",\"nonce\":\"%.*s\"", DPOP_NONCE_MAX, text);
    assert_int_equal(DPOP_NONCE_MAX, accepted(f, &k, claims_and(f, more.p)).nonce.n);
    more = arena_printf(f->arena, ",\"nonce\":\"%.*s\"", DPOP_NONCE_MAX + 1, text);
    assert_fails_with(ERR_DPOP_PROOF, "nonce", check(f, proof_of(f, &k, claims_and(f, more.p)), &e));
    static const char *const bad[] = {",\"nonce\":7", ",\"nonce\":null", ",\"nonce\":[\"a\"]"};
    for (size_t i = 0; i < COUNT(bad); i++)
        assert_fails_with(ERR_DPOP_PROOF, "nonce", check(f, proof_of(f, &k, claims_and(f, bad[i])), &e));
    test_key_free(&k);
}

static const char *claims_with_jti(struct fixture *f, const char *jti, const char *more)
{
    return arena_printf(f->arena, "{\"jti\":\"%s\",\"htm\":\"POST\",\"htu\":\"" URL "\",\"iat\":%d%s}", jti, NOW, more)
        .p;
}

/* D01: two tokens of one jti are one proof, however they are written and signed. */
static void test_d01_jti(void **state)
{
    struct fixture *f = *state;
    const struct dpop_expect e = at_token();
    struct test_key k = test_key_new(f, JOSE_ES256);
    struct test_key other = test_key_new(f, JOSE_EDDSA);
    struct dpop_proof first = accepted(f, &k, claims_with_jti(f, "id-1", ""));
    struct dpop_proof again = accepted(f, &k, claims_with_jti(f, "\\u0069d-1", ",\"x\":1"));
    struct dpop_proof by_other = accepted(f, &other, claims_with_jti(f, "id-1", ""));
    struct dpop_proof next = accepted(f, &k, claims_with_jti(f, "id-2", ""));
    assert_memory_equal(first.jti_sha256, again.jti_sha256, SHA256_LEN);
    assert_memory_equal(first.jti_sha256, by_other.jti_sha256, SHA256_LEN);
    assert_memory_not_equal(first.jti_sha256, next.jti_sha256, SHA256_LEN);
    assert_string_equal(first.jkt, again.jkt);
    assert_string_not_equal(first.jkt, by_other.jkt);

    char text[DPOP_JTI_MAX + 2];
    memset(text, 'j', sizeof text);
    text[DPOP_JTI_MAX] = '\0';
    assert_ok(check(f, proof_of(f, &k, claims_with_jti(f, text, "")), &e));
    text[DPOP_JTI_MAX] = 'j';
    text[DPOP_JTI_MAX + 1] = '\0';
    assert_fails_with(ERR_DPOP_PROOF, "jti", check(f, proof_of(f, &k, claims_with_jti(f, text, "")), &e));
    test_key_free(&k);
    test_key_free(&other);
}

/* What the caller is shown quotes nothing of the proof, and what was refused leaves nothing behind. */
static void test_refusals_quote_nothing(void **state)
{
    struct fixture *f = *state;
    const struct dpop_expect e = {.method = STR("POST"), .url = STR(URL), .access_token = STR("t"), .now_s = NOW};
    struct test_key k = test_key_new(f, JOSE_EDDSA);
    static const char *const payloads[] = {
        "{\"jti\":[\"marker\"]}",
        "{\"jti\":\"a\",\"htm\":\"marker\",\"htu\":\"" URL "\",\"iat\":1562262616}",
        "{\"jti\":\"a\",\"htm\":\"POST\",\"htu\":\"marker\",\"iat\":1562262616}",
        "{\"jti\":\"a\",\"htm\":\"POST\",\"htu\":\"https://marker@a\",\"iat\":1562262616}",
        "{\"jti\":\"a\",\"htm\":\"POST\",\"htu\":\"https://marker\",\"iat\":1562262616}",
        "{\"jti\":\"a\",\"htm\":\"POST\",\"htu\":\"" URL "\",\"iat\":\"marker\"}",
        "{\"jti\":\"a\",\"htm\":\"POST\",\"htu\":\"" URL "\",\"iat\":1562262616,\"ath\":\"marker\"}",
        "{\"jti\":\"a\",\"htm\":\"POST\",\"htu\":\"" URL "\",\"iat\":1562262616,\"nonce\":[\"marker\"]}",
        "{\"jti\":\"a\",\"jti\":\"marker\"}",
        "{\"jti\":marker}",
    };
    for (size_t i = 0; i < COUNT(payloads); i++) {
        struct dpop_proof p = {.jkt = "before"};
        struct err got = dpop_check(f->crypto, f->arena, proof_of(f, &k, payloads[i]), &e, &p);
        assert_int_equal(ERR_DPOP_PROOF, got.code);
        assert_true(strlen(got.detail) > 0);
        assert_null(strstr(got.detail, "marker"));
        assert_string_equal("before", p.jkt);
    }
    test_key_free(&k);
}

#define T(fn) cmocka_unit_test_setup(fn, fixture_reset)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_rfc9449_4_1),
        T(test_rfc9449_7_1),
        T(test_jwcrypto_every_other_algorithm),
        T(test_every_algorithm_and_no_other_key),
        T(test_check_2_one_well_formed_jwt),
        T(test_d12_sizes),
        T(test_check_3_required_claims),
        T(test_check_4_typ),
        T(test_d11_alg),
        T(test_d06_jwk),
        T(test_d06_rsa_alg_is_the_headers),
        T(test_header_members),
        T(test_jwk_stays_refused_elsewhere),
        T(test_d03_htm),
        T(test_d02_htu_equal),
        T(test_d02_htu_not_equal),
        T(test_d02_htu_refused),
        T(test_own_url),
        T(test_d08_times),
        T(test_d01_replay_until),
        T(test_d07_ath),
        T(test_nonce),
        T(test_d01_jti),
        T(test_refusals_quote_nothing),
    };
    return cmocka_run_group_tests(tests, fixture_setup, fixture_teardown);
}
