/* SPDX-License-Identifier: Apache-2.0 */
#include "service/api/public_keys.h"

#include "crypto/jwk.h"

enum { TEXT_MAX = 65536 };

struct err public_keys_text(const struct call *c, const struct json *jwks, size_t max, struct str *out)
{
    CLEANUP(jwks_free) struct jwks set = {.n = 0};
    TRY(err_refused_as(jwks_parse(c->api->app->crypto, jwks, 1, max, true, &set), ERR_INVALID_JWKS));
    struct buf b = buf_in(c->arena, TEXT_MAX);
    struct json_writer w = json_writer(&b);
    json_begin_object(&w, NULL);
    json_begin_array(&w, "keys");
    for (size_t i = 0; i < set.n; i++)
        jwk_write(set.keys[i], &w, NULL);
    json_end_array(&w);
    json_end_object(&w);
    if (b.too_large)
        return FAIL(ERR_INVALID_JWKS, "more than %d bytes in all", TEXT_MAX);
    *out = buf_view(&b);
    return buf_status(&b);
}
