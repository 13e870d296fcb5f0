/* SPDX-License-Identifier: Apache-2.0
 * Errors as values. A function that can fail returns struct err and must have its result used (clang enforces it on
 * the type; the debug and sanitizer presets build with clang). The outside form of each code is in errors.def only.
 * A value owns nothing: it may be copied, returned and dropped freely, on any thread. */
#ifndef BASE_ERR_H
#define BASE_ERR_H

#include "base/cleanup.h"

#include <stdbool.h>

enum err_code {
    ERR_NONE = 0,
#define E(name, status, code, show, text) name,
#include "base/errors.def"
    ERR_CODE_COUNT
};

#if defined(__clang__)
#define ERR_MUST_USE __attribute__((warn_unused_result))
#else
#define ERR_MUST_USE /* gcc 12 takes the attribute on functions only; the clang builds enforce it for all */
#endif

/* code says what kind; detail is one line for a reader (never a secret); file and line say who refused. */
struct ERR_MUST_USE err {
    enum err_code code;
    int line;
    const char *file;
    char detail[160];
};

/* Success. */
#define OK ((struct err){.code = ERR_NONE})

/* Makes an error with a printf-style detail, which is truncated at 159 bytes and reduced to printable ASCII. */
#if defined(__clang_analyzer__)
/* The analyser does not look into another file's function: tell it that the code stays what it is. */
#define FAIL(which, ...)                                                                                               \
    ((void)sizeof(err_make((which), __FILE__, __LINE__, __VA_ARGS__)), (struct err){.code = (which)})
#else
#define FAIL(code, ...) err_make((code), __FILE__, __LINE__, __VA_ARGS__)
#endif

/* Evaluates an expression of type struct err and returns it from this function unless it is OK. */
#define TRY(expr)                                                                                                      \
    do {                                                                                                               \
        struct err try_err_ = (expr);                                                                                  \
        if (try_err_.code != ERR_NONE)                                                                                 \
            return try_err_;                                                                                           \
    } while (0)

struct err err_make(enum err_code code, const char *file, int line, const char *fmt, ...) PRINTF_LIKE(4, 5);

static inline bool err_is(const struct err *e)
{
    return e->code != ERR_NONE;
}

/* The same error under another code (a check's reason becomes what the caller may know); detail and place are kept. */
struct err err_as(struct err e, enum err_code code);

/* The same for what a caller did wrong only: the service's own trouble (5xx outside) stays what it is. */
struct err err_refused_as(struct err e, enum err_code code);

/* The outside form of a code: HTTP status, wire code, public text, and whether detail may follow the text. */
struct err_public {
    int status;
    const char *code;
    const char *text;
    bool show_detail;
};
const struct err_public *err_public(enum err_code code);

/* The same for OAuth endpoints, whose codes are those of RFC 6749 section 5.2 and its extensions: what errors.def says,
 * else what follows from the status. */
struct err_public err_oauth(enum err_code code);

/* The constant's own name, for logs and tests ("ERR_DB"). */
const char *err_name(enum err_code code);

#endif
