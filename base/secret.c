/* SPDX-License-Identifier: Apache-2.0 */
#include "base/secret.h"

#include "base/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* Layout: guard page | header and data pages | guard page. An overrun faults instead of reaching a neighbour. */
static size_t page_size(void)
{
    return (size_t)sysconf(_SC_PAGESIZE);
}

struct err secret_new(size_t size, struct secret **out)
{
    size_t page = page_size();
    if (size > SIZE_MAX / 4)
        return FAIL(ERR_NO_MEMORY, "secret of %zu bytes", size);
    size_t inner = (sizeof(struct secret) + size + page - 1) / page * page;
    uint8_t *map = mmap(NULL, inner + 2 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (map == MAP_FAILED)
        return FAIL(ERR_NO_MEMORY, "mmap: errno %d", errno);
    uint8_t *data = map + page;
    if (mprotect(data, inner, PROT_READ | PROT_WRITE) != 0 || mlock(data, inner) != 0) {
        int e = errno;
        munmap(map, inner + 2 * page);
        return FAIL(ERR_NO_MEMORY, "cannot lock %zu bytes (errno %d): raise LimitMEMLOCK or ulimit -l", inner, e);
    }
    /* Older kernels may lack one of these; the process is undumpable anyway (base/process.h). */
    (void)madvise(data, inner, MADV_DONTDUMP);
    (void)madvise(data, inner, MADV_WIPEONFORK);
    struct secret *s = (struct secret *)(void *)data;
    s->p = data + sizeof *s;
    s->size = inner - sizeof *s;
    s->n = 0;
    *out = s;
    return OK;
}

void secret_free(struct secret **s)
{
    if (*s == NULL)
        return;
    size_t page = page_size();
    uint8_t *data = (uint8_t *)*s;
    size_t inner = sizeof(struct secret) + (*s)->size;
    explicit_bzero(data, inner);
    munlock(data, inner);
    munmap(data - page, inner + 2 * page);
    *s = NULL;
}

static struct err check_private(int fd, const char *path)
{
    struct stat st;
    if (fstat(fd, &st) != 0)
        return FAIL(ERR_IO, "%s: errno %d", path, errno);
    if (!S_ISREG(st.st_mode))
        return FAIL(ERR_CONFIG, "%s is not a regular file", path);
    /* systemd credentials are 0400 or 0440 on a tmpfs that only the unit sees: group-readable by root is fine. */
    if ((st.st_mode & 0007) != 0 || ((st.st_mode & 0070) != 0 && st.st_gid != 0))
        return FAIL(ERR_CONFIG, "%s can be read by others (mode %04o): chmod 0600 it", path, st.st_mode & 07777);
    return OK;
}

struct err secret_from_file(const char *path, size_t size, struct secret **out)
{
    CLEANUP(fd_close) int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return FAIL(ERR_CONFIG, "cannot open %s: errno %d", path, errno);
    TRY(check_private(fd, path));
    CLEANUP(secret_free) struct secret *s = NULL;
    TRY(secret_new(size + 2, &s));
    for (;;) {
        ssize_t got = read(fd, s->p + s->n, size + 2 - s->n);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return FAIL(ERR_IO, "cannot read %s: errno %d", path, errno);
        if (got == 0)
            break;
        s->n += (size_t)got;
        if (s->n >= size + 2)
            break;
    }
    if (s->n > 0 && s->p[s->n - 1] == '\n')
        s->n--;
    if (s->n == 0 || s->n > size)
        return FAIL(ERR_CONFIG, "%s is empty or longer than %zu bytes", path, size);
    *out = s;
    s = NULL;
    return OK;
}

bool secret_eq(struct bytes a, struct bytes b)
{
    return a.n == b.n && (a.n == 0 || CRYPTO_memcmp(a.p, b.p, a.n) == 0);
}
