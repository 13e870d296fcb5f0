/* SPDX-License-Identifier: Apache-2.0 */
#include "hsm/signer/intake.h"

#include "base/fd.h"
#include "base/log.h"
#include "hsm/signer/serve.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { CONTROL_FD = 3, BACKLOG = 128 };

struct err intake_signals(int *fd)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    int r = pthread_sigmask(SIG_BLOCK, &set, NULL);
    *fd = r == 0 ? signalfd(-1, &set, SFD_CLOEXEC) : -1;
    return *fd >= 0 ? OK : FAIL(ERR_IO, "signalfd: errno %d", errno);
}

/* Waits for the descriptor or a signal. */
static struct err wait_either(int fd, int signal_fd, bool *signalled)
{
    struct pollfd p[] = {{.fd = fd, .events = POLLIN}, {.fd = signal_fd, .events = POLLIN}};
    while (poll(p, COUNT(p), -1) < 0) {
        if (errno != EINTR)
            return FAIL(ERR_IO, "poll: errno %d", errno);
    }
    *signalled = p[1].revents != 0;
    return OK;
}

struct err intake_child(struct signer *s, int signal_fd)
{
    for (;;) {
        bool signalled = false;
        int client = -1;
        TRY(wait_either(CONTROL_FD, signal_fd, &signalled));
        if (signalled)
            return OK;
        struct err e = fd_recv(CONTROL_FD, &client);
        if (e.code == ERR_IO && strcmp(e.detail, "closed") == 0)
            return OK;
        if (err_is(&e))
            return e;
        serve_client(s, client);
    }
}

/* What an earlier run left behind is replaced. Anything but a socket is not ours to remove, nor is one that somebody
 * listens on: its clients would be cut off from a signer that serves them. */
static struct err make_room(const struct sockaddr_un *at)
{
    const char *path = at->sun_path;
    struct stat st;
    if (lstat(path, &st) != 0 || !S_ISSOCK(st.st_mode))
        return OK;
    CLEANUP(fd_close) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return FAIL(ERR_IO, "socket: errno %d", errno);
    if (connect(fd, (const struct sockaddr *)at, sizeof *at) == 0 || errno != ECONNREFUSED)
        return FAIL(ERR_CONFIG, "NEXUS_SIGNER_SOCKET: another program listens on %s; end it, or choose another path",
                    path);
    return unlink(path) == 0 ? OK : FAIL(ERR_CONFIG, "NEXUS_SIGNER_SOCKET: cannot replace %s: errno %d", path, errno);
}

static struct err listen_on(const struct signer *s, int *out, struct stat *own)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    const char *path = s->cf.socket.p;
    memcpy(at.sun_path, path, s->cf.socket.n);
    CLEANUP(fd_close) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return FAIL(ERR_IO, "socket: errno %d", errno);
    TRY(make_room(&at));
    if (bind(fd, (const struct sockaddr *)&at, sizeof at) != 0 || listen(fd, BACKLOG) != 0)
        return FAIL(ERR_CONFIG, "NEXUS_SIGNER_SOCKET: cannot listen on %s: errno %d", path, errno);
    /* Another user's broker must reach the socket; who it is, is checked for each connection. */
    bool foreign = s->cf.peer_uid >= 0 && s->cf.peer_uid != (int64_t)getuid();
    if (chmod(path, foreign ? 0666 : 0600) != 0 || lstat(path, own) != 0)
        return FAIL(ERR_CONFIG, "NEXUS_SIGNER_SOCKET: chmod %s: errno %d", path, errno);
    *out = fd;
    fd = -1;
    return OK;
}

static bool is_welcome(const struct signer *s, int fd)
{
    struct ucred peer;
    socklen_t n = sizeof peer;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &n) != 0)
        return false;
    uid_t wanted = s->cf.peer_uid >= 0 ? (uid_t)s->cf.peer_uid : getuid();
    if (peer.uid == wanted)
        return true;
    LOG(LOG_WARN, "client refused: not the user that may connect", LOG_INT("uid", peer.uid), LOG_INT("pid", peer.pid));
    return false;
}

static void accept_one(struct signer *s, int listener)
{
    CLEANUP(fd_close) int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    if (fd < 0 || !is_welcome(s, fd))
        return;
    serve_client(s, fd);
    fd = -1;
}

/* By now the path may be another signer's. */
static void remove_own(const char *path, const struct stat *own)
{
    struct stat st;
    if (lstat(path, &st) == 0 && st.st_dev == own->st_dev && st.st_ino == own->st_ino)
        (void)unlink(path);
}

struct err intake_listen(struct signer *s, int signal_fd)
{
    CLEANUP(fd_close) int listener = -1;
    struct stat own;
    TRY(listen_on(s, &listener, &own));
    LOG(LOG_INFO, "signer listens", LOG_STR("socket", s->cf.socket));
    for (;;) {
        bool signalled = false;
        TRY(wait_either(listener, signal_fd, &signalled));
        if (signalled)
            break;
        accept_one(s, listener);
    }
    remove_own(s->cf.socket.p, &own);
    return OK;
}
