/* SPDX-License-Identifier: Apache-2.0 */
#include "base/fd.h"

#include "base/arena.h"
#include "base/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

void fd_close(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

static struct err wait_for(int fd, short events, int64_t deadline_us, bool *ready)
{
    for (;;) {
        int timeout = clock_poll_ms(deadline_us);
        struct pollfd p = {.fd = fd, .events = events};
        int r = poll(&p, 1, timeout);
        if (r < 0 && errno == EINTR)
            continue;
        if (r < 0)
            return FAIL(ERR_IO, "poll: errno %d", errno);
        *ready = r > 0;
        if (r > 0 || clock_mono_us() >= deadline_us)
            return OK;
    }
}

struct err fd_wait_readable(int fd, int64_t deadline_us, bool *ready)
{
    return wait_for(fd, POLLIN, deadline_us, ready);
}

static struct err wait_or_deadline(int fd, short events, int64_t deadline_us)
{
    bool ready = false;
    TRY(wait_for(fd, events, deadline_us, &ready));
    return ready ? OK : FAIL(ERR_DEADLINE, "no progress before the deadline");
}

struct err fd_read_full(int fd, void *p, size_t n, int64_t deadline_us)
{
    uint8_t *to = p;
    while (n > 0) {
        TRY(wait_or_deadline(fd, POLLIN, deadline_us));
        ssize_t got = read(fd, to, n);
        if (got < 0 && (errno == EINTR || errno == EAGAIN))
            continue;
        if (got < 0)
            return FAIL(ERR_IO, "read: errno %d", errno);
        if (got == 0)
            return FAIL(ERR_IO, "closed");
        to += got;
        n -= (size_t)got;
    }
    return OK;
}

struct err fd_write_full(int fd, const void *p, size_t n, int64_t deadline_us)
{
    const uint8_t *from = p;
    while (n > 0) {
        ssize_t put = send(fd, from, n, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (put < 0 && errno == ENOTSOCK)
            put = write(fd, from, n);
        if (put < 0 && (errno == EAGAIN || errno == EINTR)) {
            TRY(wait_or_deadline(fd, POLLOUT, deadline_us));
            continue;
        }
        if (put < 0)
            return FAIL(ERR_IO, "write: errno %d", errno);
        from += put;
        n -= (size_t)put;
    }
    return OK;
}

struct err fd_send(int sock, int fd)
{
    char byte = 'f';
    struct iovec iov = {.iov_base = &byte, .iov_len = 1};
    union {
        struct cmsghdr align;
        char space[CMSG_SPACE(sizeof(int))];
    } control = {0};
    struct msghdr msg = {
        .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.space, .msg_controllen = sizeof control.space};
    struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(c), &fd, sizeof fd);
    ssize_t r;
    do {
        r = sendmsg(sock, &msg, MSG_NOSIGNAL);
    } while (r < 0 && errno == EINTR);
    return r == 1 ? OK : FAIL(ERR_IO, "sendmsg: errno %d", errno);
}

struct err fd_recv(int sock, int *fd)
{
    char byte = 0;
    struct iovec iov = {.iov_base = &byte, .iov_len = 1};
    union {
        struct cmsghdr align;
        char space[CMSG_SPACE(sizeof(int))];
    } control = {0};
    struct msghdr msg = {
        .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.space, .msg_controllen = sizeof control.space};
    ssize_t r;
    do {
        r = recvmsg(sock, &msg, MSG_CMSG_CLOEXEC);
    } while (r < 0 && errno == EINTR);
    if (r < 0)
        return FAIL(ERR_IO, "recvmsg: errno %d", errno);
    struct cmsghdr *c = r == 1 ? CMSG_FIRSTHDR(&msg) : NULL;
    if (c == NULL || c->cmsg_type != SCM_RIGHTS || c->cmsg_len != CMSG_LEN(sizeof(int)))
        return FAIL(ERR_IO, "closed");
    memcpy(fd, CMSG_DATA(c), sizeof *fd);
    return OK;
}

struct err fd_read_file(const char *path, size_t max, struct arena *a, struct str *out)
{
    CLEANUP(fd_close) int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return FAIL(ERR_IO, "cannot open %s: errno %d", path, errno);
    char *p = arena_alloc(a, max + 1);
    if (p == NULL)
        return FAIL(ERR_NO_MEMORY, "%zu bytes for %s", max, path);
    size_t n = 0;
    for (;;) {
        ssize_t got = read(fd, p + n, max + 1 - n);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return FAIL(ERR_IO, "cannot read %s: errno %d", path, errno);
        if (got == 0)
            break;
        n += (size_t)got;
        if (n > max)
            return FAIL(ERR_TOO_LARGE, "%s is larger than %zu bytes", path, max);
    }
    p[n] = '\0';
    *out = (struct str){p, n};
    return OK;
}

static struct err write_and_sync(const char *tmp, struct bytes content)
{
    CLEANUP(fd_close) int fd = open(tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        return FAIL(ERR_IO, "cannot create %s: errno %d", tmp, errno);
    TRY(fd_write_full(fd, content.p, content.n, INT64_MAX));
    return fsync(fd) == 0 ? OK : FAIL(ERR_IO, "fsync %s: errno %d", tmp, errno);
}

struct err fd_write_file_durable(const char *path, struct bytes content)
{
    char tmp[PATH_MAX];
    int n = snprintf(tmp, sizeof tmp, "%s.tmp", path);
    if (n < 0 || (size_t)n >= sizeof tmp)
        return FAIL(ERR_IO, "path too long: %s", path);
    TRY(write_and_sync(tmp, content));
    if (rename(tmp, path) != 0)
        return FAIL(ERR_IO, "rename to %s: errno %d", path, errno);
    char *slash = strrchr(tmp, '/');
    if (slash != NULL)
        slash[slash == tmp ? 1 : 0] = '\0';
    const char *folder = slash != NULL ? tmp : ".";
    CLEANUP(fd_close) int dir = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0 || fsync(dir) != 0)
        return FAIL(ERR_IO, "fsync of %s: errno %d", folder, errno);
    return OK;
}
