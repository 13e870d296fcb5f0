/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/output.h"

enum { CELL_MAX = 65536, GAP = 2 };

struct row {
    struct row *next;
    struct str cells[];
};

/* C0, DEL, and C1 in its UTF-8 form: a description must not move the cursor or retitle the window. */
struct str output_clean(struct arena *a, struct str s)
{
    char *p = arena_alloc(a, s.n);
    if (p == NULL)
        return (struct str){"", 0};
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        bool c1 = c == 0xc2 && i + 1 < s.n && (unsigned char)s.p[i + 1] < 0xa0;
        if (c < 0x20 || c == 0x7f || c1)
            p[i] = '?';
        else
            p[i] = s.p[i];
        if (c1)
            p[++i] = '?';
    }
    return (struct str){p, s.n};
}

static void put_value(struct buf *out, const struct json *v, bool is_date)
{
    char date[CLOCK_TEXT];
    switch (v->type) {
    case JSON_STR:
        buf_str(out, output_clean(out->arena, v->s));
        break;
    case JSON_INT:
        if (is_date && v->i >= 0 && v->i < INT64_C(253402300800)) /* up to the year 9999 */
            buf_str(out, clock_rfc3339(v->i * 1000000, date));
        else
            buf_printf(out, "%lld", (long long)v->i);
        break;
    case JSON_BOOL:
        buf_cstr(out, v->b ? "yes" : "no");
        break;
    case JSON_NULL:
    case JSON_ARRAY:
    case JSON_OBJECT:
        break;
    }
}

/* Deeper than the reader's JSON_DEPTH it cannot go. */
static void walk(struct buf *out, const struct json *v, const char *path, bool is_date)
{
    if (v->type == JSON_ARRAY) {
        for (size_t i = 0; i < v->n; i++) {
            if (i > 0)
                buf_char(out, ' ');
            walk(out, &v->items[i], path, is_date);
        }
        return;
    }
    if (*path == '\0') {
        put_value(out, v, is_date);
        return;
    }
    size_t n = strcspn(path, ".");
    struct str name = {path, n};
    for (size_t i = 0; v->type == JSON_OBJECT && i < v->n; i++) {
        if (str_eq(v->names[i], name))
            walk(out, &v->items[i], path + n + (path[n] == '.' ? 1 : 0), is_date);
    }
}

struct str output_cell(struct arena *a, const struct json *row, const struct column *col)
{
    struct buf b = buf_in(a, CELL_MAX);
    walk(&b, row, col->path, col->is_date);
    struct err e = buf_status(&b);
    return err_is(&e) ? STR("(too long)") : buf_view(&b);
}

/* Characters, as far as UTF-8 tells: each byte that does not continue another. */
static size_t width(struct str s)
{
    size_t w = 0;
    for (size_t i = 0; i < s.n; i++)
        w += ((unsigned char)s.p[i] & 0xc0) != 0x80 ? 1 : 0;
    return w;
}

static void put_padded(FILE *to, struct str s, size_t w)
{
    (void)fwrite(s.p, 1, s.n, to);
    for (size_t i = width(s); i < w; i++)
        (void)fputc(' ', to);
}

struct err table_add(struct table *t, struct arena *a, const struct json *row)
{
    struct row *r = arena_alloc(a, sizeof *r + t->n_cols * sizeof r->cells[0]);
    if (r == NULL)
        return FAIL(ERR_NO_MEMORY, "table");
    for (size_t c = 0; c < t->n_cols; c++)
        r->cells[c] = output_cell(a, row, &t->cols[c]);
    if (t->last != NULL)
        t->last->next = r;
    else
        t->first = r;
    t->last = r;
    return OK;
}

static size_t column_width(const struct table *t, size_t c)
{
    size_t w = strlen(t->cols[c].title);
    for (const struct row *r = t->first; r != NULL; r = r->next)
        w = width(r->cells[c]) > w ? width(r->cells[c]) : w;
    return w;
}

void table_print(const struct table *t)
{
    enum { COLUMNS_MAX = 16 };
    size_t w[COLUMNS_MAX];
    size_t n = t->n_cols < COLUMNS_MAX ? t->n_cols : COLUMNS_MAX;
    /* No padding behind the last column, which may be long. */
    for (size_t c = 0; c < n; c++)
        w[c] = c + 1 < n ? column_width(t, c) + GAP : 0;
    for (size_t c = 0; c < n; c++)
        put_padded(stdout, str_of(t->cols[c].title), w[c]);
    (void)fputc('\n', stdout);
    for (const struct row *r = t->first; r != NULL; r = r->next) {
        for (size_t c = 0; c < n; c++)
            put_padded(stdout, r->cells[c], w[c]);
        (void)fputc('\n', stdout);
    }
}

void output_fields(FILE *to, struct arena *a, const struct json *obj, const struct column *cols, size_t n)
{
    size_t w = 0;
    for (size_t i = 0; i < n; i++)
        w = strlen(cols[i].title) > w ? strlen(cols[i].title) : w;
    for (size_t i = 0; i < n; i++) {
        struct str value = output_cell(a, obj, &cols[i]);
        if (value.n == 0)
            continue;
        put_padded(to, str_of(cols[i].title), w + GAP);
        (void)fwrite(value.p, 1, value.n, to);
        (void)fputc('\n', to);
    }
}

void output_result(const struct cli *cli, struct str text, const struct json *obj, const struct column *cols, size_t n)
{
    if (cli->json)
        (void)printf("%.*s\n", STR_FMT(text));
    else
        output_fields(stdout, cli->arena, obj, cols, n);
}
