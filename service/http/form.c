/* SPDX-License-Identifier: Apache-2.0
 * The body of a request as a form, as OAuth sends it (RFC 6749 appendix B). It becomes an object of strings, and of
 * arrays of strings where a parameter may repeat, so that the same tables bind it as bind JSON. */
#include "service/http/internal.h"

enum { PARAMS_MAX = 64, NAME_QUOTED = 64 };

struct param {
    struct str name, value; /* value.n == 0: none */
};

struct form {
    struct param v[PARAMS_MAX];
    size_t n;
};

/* A name that the caller chose: cut short, and err_make leaves only printable ASCII of it. */
#define QUOTED(name) (int)((name).n < NAME_QUOTED ? (name).n : NAME_QUOTED), (name).p

static struct err decode_value(const struct http_request *req, struct param *p)
{
    struct err e = http_percent_decode(req->arena, p->value, true, &p->value);
    if (e.code == ERR_INVALID_REQUEST)
        return FAIL(ERR_INVALID_REQUEST, "parameter '%.*s': %s", QUOTED(p->name), e.detail);
    return e;
}

static struct err read_params(const struct http_request *req, struct form *f)
{
    f->n = 0;
    struct str rest = req->body.n > 0 ? req->body : (struct str){NULL, 0};
    struct param p;
    bool has_value = false;
    while (http_next_param(&rest, &p.name, &p.value, &has_value)) {
        if (f->n == PARAMS_MAX)
            return FAIL(ERR_INVALID_REQUEST, "more than %d parameters", PARAMS_MAX);
        TRY(http_percent_decode(req->arena, p.name, true, &p.name));
        if (p.name.n == 0)
            return FAIL(ERR_INVALID_REQUEST, "parameter %zu has no name", f->n + 1);
        TRY(decode_value(req, &p));
        f->v[f->n++] = p;
    }
    return OK;
}

static bool is_one_of(struct str name, const char *const *names)
{
    while (*names != NULL && !str_is(name, *names))
        names++;
    return *names != NULL;
}

/* The index of the first parameter of that name. */
static size_t first_of(const struct form *f, struct str name)
{
    size_t i = 0;
    while (!str_eq(f->v[i].name, name))
        i++;
    return i;
}

/* RFC 6749 section 3.2 (attack H09). Unknown parameters too, and those without a value: what one reader ignores,
 * another one may know. */
static struct err check_repeated(const struct form *f, const char *const *repeatable)
{
    for (size_t i = 0; i < f->n; i++) {
        struct str name = f->v[i].name;
        if (first_of(f, name) != i && !is_one_of(name, repeatable))
            return FAIL(ERR_INVALID_REQUEST, "parameter '%.*s' must not be repeated", QUOTED(name));
    }
    return OK;
}

/* All values of a parameter, as an array. */
static struct err collect(struct arena *a, const struct form *f, struct str name, struct json *out)
{
    struct json *items = arena_array(a, f->n, sizeof *items);
    if (items == NULL)
        return FAIL(ERR_NO_MEMORY, "form");
    *out = (struct json){.type = JSON_ARRAY, .items = items};
    for (size_t i = 0; i < f->n; i++) {
        if (f->v[i].value.n > 0 && str_eq(f->v[i].name, name))
            items[out->n++] = (struct json){.type = JSON_STR, .s = f->v[i].value};
    }
    return OK;
}

static struct err to_object(struct arena *a, const struct form *f, const char *const *repeatable, struct json *out)
{
    struct str *names = arena_array(a, f->n, sizeof *names);
    struct json *items = arena_array(a, f->n, sizeof *items);
    if (names == NULL || items == NULL)
        return FAIL(ERR_NO_MEMORY, "form");
    *out = (struct json){.type = JSON_OBJECT, .names = names, .items = items};
    for (size_t i = 0; i < f->n; i++) {
        struct str name = f->v[i].name;
        if (first_of(f, name) != i)
            continue;
        struct json value = {.type = JSON_STR, .s = f->v[i].value};
        if (is_one_of(name, repeatable))
            TRY(collect(a, f, name, &value));
        /* RFC 6749 section 3.1: a parameter without a value counts as left out. */
        if (value.type == JSON_STR ? value.s.n == 0 : value.n == 0)
            continue;
        names[out->n] = name;
        items[out->n++] = value;
    }
    return OK;
}

struct err http_bind_form(const struct http_request *req, const struct json_field *table, size_t n,
                          const char *const *repeatable, void *out)
{
    TRY(http_check_type(req, "application/x-www-form-urlencoded"));
    /* Attack H09: a query is logged and kept where a body is not, and two places could disagree. */
    if (req->query.p != NULL)
        return FAIL(ERR_INVALID_REQUEST, "parameters belong into the body, not into the query of the URL");
    struct form f;
    TRY(read_params(req, &f));
    TRY(check_repeated(&f, repeatable));
    struct json object;
    TRY(to_object(req->arena, &f, repeatable, &object));
    return json_bind_object(&object, table, n, JSON_UNKNOWN_IGNORED, req->arena, out);
}
