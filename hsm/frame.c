/* SPDX-License-Identifier: Apache-2.0 */
#include "hsm/frame.h"

#include "base/clock.h"
#include "base/fd.h"

#include <errno.h>
#include <sys/socket.h>

enum { REST_OF_FRAME_US = 10000000, SECRET_FRAME_MAX = 512 };

struct err frame_send(int fd, const struct frame *f, int64_t deadline_us)
{
    return fd_write_full(fd, f->p, f->n, deadline_us);
}

static struct err recv_some(int fd, uint8_t *p, size_t cap, int64_t deadline_us, size_t *got)
{
    bool endless = deadline_us == INT64_MAX;
    for (;;) {
        bool ready = true;
        if (!endless)
            TRY(fd_wait_readable(fd, deadline_us, &ready));
        if (!ready)
            return FAIL(ERR_DEADLINE, "no frame before the deadline");
        ssize_t r = recv(fd, p, cap, endless ? 0 : MSG_DONTWAIT);
        if (r < 0 && (errno == EINTR || errno == EAGAIN))
            continue;
        if (r < 0)
            return FAIL(ERR_IO, "recv: errno %d", errno);
        if (r == 0)
            return FAIL(ERR_IO, "closed");
        *got = (size_t)r;
        return OK;
    }
}

static size_t body_length(const struct frame *f)
{
    return (size_t)f->p[0] << 24 | (size_t)f->p[1] << 16 | (size_t)f->p[2] << 8 | f->p[3];
}

struct err frame_recv(int fd, struct frame *f, int64_t deadline_us)
{
    f->n = 0;
    for (;;) {
        size_t got = 0;
        TRY(recv_some(fd, f->p + f->n, sizeof f->p - f->n, deadline_us, &got));
        f->n += got;
        if (deadline_us == INT64_MAX)
            deadline_us = clock_mono_us() + REST_OF_FRAME_US;
        if (f->n < FRAME_PREFIX)
            continue;
        size_t whole = FRAME_PREFIX + body_length(f);
        if (whole > sizeof f->p)
            return FAIL(ERR_IO, "a frame of %zu bytes", whole);
        if (f->n > whole)
            return FAIL(ERR_IO, "bytes behind a frame");
        if (f->n == whole)
            return OK;
    }
}

struct bytes frame_body(const struct frame *f)
{
    return bytes_of(f->p + FRAME_PREFIX, f->n - FRAME_PREFIX);
}

void frame_wipe(struct frame *f)
{
    explicit_bzero(f->p, f->n > SECRET_FRAME_MAX ? f->n : SECRET_FRAME_MAX);
    f->n = 0;
}
