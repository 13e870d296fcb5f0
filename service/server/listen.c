/* SPDX-License-Identifier: Apache-2.0 */
#include "service/server/listen.h"

#include "base/fd.h"
#include "base/log.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

union address {
    struct sockaddr any;
    struct sockaddr_in in;
    struct sockaddr_in6 in6;
};

static struct err parse(struct str text, int64_t port, union address *out, socklen_t *len, bool *loopback)
{
    char tmp[INET6_ADDRSTRLEN];
    if (text.n == 0 || text.n >= sizeof tmp)
        return FAIL(ERR_CONFIG, "the listen address is not a numeric IPv4 or IPv6 address");
    memcpy(tmp, text.p, text.n);
    tmp[text.n] = '\0';
    *out = (union address){.in6 = {.sin6_family = AF_UNSPEC}};
    if (inet_pton(AF_INET, tmp, &out->in.sin_addr) == 1) {
        enum { LOOPBACK_NET = 127 };
        out->in.sin_family = AF_INET;
        out->in.sin_port = htons((uint16_t)port);
        *len = sizeof out->in;
        *loopback = ntohl(out->in.sin_addr.s_addr) >> 24 == LOOPBACK_NET;
        return OK;
    }
    if (inet_pton(AF_INET6, tmp, &out->in6.sin6_addr) == 1) {
        out->in6.sin6_family = AF_INET6;
        out->in6.sin6_port = htons((uint16_t)port);
        *len = sizeof out->in6;
        *loopback = IN6_IS_ADDR_LOOPBACK(&out->in6.sin6_addr);
        return OK;
    }
    return FAIL(ERR_CONFIG, "'%s' is not a numeric IPv4 or IPv6 address", tmp);
}

struct err listen_open(struct str address, int64_t port, int *out, bool *loopback)
{
    enum { BACKLOG = 1024 };
    union address a;
    socklen_t len = 0;
    TRY(parse(address, port, &a, &len, loopback));
    int fd CLEANUP(fd_close) = socket(a.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return FAIL(ERR_CONFIG, "cannot make a socket: %s", strerror(errno));
    const int on = 1;
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(fd, &a.any, len) != 0 || listen(fd, BACKLOG) != 0)
        return FAIL(ERR_CONFIG, "cannot listen on %.*s port %lld: %s", STR_FMT(address), (long long)port,
                    strerror(errno));
    *out = fd;
    fd = -1;
    return OK;
}

struct err listen_split(struct str text, struct str *address, int64_t *port)
{
    size_t colon = text.n;
    while (colon > 0 && text.p[colon - 1] != ':')
        colon--;
    if (colon < 2 || colon == text.n || text.n - colon > 5)
        return FAIL(ERR_CONFIG, "'%.*s' is not of the form address:port", STR_FMT(text));
    *port = 0;
    for (size_t i = colon; i < text.n; i++) {
        if (text.p[i] < '0' || text.p[i] > '9')
            return FAIL(ERR_CONFIG, "'%.*s' is not of the form address:port", STR_FMT(text));
        *port = *port * 10 + (text.p[i] - '0');
    }
    enum { PORT_MAX = 65535 };
    if (*port < 1 || *port > PORT_MAX)
        return FAIL(ERR_CONFIG, "%lld is not a TCP port", (long long)*port);
    *address = (struct str){text.p, colon - 1};
    if (address->n >= 2 && address->p[0] == '[' && address->p[address->n - 1] == ']')
        *address = (struct str){address->p + 1, address->n - 2};
    return OK;
}

void listen_raise_fd_limit(int64_t connections, int64_t workers)
{
    enum { PER_WORKER = 3, OTHERS = 64 };
    rlim_t want = (rlim_t)(connections + workers * PER_WORKER + OTHERS);
    struct rlimit limit = {0, 0};
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= want)
        return;
    limit.rlim_cur = limit.rlim_max < want ? limit.rlim_max : want;
    (void)setrlimit(RLIMIT_NOFILE, &limit);
    if (limit.rlim_cur < want)
        LOG(LOG_WARN, "fewer descriptors than connections: raise LimitNOFILE, or lower NEXUS_MAX_CONNECTIONS",
            LOG_INT("have", limit.rlim_cur), LOG_INT("want", want));
}
