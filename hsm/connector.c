/* SPDX-License-Identifier: Apache-2.0 */
#include "hsm/client.h"

#include "base/clock.h"
#include "base/fd.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* SO_PEERCRED of a connected stream socket tells who called listen(2), which no one else can fake. */
static struct err check_peer(int fd, const char *path, const uid_t *owner)
{
    struct ucred peer;
    socklen_t n = sizeof peer;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &n) != 0)
        return FAIL(ERR_IO, "SO_PEERCRED: errno %d", errno);
    if (peer.uid == 0 || peer.uid == getuid() || (owner != NULL && peer.uid == *owner))
        return OK;
    return FAIL(ERR_CONFIG, "%s belongs to uid %u, which is not the signer's", path, (unsigned)peer.uid);
}

/* A unix socket connects at once or its backlog is full; then it is tried again until the deadline. */
static struct err connect_path(const char *path, const uid_t *owner, int64_t deadline_us, int *out)
{
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    size_t n = strlen(path);
    if (n >= sizeof to.sun_path)
        return FAIL(ERR_CONFIG, "the signer's socket path is too long: %s", path);
    memcpy(to.sun_path, path, n);
    CLEANUP(fd_close) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return FAIL(ERR_HSM_UNAVAILABLE, "socket: errno %d", errno);
    while (connect(fd, (const struct sockaddr *)&to, sizeof to) != 0) {
        enum { PAUSE_MS = 5 };
        if (errno != EAGAIN && errno != EINTR)
            return FAIL(ERR_HSM_UNAVAILABLE, "no signer at %s: errno %d", path, errno);
        if (clock_mono_us() >= deadline_us)
            return FAIL(ERR_DEADLINE, "the signer at %s takes no connection", path);
        (void)poll(NULL, 0, PAUSE_MS);
    }
    TRY(check_peer(fd, path, owner));
    *out = fd;
    fd = -1;
    return OK;
}

static struct err connect_own(void *self, int64_t deadline_us, int *fd)
{
    return connect_path(self, NULL, deadline_us, fd);
}

static struct err connect_peer(void *self, int64_t deadline_us, int *fd)
{
    const struct hsm_peer *p = self;
    return connect_path(p->path, &p->owner, deadline_us, fd);
}

/* The connector's self is one pointer for all kinds; these two only read through it. */
static void *unconst(const void *p)
{
    union {
        const void *in;
        void *out;
    } u = {.in = p};
    return u.out;
}

struct hsm_connector hsm_connector_path(const char *path)
{
    return (struct hsm_connector){.self = unconst(path), .connect = connect_own};
}

struct hsm_connector hsm_connector_peer(const struct hsm_peer *peer)
{
    return (struct hsm_connector){.self = unconst(peer), .connect = connect_peer};
}
