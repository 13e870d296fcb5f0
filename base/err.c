/* SPDX-License-Identifier: Apache-2.0 */
#include "base/err.h"

#include <stdarg.h>
#include <stdio.h>

enum { HIDE = 0, SHOW = 1 };

static const struct err_public err_table[ERR_CODE_COUNT] = {
    [ERR_NONE] = {200, "ok", "", false},
#define E(name, status, code, show, text) [name] = {status, code, text, (show) == SHOW},
#include "base/errors.def"
#undef E
};

static const char *const err_names[ERR_CODE_COUNT] = {
    [ERR_NONE] = "ERR_NONE",
#define E(name, status, code, show, text) [name] = #name,
#include "base/errors.def"
#undef E
};

struct err err_make(enum err_code code, const char *file, int line, const char *fmt, ...)
{
    struct err e = {.code = code, .file = file, .line = line};
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(e.detail, sizeof e.detail, fmt, ap);
    va_end(ap);
    if (n < 0)
        e.detail[0] = '\0';
    /* Details quote callers' input: only printable ASCII reaches a log line or an HTTP reply. Other bytes could be
     * control bytes, or a UTF-8 sequence that the truncation above cut in two. */
    for (char *p = e.detail; *p != '\0'; p++) {
        if ((unsigned char)*p < 0x20 || (unsigned char)*p >= 0x7f)
            *p = '?';
    }
    return e;
}

struct err err_as(struct err e, enum err_code code)
{
    if (e.code != ERR_NONE)
        e.code = code;
    return e;
}

struct err err_refused_as(struct err e, enum err_code code)
{
    return err_public(e.code)->status >= 500 ? e : err_as(e, code);
}

const struct err_public *err_public(enum err_code code)
{
    if ((unsigned)code >= ERR_CODE_COUNT)
        code = ERR_INTERNAL;
    return &err_table[code];
}

const char *err_name(enum err_code code)
{
    if ((unsigned)code >= ERR_CODE_COUNT)
        code = ERR_INTERNAL;
    return err_names[code];
}
