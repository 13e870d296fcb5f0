/* SPDX-License-Identifier: Apache-2.0
 * Rows in binary, and what an error of the server means. */
#include "service/store/internal.h"

#include <libpq-fe.h>

struct db_rows {
    PGresult *r;
};

struct err db_rows_new(struct arena *a, struct pg_result **r, struct db_rows **out)
{
    struct db_rows *rows = arena_alloc(a, sizeof *rows);
    if (rows == NULL)
        return FAIL(ERR_NO_MEMORY, "rows");
    rows->r = *r;
    *r = NULL;
    *out = rows;
    return OK;
}

void db_rows_free(struct db_rows **r)
{
    if (*r == NULL)
        return;
    PQclear((*r)->r);
    *r = NULL;
}

size_t db_count(const struct db_rows *r)
{
    return (size_t)PQntuples(r->r);
}

static uint32_t get32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static int64_t get64(const uint8_t *p)
{
    return (int64_t)((uint64_t)get32(p) << 32 | get32(p + 4));
}

/* The value's bytes in the result; p == NULL for a NULL. */
static struct err cell(const struct db_rows *r, size_t row, int col, Oid type, struct bytes *out)
{
    if (row >= db_count(r) || col < 0 || col >= PQnfields(r->r))
        return FAIL(ERR_INTERNAL, "no row %zu, column %d", row, col);
    if (PQftype(r->r, col) != type)
        return FAIL(ERR_INTERNAL, "column %d is of type %u, not %u", col, PQftype(r->r, col), type);
    *out = (struct bytes){NULL, 0};
    if (!PQgetisnull(r->r, (int)row, col))
        *out = bytes_of(PQgetvalue(r->r, (int)row, col), (size_t)PQgetlength(r->r, (int)row, col));
    return OK;
}

static struct err fixed(const struct db_rows *r, size_t row, int col, Oid type, size_t size, struct bytes *out)
{
    TRY(cell(r, row, col, type, out));
    if (out->p != NULL && out->n != size)
        return FAIL(ERR_INTERNAL, "column %d has %zu bytes", col, out->n);
    return OK;
}

struct err db_get_text(const struct db_rows *r, size_t row, int col, struct arena *a, struct str *out)
{
    struct bytes b = {NULL, 0};
    TRY(cell(r, row, col, OID_TEXT, &b));
    *out = b.p != NULL ? arena_str(a, bytes_str(b)) : (struct str){NULL, 0};
    return b.p == NULL || out->p != NULL ? OK : FAIL(ERR_NO_MEMORY, "a text of %zu bytes", b.n);
}

struct err db_get_bytes(const struct db_rows *r, size_t row, int col, struct arena *a, struct bytes *out)
{
    struct bytes b = {NULL, 0};
    TRY(cell(r, row, col, OID_BYTEA, &b));
    *out = b.p != NULL ? arena_bytes(a, b) : b;
    return b.p == NULL || out->p != NULL ? OK : FAIL(ERR_NO_MEMORY, "%zu bytes", b.n);
}

struct err db_get_int(const struct db_rows *r, size_t row, int col, int64_t *out)
{
    struct bytes b = {NULL, 0};
    TRY(fixed(r, row, col, OID_INT8, 8, &b));
    *out = b.p != NULL ? get64(b.p) : 0;
    return OK;
}

struct err db_get_bool(const struct db_rows *r, size_t row, int col, bool *out)
{
    struct bytes b = {NULL, 0};
    TRY(fixed(r, row, col, OID_BOOL, 1, &b));
    *out = b.p != NULL && b.p[0] != 0;
    return OK;
}

struct err db_get_time(const struct db_rows *r, size_t row, int col, int64_t *us)
{
    struct bytes b = {NULL, 0};
    TRY(fixed(r, row, col, OID_TIMESTAMPTZ, 8, &b));
    *us = 0;
    /* "infinity" is the largest value there; nothing of ours writes it. */
    if (b.p != NULL && __builtin_add_overflow(get64(b.p), PG_EPOCH_US, us))
        return FAIL(ERR_INTERNAL, "column %d is no finite time", col);
    return OK;
}

/* Takes n bytes off the front of b; NULL when there are fewer. */
static const uint8_t *take(struct bytes *b, size_t n)
{
    if (n > b->n)
        return NULL;
    const uint8_t *p = b->p;
    b->p += n;
    b->n -= n;
    return p;
}

static struct err take_element(struct bytes *b, struct arena *a, struct str *out)
{
    *out = (struct str){NULL, 0};
    const uint8_t *len = take(b, 4);
    if (len == NULL)
        return FAIL(ERR_INTERNAL, "a short array");
    uint32_t n = get32(len);
    if (n == UINT32_MAX)
        return OK;
    const uint8_t *p = take(b, n);
    if (p == NULL)
        return FAIL(ERR_INTERNAL, "a short array");
    *out = arena_str(a, (struct str){(const char *)p, n});
    return out->p != NULL ? OK : FAIL(ERR_NO_MEMORY, "an array's text of %u bytes", n);
}

/* array_send: dimensions, a flag, the element type, then size and lower bound of each dimension, then elements. */
struct err db_get_texts(const struct db_rows *r, size_t row, int col, struct arena *a, struct str_list *out)
{
    struct bytes b = {NULL, 0};
    TRY(cell(r, row, col, OID_TEXT_ARRAY, &b));
    *out = (struct str_list){arena_alloc(a, 0), 0};
    if (b.p == NULL)
        return OK;
    const uint8_t *head = take(&b, 12);
    if (head == NULL || get32(head) > 1)
        return FAIL(ERR_INTERNAL, "column %d is no list", col);
    if (get32(head) == 0)
        return OK;
    const uint8_t *dim = take(&b, 8);
    size_t n = dim != NULL ? get32(dim) : 0;
    /* Each element has at least its length. */
    if (dim == NULL || n > b.n / 4)
        return FAIL(ERR_INTERNAL, "a short array");
    out->v = arena_array(a, n, sizeof *out->v);
    if (out->v == NULL)
        return FAIL(ERR_NO_MEMORY, "a list of %zu", n);
    for (; out->n < n; out->n++)
        TRY(take_element(&b, a, &out->v[out->n]));
    return OK;
}

/* What a SQLSTATE (or the start of one) means to the caller. The longest fitting entry stands first. drop: what this
 * connection says next would be no better; a new one may find the new primary. */
static const struct {
    const char *prefix;
    enum err_code code;
    bool drop;
} states[] = {
    {"08", ERR_DB_UNAVAILABLE, true},      /* connection exceptions */
    {"22021", ERR_INVALID_REQUEST, false}, /* text that is not UTF-8, or a NUL in it */
    {"23505", ERR_CONFLICT, false},        /* unique_violation */
    {"25006", ERR_DB_UNAVAILABLE, true},   /* read-only: a standby, or a primary that was demoted */
    {"25P03", ERR_DB_UNAVAILABLE, true},   /* idle_in_transaction_session_timeout ended the connection */
    {"26000", ERR_DB_UNAVAILABLE, true},   /* the prepared statement is unknown: not the server that prepared it */
    {"40", ERR_DB_CONFLICT, false},        /* serialisation failure, deadlock */
    {"53", ERR_DB_UNAVAILABLE, false},     /* out of disk, memory or connections */
    {"55P03", ERR_DB_CONFLICT, false},     /* lock_timeout */
    {"57014", ERR_DEADLINE, false},        /* statement_timeout */
    {"57P", ERR_DB_UNAVAILABLE, true},     /* shutting down, crashed, starting up */
    {"58", ERR_DB_UNAVAILABLE, false},     /* an I/O error below the server */
};

struct err db_error(const struct pg_result *r, const char *statement, bool *drop)
{
    const char *state = PQresultErrorField(r, PG_DIAG_SQLSTATE);
    const char *constraint = PQresultErrorField(r, PG_DIAG_CONSTRAINT_NAME);
    const char *text = PQresultErrorField(r, PG_DIAG_MESSAGE_PRIMARY);
    *drop = state == NULL;
    if (state == NULL)
        return FAIL(ERR_DB_UNAVAILABLE, "%s: the connection was lost", statement);
    /* Class 22 (data exceptions) quotes the value that it dislikes. */
    if (text == NULL || strncmp(state, "22", 2) == 0)
        text = "a value is not acceptable";
    for (size_t i = 0; i < COUNT(states); i++) {
        if (strncmp(state, states[i].prefix, strlen(states[i].prefix)) != 0)
            continue;
        *drop = states[i].drop;
        if (states[i].code == ERR_CONFLICT)
            return FAIL(ERR_CONFLICT, "%s", constraint != NULL ? constraint : "");
        if (states[i].code == ERR_INVALID_REQUEST)
            return FAIL(ERR_INVALID_REQUEST, "text must be UTF-8 without NUL");
        return FAIL(states[i].code, "%s: %s %s", statement, state, text);
    }
    return FAIL(ERR_DB, "%s: %s %s", statement, state, text);
}
