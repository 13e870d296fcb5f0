/* SPDX-License-Identifier: Apache-2.0
 * Makes request bodies for POST /v1/agent-sessions, one a line, each with a fresh ES256 client assertion.
 *
 *   bench-assertions KEY.pem AGENT-ID ISSUER SCOPE COUNT */
#include "base/clock.h"
#include "base/rand.h"
#include "crypto/b64u.h"
#include "crypto/json.h"
#include "crypto/jws.h"

#include <openssl/ecdsa.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <stdlib.h>

enum { ARENA_BYTES = 1048576, LIFETIME_S = 290, TEXT_MAX = 8192 };

struct maker {
    EVP_PKEY *key;
    struct arena *arena;
    struct str agent, issuer, scope;
};

static struct err sign(void *self, struct str input, struct buf *signature)
{
    struct maker *m = self;
    unsigned char der[128];
    size_t n = sizeof der;
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bool good = ctx != NULL && EVP_DigestSignInit(ctx, NULL, EVP_sha256(), NULL, m->key) == 1 &&
                EVP_DigestSign(ctx, der, &n, (const unsigned char *)input.p, input.n) == 1;
    EVP_MD_CTX_free(ctx);
    const unsigned char *p = der;
    ECDSA_SIG *sig = good ? d2i_ECDSA_SIG(NULL, &p, (long)n) : NULL;
    uint8_t *raw = sig != NULL ? buf_room(signature, 64) : NULL;
    good = raw != NULL && BN_bn2binpad(ECDSA_SIG_get0_r(sig), raw, 32) == 32 &&
           BN_bn2binpad(ECDSA_SIG_get0_s(sig), raw + 32, 32) == 32;
    ECDSA_SIG_free(sig);
    return good ? OK : FAIL(ERR_CRYPTO, "cannot sign");
}

static struct err claims(const struct maker *m, struct bytes *out)
{
    char jti[ID_TEXT];
    TRY(rand_id("", jti));
    struct clock c = clock_real();
    int64_t now = clock_now_s(&c);
    struct buf b = buf_in(m->arena, TEXT_MAX);
    struct json_writer w = json_writer(&b);
    json_begin_object(&w, NULL);
    json_put_str(&w, "iss", m->agent);
    json_put_str(&w, "sub", m->agent);
    json_put_str(&w, "aud", m->issuer);
    json_put_str(&w, "jti", str_of(jti));
    json_put_int(&w, "iat", now);
    json_put_int(&w, "exp", now + LIFETIME_S);
    json_end_object(&w);
    *out = buf_bytes(&b);
    return buf_status(&b);
}

static struct err make_one(struct maker *m)
{
    struct bytes payload;
    TRY(claims(m, &payload));
    const struct jws_signer s = {.alg = JOSE_ES256, .kid = STR("bench"), .self = m, .sign = sign};
    struct str token;
    TRY(jws_sign(m->arena, &s, STR("client-authentication+jwt"), payload, &token));
    struct buf b = buf_in(m->arena, TEXT_MAX);
    struct json_writer w = json_writer(&b);
    json_begin_object(&w, NULL);
    json_put_str(&w, "agent_id", m->agent);
    json_put_str(&w, "client_assertion", token);
    json_put_str(&w, "client_assertion_type", STR("urn:ietf:params:oauth:client-assertion-type:jwt-bearer"));
    json_put_list(&w, "scopes", (struct str_list){&m->scope, 1});
    json_end_object(&w);
    TRY(buf_status(&b));
    struct str line = buf_view(&b);
    return printf("%.*s\n", STR_FMT(line)) > 0 ? OK : FAIL(ERR_IO, "cannot write");
}

int main(int argc, char **argv)
{
    long count = argc == 6 ? strtol(argv[5], NULL, 10) : 0;
    if (count < 1) {
        (void)fprintf(stderr, "usage: bench-assertions KEY.pem AGENT-ID ISSUER SCOPE COUNT\n");
        return 2;
    }
    struct maker m = {.agent = str_of(argv[2]), .issuer = str_of(argv[3]), .scope = str_of(argv[4])};
    FILE *in = fopen(argv[1], "r");
    m.key = in != NULL ? PEM_read_PrivateKey(in, NULL, NULL, NULL) : NULL;
    struct err e = m.key != NULL ? arena_new(ARENA_BYTES, &m.arena) : FAIL(ERR_IO, "cannot read %s", argv[1]);
    for (long i = 0; i < count && !err_is(&e); i++) {
        e = make_one(&m);
        arena_reset(m.arena);
    }
    if (err_is(&e))
        (void)fprintf(stderr, "bench-assertions: %s\n", e.detail);
    if (in != NULL)
        (void)fclose(in);
    EVP_PKEY_free(m.key);
    arena_free(&m.arena);
    return err_is(&e) ? 1 : 0;
}
