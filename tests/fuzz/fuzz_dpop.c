/* SPDX-License-Identifier: Apache-2.0
 * The input is a proof; or, begun by '{', the payload of a proof that is signed here; or, begun by 'h', what stands in
 * the header of such a proof behind its alg; or, begun by "u ", a URL, and on the next line another. What is accepted
 * has what it must have, by a second and simpler reading; and a URL equals another both ways or neither. */
#include "crypto/b64u.h"
#include "crypto/dpop.h"
#include "crypto/jws.h"
#include "tests/fuzz/fuzz.h"

#include <openssl/evp.h>

enum { NOW = 1562262616, SIG = 64, KEY = 32, TEXT_MAX = 1 << 16 };

#define METHOD "POST"
#define PATH   "/token"
#define TOKEN  "Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU"
#define ATH    "fUHyO2r2Z3DZ53EsNrWBb0xWXoaNy59IiKCAqksmQEo"

struct env {
    struct crypto *crypto;
    EVP_PKEY *key;
    char jwk[128];
};

static const struct env *env(void)
{
    static struct env e; /* made once for all inputs of this process */
    if (e.crypto != NULL)
        return &e;
    static const uint8_t seed[KEY] = {7};
    uint8_t pub[KEY];
    size_t n = sizeof pub;
    FUZZ_OK(crypto_new("default", &e.crypto));
    e.key = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, seed, sizeof seed);
    FUZZ_CHECK(e.key != NULL && EVP_PKEY_get_raw_public_key(e.key, pub, &n) == 1);
    CLEANUP(arena_free) struct arena *a = fuzz_arena();
    struct str x = b64u_text(a, bytes_of(pub, n));
    (void)snprintf(e.jwk, sizeof e.jwk, "{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"%.*s\"}", STR_FMT(x));
    return &e;
}

static struct str proof_of(struct arena *a, struct str header, struct str payload)
{
    struct buf b = buf_in(a, TEXT_MAX);
    b64u_encode(&b, str_bytes(header));
    buf_char(&b, '.');
    b64u_encode(&b, str_bytes(payload));
    FUZZ_OK(buf_status(&b));
    uint8_t sig[SIG];
    size_t n = sizeof sig;
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    FUZZ_CHECK(EVP_DigestSignInit(ctx, NULL, NULL, NULL, env()->key) == 1);
    FUZZ_CHECK(EVP_DigestSign(ctx, sig, &n, buf_bytes(&b).p, b.n) == 1);
    EVP_MD_CTX_free(ctx);
    buf_char(&b, '.');
    b64u_encode(&b, bytes_of(sig, n));
    FUZZ_OK(buf_status(&b));
    return buf_view(&b);
}

static struct str good_header(struct arena *a)
{
    return arena_printf(a, "{\"typ\":\"dpop+jwt\",\"alg\":\"EdDSA\",\"jwk\":%s}", env()->jwk);
}

/* The segment of a proof that was accepted. */
static const struct json *segment(struct arena *a, struct str from, struct str *rest)
{
    const char *dot = memchr(from.p, '.', from.n);
    FUZZ_CHECK(dot != NULL);
    size_t n = (size_t)(dot - from.p);
    *rest = (struct str){dot + 1, from.n - n - 1};
    struct bytes text = {NULL, 0};
    const struct json *out = NULL;
    FUZZ_OK(b64u_decode(a, (struct str){from.p, n}, &text));
    FUZZ_OK(json_parse(a, text, &out));
    return out;
}

static bool is(const struct json *obj, const char *name, const char *want)
{
    const struct json *v = json_get(obj, name);
    return v != NULL && v->type == JSON_STR && str_is(v->s, want);
}

static void check_accepted(struct arena *a, struct str proof, const struct dpop_expect *e, const struct dpop_proof *p)
{
    struct str rest = {NULL, 0};
    const struct json *header = segment(a, proof, &rest);
    const struct json *payload = segment(a, rest, &rest);
    static const char *const never[] = {"jku", "x5u", "x5c", "x5t", "x5t#S256", "crit", "b64", "zip"};
    static const char *const secret[] = {"d", "p", "q", "dp", "dq", "qi", "oth", "k"};
    for (size_t i = 0; i < COUNT(never); i++)
        FUZZ_CHECK(json_get(header, never[i]) == NULL);
    for (size_t i = 0; i < COUNT(secret); i++)
        FUZZ_CHECK(json_get(json_get(header, "jwk"), secret[i]) == NULL);
    const struct json *iat = json_get(payload, "iat");
    const struct json *exp = json_get(payload, "exp");
    const struct json *nbf = json_get(payload, "nbf");
    const struct json *jti = json_get(payload, "jti");
    const struct json *nonce = json_get(payload, "nonce");
    FUZZ_CHECK(is(payload, "htm", METHOD) && json_get(payload, "htu") != NULL);
    FUZZ_CHECK(e->access_token.p == NULL || is(payload, "ath", ATH));
    FUZZ_CHECK(iat->i >= NOW - 60 && iat->i <= NOW + 10);
    FUZZ_CHECK(exp == NULL || exp->i > NOW);
    FUZZ_CHECK(nbf == NULL || nbf->i <= NOW + 10);
    FUZZ_CHECK(jti->s.n > 0 && jti->s.n <= DPOP_JTI_MAX);
    FUZZ_CHECK(nonce == NULL ? p->nonce.p == NULL : str_eq(nonce->s, p->nonce));
    FUZZ_CHECK(strlen(p->jkt) == DPOP_JKT_LEN);
    FUZZ_CHECK(p->replay_until_us > (iat->i + 60) * 1000000);
    uint8_t hash[SHA256_LEN];
    FUZZ_OK(crypto_sha256(env()->crypto, str_bytes(jti->s), hash));
    FUZZ_CHECK(memcmp(hash, p->jti_sha256, sizeof hash) == 0);
}

static void check_proof(struct arena *a, struct str proof, struct str token)
{
    const struct dpop_expect e = {
        .method = STR(METHOD), .url = STR("https://server.example.com" PATH), .access_token = token, .now_s = NOW};
    struct dpop_proof p = {0};
    struct err got = dpop_check(env()->crypto, a, proof, &e, &p);
    FUZZ_CHECK(got.code == ERR_NONE || got.code == ERR_DPOP_PROOF);
    if (!err_is(&got))
        check_accepted(a, proof, &e, &p);
}

static enum err_code compare(struct arena *a, struct str htu, struct str url)
{
    struct buf b = buf_in(a, TEXT_MAX);
    struct json_writer w = json_writer(&b);
    json_begin_object(&w, NULL);
    json_put_str(&w, "jti", STR("a"));
    json_put_str(&w, "htm", STR(METHOD));
    json_put_str(&w, "htu", htu);
    json_put_int(&w, "iat", NOW);
    json_end_object(&w);
    if (b.failed)
        return ERR_DPOP_PROOF; /* no UTF-8 */
    const struct dpop_expect e = {.method = STR(METHOD), .url = url, .now_s = NOW};
    struct dpop_proof p;
    return dpop_check(env()->crypto, a, proof_of(a, good_header(a), buf_view(&b)), &e, &p).code;
}

/* ERR_INTERNAL is an own URL that is none; ERR_DPOP_PROOF one of the other's, or that they differ. */
static void check_urls(struct arena *a, struct str one, struct str two)
{
    enum err_code own = compare(a, one, one);
    enum err_code ahead = compare(a, one, two);
    enum err_code back = compare(a, two, one);
    FUZZ_CHECK(own == ERR_NONE || own == ERR_INTERNAL || own == ERR_DPOP_PROOF);
    FUZZ_CHECK((ahead == ERR_NONE) == (back == ERR_NONE));
    FUZZ_CHECK(ahead != ERR_NONE || own == ERR_NONE);
    /* What follows a query's mark changes nothing. */
    struct str more = arena_printf(a, "%.*s?/../@", STR_FMT(one));
    FUZZ_CHECK(own != ERR_NONE || memchr(one.p, '#', one.n) != NULL || compare(a, more, one) == ERR_NONE);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    CLEANUP(arena_free) struct arena *a = fuzz_arena();
    struct str text = bytes_str(bytes_of(data, size));
    if (size == 0 || size > DPOP_PROOF_MAX)
        return 0;
    if (data[0] == '{') {
        struct str proof = proof_of(a, good_header(a), text);
        check_proof(a, proof, (struct str){NULL, 0});
        check_proof(a, proof, STR(TOKEN));
    } else if (data[0] == 'h') {
        struct str header = arena_printf(a, "{\"alg\":\"EdDSA\",%.*s", (int)size - 1, text.p + 1);
        check_proof(a,
                    proof_of(a, header,
                             STR("{\"jti\":\"a\",\"htm\":\"" METHOD "\",\"htu\":\"https://server.example.com" PATH
                                 "\",\"iat\":1562262616}")),
                    (struct str){NULL, 0});
    } else if (str_starts(text, STR("u "))) {
        const char *line = memchr(text.p, '\n', text.n);
        size_t n = line != NULL ? (size_t)(line - text.p) : text.n;
        size_t second = line != NULL ? n + 1 : n;
        check_urls(a, (struct str){text.p + 2, n - 2}, (struct str){text.p + second, text.n - second});
    } else {
        check_proof(a, text, (struct str){NULL, 0});
    }
    return 0;
}
