/* SPDX-License-Identifier: Apache-2.0 */
#include "crypto/jwk.h"

#include <stdlib.h>

static struct err add_key(const struct crypto *c, const struct json *obj, size_t index, bool strict, struct jwks *s)
{
    CLEANUP(jwk_free) struct jwk *k = NULL;
    struct err e = jwk_parse(c, obj, &k);
    /* RFC 7517 section 5: a reader leaves out the keys that it cannot use. */
    if (e.code == ERR_INVALID_JWKS && !strict)
        return OK;
    if (e.code == ERR_INVALID_JWKS)
        return FAIL(ERR_INVALID_JWKS, "key %zu: %s", index, e.detail);
    TRY(e);
    for (size_t i = 0; i < s->n; i++) {
        if (str_eq(jwk_kid(s->keys[i]), jwk_kid(k)))
            return FAIL(ERR_INVALID_JWKS, "key %zu: its kid is that of another key", index);
    }
    s->keys[s->n++] = k;
    k = NULL;
    return OK;
}

struct err jwks_parse(const struct crypto *c, const struct json *obj, size_t min, size_t max, bool strict,
                      struct jwks *out)
{
    const struct json *keys = json_get(obj, "keys");
    if (keys == NULL || keys->type != JSON_ARRAY)
        return FAIL(ERR_INVALID_JWKS, "must be an object with an array \"keys\"");
    if (keys->n > max || keys->n > JWKS_MAX)
        return FAIL(ERR_INVALID_JWKS, "more than %zu keys", max < JWKS_MAX ? max : JWKS_MAX);
    CLEANUP(jwks_free) struct jwks s = {0};
    s.keys = calloc(keys->n + 1, sizeof(struct jwk *));
    if (s.keys == NULL)
        return FAIL(ERR_NO_MEMORY, "JWK set of %zu", keys->n);
    for (size_t i = 0; i < keys->n; i++)
        TRY(add_key(c, &keys->items[i], i, strict, &s));
    if (s.n < min)
        return FAIL(ERR_INVALID_JWKS, "fewer than %zu usable keys", min);
    *out = s;
    s = (struct jwks){0};
    return OK;
}

void jwks_free(struct jwks *s)
{
    for (size_t i = 0; i < s->n; i++)
        jwk_free(&s->keys[i]);
    free(s->keys);
    *s = (struct jwks){0};
}

const struct jwk *jwks_find(const struct jwks *s, struct str kid)
{
    if (kid.n == 0)
        return s->n == 1 ? s->keys[0] : NULL;
    for (size_t i = 0; i < s->n; i++) {
        if (str_eq(jwk_kid(s->keys[i]), kid))
            return s->keys[i];
    }
    return NULL;
}
