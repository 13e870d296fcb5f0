/* SPDX-License-Identifier: Apache-2.0
 * Lists of the API, which come in pages: one page, or all of them as one result. */
#ifndef CLI_LIST_H
#define CLI_LIST_H

#include "cli/output.h"

struct list {
    const char *path;
    const char *member; /* the array of the answer */
    struct str query;   /* further parameters, encoded by list_param */
    const struct column *cols;
    size_t n_cols;
};

/* Shows the page that --cursor and --limit ask for, or all from there on with --all. */
struct err list_run(struct cli *cli, const struct list *list);

/* Appends name=value to a query; does nothing when value.p is NULL. */
void list_param(struct buf *query, const char *name, struct str value);

/* The parameter of the options --active and --inactive, which exclude each other. */
struct err list_active(struct cli *cli, struct buf *query, bool active, bool inactive);

#endif
