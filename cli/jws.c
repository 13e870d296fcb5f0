/* SPDX-License-Identifier: Apache-2.0
 * nexus jws: any compact JWS, against a key that the caller trusts. */
#include "crypto/jws.h"

#include "cli/cli.h"
#include "crypto/b64u.h"

#include <stdio.h>

struct verify_options {
    struct str jwk;
};

static const struct opt verify_options[] = {
    {"jwk", "FILE", "the public key, as one JWK", offsetof(struct verify_options, jwk), OPT_STR, true, 0, 0},
};

static struct err read_key(struct cli *cli, struct str file, struct jwk **out)
{
    const struct json *json = NULL;
    TRY(cli_read_json(cli, "key file", file, &json));
    if (json_get(json, "keys") != NULL)
        return cli_fail(cli, CLI_UNAVAILABLE, NULL, "%s holds a set of keys: take the one out that you trust", file.p);
    struct err e = jwk_parse(cli->crypto, json, out);
    return err_is(&e) ? cli_fail(cli, CLI_UNAVAILABLE, NULL, "cannot use the key in %s: %s", file.p, e.detail) : OK;
}

/* The payload as JSON where it is some, else in base64url: it may be any bytes. */
static struct err print_json(const struct cli *cli, const struct jws *j)
{
    struct buf b = buf_in(cli->arena, (size_t)4 * JWS_MAX);
    struct json_writer w = json_writer(&b);
    const struct json *payload = NULL;
    struct err not_json = json_parse(cli->arena, j->payload, &payload);
    json_begin_object(&w, NULL);
    json_put_str(&w, "alg", str_of(jose_alg_name(j->alg)));
    if (j->kid.p != NULL)
        json_put_str(&w, "kid", j->kid);
    if (j->typ.p != NULL)
        json_put_str(&w, "typ", j->typ);
    if (err_is(&not_json))
        json_put_str(&w, "payload_base64url", b64u_text(cli->arena, j->payload));
    else
        json_put_json(&w, "payload", payload);
    json_end_object(&w);
    TRY(buf_status(&b));
    (void)printf("%.*s\n", STR_FMT(buf_view(&b)));
    return OK;
}

static struct err jws_verify_command(struct cli *cli, const void *options)
{
    const struct verify_options *o = options;
    CLEANUP(jwk_free) struct jwk *key = NULL;
    TRY(read_key(cli, o->jwk, &key));
    struct str token = {NULL, 0};
    TRY(cli_read_token(cli, &token));
    struct jws j;
    struct err e = jws_parse(cli->arena, token, &j);
    if (!err_is(&e))
        e = jws_verify(cli->crypto, &j, key);
    if (err_is(&e))
        return cli_fail(cli, CLI_REFUSED, "invalid_token", "the token is not valid: %s", e.detail);
    if (cli->json)
        return print_json(cli, &j);
    /* Byte for byte what was signed, so no newline of ours. */
    (void)fwrite(j.payload.p, 1, j.payload.n, stdout);
    return OK;
}

static const struct command commands[] = {
    {"verify", "", "check the signature of the token on stdin and print its payload", jws_verify_command, 0, 0,
     OPTS(verify_options, struct verify_options)},
};

const struct command_group jws_group = {"jws", "signed tokens of any kind (RFC 7515)", commands, COUNT(commands)};
