/* SPDX-License-Identifier: Apache-2.0 */
#include "base/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { HIDE = 0, SHOW = 1 };

static const struct err_public err_table[ERR_CODE_COUNT] = {
    [ERR_NONE] = {200, "ok", "", false},
#define E(name, status, code, show, text) [name] = {status, code, text, (show) == SHOW},
#include "base/errors.def"
};

static const char *const err_names[ERR_CODE_COUNT] = {
    [ERR_NONE] = "ERR_NONE",
#define E(name, status, code, show, text) [name] = #name,
#include "base/errors.def"
};

struct oauth_form {
    int status; /* 0: the errors' table says nothing */
    const char *code;
};

static const struct oauth_form oauth_table[ERR_CODE_COUNT] = {
#define O(name, status, code) [name] = {status, code},
#include "base/errors.def"
};

/* RFC 6749 section 5.2, RFC 8693 section 2.2.2, RFC 9449 sections 5 and 8, RFC 6750 section 3.1. */
static const char *const oauth_codes[] = {
    "invalid_request", "invalid_client", "invalid_grant",      "unauthorized_client", "unsupported_grant_type",
    "invalid_scope",   "invalid_target", "invalid_dpop_proof", "use_dpop_nonce",      "invalid_token"};

/* Every other refusal by its status: the codes of RFC 6749 section 4.1.2.1 for what is not the caller's fault. A status
 * that is not here would surprise OAuth clients, and is 400. */
static const struct oauth_form oauth_by_status[] = {
    {401, "invalid_client"},          {405, "invalid_request"}, {408, "invalid_request"},
    {413, "invalid_request"},         {414, "invalid_request"}, {415, "invalid_request"},
    {429, "temporarily_unavailable"}, {431, "invalid_request"}, {500, "server_error"},
    {503, "temporarily_unavailable"}};

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

static struct oauth_form oauth_form(enum err_code code, const struct err_public *p)
{
    if ((unsigned)code < ERR_CODE_COUNT && oauth_table[code].status != 0)
        return oauth_table[code];
    for (size_t i = 0; i < COUNT(oauth_codes); i++) {
        if (strcmp(p->code, oauth_codes[i]) == 0)
            return (struct oauth_form){p->status, p->code};
    }
    for (size_t i = 0; i < COUNT(oauth_by_status); i++) {
        if (oauth_by_status[i].status == p->status)
            return oauth_by_status[i];
    }
    return (struct oauth_form){400, "invalid_request"};
}

struct err_public err_oauth(enum err_code code)
{
    struct err_public p = *err_public(code);
    struct oauth_form f = oauth_form(code, &p);
    p.status = f.status;
    p.code = f.code;
    return p;
}

const char *err_name(enum err_code code)
{
    if ((unsigned)code >= ERR_CODE_COUNT)
        code = ERR_INTERNAL;
    return err_names[code];
}
