/* SPDX-License-Identifier: Apache-2.0
 * The codec between broker and signer: any bytes are either refused or are the one spelling of a message. */
#include "hsm/proto.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must_be_same(const struct err *e, const struct frame *f, struct bytes in)
{
    if (err_is(e) || !bytes_eq(frame_body(f), in))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct hsm_key page[PROTO_KEYS_PAGE];
    struct proto_request q;
    struct proto_reply r = {.keys = page};
    struct bytes in = bytes_of(data, size);
    struct frame *f = calloc(1, sizeof *f);
    if (f == NULL)
        return 0;
    struct err e = proto_read_request(in, &q);
    if (!err_is(&e)) {
        e = proto_write_request(&q, f);
        must_be_same(&e, f, in);
    }
    e = proto_read_reply(in, &r);
    if (!err_is(&e)) {
        e = proto_write_reply(&r, f);
        must_be_same(&e, f, in);
    }
    free(f);
    return 0;
}
