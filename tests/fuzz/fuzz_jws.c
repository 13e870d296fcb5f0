/* SPDX-License-Identifier: Apache-2.0
 * The input is a token, or when it starts with a brace the header of one. A token that parses is rebuilt from its parts
 * byte by byte, and verifies under a key only when its alg is that key's. */
#include "crypto/b64u.h"
#include "crypto/jws.h"
#include "tests/fuzz/fuzz.h"

/* RFC 7515 appendix A.3 and RFC 8037 appendix A.2. */
static const char *const key_texts[] = {
    "{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU\","
    "\"y\":\"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0\"}",
    "{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\"}",
};

struct env {
    struct crypto *crypto;
    struct jwk *keys[COUNT(key_texts)];
};

static const struct env *env(void)
{
    static struct env e; /* made once for all inputs of this process */
    if (e.crypto != NULL)
        return &e;
    FUZZ_OK(crypto_new("default", &e.crypto));
    CLEANUP(arena_free) struct arena *a = fuzz_arena();
    for (size_t i = 0; i < COUNT(key_texts); i++) {
        const struct json *obj = NULL;
        FUZZ_OK(json_parse(a, str_bytes(str_of(key_texts[i])), &obj));
        FUZZ_OK(jwk_parse(e.crypto, obj, &e.keys[i]));
    }
    return &e;
}

static void check_token(struct arena *a, struct str token)
{
    struct jws j = {0};
    struct err e = jws_parse(a, token, &j);
    if (err_is(&e)) {
        FUZZ_CHECK(e.code == ERR_JOSE_MALFORMED || e.code == ERR_JOSE_ALG);
        return;
    }
    FUZZ_CHECK(j.alg < JOSE_ALG_COUNT && j.payload.n > 0 && j.signature.n > 0);
    struct str again = {NULL, 0};
    FUZZ_OK(jws_join(a, j.signing_input, j.signature, &again));
    FUZZ_CHECK(str_eq(token, again));
    FUZZ_CHECK(memchr(j.signing_input.p, '.', j.signing_input.n) != NULL);
    for (size_t i = 0; i < COUNT(key_texts); i++) {
        struct err v = jws_verify(env()->crypto, &j, env()->keys[i]);
        /* The two tokens of the RFCs are in the corpus and verify. */
        FUZZ_CHECK(v.code == ERR_JOSE_SIGNATURE || v.code == ERR_JOSE_ALG || v.code == ERR_NONE);
        FUZZ_CHECK(v.code != ERR_NONE || j.alg == jwk_alg(env()->keys[i]));
    }
}

static void check_header(struct arena *a, struct bytes header)
{
    struct buf token = buf_in(a, (size_t)4 * JWS_MAX);
    b64u_encode(&token, header);
    buf_cstr(&token, ".e30.AAAA");
    if (!token.failed)
        check_token(a, buf_view(&token));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    CLEANUP(arena_free) struct arena *a = fuzz_arena();
    if (size == 0)
        return 0;
    if (data[0] == '{')
        check_header(a, bytes_of(data, size));
    else
        check_token(a, bytes_str(bytes_of(data, size)));
    return 0;
}
