/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/service/test_net_support.h"

#include "base/cleanup.h"

#include <arpa/inet.h>
#include <dlfcn.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { NAMES_MAX = 16 };

static struct {
    pthread_mutex_t lock;
    pthread_cond_t released;
    bool release;
    int lookups, connects;
    char address[INET6_ADDRSTRLEN + 8];
    struct {
        char name[64], addresses[256];
        bool missing;
    } names[NAMES_MAX];
    size_t n;
} seen = {.lock = PTHREAD_MUTEX_INITIALIZER, .released = PTHREAD_COND_INITIALIZER};

void seen_reset(void)
{
    pthread_mutex_lock(&seen.lock);
    seen.lookups = seen.connects = 0;
    seen.address[0] = '\0';
    pthread_mutex_unlock(&seen.lock);
}

int seen_lookups(void)
{
    pthread_mutex_lock(&seen.lock);
    int n = seen.lookups;
    pthread_mutex_unlock(&seen.lock);
    return n;
}

int seen_connects(void)
{
    return seen.connects;
}

const char *seen_address(void)
{
    return seen.address;
}

void name_set(const char *name, const char *addresses)
{
    pthread_mutex_lock(&seen.lock);
    size_t i = 0;
    while (i < seen.n && strcasecmp(seen.names[i].name, name) != 0)
        i++;
    if (i == NAMES_MAX)
        abort();
    if (i == seen.n)
        seen.n++;
    (void)snprintf(seen.names[i].name, sizeof seen.names[i].name, "%s", name);
    (void)snprintf(seen.names[i].addresses, sizeof seen.names[i].addresses, "%s", addresses != NULL ? addresses : "");
    seen.names[i].missing = addresses == NULL;
    pthread_mutex_unlock(&seen.lock);
}

void names_release(void)
{
    pthread_mutex_lock(&seen.lock);
    seen.release = true;
    pthread_cond_broadcast(&seen.released);
    pthread_mutex_unlock(&seen.lock);
}

typedef int lookup_fn(const char *, const char *, const struct addrinfo *, struct addrinfo **);

static int real_getaddrinfo(const char *node, const char *service, const struct addrinfo *hints, struct addrinfo **out)
{
    void *symbol = dlsym(RTLD_NEXT, "getaddrinfo");
    lookup_fn *real = NULL;
    memcpy(&real, &symbol, sizeof real);
    return real(node, service, hints, out);
}

/* A list of the C library's own making, so that its freeaddrinfo can take it apart. */
static int list_of(char *addresses, const char *service, const struct addrinfo *hints, struct addrinfo **out)
{
    struct addrinfo numeric = *hints;
    numeric.ai_flags |= AI_NUMERICHOST;
    *out = NULL;
    struct addrinfo **end = out;
    for (char *at = addresses; at != NULL;) {
        const char *text = strsep(&at, ",");
        if (real_getaddrinfo(text, service, &numeric, end) != 0)
            abort();
        end = &(*end)->ai_next;
    }
    return 0;
}

int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints, struct addrinfo **out)
{
    if (hints != NULL && (hints->ai_flags & AI_NUMERICHOST) != 0)
        return real_getaddrinfo(node, service, hints, out);
    char addresses[256] = "";
    pthread_mutex_lock(&seen.lock);
    seen.lookups++;
    while (strncmp(node, "hang", 4) == 0 && !seen.release)
        pthread_cond_wait(&seen.released, &seen.lock);
    bool missing = true;
    for (size_t i = 0; i < seen.n; i++) {
        if (strcasecmp(seen.names[i].name, node) != 0)
            continue;
        memcpy(addresses, seen.names[i].addresses, sizeof addresses);
        missing = seen.names[i].missing;
    }
    pthread_mutex_unlock(&seen.lock);
    return missing ? EAI_NONAME : list_of(addresses, service, hints, out);
}

int connect(int fd, __CONST_SOCKADDR_ARG to, socklen_t n)
{
    const struct sockaddr *sa = to.__sockaddr__;
    struct sockaddr_in in = {0};
    struct sockaddr_in6 in6 = {0};
    char text[INET6_ADDRSTRLEN] = "";
    int port = 0;
    if (sa->sa_family == AF_INET6) {
        memcpy(&in6, sa, sizeof in6);
        (void)inet_ntop(AF_INET6, &in6.sin6_addr, text, sizeof text);
        port = ntohs(in6.sin6_port);
    } else if (sa->sa_family == AF_INET) {
        memcpy(&in, sa, sizeof in);
        (void)inet_ntop(AF_INET, &in.sin_addr, text, sizeof text);
        port = ntohs(in.sin_port);
    } else {
        return (int)syscall(SYS_connect, fd, sa, n);
    }
    seen.connects++;
    (void)snprintf(seen.address, sizeof seen.address, "%s %d", text, port);
    if (sa->sa_family == AF_INET6) {
        errno = ENETUNREACH;
        return -1;
    }
    in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return (int)syscall(SYS_connect, fd, &in, sizeof in);
}

static void take_line(struct server *s, const char *name, const char *value)
{
    const struct {
        const char *name;
        int *port;
        char *path;
    } fields[] = {
        {"http", &s->http, NULL},
        {"https", &s->https, NULL},
        {"wrong_name", &s->wrong_name, NULL},
        {"old_tls", &s->old_tls, NULL},
        {"mute", &s->mute, NULL},
        {"ca_file", NULL, s->ca_file},
        {"stranger_file", NULL, s->stranger_file},
        {"lax_cnf", NULL, s->lax_cnf},
        {"key_log", NULL, s->key_log},
    };
    for (size_t i = 0; i < COUNT(fields); i++) {
        if (strcmp(fields[i].name, name) != 0)
            continue;
        if (fields[i].port != NULL)
            *fields[i].port = (int)strtol(value, NULL, 10);
        else
            (void)snprintf(fields[i].path, sizeof s->ca_file, "%s", value);
    }
}

static bool read_lines(struct server *s, int fd)
{
    FILE *f = fdopen(fd, "r");
    char name[32], value[128];
    bool ready = false;
    while (f != NULL && !ready && fscanf(f, "%31s %127s", name, value) == 2) {
        ready = strcmp(name, "ready") == 0;
        take_line(s, name, value);
    }
    if (f != NULL)
        (void)fclose(f);
    return ready;
}

bool server_start(struct server *s)
{
    int in[2], out[2];
    *s = (struct server){.pid = -1, .input = -1};
    if (pipe(in) != 0 || pipe(out) != 0)
        return false;
    s->pid = fork();
    if (s->pid == 0) {
        (void)dup2(in[0], STDIN_FILENO);
        (void)dup2(out[1], STDOUT_FILENO);
        for (int fd = 3; fd < 64; fd++)
            (void)close(fd);
        (void)execlp("python3", "python3", "-B", "-W", "ignore", NET_SERVER, (char *)NULL);
        _exit(127);
    }
    (void)close(in[0]);
    (void)close(out[1]);
    s->input = in[1];
    return s->pid > 0 && read_lines(s, out[0]);
}

void server_stop(struct server *s)
{
    (void)close(s->input);
    if (s->pid > 0)
        (void)waitpid(s->pid, NULL, 0);
}
