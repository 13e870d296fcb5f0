/* SPDX-License-Identifier: Apache-2.0 */
#include "crypto/json.h"

/* jansson's type names, of which three are ours too, get a prefix here. */
#define JSON_OBJECT  JANSSON_OBJECT
#define JSON_ARRAY   JANSSON_ARRAY
#define JSON_STRING  JANSSON_STRING
#define JSON_INTEGER JANSSON_INTEGER
#define JSON_REAL    JANSSON_REAL
#define JSON_TRUE    JANSSON_TRUE
#define JSON_FALSE   JANSSON_FALSE
#define JSON_NULL    JANSSON_NULL
#include <jansson.h>
#undef JSON_OBJECT
#undef JSON_ARRAY
#undef JSON_STRING
#undef JSON_INTEGER
#undef JSON_REAL
#undef JSON_TRUE
#undef JSON_FALSE
#undef JSON_NULL

#include <pthread.h>
#include <stdalign.h>
#include <stdlib.h>

/* jansson's heap blocks hold pieces of tokens: they are wiped when freed. The size stands in front of each block. */
struct block {
    size_t n;
    alignas(max_align_t) uint8_t data[];
};

/* The parser calls a text in whose middle memory ran out a syntax error, or even a success; this tells. */
static _Thread_local bool out_of_memory;

static void *wiping_malloc(size_t n)
{
    struct block *b = n <= SIZE_MAX - sizeof *b ? malloc(sizeof *b + n) : NULL;
    if (b == NULL) {
        out_of_memory = true;
        return NULL;
    }
    b->n = n;
    return b->data;
}

static void wiping_free(void *p)
{
    if (p == NULL)
        return;
    struct block *b = (struct block *)(void *)((uint8_t *)p - offsetof(struct block, data));
    explicit_bzero(b->data, b->n);
    free(b);
}

/* jansson's hook is global to the process, so it is set exactly once, before the first text is parsed. This file is
 * jansson's only user, hence no block can be freed by another function than the one that fits its allocation. */
static pthread_once_t jansson_once = PTHREAD_ONCE_INIT;

static void jansson_setup(void)
{
    json_set_alloc_funcs(wiping_malloc, wiping_free);
    json_object_seed(0);
}

static void json_decref_ptr(json_t **j)
{
    json_decref(*j);
}

static const char *reason(const json_error_t *e)
{
    switch ((int)json_error_code(e)) {
    case json_error_duplicate_key:
        return "a member name occurs twice";
    case json_error_invalid_utf8:
        return "invalid UTF-8";
    case json_error_null_character:
    case json_error_null_byte_in_key:
        return "U+0000 is not accepted";
    case json_error_end_of_input_expected:
        return "bytes behind the value";
    case json_error_premature_end_of_input:
        return "the text ends too early";
    case json_error_numeric_overflow:
        return "a number is out of range";
    default:
        return "syntax error";
    }
}

/* Bounds what the recursive parser underneath is given: size, nesting, and raw NUL bytes, which jansson 2.14 lets
 * pass behind a top-level number. Brackets inside strings do not count. */
static struct err scan(struct bytes text)
{
    if (text.n > JSON_TEXT_MAX)
        return FAIL(ERR_INVALID_JSON, "longer than %d bytes", JSON_TEXT_MAX);
    if (text.n >= 3 && memcmp(text.p, "\xef\xbb\xbf", 3) == 0)
        return FAIL(ERR_INVALID_JSON, "starts with a byte order mark (RFC 8259 section 8.1)");
    int depth = 0;
    bool in_string = false;
    for (size_t i = 0; i < text.n; i++) {
        uint8_t c = text.p[i];
        if (c == '\0')
            return FAIL(ERR_INVALID_JSON, "byte %zu is NUL", i);
        if (in_string && c == '\\')
            i++;
        else if (c == '"')
            in_string = !in_string;
        else if (!in_string && (c == '[' || c == '{'))
            depth++;
        else if (!in_string && (c == ']' || c == '}'))
            depth--;
        if (depth > JSON_DEPTH)
            return FAIL(ERR_INVALID_JSON, "nested deeper than %d levels at byte %zu", JSON_DEPTH, i);
    }
    return OK;
}

static struct err convert(struct arena *a, json_t *from, struct json *to);

static struct err convert_array(struct arena *a, json_t *from, struct json *to)
{
    to->n = json_array_size(from);
    struct json *items = arena_array(a, to->n, sizeof *items);
    if (items == NULL)
        return FAIL(ERR_NO_MEMORY, "JSON array of %zu", to->n);
    for (size_t i = 0; i < to->n; i++)
        TRY(convert(a, json_array_get(from, i), &items[i]));
    to->items = items;
    return OK;
}

static struct err convert_object(struct arena *a, json_t *from, struct json *to)
{
    to->n = json_object_size(from);
    struct json *items = arena_array(a, to->n, sizeof *items);
    struct str *names = arena_array(a, to->n, sizeof *names);
    if (items == NULL || names == NULL)
        return FAIL(ERR_NO_MEMORY, "JSON object of %zu", to->n);
    size_t i = 0;
    for (void *it = json_object_iter(from); it != NULL; it = json_object_iter_next(from, it), i++) {
        names[i] = arena_str(a, str_of(json_object_iter_key(it)));
        if (names[i].p == NULL)
            return FAIL(ERR_NO_MEMORY, "JSON member name");
        TRY(convert(a, json_object_iter_value(it), &items[i]));
    }
    to->items = items;
    to->names = names;
    return OK;
}

static struct err convert_int(json_t *from, struct json *to)
{
    to->i = json_integer_value(from);
    /* RFC 8259 section 6: other readers hold numbers as doubles, and beyond this they would see another value. */
    if (to->i > JSON_INT_MAX || to->i < -JSON_INT_MAX)
        return FAIL(ERR_INVALID_JSON, "a number is out of range");
    return OK;
}

static struct err convert_str(struct arena *a, json_t *from, struct json *to)
{
    to->s = arena_str(a, (struct str){json_string_value(from), json_string_length(from)});
    return to->s.p != NULL ? OK : FAIL(ERR_NO_MEMORY, "JSON string of %zu", json_string_length(from));
}

static struct err convert(struct arena *a, json_t *from, struct json *to)
{
    static const enum json_type types[] = {
        [JANSSON_OBJECT] = JSON_OBJECT, [JANSSON_ARRAY] = JSON_ARRAY, [JANSSON_STRING] = JSON_STR,
        [JANSSON_INTEGER] = JSON_INT,   [JANSSON_TRUE] = JSON_BOOL,   [JANSSON_FALSE] = JSON_BOOL,
        [JANSSON_NULL] = JSON_NULL,
    };
    if (json_typeof(from) == JANSSON_REAL)
        return FAIL(ERR_INVALID_JSON, "a number is not an integer");
    to->type = types[json_typeof(from)];
    switch (to->type) {
    case JSON_OBJECT:
        return convert_object(a, from, to);
    case JSON_ARRAY:
        return convert_array(a, from, to);
    case JSON_STR:
        return convert_str(a, from, to);
    case JSON_INT:
        return convert_int(from, to);
    case JSON_BOOL:
        to->b = json_typeof(from) == JANSSON_TRUE;
        return OK;
    case JSON_NULL:
        return OK;
    }
    return FAIL(ERR_INTERNAL, "JSON type");
}

struct err json_parse(struct arena *a, struct bytes text, const struct json **out)
{
    TRY(scan(text));
    pthread_once(&jansson_once, jansson_setup);
    out_of_memory = false;
    json_error_t e;
    CLEANUP(json_decref_ptr)
    json_t *root = json_loadb((const char *)text.p, text.n, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &e);
    /* Also on success: jansson 2.14 drops a character silently when its buffer could not grow. */
    if (out_of_memory)
        return FAIL(ERR_NO_MEMORY, "JSON parser");
    /* e.text quotes the input, so only our own words for its code are passed on. */
    if (root == NULL)
        return FAIL(ERR_INVALID_JSON, "line %d, column %d: %s", e.line, e.column, reason(&e));
    struct json *tree = arena_alloc(a, sizeof *tree);
    if (tree == NULL)
        return FAIL(ERR_NO_MEMORY, "JSON tree");
    TRY(convert(a, root, tree));
    *out = tree;
    return OK;
}

const struct json *json_get(const struct json *obj, const char *name)
{
    if (obj == NULL || obj->type != JSON_OBJECT)
        return NULL;
    for (size_t i = 0; i < obj->n; i++) {
        if (str_is(obj->names[i], name))
            return &obj->items[i];
    }
    return NULL;
}
