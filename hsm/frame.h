/* SPDX-License-Identifier: Apache-2.0
 * Frames on the socket between broker and signer: a big-endian u32 length, then that many bytes. One frame is in
 * flight at a time in each direction, so bytes behind a frame are a breach of the protocol. A frame is a plain buffer
 * that its owner keeps for the life of the connection: nothing is allocated per request. */
#ifndef HSM_FRAME_H
#define HSM_FRAME_H

#include "base/err.h"
#include "base/span.h"

enum { FRAME_PREFIX = 4, FRAME_MAX = 65536 };

struct frame {
    size_t n; /* bytes in p, the prefix included */
    uint8_t p[FRAME_PREFIX + FRAME_MAX];
};

/* Sends a frame with one write where the socket has room. */
struct err frame_send(int fd, const struct frame *f, int64_t deadline_us);

/* Receives a frame with one read where it has arrived whole. ERR_IO with detail "closed" when the peer is gone. With
 * INT64_MAX the wait for the first byte is endless, but a frame that was begun must be complete in ten seconds. */
struct err frame_recv(int fd, struct frame *f, int64_t deadline_us);

/* What a received frame carries. */
struct bytes frame_body(const struct frame *f);

/* Wipes what the frame holds, and at least the longest message that carries a DEK: a shorter reply may have been
 * received over such a request. */
void frame_wipe(struct frame *f);

#endif
