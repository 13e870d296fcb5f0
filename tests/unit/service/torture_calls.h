/* SPDX-License-Identifier: Apache-2.0
 * The calls that fail on demand. The linker (--wrap) sends every such call of the broker's code to torture_calls.c, so
 * the code under test is the broker's own. Cryptoki calls live in the signer's process, where the shim fails them
 * (tests/unit/hsm/test_faults.c, tests/fault/test_fail_nth.py). */
#ifndef TESTS_UNIT_SERVICE_TORTURE_CALLS_H
#define TESTS_UNIT_SERVICE_TORTURE_CALLS_H

#include "base/span.h"

enum fail_kind { FAIL_NOTHING, FAIL_MALLOC, FAIL_ARENA, FAIL_PQ_SEND, FAIL_PQ_RESULT, FAIL_EVP, FAIL_NET, FAIL_COUNT };
const char *fail_name(enum fail_kind kind);

/* From now on, on this thread, the k-th call of that kind fails; until the end, which tells whether it came to that. */
void fail_begin(enum fail_kind kind, long k);
bool fail_end(void);

/* The network: what a URL of this path answers, with status 200. NULL ends the table. Anything else is unreachable. */
struct web_page {
    const char *path;
    struct str body;
};
void network_serve(const struct web_page *pages);

#endif
