/* SPDX-License-Identifier: Apache-2.0
 * Strict JSON. Reading turns a text into a read-only tree in the caller's arena, and field tables bind its members to
 * a struct with types, limits and presence checked; writing appends to a buffer by typed calls. No other file of the
 * project knows the JSON library underneath.
 *
 * Refused in every text: duplicate member names (also when spelled with escapes), invalid UTF-8, \u0000, a byte order
 * mark, trailing bytes, more than JSON_DEPTH levels, more than JSON_TEXT_MAX bytes, and numbers that are not integers
 * within +-JSON_INT_MAX or are written with a fraction or an exponent (1.0, 1e3). */
#ifndef CRYPTO_JSON_H
#define CRYPTO_JSON_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"

#include <stdint.h>

enum { JSON_DEPTH = 16, JSON_TEXT_MAX = 1 << 20 };

/* 2^53 - 1: the largest integer that every JSON reader holds exactly. */
#define JSON_INT_MAX INT64_C(9007199254740991)

enum json_type { JSON_NULL, JSON_BOOL, JSON_INT, JSON_STR, JSON_ARRAY, JSON_OBJECT };

/* A node. Strings are views of UTF-8 text in the arena. Members keep the order of the text. */
struct json {
    enum json_type type;
    bool b;
    int64_t i;
    struct str s;
    size_t n;                 /* items of an array, members of an object */
    const struct json *items; /* n of them */
    const struct str *names;  /* of an object: n of them */
};

/* Parses a whole text of any type. ERR_INVALID_JSON names the place; the text itself is never quoted. */
struct err json_parse(struct arena *a, struct bytes text, const struct json **out);

/* The member of that name, or NULL (also when obj is not an object). */
const struct json *json_get(const struct json *obj, const char *name);

/* Optional scalars: set tells whether the member was there. */
struct json_int {
    bool set;
    int64_t v;
};
struct json_bool {
    bool set;
    bool v;
};

enum json_bind {
    BIND_STR,      /* struct str; p == NULL: absent */
    BIND_INT,      /* struct json_int */
    BIND_BOOL,     /* struct json_bool */
    BIND_STR_LIST, /* struct str_list; v == NULL: absent */
    BIND_OBJECT,   /* const struct json *; NULL: absent */
    BIND_ARRAY,    /* const struct json * */
};

/* One member of an object. max is the longest string in bytes, the most items, or the largest integer; min the
 * smallest integer, the fewest items, or the shortest string. Of a list of strings, each string is at most item_max.
 * A max of 0 sets no maximum (for an integer: when min is 0 too), nor does an item_max of 0. */
struct json_field {
    const char *name;
    enum json_bind bind;
    size_t offset;
    bool required;
    int64_t min, max;
    int64_t item_max;
};

enum json_unknown { JSON_UNKNOWN_REFUSED, JSON_UNKNOWN_IGNORED };

/* Fills *out (zeroed by the caller) from obj by the table. ERR_INVALID_REQUEST with a detail that names the field and
 * what is wrong with it: missing, of the wrong type, too long, too many, unknown. null is a wrong type. */
struct err json_bind_object(const struct json *obj, const struct json_field *table, size_t n, enum json_unknown unknown,
                            struct arena *a, void *out);

/* Writing. A writer appends one value to its buffer; member names are given with their values, and must live until
 * their object ends. Errors are sticky in the buffer (buf_status): what would not be JSON, or would not be read back by
 * json_parse, fails it. In a canonical writer, members must come in ascending byte order of their names, which must be
 * ASCII; together with the shortest escapes this makes the bytes those of RFC 8785, and a breach fails the buffer. */
struct json_writer {
    struct buf *out;
    int depth;
    bool canonical;
    bool first[JSON_DEPTH + 1];
    bool object[JSON_DEPTH + 1];
    struct str last[JSON_DEPTH + 1];
};

struct json_writer json_writer(struct buf *out);
struct json_writer json_writer_canonical(struct buf *out);

/* name is NULL inside an array and for the outermost value. */
void json_begin_object(struct json_writer *w, const char *name);
void json_end_object(struct json_writer *w);
void json_begin_array(struct json_writer *w, const char *name);
void json_end_array(struct json_writer *w);
/* Invalid UTF-8 in a value fails the buffer, and so does a value whose p is NULL: what could not be made is not "". */
void json_put_str(struct json_writer *w, const char *name, struct str v);
void json_put_int(struct json_writer *w, const char *name, int64_t v);
void json_put_bool(struct json_writer *w, const char *name, bool v);
void json_put_null(struct json_writer *w, const char *name);
void json_put_list(struct json_writer *w, const char *name, struct str_list v);
/* A value that json_parse read. */
void json_put_json(struct json_writer *w, const char *name, const struct json *v);
/* A value that is serialised already (by this module). */
void json_put_raw(struct json_writer *w, const char *name, struct str serialised);

#endif
