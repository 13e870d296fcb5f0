/* SPDX-License-Identifier: Apache-2.0
 * What a user sees on stdout: tables, or lines of "name: value", for people; JSON on one line for programs. What came
 * from elsewhere reaches a terminal without control characters. */
#ifndef CLI_OUTPUT_H
#define CLI_OUTPUT_H

#include "cli/cli.h"

#include <stdio.h>

/* A column of a table, or a line of a single object. path names members, through objects by dots and through each item
 * of an array: "jwks.keys.kid" shows the kids of all keys, separated by blanks. */
struct column {
    const char *title;
    const char *path;
    bool is_date; /* a NumericDate, shown in RFC 3339 */
};

/* The text of one cell; empty when the member is absent. */
struct str output_cell(struct arena *a, const struct json *row, const struct column *col);

/* Rows are kept as text until all are there, since the widths depend on them. Cells lie in the arena. */
struct table {
    const struct column *cols;
    size_t n_cols;
    struct row *first, *last;
};
struct err table_add(struct table *t, struct arena *a, const struct json *row);
void table_print(const struct table *t);

/* One object as lines of "title  value", those left out that are absent or empty. */
void output_fields(FILE *to, struct arena *a, const struct json *obj, const struct column *cols, size_t n);

/* A result: the JSON text as it came, on one line, with --json; else its lines on stdout. */
void output_result(const struct cli *cli, struct str text, const struct json *obj, const struct column *cols, size_t n);

/* Text of elsewhere, its control characters replaced. */
struct str output_clean(struct arena *a, struct str s);

#endif
