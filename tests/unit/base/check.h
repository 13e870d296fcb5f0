/* SPDX-License-Identifier: Apache-2.0
 * cmocka, and assertions on this project's own types. */
#ifndef TESTS_UNIT_BASE_CHECK_H
#define TESTS_UNIT_BASE_CHECK_H

#include "base/err.h"
#include "base/span.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define assert_ok(expr)                                                                                                \
    do {                                                                                                               \
        struct err check_err_ = (expr);                                                                                \
        if (err_is(&check_err_))                                                                                       \
            fail_msg("%s: %s (%s)", #expr, err_name(check_err_.code), check_err_.detail);                              \
    } while (0)

#define assert_fails(want, expr)                                                                                       \
    do {                                                                                                               \
        struct err check_err_ = (expr);                                                                                \
        if (check_err_.code != (want))                                                                                 \
            fail_msg("%s: %s (%s), not %s", #expr, err_name(check_err_.code), check_err_.detail, err_name(want));      \
    } while (0)

/* The same, and the detail must contain text. */
#define assert_fails_with(want, text, expr)                                                                            \
    do {                                                                                                               \
        struct err check_err_ = (expr);                                                                                \
        if (check_err_.code != (want) || strstr(check_err_.detail, (text)) == NULL)                                    \
            fail_msg("%s: %s (%s), not %s (%s)", #expr, err_name(check_err_.code), check_err_.detail, err_name(want),  \
                     (text));                                                                                          \
    } while (0)

#define assert_str(is, want)                                                                                           \
    do {                                                                                                               \
        struct str check_str_ = (is);                                                                                  \
        if (!str_is(check_str_, (want)))                                                                               \
            fail_msg("%s: \"%.*s\", not \"%s\"", #is, STR_FMT(check_str_), (want));                                    \
    } while (0)

#endif
