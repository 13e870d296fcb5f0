/* SPDX-License-Identifier: Apache-2.0 */
#include "hsm/signer/fuse.h"

#include "base/arena.h"
#include "base/buf.h"
#include "base/fd.h"
#include "base/rand.h"
#include "base/secret.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <unistd.h>

enum { RECORD_MAX = 4096, UNJUDGED_MAX = 2 };

static const char *const state_names[] = {[FUSE_STATE_NONE] = "none",
                                          [FUSE_STATE_IN_FLIGHT] = "in-flight",
                                          [FUSE_STATE_GOOD] = "good",
                                          [FUSE_STATE_BLOWN] = "blown"};

struct record {
    char state[16];
    struct fuse_hash last;
    int unjudged, proven;
};

/* SHA-256 over salt, PIN and serial, in hexadecimal. The serial binds the record to its token. */
static struct err hash_pin(const struct crypto *c, const char *salt, struct bytes pin, struct str serial,
                           char out[static FUSE_PIN_HEX])
{
    CLEANUP(secret_free) struct secret *s = NULL;
    size_t n = FUSE_SALT_HEX - 1;
    uint8_t digest[SHA256_LEN];
    TRY(secret_new(n + pin.n + serial.n, &s));
    memcpy(s->p, salt, n);
    memcpy(s->p + n, pin.p, pin.n);
    memcpy(s->p + n + pin.n, serial.p, serial.n);
    s->n = n + pin.n + serial.n;
    TRY(crypto_sha256(c, secret_bytes(s), digest));
    hex_encode(digest, sizeof digest, out);
    return OK;
}

static bool is_whole(const struct fuse_hash *h)
{
    return strlen(h->salt) == FUSE_SALT_HEX - 1 && strlen(h->pin) == FUSE_PIN_HEX - 1;
}

/* The lines of refused PINs, down to the end of the text. */
static bool parse_refused(const char *p, struct fuse *f)
{
    while (*p != '\0' && f->refused_n < FUSE_REFUSED_MAX) {
        struct fuse_hash *h = &f->refused[f->refused_n];
        int end = -1;
        int got = sscanf(p, "refused %32[0-9a-f] %64[0-9a-f]%n", h->salt, h->pin, &end);
        if (got != 2 || end < 0 || p[end] != '\n' || !is_whole(h))
            return false;
        f->refused_n++;
        p += end + 1;
    }
    return *p == '\0';
}

static struct err parse_record(struct str text, struct record *r, struct fuse *f)
{
    int end = -1;
    /* The conversions are bounded, and the state that the numbers make is checked by its user. */
    int got = /* NOLINTNEXTLINE(cert-err34-c): a number out of range is refused below */
        sscanf(text.p, "nexus-pin-fuse 2\nstate %15[a-z-]\nsalt %32[0-9a-f]\npin %64[0-9a-f]\nunjudged %d\nproven %d%n",
               r->state, r->last.salt, r->last.pin, &r->unjudged, &r->proven, &end);
    bool head = got == 5 && r->unjudged >= 0 && r->proven >= 0 && end > 0 && text.p[end] == '\n' && is_whole(&r->last);
    if (head && strlen(text.p) == text.n && parse_refused(text.p + end + 1, f))
        return OK;
    return FAIL(ERR_HSM_PIN, "the PIN fuse %s is damaged; check the PIN, then remove that file", f->path);
}

static struct err is_hash_of(const struct crypto *c, const struct fuse_hash *h, struct bytes pin, struct str serial,
                             bool *same)
{
    char hash[FUSE_PIN_HEX];
    TRY(hash_pin(c, h->salt, pin, serial, hash));
    *same = strcmp(hash, h->pin) == 0;
    return OK;
}

/* Applies a record to the PIN at hand: only one of the very same PIN says anything about it. */
static struct err apply(const struct crypto *c, const struct record *r, struct str serial, struct bytes pin,
                        struct fuse *f)
{
    bool same = false;
    for (int i = 0; i < f->refused_n && !same; i++)
        TRY(is_hash_of(c, &f->refused[i], pin, serial, &same));
    if (same) {
        f->state = FUSE_STATE_BLOWN;
        return OK;
    }
    TRY(is_hash_of(c, &r->last, pin, serial, &same));
    f->corrected = !same && strcmp(r->state, state_names[FUSE_STATE_BLOWN]) == 0;
    if (!same)
        return OK;
    memcpy(f->at_hand.salt, r->last.salt, sizeof f->at_hand.salt);
    f->unjudged = r->unjudged;
    f->proven = r->proven != 0;
    for (size_t i = 0; i < COUNT(state_names); i++) {
        if (strcmp(state_names[i], r->state) == 0)
            f->state = (enum fuse_state)i;
    }
    return OK;
}

static struct err read_record(const struct crypto *c, struct str serial, struct bytes pin, struct fuse *f)
{
    CLEANUP(arena_free) struct arena *a = NULL;
    struct str text;
    struct record r = {0};
    if (access(f->path, F_OK) != 0 && errno == ENOENT)
        return OK;
    TRY(arena_new(RECORD_MAX * 2, &a));
    TRY(err_as(fd_read_file(f->path, RECORD_MAX, a, &text), ERR_HSM_PIN));
    TRY(parse_record(text, &r, f));
    return apply(c, &r, serial, pin, f);
}

static struct err write_record(const struct fuse *f)
{
    CLEANUP(arena_free) struct arena *a = NULL;
    TRY(arena_new(RECORD_MAX * 2, &a));
    struct buf b = buf_in(a, RECORD_MAX);
    buf_printf(&b, "nexus-pin-fuse 2\nstate %s\nsalt %s\npin %s\nunjudged %d\nproven %d\n", state_names[f->state],
               f->at_hand.salt, f->at_hand.pin, f->unjudged, f->proven ? 1 : 0);
    for (int i = 0; i < f->refused_n; i++)
        buf_printf(&b, "refused %s %s\n", f->refused[i].salt, f->refused[i].pin);
    TRY(buf_status(&b));
    return fd_write_file_durable(f->path, buf_bytes(&b));
}

/* The file is named after the serial, whose bytes a token chooses: anything but letters and digits becomes '_'. */
static struct err name_record(const char *dir, struct str serial, struct fuse *f)
{
    char name[33];
    size_t n = serial.n < sizeof name - 1 ? serial.n : sizeof name - 1;
    for (size_t i = 0; i < n; i++) {
        char c = serial.p[i];
        bool plain = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        name[i] = plain ? c : '_';
    }
    name[n] = '\0';
    int r = snprintf(f->path, sizeof f->path, "%s/pin-%s.fuse", dir, name);
    return r > 0 && (size_t)r < sizeof f->path ? OK : FAIL(ERR_CONFIG, "NEXUS_SIGNER_STATE_DIR is too long");
}

static struct err take_lock(const char *dir, struct fuse *f)
{
    char path[PATH_MAX];
    int r = snprintf(path, sizeof path, "%s/pin.lock", dir);
    if (r < 0 || (size_t)r >= sizeof path)
        return FAIL(ERR_CONFIG, "NEXUS_SIGNER_STATE_DIR is too long");
    f->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (f->lock_fd < 0)
        return FAIL(ERR_CONFIG, "cannot write to NEXUS_SIGNER_STATE_DIR: %s: errno %d", path, errno);
    while (flock(f->lock_fd, LOCK_EX) != 0) {
        if (errno != EINTR)
            return FAIL(ERR_IO, "flock %s: errno %d", path, errno);
    }
    return OK;
}

struct err fuse_open(const struct crypto *c, const char *dir, struct str serial, struct bytes pin, struct fuse *out)
{
    uint8_t salt[FUSE_SALT_LEN];
    *out = (struct fuse){.lock_fd = -1};
    TRY(name_record(dir, serial, out));
    TRY(take_lock(dir, out));
    TRY(rand_bytes(salt, sizeof salt));
    hex_encode(salt, sizeof salt, out->at_hand.salt);
    TRY(read_record(c, serial, pin, out));
    return hash_pin(c, out->at_hand.salt, pin, serial, out->at_hand.pin);
}

void fuse_close(struct fuse *f)
{
    fd_close(&f->lock_fd);
}

struct err fuse_arm(struct fuse *f, bool count_low)
{
    if (f->state == FUSE_STATE_BLOWN)
        return FAIL(ERR_HSM_PIN,
                    "the token refused this PIN before; correct the PIN file (or, if the PIN was reset, remove %s)",
                    f->path);
    if (f->refused_n == FUSE_REFUSED_MAX)
        return FAIL(ERR_HSM_PIN,
                    "the token refused %d PINs since its last good login, and no other is tried; find the right PIN, "
                    "then remove %s",
                    f->refused_n, f->path);
    if (f->state == FUSE_STATE_IN_FLIGHT && !f->proven && f->unjudged >= UNJUDGED_MAX)
        return FAIL(ERR_HSM_PIN, "%d attempts with this PIN ended without a verdict; check the PIN, then remove %s",
                    f->unjudged, f->path);
    if (count_low && f->state != FUSE_STATE_GOOD && !f->corrected)
        return FAIL(ERR_HSM_PIN,
                    "the token counts failed logins and this PIN has not proved good; log in once by hand");
    f->before = f->state;
    f->state = FUSE_STATE_IN_FLIGHT;
    f->unjudged++;
    return write_record(f);
}

struct err fuse_settle(struct fuse *f, enum fuse_verdict v)
{
    switch (v) {
    case FUSE_GOOD:
        f->state = FUSE_STATE_GOOD;
        f->proven = true;
        f->unjudged = 0;
        f->refused_n = 0;
        break;
    case FUSE_BAD:
        f->state = FUSE_STATE_BLOWN;
        f->proven = false;
        /* fuse_arm lets no attempt begin with a full list. */
        f->refused[f->refused_n++] = f->at_hand;
        break;
    case FUSE_UNJUDGED:
        /* The record says so already. */
        return OK;
    case FUSE_UNTRIED:
        f->state = f->before;
        f->unjudged--;
        break;
    }
    return write_record(f);
}
