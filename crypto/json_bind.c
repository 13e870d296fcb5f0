/* SPDX-License-Identifier: Apache-2.0 */
#include "crypto/json.h"

static struct err bind_str(const struct json_field *f, const struct json *v, void *slot)
{
    if (v->type != JSON_STR)
        return FAIL(ERR_INVALID_REQUEST, "field \"%s\": must be a string", f->name);
    if (f->max > 0 && v->s.n > (size_t)f->max)
        return FAIL(ERR_INVALID_REQUEST, "field \"%s\": must be at most %lld bytes long", f->name, (long long)f->max);
    if ((int64_t)v->s.n < f->min)
        return FAIL(ERR_INVALID_REQUEST, "field \"%s\": must be at least %lld bytes long", f->name, (long long)f->min);
    memcpy(slot, &v->s, sizeof v->s);
    return OK;
}

static struct err bind_int(const struct json_field *f, const struct json *v, void *slot)
{
    bool limited = f->min != 0 || f->max != 0;
    if (v->type != JSON_INT)
        return FAIL(ERR_INVALID_REQUEST, "field \"%s\": must be an integer", f->name);
    if (limited && (v->i < f->min || v->i > f->max))
        return FAIL(ERR_INVALID_REQUEST, "field \"%s\": must be from %lld to %lld", f->name, (long long)f->min,
                    (long long)f->max);
    const struct json_int x = {.set = true, .v = v->i};
    memcpy(slot, &x, sizeof x);
    return OK;
}

static struct err bind_bool(const struct json_field *f, const struct json *v, void *slot)
{
    if (v->type != JSON_BOOL)
        return FAIL(ERR_INVALID_REQUEST, "field \"%s\": must be true or false", f->name);
    const struct json_bool x = {.set = true, .v = v->b};
    memcpy(slot, &x, sizeof x);
    return OK;
}

static struct err check_count(const struct json_field *f, const struct json *v)
{
    if ((int64_t)v->n < f->min)
        return FAIL(ERR_INVALID_REQUEST, "field \"%s\": must have at least %lld items", f->name, (long long)f->min);
    if (f->max > 0 && v->n > (size_t)f->max)
        return FAIL(ERR_INVALID_REQUEST, "field \"%s\": must have at most %lld items", f->name, (long long)f->max);
    return OK;
}

static struct err bind_str_list(const struct json_field *f, const struct json *v, struct arena *a, void *slot)
{
    if (v->type != JSON_ARRAY)
        return FAIL(ERR_INVALID_REQUEST, "field \"%s\": must be an array of strings", f->name);
    TRY(check_count(f, v));
    struct str_list list = {.v = arena_array(a, v->n, sizeof *list.v), .n = v->n};
    if (list.v == NULL)
        return FAIL(ERR_NO_MEMORY, "list of %zu", v->n);
    for (size_t i = 0; i < v->n; i++) {
        if (v->items[i].type != JSON_STR)
            return FAIL(ERR_INVALID_REQUEST, "field \"%s\": must be an array of strings", f->name);
        list.v[i] = v->items[i].s;
        if (f->item_max > 0 && list.v[i].n > (size_t)f->item_max)
            return FAIL(ERR_INVALID_REQUEST, "field \"%s\": item %zu must be at most %lld bytes long", f->name, i,
                        (long long)f->item_max);
    }
    memcpy(slot, &list, sizeof list);
    return OK;
}

static struct err bind_node(const struct json_field *f, const struct json *v, void *slot)
{
    if (f->bind == BIND_OBJECT && v->type != JSON_OBJECT)
        return FAIL(ERR_INVALID_REQUEST, "field \"%s\": must be an object", f->name);
    if (f->bind == BIND_ARRAY && v->type != JSON_ARRAY)
        return FAIL(ERR_INVALID_REQUEST, "field \"%s\": must be an array", f->name);
    TRY(check_count(f, v));
    memcpy(slot, &v, sizeof(const struct json *));
    return OK;
}

static struct err bind(const struct json_field *f, const struct json *v, struct arena *a, void *out)
{
    void *slot = (char *)out + f->offset;
    switch (f->bind) {
    case BIND_STR:
        return bind_str(f, v, slot);
    case BIND_INT:
        return bind_int(f, v, slot);
    case BIND_BOOL:
        return bind_bool(f, v, slot);
    case BIND_STR_LIST:
        return bind_str_list(f, v, a, slot);
    case BIND_OBJECT:
    case BIND_ARRAY:
        return bind_node(f, v, slot);
    }
    return FAIL(ERR_INTERNAL, "bind of \"%s\"", f->name);
}

/* The caller chose this name: it is quoted cut short, and err_make leaves only printable ASCII of it. */
static struct err unknown_field(struct str name)
{
    enum { QUOTED = 64 };
    return FAIL(ERR_INVALID_REQUEST, "field \"%.*s\": is not known here", (int)(name.n < QUOTED ? name.n : QUOTED),
                name.p);
}

static struct err refuse_unknown(const struct json *obj, const struct json_field *table, size_t n)
{
    for (size_t i = 0; i < obj->n; i++) {
        size_t k = 0;
        while (k < n && !str_is(obj->names[i], table[k].name))
            k++;
        if (k == n)
            return unknown_field(obj->names[i]);
    }
    return OK;
}

struct err json_bind_object(const struct json *obj, const struct json_field *table, size_t n, enum json_unknown unknown,
                            struct arena *a, void *out)
{
    if (obj == NULL || obj->type != JSON_OBJECT)
        return FAIL(ERR_INVALID_REQUEST, "must be an object");
    if (unknown == JSON_UNKNOWN_REFUSED)
        TRY(refuse_unknown(obj, table, n));
    for (size_t i = 0; i < n; i++) {
        const struct json *v = json_get(obj, table[i].name);
        if (v != NULL)
            TRY(bind(&table[i], v, a, out));
        else if (table[i].required)
            return FAIL(ERR_INVALID_REQUEST, "field \"%s\": is missing", table[i].name);
    }
    return OK;
}
