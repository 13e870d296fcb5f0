// SPDX-License-Identifier: Apache-2.0
#include "state.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DEFAULT_MODULE "/usr/lib/softhsm/libsofthsm2.so"
#define MAX_SCRIPT     16384

static struct state the_state = {
    .lock = PTHREAD_MUTEX_INITIALIZER,
    .gate = PTHREAD_COND_INITIALIZER,
    .changed = PTHREAD_COND_INITIALIZER,
    .log_fd = -1,
};

struct state *state_lock(void)
{
    pthread_mutex_lock(&the_state.lock);
    return &the_state;
}

void state_unlock(struct state *state)
{
    pthread_mutex_unlock(&state->lock);
}

static const CK_FUNCTION_LIST *load_module(const char *path)
{
    void *module = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (module == NULL) {
        fprintf(stderr, "nexus-shim: %s\n", dlerror());
        return NULL;
    }
    void *symbol = dlsym(module, "C_GetFunctionList");
    CK_C_GetFunctionList get_list = NULL;
    CK_FUNCTION_LIST *list = NULL;
    // ISO C knows no conversion from an object pointer to a function pointer; POSIX promises that the bytes are the
    // same.
    memcpy(&get_list, &symbol, sizeof(get_list));
    if (get_list == NULL || get_list(&list) != CKR_OK) {
        fprintf(stderr, "nexus-shim: %s is not a PKCS#11 module\n", path);
        return NULL;
    }
    return list;
}

static int open_log(void)
{
    const char *path = getenv("NEXUS_SHIM_LOG");
    if (path == NULL || *path == '\0')
        return -1;
    int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        fprintf(stderr, "nexus-shim: log %s: error %d\n", path, errno);
    return fd;
}

// The path is copied, because the environment may change while the module is loaded.
static bool take_script_path(struct state *state)
{
    const char *path = getenv("NEXUS_SHIM_SCRIPT");
    if (path == NULL)
        return true;
    int len = snprintf(state->script_path, sizeof(state->script_path), "%s", path);
    return len >= 0 && (size_t)len < sizeof(state->script_path);
}

CK_RV state_open(void)
{
    struct state *state = state_lock();
    if (state->real == NULL && take_script_path(state)) {
        const char *path = getenv("NEXUS_SHIM_MODULE");
        state->real = load_module(path != NULL && *path != '\0' ? path : DEFAULT_MODULE);
        if (state->real != NULL)
            state->log_fd = open_log();
    }
    CK_RV rv = state->real != NULL ? CKR_OK : CKR_GENERAL_ERROR;
    state_unlock(state);
    return rv;
}

// A program may load and unload its module many times: leave no descriptor behind. The real module stays loaded, since
// at exit its own destructors may have run already.
__attribute__((destructor)) static void close_log(void)
{
    struct state *state = state_lock();
    if (state->log_fd >= 0)
        close(state->log_fd);
    state->log_fd = -1;
    state_unlock(state);
}

static struct file_version version_of(const struct stat *st)
{
    return (struct file_version){
        .exists = true,
        .device = st->st_dev,
        .inode = st->st_ino,
        .size = st->st_size,
        .modified = st->st_mtim,
        .changed = st->st_ctim,
    };
}

static bool is_same_time(struct timespec a, struct timespec b)
{
    return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

static bool is_same_version(const struct file_version *a, const struct file_version *b)
{
    return a->exists == b->exists && a->device == b->device && a->inode == b->inode && a->size == b->size &&
           is_same_time(a->modified, b->modified) && is_same_time(a->changed, b->changed);
}

// Reads the whole file; *text is empty if there is none. The version is that of the bytes that were read.
static const char *read_script(const char *path, char text[static MAX_SCRIPT + 1], struct file_version *version)
{
    text[0] = '\0';
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT ? NULL : "cannot be opened";
    struct stat st;
    const char *why = NULL;
    size_t len = 0;
    ssize_t got = fstat(fd, &st) == 0 ? 1 : -1;
    while (got > 0 && len < MAX_SCRIPT) {
        got = read(fd, text + len, MAX_SCRIPT - len);
        len += got > 0 ? (size_t)got : 0;
    }
    if (got < 0)
        why = "cannot be read";
    else if (len == MAX_SCRIPT || memchr(text, '\0', len) != NULL)
        why = "is too long or no text";
    else
        *version = version_of(&st);
    text[len] = '\0';
    close(fd);
    return why;
}

static void load_script(struct state *state)
{
    char text[MAX_SCRIPT + 1];
    struct script_error error = {0};
    bool swapped = state->script.token_swap;
    error.why = read_script(state->script_path, text, &state->version);
    // A script that cannot be understood must fail the test that wrote it, not pass it by doing nothing.
    state->script_bad = error.why != NULL || !script_parse(text, &state->script, &error);
    if (state->script_bad) {
        fprintf(stderr, "nexus-shim: script %s, line %u: %s\n", state->script_path, error.line, error.why);
        state->script = (struct script){.token_swap = swapped};
    }
    state->generation++;
    memset(state->counts, 0, sizeof(state->counts));
    state->total = 0;
    if (state->script.token_swap != swapped)
        state->token_epoch++;
    if (state->script.token_swap != swapped || state->script.lost_login)
        state_lose_login(state);
    pthread_cond_broadcast(&state->gate);
    pthread_cond_broadcast(&state->changed);
}

void state_follow_script(struct state *state)
{
    struct stat st;
    struct file_version now = {0};
    if (state->script_path[0] == '\0')
        return;
    if (stat(state->script_path, &st) == 0)
        now = version_of(&st);
    if (is_same_version(&now, &state->version))
        return;
    state->version = now;
    load_script(state);
}

bool state_claim_once(struct state *state, struct rule *rule)
{
    if (rule->spent)
        return false;
    rule->spent = true;
    // The claim is a file, because the process that acted may be gone: `crash once` must not crash its successor.
    char marker[4096];
    int len = snprintf(marker, sizeof(marker), "%s.once.%u.%lld.%ld", state->script_path, rule->line,
                       (long long)state->version.modified.tv_sec, state->version.modified.tv_nsec);
    if (len < 0 || (size_t)len >= sizeof(marker))
        return false;
    int fd = open(marker, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0) {
        if (errno != EEXIST)
            fprintf(stderr, "nexus-shim: %s: error %d\n", marker, errno);
        return false;
    }
    close(fd);
    return true;
}

void state_lose_login(struct state *state)
{
    state->login_lost = true;
    state->logout_due = true;
}

bool state_is_hidden(const struct state *state, CK_MECHANISM_TYPE type)
{
    for (size_t i = 0; i < state->script.hidden_count; i++) {
        if (state->script.hidden[i] == type)
            return true;
    }
    return false;
}
