/* SPDX-License-Identifier: Apache-2.0
 * Parameters in PostgreSQL's binary format: big-endian integers, and arrays as array_recv (arrayfuncs.c) reads them. */
#include "service/store/internal.h"

enum { PARAM_MAX = 67108864 };

static uint8_t *put32(uint8_t *p, uint32_t v)
{
    for (int i = 0; i < 4; i++)
        p[i] = (uint8_t)(v >> (24 - 8 * i));
    return p + 4;
}

static uint8_t *put64(uint8_t *p, int64_t v)
{
    p = put32(p, (uint32_t)((uint64_t)v >> 32));
    return put32(p, (uint32_t)(uint64_t)v);
}

static const unsigned type_oid[] = {[DB_NULL] = 0,
                                    [DB_TEXT] = OID_TEXT,
                                    [DB_INT] = OID_INT8,
                                    [DB_BOOL] = OID_BOOL,
                                    [DB_BYTES] = OID_BYTEA,
                                    [DB_TIME] = OID_TIMESTAMPTZ,
                                    [DB_TEXTS] = OID_TEXT_ARRAY,
                                    [DB_INTS] = OID_INT8_ARRAY,
                                    [DB_BYTESS] = OID_BYTEA_ARRAY};

static unsigned element_oid(enum db_type t)
{
    return t == DB_TEXTS ? OID_TEXT : t == DB_INTS ? OID_INT8 : OID_BYTEA;
}

static size_t array_count(const struct db_param *p)
{
    return p->type == DB_TEXTS ? p->l.n : p->n;
}

/* p == NULL is a NULL element; ints are written by put_array itself. */
static struct bytes element(const struct db_param *p, size_t i)
{
    return p->type == DB_TEXTS ? str_bytes(p->l.v[i]) : p->bytess[i];
}

static bool array_size(const struct db_param *p, size_t *size)
{
    size_t n = array_count(p);
    *size = 20;
    for (size_t i = 0; i < n; i++) {
        size_t len = p->type == DB_INTS ? 8 : element(p, i).n;
        if (len > PARAM_MAX || *size > PARAM_MAX)
            return false;
        *size += 4 + len;
    }
    return *size <= PARAM_MAX;
}

static uint8_t *put_element(uint8_t *at, struct bytes b)
{
    if (b.p == NULL)
        return put32(at, UINT32_MAX);
    at = put32(at, (uint32_t)b.n);
    if (b.n > 0)
        memcpy(at, b.p, b.n);
    return at + b.n;
}

static struct err put_array(const struct db_param *p, struct arena *a, struct bytes *out)
{
    size_t size = 0, n = array_count(p);
    if (!array_size(p, &size))
        return FAIL(ERR_TOO_LARGE, "a list parameter of more than %d bytes", PARAM_MAX);
    uint8_t *start = arena_alloc(a, size);
    if (start == NULL)
        return FAIL(ERR_NO_MEMORY, "a list parameter of %zu bytes", size);
    bool nulls = false;
    for (size_t i = 0; i < n && p->type != DB_INTS; i++)
        nulls = nulls || element(p, i).p == NULL;
    uint8_t *at = put32(start, n > 0 ? 1 : 0);
    at = put32(at, nulls);
    at = put32(at, element_oid(p->type));
    if (n > 0) {
        at = put32(at, (uint32_t)n);
        at = put32(at, 1);
    }
    for (size_t i = 0; i < n; i++) {
        if (p->type == DB_INTS)
            at = put64(put32(at, 8), p->ints[i]);
        else
            at = put_element(at, element(p, i));
    }
    *out = bytes_of(start, (size_t)(at - start));
    return OK;
}

static struct err put_int(int64_t v, struct arena *a, struct bytes *out)
{
    uint8_t *p = arena_alloc(a, 8);
    if (p == NULL)
        return FAIL(ERR_NO_MEMORY, "a parameter");
    put64(p, v);
    *out = bytes_of(p, 8);
    return OK;
}

static struct err put_param(const struct db_param *p, struct arena *a, struct bytes *out)
{
    static const uint8_t truth[2] = {0, 1};
    *out = (struct bytes){NULL, 0};
    switch (p->type) {
    case DB_NULL:
        return OK;
    case DB_TEXT:
        *out = str_bytes(p->s);
        return OK;
    case DB_BYTES:
        *out = p->b;
        return OK;
    case DB_BOOL:
        *out = bytes_of(&truth[p->i != 0], 1);
        return OK;
    case DB_INT:
        return put_int(p->i, a, out);
    case DB_TIME:
        return p->i != 0 ? put_int(p->i - PG_EPOCH_US, a, out) : OK;
    case DB_TEXTS:
    case DB_INTS:
    case DB_BYTESS:
        return put_array(p, a, out);
    }
    return FAIL(ERR_INTERNAL, "parameter of type %d", (int)p->type);
}

struct err db_encode(const struct db_param *params, size_t n, struct arena *a, struct db_wire *out)
{
    *out = (struct db_wire){.types = arena_array(a, n, sizeof *out->types),
                            .values = arena_array(a, n, sizeof *out->values),
                            .lengths = arena_array(a, n, sizeof *out->lengths),
                            .formats = arena_array(a, n, sizeof *out->formats)};
    if (out->types == NULL || out->values == NULL || out->lengths == NULL || out->formats == NULL)
        return FAIL(ERR_NO_MEMORY, "%zu parameters", n);
    for (size_t i = 0; i < n; i++) {
        struct bytes b;
        TRY(put_param(&params[i], a, &b));
        if (b.n > PARAM_MAX)
            return FAIL(ERR_TOO_LARGE, "a parameter of %zu bytes", b.n);
        out->types[i] = type_oid[params[i].type];
        out->values[i] = (const char *)b.p;
        out->lengths[i] = (int)b.n;
        out->formats[i] = 1;
    }
    return OK;
}
