/* SPDX-License-Identifier: Apache-2.0 */
#include "crypto/json_pointer.h"

bool json_pointer_ok(struct str pointer)
{
    if (pointer.n > 0 && pointer.p[0] != '/')
        return false;
    for (size_t i = 0; i < pointer.n; i++) {
        if (pointer.p[i] != '~')
            continue;
        if (i + 1 == pointer.n || (pointer.p[i + 1] != '0' && pointer.p[i + 1] != '1'))
            return false;
    }
    return true;
}

/* Takes the first token off a pointer that is not empty: without its '/', and still escaped. */
static struct str take_token(struct str *rest)
{
    struct str token = {rest->p + 1, 0};
    while (token.n + 1 < rest->n && token.p[token.n] != '/')
        token.n++;
    *rest = (struct str){token.p + token.n, rest->n - token.n - 1};
    return token;
}

/* RFC 6901 section 4: ~1 stands for '/', ~0 for '~'. Compared in place of being decoded. */
static bool is_name(struct str token, struct str name)
{
    size_t k = 0;
    for (size_t i = 0; i < token.n; i++, k++) {
        char c = token.p[i];
        if (c == '~')
            c = token.p[++i] == '1' ? '/' : '~';
        if (k == name.n || name.p[k] != c)
            return false;
    }
    return k == name.n;
}

static const struct json *member(const struct json *obj, struct str token)
{
    for (size_t i = 0; i < obj->n; i++) {
        if (is_name(token, obj->names[i]))
            return &obj->items[i];
    }
    return NULL;
}

/* RFC 6901 section 4: array-index = %x30 / ( %x31-39 *(%x30-39) ). */
static const struct json *item(const struct json *array, struct str token)
{
    size_t index = 0;
    bool good = token.n == 1 || (token.n > 1 && token.p[0] != '0');
    for (size_t i = 0; i < token.n && good; i++) {
        good = token.p[i] >= '0' && token.p[i] <= '9' && index < array->n;
        if (good)
            index = index * 10 + (size_t)(token.p[i] - '0');
    }
    return good && index < array->n ? &array->items[index] : NULL;
}

const struct json *json_pointer_get(const struct json *root, struct str pointer)
{
    if (!json_pointer_ok(pointer))
        return NULL;
    const struct json *at = root;
    while (at != NULL && pointer.n > 0) {
        struct str token = take_token(&pointer);
        if (at->type == JSON_OBJECT)
            at = member(at, token);
        else
            at = at->type == JSON_ARRAY ? item(at, token) : NULL;
    }
    return at;
}
