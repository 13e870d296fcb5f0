/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/keys.h"

#include "crypto/jwk.h"

static struct err put_one(const struct cli *cli, const struct json *json, struct json_writer *w)
{
    CLEANUP(jwk_free) struct jwk *k = NULL;
    TRY(jwk_parse(cli->crypto, json, &k));
    jwk_write(k, w, NULL);
    return OK;
}

static struct err put_set(const struct cli *cli, const struct json *json, size_t max, struct json_writer *w)
{
    CLEANUP(jwks_free) struct jwks set = {.n = 0};
    TRY(jwks_parse(cli->crypto, json, 1, max, true, &set));
    for (size_t i = 0; i < set.n; i++)
        jwk_write(set.keys[i], w, NULL);
    return OK;
}

struct err keys_put(struct cli *cli, struct str file, size_t max, struct json_writer *w)
{
    const struct json *json = NULL;
    TRY(cli_read_json(cli, "key file", file, &json));
    struct err e = json_get(json, "keys") != NULL ? put_set(cli, json, max, w) : put_one(cli, json, w);
    if (err_is(&e))
        return cli_fail(cli, CLI_UNAVAILABLE, NULL, "cannot use the keys of %s: %s", file.p, e.detail);
    return OK;
}
