/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/list.h"

#include "cli/http_client.h"

enum { PAGE_MEMORY = 32 << 20, QUERY_MAX = 16384 };

void list_param(struct buf *query, const char *name, struct str value)
{
    if (value.p == NULL)
        return;
    if (query->n > 0)
        buf_char(query, '&');
    buf_cstr(query, name);
    buf_char(query, '=');
    http_escape(query, value);
}

struct err list_active(struct cli *cli, struct buf *query, bool active, bool inactive)
{
    if (active && inactive)
        return cli_fail(cli, CLI_USAGE, NULL,
                        "--active and --inactive exclude each other; without either, all are shown");
    if (active || inactive)
        list_param(query, "active", active ? STR("true") : STR("false"));
    return buf_status(query);
}

static struct err get_page(struct cli *cli, const struct list *l, struct str cursor, struct arena *page,
                           struct http_answer *out)
{
    struct buf query = buf_in(page, QUERY_MAX);
    buf_str(&query, l->query);
    if (cli->limit.set)
        list_param(&query, "limit", arena_printf(page, "%lld", (long long)cli->limit.v));
    list_param(&query, "cursor", cursor);
    TRY(buf_status(&query));
    struct str path = arena_printf(page, "%s%s%.*s", l->path, query.n > 0 ? "?" : "", STR_FMT(buf_view(&query)));
    if (path.p == NULL)
        return FAIL(ERR_NO_MEMORY, "path");
    const struct http_call call = {.method = "GET", .path = path, .auth = AUTH_ADMIN};
    TRY(http_json(cli, page, &call, out));
    const struct json *items = json_get(out->json, l->member);
    if (items == NULL || items->type != JSON_ARRAY)
        return cli_fail(cli, CLI_UNAVAILABLE, NULL, "the answer has no array \"%s\": is it a broker's?", l->member);
    return OK;
}

/* Items of a page behind those of earlier pages, in one array. */
static struct err print_items(const struct json *items, struct arena *page, bool *any)
{
    struct buf b = buf_in(page, 2 * (size_t)JSON_TEXT_MAX);
    for (size_t i = 0; i < items->n; i++) {
        struct json_writer w = json_writer(&b);
        if (*any)
            buf_char(&b, ',');
        json_put_json(&w, NULL, &items->items[i]);
        *any = true;
    }
    TRY(buf_status(&b));
    (void)fwrite(b.p, 1, b.n, stdout);
    return OK;
}

static struct err add_rows(struct table *t, struct arena *a, const struct json *items)
{
    for (size_t i = 0; i < items->n; i++)
        TRY(table_add(t, a, &items->items[i]));
    return OK;
}

/* The cursor of the next page, kept beyond the page's memory; p == NULL after the last one. */
static struct str next_cursor(struct arena *a, const struct json *answer)
{
    const struct json *next = json_get(answer, "next_cursor");
    return next != NULL && next->type == JSON_STR ? arena_str(a, next->s) : (struct str){NULL, 0};
}

static struct err run_json(struct cli *cli, const struct list *l, struct arena *page)
{
    struct http_answer answer = {.json = NULL};
    TRY(get_page(cli, l, cli->cursor, page, &answer));
    if (!cli->all) {
        (void)printf("%.*s\n", STR_FMT(answer.body));
        return OK;
    }
    bool any = false;
    (void)printf("{\"%s\":[", l->member);
    for (;;) {
        TRY(print_items(json_get(answer.json, l->member), page, &any));
        struct str cursor = next_cursor(cli->arena, answer.json);
        if (cursor.p == NULL)
            break;
        arena_reset(page);
        TRY(get_page(cli, l, cursor, page, &answer));
    }
    (void)printf("]}\n");
    return OK;
}

static struct err run_table(struct cli *cli, const struct list *l, struct arena *page)
{
    struct table t = {.cols = l->cols, .n_cols = l->n_cols};
    struct str cursor = cli->cursor;
    do {
        struct http_answer answer = {.json = NULL};
        arena_reset(page);
        TRY(get_page(cli, l, cursor, page, &answer));
        TRY(add_rows(&t, cli->arena, json_get(answer.json, l->member)));
        cursor = next_cursor(cli->arena, answer.json);
    } while (cli->all && cursor.p != NULL);
    table_print(&t);
    if (cursor.p != NULL)
        cli_note("there are more: --all shows all, --cursor %.*s the next page", STR_FMT(cursor));
    return OK;
}

struct err list_run(struct cli *cli, const struct list *list)
{
    CLEANUP(arena_free) struct arena *page = NULL;
    TRY(arena_new(PAGE_MEMORY, &page));
    return cli->json ? run_json(cli, list, page) : run_table(cli, list, page);
}
