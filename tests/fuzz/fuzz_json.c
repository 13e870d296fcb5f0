/* SPDX-License-Identifier: Apache-2.0
 * What is read, written and read again is the same tree, and its second writing is the same text. */
#include "crypto/json.h"
#include "tests/fuzz/fuzz.h"

enum { WRITTEN_MAX = 8 << 20 };

static bool same(const struct json *a, const struct json *b)
{
    if (a->type != b->type || a->b != b->b || a->i != b->i || a->n != b->n || !str_eq(a->s, b->s))
        return false;
    for (size_t i = 0; i < a->n; i++) {
        if (a->type == JSON_OBJECT && !str_eq(a->names[i], b->names[i]))
            return false;
        if (!same(&a->items[i], &b->items[i]))
            return false;
    }
    return true;
}

static struct str write(struct arena *a, const struct json *j)
{
    struct buf b = buf_in(a, WRITTEN_MAX);
    struct json_writer w = json_writer(&b);
    json_put_json(&w, NULL, j);
    FUZZ_OK(buf_status(&b));
    return buf_view(&b);
}

/* A binding never writes outside its struct and never fails for another reason than the input. */
static void bind(struct arena *a, const struct json *j)
{
    struct target {
        struct str s;
        struct json_int i;
        struct json_bool b;
        struct str_list l;
        const struct json *o, *v;
    } t = {0};
    static const struct json_field table[] = {
        {"s", BIND_STR, offsetof(struct target, s), .max = 8},
        {"i", BIND_INT, offsetof(struct target, i), .min = -5, .max = 5},
        {"b", BIND_BOOL, offsetof(struct target, b), .required = false},
        {"l", BIND_STR_LIST, offsetof(struct target, l), .max = 3, .item_max = 4},
        {"o", BIND_OBJECT, offsetof(struct target, o), .required = false},
        {"v", BIND_ARRAY, offsetof(struct target, v), .min = 1},
    };
    struct err e = json_bind_object(j, table, COUNT(table), JSON_UNKNOWN_IGNORED, a, &t);
    FUZZ_CHECK(e.code == ERR_NONE || e.code == ERR_INVALID_REQUEST);
    FUZZ_CHECK(err_is(&e) || (t.s.n <= 8 && t.i.v <= 5 && t.i.v >= -5 && t.l.n <= 3));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    CLEANUP(arena_free) struct arena *a = fuzz_arena();
    const struct json *first = NULL;
    struct err e = json_parse(a, bytes_of(data, size), &first);
    if (err_is(&e)) {
        FUZZ_CHECK(e.code == ERR_INVALID_JSON);
        return 0;
    }
    struct str text = write(a, first);
    const struct json *second = NULL;
    FUZZ_OK(json_parse(a, str_bytes(text), &second));
    FUZZ_CHECK(same(first, second));
    FUZZ_CHECK(str_eq(text, write(a, second)));
    bind(a, first);
    return 0;
}
