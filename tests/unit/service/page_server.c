/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/service/page_server.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { PAGES_MAX = 16, REQUEST_MAX = 4096 };

struct page {
    char path[128];
    int status, hits;
    char type[64];
    char *body; /* NULL: not served */
};

struct page_server {
    int fd, port;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct page pages[PAGES_MAX];
    int hits, held;
    bool hold;
};

/* The page of a path, made when there is none. */
static struct page *page_of(struct page_server *s, const char *path)
{
    for (size_t i = 0; i < PAGES_MAX; i++) {
        struct page *p = &s->pages[i];
        if (p->path[0] == '\0')
            (void)snprintf(p->path, sizeof p->path, "%s", path);
        if (strcmp(p->path, path) == 0)
            return p;
    }
    abort();
}

static bool read_path(int fd, char path[static 128])
{
    char text[REQUEST_MAX + 1];
    size_t n = 0;
    while (n < REQUEST_MAX) {
        ssize_t got = read(fd, text + n, REQUEST_MAX - n);
        if (got <= 0)
            return false;
        n += (size_t)got;
        text[n] = '\0';
        if (strstr(text, "\r\n\r\n") != NULL)
            return sscanf(text, "GET %127s HTTP/1.1", path) == 1;
    }
    return false;
}

static void write_all(int fd, const char *p, size_t n)
{
    while (n > 0) {
        ssize_t wrote = send(fd, p, n, MSG_NOSIGNAL);
        if (wrote <= 0)
            return;
        p += wrote;
        n -= (size_t)wrote;
    }
}

static void answer(struct page_server *s, int fd, const char *path)
{
    pthread_mutex_lock(&s->lock);
    s->hits++;
    page_of(s, path)->hits++;
    s->held++;
    pthread_cond_broadcast(&s->changed);
    while (s->hold)
        pthread_cond_wait(&s->changed, &s->lock);
    s->held--;
    const struct page *p = page_of(s, path);
    char head[512];
    const char *body = p->body != NULL ? p->body : "";
    int n = snprintf(head, sizeof head, "HTTP/1.1 %d x\r\n%s%s%sContent-Length: %zu\r\nLocation: /\r\n\r\n",
                     p->body != NULL ? p->status : 404, p->type[0] != '\0' ? "Content-Type: " : "", p->type,
                     p->type[0] != '\0' ? "\r\n" : "", strlen(body));
    char *copy = strdup(body);
    pthread_mutex_unlock(&s->lock);
    write_all(fd, head, (size_t)n);
    if (copy != NULL)
        write_all(fd, copy, strlen(copy));
    free(copy);
}

static void *serve(void *arg)
{
    struct page_server *s = arg;
    for (;;) {
        int fd = accept(s->fd, NULL, NULL);
        if (fd < 0)
            return NULL;
        char path[128];
        if (read_path(fd, path))
            answer(s, fd, path);
        (void)close(fd);
    }
}

struct page_server *page_server_start(void)
{
    struct page_server *s = calloc(1, sizeof *s);
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof a;
    if (s == NULL)
        return NULL;
    s->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->changed, NULL);
    if (s->fd < 0 || bind(s->fd, (struct sockaddr *)&a, sizeof a) != 0 || listen(s->fd, 64) != 0 ||
        getsockname(s->fd, (struct sockaddr *)&a, &n) != 0 || pthread_create(&s->thread, NULL, serve, s) != 0)
        abort();
    s->port = ntohs(a.sin_port);
    return s;
}

void page_server_stop(struct page_server **s)
{
    page_server_reset(*s);
    (void)shutdown((*s)->fd, SHUT_RDWR);
    pthread_join((*s)->thread, NULL);
    (void)close((*s)->fd);
    pthread_cond_destroy(&(*s)->changed);
    pthread_mutex_destroy(&(*s)->lock);
    free(*s);
    *s = NULL;
}

int page_server_port(const struct page_server *s)
{
    return s->port;
}

void page_server_reset(struct page_server *s)
{
    pthread_mutex_lock(&s->lock);
    for (size_t i = 0; i < PAGES_MAX; i++)
        free(s->pages[i].body);
    memset(s->pages, 0, sizeof s->pages);
    s->hits = 0;
    s->hold = false;
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->lock);
}

void page_server_put(struct page_server *s, const char *path, int status, const char *type, const char *body)
{
    pthread_mutex_lock(&s->lock);
    struct page *p = page_of(s, path);
    p->status = status;
    (void)snprintf(p->type, sizeof p->type, "%s", type);
    free(p->body);
    p->body = strdup(body);
    pthread_mutex_unlock(&s->lock);
}

int page_server_hits(struct page_server *s, const char *path)
{
    pthread_mutex_lock(&s->lock);
    int n = path != NULL ? page_of(s, path)->hits : s->hits;
    pthread_mutex_unlock(&s->lock);
    return n;
}

void page_server_hold(struct page_server *s)
{
    pthread_mutex_lock(&s->lock);
    s->hold = true;
    pthread_mutex_unlock(&s->lock);
}

void page_server_wait(struct page_server *s)
{
    pthread_mutex_lock(&s->lock);
    while (s->held == 0)
        pthread_cond_wait(&s->changed, &s->lock);
    pthread_mutex_unlock(&s->lock);
}

void page_server_release(struct page_server *s)
{
    pthread_mutex_lock(&s->lock);
    s->hold = false;
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->lock);
}
