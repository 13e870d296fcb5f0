/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/assertion.h"

#include "base/rand.h"
#include "crypto/private_signer.h"

enum { LIFETIME_S = 60, KEY_FILE_MAX = 16384, CLAIMS_MAX = 8192 };

struct err assertion_rsa_alg(struct cli *cli, struct str name, enum jose_alg *out)
{
    *out = JOSE_RS256;
    if (name.p == NULL || str_is(name, "RS256"))
        return OK;
    if (!str_is(name, "PS256"))
        return cli_fail(cli, CLI_USAGE, NULL,
                        "--alg is RS256 or PS256, for RSA keys; other keys have one algorithm each");
    *out = JOSE_PS256;
    return OK;
}

static struct err claims(struct cli *cli, const struct assertion_ask *ask, struct bytes *out)
{
    char jti[ID_TEXT];
    TRY(rand_id("", jti));
    int64_t now = clock_now_s(&cli->clock);
    struct buf b = buf_in(cli->arena, CLAIMS_MAX);
    struct json_writer w = json_writer(&b);
    json_begin_object(&w, NULL);
    json_put_str(&w, "iss", ask->agent_id);
    json_put_str(&w, "sub", ask->agent_id);
    json_put_str(&w, "aud", ask->issuer);
    json_put_int(&w, "iat", now);
    json_put_int(&w, "exp", now + LIFETIME_S);
    json_put_str(&w, "jti", str_of(jti));
    json_end_object(&w);
    TRY(buf_status(&b));
    *out = buf_bytes(&b);
    return OK;
}

struct err assertion_make(struct cli *cli, const struct assertion_ask *ask, struct str *out)
{
    CLEANUP(secret_free) struct secret *pem = NULL;
    TRY(cli_read_secret(cli, "private key file", ask->key_file, KEY_FILE_MAX, &pem));
    CLEANUP(private_signer_free) struct private_signer *own = NULL;
    struct err e = private_signer_new(cli->crypto, secret_bytes(pem), ask->rsa_alg, &own);
    if (err_is(&e))
        return cli_fail(cli, CLI_UNAVAILABLE, NULL, "cannot use the private key file %s: %s", ask->key_file.p,
                        e.detail);
    struct bytes payload = {NULL, 0};
    TRY(claims(cli, ask, &payload));
    struct jws_signer signer = private_signer_jws(own);
    if (ask->kid.p != NULL)
        signer.kid = ask->kid;
    return jws_sign(cli->arena, &signer, STR("client-authentication+jwt"), payload, out);
}
