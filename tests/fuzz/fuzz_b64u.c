/* SPDX-License-Identifier: Apache-2.0
 * Every value has one spelling: what decodes encodes to the same text, and what is encoded decodes to the same bytes.
 */
#include "crypto/b64u.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    CLEANUP(arena_free) struct arena *a = fuzz_arena();
    struct str text = bytes_str(bytes_of(data, size));
    struct bytes decoded = {NULL, 0};
    struct err e = b64u_decode(a, text, &decoded);
    if (!err_is(&e))
        FUZZ_CHECK(str_eq(b64u_text(a, decoded), text));

    struct bytes back = {NULL, 0};
    FUZZ_OK(b64u_decode(a, b64u_text(a, bytes_of(data, size)), &back));
    FUZZ_CHECK(bytes_eq(back, bytes_of(data, size)));
    return 0;
}
