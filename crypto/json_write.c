/* SPDX-License-Identifier: Apache-2.0 */
#include "crypto/json.h"

struct json_writer json_writer(struct buf *out)
{
    return (struct json_writer){.out = out, .first = {true}};
}

struct json_writer json_writer_canonical(struct buf *out)
{
    return (struct json_writer){.out = out, .canonical = true, .first = {true}};
}

static void fail(struct json_writer *w)
{
    w->out->failed = true;
}

/* Bytes of the well-formed UTF-8 sequence that s starts with, or 0 (Unicode 15, table 3-7: no overlong forms, no
 * surrogates, nothing above U+10FFFF). */
static size_t utf8_len(struct str s)
{
    const uint8_t *p = (const uint8_t *)s.p;
    if (p[0] < 0x80)
        return 1;
    size_t n = p[0] >= 0xc2 && p[0] <= 0xdf ? 2 : (p[0] & 0xf0) == 0xe0 ? 3 : p[0] >= 0xf0 && p[0] <= 0xf4 ? 4 : 0;
    if (n == 0 || n > s.n)
        return 0;
    uint8_t low = p[0] == 0xe0 ? 0xa0 : p[0] == 0xf0 ? 0x90 : 0x80;
    uint8_t high = p[0] == 0xed ? 0x9f : p[0] == 0xf4 ? 0x8f : 0xbf;
    if (p[1] < low || p[1] > high)
        return 0;
    for (size_t i = 2; i < n; i++) {
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    }
    return n;
}

/* RFC 8785 section 3.2.2.2: two-character escapes where JSON has them, else \u00xx in lower case; '/' and everything
 * from U+0020 on as it is. U+0000 is refused, since json_parse would not take it back. */
static void put_control(struct json_writer *w, char c)
{
    static const char two[] = "btn?fr";
    if (c == '\0')
        fail(w);
    else if (c >= '\b' && c <= '\r' && c != '\v')
        buf_printf(w->out, "\\%c", two[c - '\b']);
    else
        buf_printf(w->out, "\\u%04x", (unsigned)c);
}

static void put_quoted(struct json_writer *w, struct str s)
{
    buf_char(w->out, '"');
    for (size_t i = 0; i < s.n && !w->out->failed;) {
        size_t n = utf8_len((struct str){s.p + i, s.n - i});
        char c = s.p[i];
        if (n == 0)
            fail(w);
        else if (n == 1 && (c == '"' || c == '\\'))
            buf_add(w->out, (const char[]){'\\', c}, 2);
        else if (n == 1 && c >= 0 && c < 0x20)
            put_control(w, c);
        else
            buf_add(w->out, s.p + i, n);
        i += n;
    }
    buf_char(w->out, '"');
}

static bool is_ascii(struct str s)
{
    for (size_t i = 0; i < s.n; i++) {
        if ((unsigned char)s.p[i] >= 0x80)
            return false;
    }
    return true;
}

static int compare(struct str a, struct str b)
{
    size_t n = a.n < b.n ? a.n : b.n;
    int c = n > 0 ? memcmp(a.p, b.p, n) : 0;
    return c != 0 ? c : (a.n > b.n) - (a.n < b.n);
}

/* RFC 8785 section 3.2.3 sorts by UTF-16 units, which for ASCII is the order of bytes. */
static void check_order(struct json_writer *w, struct str name)
{
    struct str *last = &w->last[w->depth];
    if (!is_ascii(name) || (last->p != NULL && compare(*last, name) >= 0))
        fail(w);
    *last = name;
}

/* What stands in front of a value: a comma, and in an object its name. */
static void begin_value(struct json_writer *w, struct str name)
{
    bool first = w->first[w->depth];
    w->first[w->depth] = false;
    /* One outermost value; a name exactly inside an object. */
    if ((w->depth == 0 && !first) || w->object[w->depth] != (name.p != NULL)) {
        fail(w);
        return;
    }
    if (!first)
        buf_char(w->out, ',');
    if (name.p == NULL)
        return;
    if (w->canonical)
        check_order(w, name);
    put_quoted(w, name);
    buf_char(w->out, ':');
}

static void begin_container(struct json_writer *w, struct str name, bool object)
{
    begin_value(w, name);
    if (w->depth == JSON_DEPTH) {
        fail(w);
        return;
    }
    w->depth++;
    w->first[w->depth] = true;
    w->object[w->depth] = object;
    w->last[w->depth] = (struct str){NULL, 0};
    buf_char(w->out, object ? '{' : '[');
}

static void end_container(struct json_writer *w, bool object)
{
    if (w->depth == 0 || w->object[w->depth] != object) {
        fail(w);
        return;
    }
    w->depth--;
    buf_char(w->out, object ? '}' : ']');
}

void json_begin_object(struct json_writer *w, const char *name)
{
    begin_container(w, str_of(name), true);
}

void json_end_object(struct json_writer *w)
{
    end_container(w, true);
}

void json_begin_array(struct json_writer *w, const char *name)
{
    begin_container(w, str_of(name), false);
}

void json_end_array(struct json_writer *w)
{
    end_container(w, false);
}

void json_put_str(struct json_writer *w, const char *name, struct str v)
{
    begin_value(w, str_of(name));
    /* A text that could not be made (a full arena) must not be written as an empty one. */
    if (v.p == NULL)
        fail(w);
    put_quoted(w, v);
}

static void put_int(struct json_writer *w, struct str name, int64_t v)
{
    begin_value(w, name);
    if (v > JSON_INT_MAX || v < -JSON_INT_MAX)
        fail(w);
    buf_printf(w->out, "%lld", (long long)v);
}

void json_put_int(struct json_writer *w, const char *name, int64_t v)
{
    put_int(w, str_of(name), v);
}

void json_put_bool(struct json_writer *w, const char *name, bool v)
{
    begin_value(w, str_of(name));
    buf_cstr(w->out, v ? "true" : "false");
}

void json_put_null(struct json_writer *w, const char *name)
{
    begin_value(w, str_of(name));
    buf_cstr(w->out, "null");
}

void json_put_list(struct json_writer *w, const char *name, struct str_list v)
{
    json_begin_array(w, name);
    for (size_t i = 0; i < v.n; i++)
        json_put_str(w, NULL, v.v[i]);
    json_end_array(w);
}

static void put_node(struct json_writer *w, struct str name, const struct json *v);

static void put_items(struct json_writer *w, struct str name, const struct json *v)
{
    bool object = v->type == JSON_OBJECT;
    begin_container(w, name, object);
    for (size_t i = 0; i < v->n && !w->out->failed; i++)
        put_node(w, object ? v->names[i] : (struct str){NULL, 0}, &v->items[i]);
    end_container(w, object);
}

static void put_node(struct json_writer *w, struct str name, const struct json *v)
{
    switch (v->type) {
    case JSON_OBJECT:
    case JSON_ARRAY:
        put_items(w, name, v);
        break;
    case JSON_STR:
        begin_value(w, name);
        put_quoted(w, v->s);
        break;
    case JSON_INT:
        put_int(w, name, v->i);
        break;
    case JSON_BOOL:
        begin_value(w, name);
        buf_cstr(w->out, v->b ? "true" : "false");
        break;
    case JSON_NULL:
        begin_value(w, name);
        buf_cstr(w->out, "null");
        break;
    }
}

void json_put_json(struct json_writer *w, const char *name, const struct json *v)
{
    put_node(w, str_of(name), v);
}

void json_put_raw(struct json_writer *w, const char *name, struct str serialised)
{
    begin_value(w, str_of(name));
    buf_str(w->out, serialised);
}
