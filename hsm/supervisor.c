/* SPDX-License-Identifier: Apache-2.0 */
#include "hsm/supervisor.h"

#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/rand.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { CONTROL_FD = 3, BACKOFF_MIN_MS = 100, BACKOFF_MAX_MS = 5000, STEADY_US = 10000000, KILL_AFTER_US = 5000000 };

enum child_state { CHILD_NEW, CHILD_AWAY, CHILD_RUNS, CHILD_PIN, CHILD_CONFIG };

struct supervisor_run {
    pid_t pid;
    int pidfd;
};

struct hsm_supervisor {
    char *program;
    char *const *envp;
    pthread_t thread;
    int stop_fd; /* an eventfd: readable once stop was asked for */
    pthread_mutex_t lock;
    pthread_cond_t changed; /* of state */
    enum child_state state; /* under lock */
    int control;            /* under lock: our end of the child's control socket, or -1 */
};

/* Runs between fork and exec in a process that has threads: only async-signal-safe calls. */
static void become_signer(const struct hsm_supervisor *s, int control, pid_t parent)
{
    char name[] = "nexus-signer", mode[] = "child";
    char *argv[] = {name, mode, NULL};
    sigset_t none;
    sigemptyset(&none);
    /* The death signal is armed before the parent is looked at, so a parent that died in between is seen. */
    if (prctl(PR_SET_PDEATHSIG, SIGTERM) != 0 || getppid() != parent)
        _exit(SIGNER_EXIT_CONFIG);
    int null = open("/dev/null", O_RDWR);
    if (null < 0 || dup2(null, STDIN_FILENO) < 0 || dup2(null, STDOUT_FILENO) < 0)
        _exit(SIGNER_EXIT_CONFIG);
    /* dup2 onto itself would leave close-on-exec set. */
    bool in_place = control == CONTROL_FD;
    if (in_place ? fcntl(control, F_SETFD, 0) != 0 : dup2(control, CONTROL_FD) < 0)
        _exit(SIGNER_EXIT_CONFIG);
    if (close_range(CONTROL_FD + 1, ~0U, 0) != 0)
        _exit(SIGNER_EXIT_CONFIG);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
    (void)execve(s->program, argv, s->envp);
    _exit(SIGNER_EXIT_CONFIG);
}

static void set_child(struct hsm_supervisor *s, enum child_state state, int control)
{
    pthread_mutex_lock(&s->lock);
    fd_close(&s->control);
    s->state = state;
    s->control = control;
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->lock);
}

static struct err spawn(struct hsm_supervisor *s, struct supervisor_run *run)
{
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0)
        return FAIL(ERR_IO, "socketpair: errno %d", errno);
    CLEANUP(fd_close) int theirs = pair[1];
    /* A signer that takes no sockets must not stop the thread that hands one over. */
    (void)fcntl(pair[0], F_SETFL, O_NONBLOCK);
    pid_t parent = getpid();
    pid_t pid = fork();
    if (pid == 0)
        become_signer(s, theirs, parent);
    if (pid < 0) {
        fd_close(&pair[0]);
        return FAIL(ERR_IO, "fork: errno %d", errno);
    }
    run->pid = pid;
    run->pidfd = pidfd_open(pid, 0);
    if (run->pidfd < 0) {
        fd_close(&pair[0]);
        (void)kill(pid, SIGKILL);
        (void)waitpid(pid, NULL, 0);
        return FAIL(ERR_IO, "pidfd_open: errno %d", errno);
    }
    set_child(s, CHILD_RUNS, pair[0]);
    LOG(LOG_INFO, "signer started", LOG_INT("pid", pid));
    return OK;
}

/* Waits for the child's end or the wish to stop; whichever it was is told by *stop. */
static void watch(const struct hsm_supervisor *s, const struct supervisor_run *run, bool *stop)
{
    struct pollfd p[] = {{.fd = run->pidfd, .events = POLLIN}, {.fd = s->stop_fd, .events = POLLIN}};
    while (poll(p, COUNT(p), -1) < 0 && errno == EINTR)
        continue;
    *stop = p[1].revents != 0;
}

static void end_child(struct hsm_supervisor *s, const struct supervisor_run *run)
{
    bool ended = false;
    set_child(s, CHILD_AWAY, -1);
    (void)kill(run->pid, SIGTERM);
    struct err e = fd_wait_readable(run->pidfd, clock_mono_us() + KILL_AFTER_US, &ended);
    if (err_is(&e) || !ended)
        (void)kill(run->pid, SIGKILL);
}

static int reap(struct supervisor_run *run)
{
    int status = 0;
    while (waitpid(run->pid, &status, 0) < 0 && errno == EINTR)
        continue;
    fd_close(&run->pidfd);
    return status;
}

/* What an exit status says about starting again. */
static enum child_state judge(int status)
{
    int code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    LOG(LOG_ERROR, "signer ended", LOG_INT("exit_status", code),
        LOG_INT("signal", WIFSIGNALED(status) ? WTERMSIG(status) : 0));
    if (code == SIGNER_EXIT_PIN) {
        LOG0(LOG_ERROR, "the signer refused its PIN and is not started again; mend the PIN, then restart the broker");
        return CHILD_PIN;
    }
    if (code == SIGNER_EXIT_CONFIG) {
        LOG0(LOG_ERROR, "the signer refused its configuration and is not started again; mend what its own message "
                        "above says, then restart the broker");
        return CHILD_CONFIG;
    }
    return CHILD_AWAY;
}

/* Half of the pause is random, so that the signers of many brokers do not come back to one HSM in step. */
static bool pause_is_interrupted(const struct hsm_supervisor *s, int64_t ms)
{
    uint16_t r = 0;
    bool stop = false;
    struct err e = rand_bytes((uint8_t *)&r, sizeof r);
    int64_t jittered = ms / 2 + (err_is(&e) ? 0 : r % (ms / 2 + 1));
    e = fd_wait_readable(s->stop_fd, clock_mono_us() + jittered * 1000, &stop);
    return stop || err_is(&e);
}

static void *supervise(void *arg)
{
    struct hsm_supervisor *s = arg;
    int64_t pause_ms = BACKOFF_MIN_MS;
    enum child_state state = CHILD_AWAY;
    while (state == CHILD_AWAY) {
        struct supervisor_run run = {.pid = -1, .pidfd = -1};
        int64_t began = clock_mono_us();
        bool stop = false;
        struct err e = spawn(s, &run);
        if (err_is(&e)) {
            LOG_ERR(LOG_ERROR, "the signer cannot be started", &e, LOG_CSTR("program", s->program));
        } else {
            watch(s, &run, &stop);
            if (stop)
                end_child(s, &run);
            int status = reap(&run);
            state = stop ? CHILD_AWAY : judge(status);
        }
        set_child(s, state, -1);
        if (clock_mono_us() - began > STEADY_US)
            pause_ms = BACKOFF_MIN_MS;
        if (stop || (state == CHILD_AWAY && pause_is_interrupted(s, pause_ms)))
            return NULL;
        pause_ms = pause_ms * 2 < BACKOFF_MAX_MS ? pause_ms * 2 : BACKOFF_MAX_MS;
    }
    return NULL;
}

static void supervisor_free(struct hsm_supervisor **s)
{
    if (*s == NULL)
        return;
    fd_close(&(*s)->stop_fd);
    fd_close(&(*s)->control);
    pthread_cond_destroy(&(*s)->changed);
    pthread_mutex_destroy(&(*s)->lock);
    free((*s)->program);
    free(*s);
    *s = NULL;
}

struct err hsm_supervisor_start(const char *program, char *const *envp, struct hsm_supervisor **out)
{
    if (program[0] != '/' || access(program, X_OK) != 0)
        return FAIL(ERR_CONFIG, "%s is not the absolute path of a program", program);
    CLEANUP(supervisor_free) struct hsm_supervisor *s = calloc(1, sizeof *s);
    if (s == NULL)
        return FAIL(ERR_NO_MEMORY, "a supervisor");
    s->stop_fd = -1;
    s->control = -1;
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->changed, NULL);
    s->envp = envp;
    s->program = strdup(program);
    s->stop_fd = eventfd(0, EFD_CLOEXEC);
    if (s->program == NULL || s->stop_fd < 0)
        return FAIL(ERR_NO_MEMORY, "a supervisor: errno %d", errno);
    /* The death signal follows the thread that forked (prctl(2)), so the thread that forks lives as long as we do. */
    int r = pthread_create(&s->thread, NULL, supervise, s);
    if (r != 0)
        return FAIL(ERR_NO_MEMORY, "pthread_create: %d", r);
    pthread_mutex_lock(&s->lock);
    while (s->state == CHILD_NEW)
        pthread_cond_wait(&s->changed, &s->lock);
    pthread_mutex_unlock(&s->lock);
    *out = s;
    s = NULL;
    return OK;
}

void hsm_supervisor_stop(struct hsm_supervisor **s)
{
    if (*s == NULL)
        return;
    (void)eventfd_write((*s)->stop_fd, 1);
    pthread_join((*s)->thread, NULL);
    supervisor_free(s);
}

static struct err hand_over(struct hsm_supervisor *s, int theirs)
{
    switch (s->state) {
    case CHILD_RUNS:
        return err_as(fd_send(s->control, theirs), ERR_HSM_UNAVAILABLE);
    case CHILD_PIN:
        return FAIL(ERR_HSM_PIN, "the signer refused its PIN");
    case CHILD_CONFIG:
        /* The broker serves on without its signer: to its callers this is an outage. */
        return FAIL(ERR_HSM_UNAVAILABLE,
                    "the signer refused its configuration (its own message is in the log); mend it, then restart the "
                    "broker");
    case CHILD_NEW:
    case CHILD_AWAY:
        break;
    }
    return FAIL(ERR_HSM_UNAVAILABLE, "the signer is being started again");
}

/* The child need not be ready: what is sent meanwhile waits in the sockets, and the caller's deadline bounds it. */
static struct err supervisor_connect(void *self, int64_t deadline_us, int *fd)
{
    struct hsm_supervisor *s = self;
    (void)deadline_us;
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0)
        return FAIL(ERR_HSM_UNAVAILABLE, "socketpair: errno %d", errno);
    CLEANUP(fd_close) int ours = pair[0];
    CLEANUP(fd_close) int theirs = pair[1];
    pthread_mutex_lock(&s->lock);
    struct err e = hand_over(s, theirs);
    pthread_mutex_unlock(&s->lock);
    if (err_is(&e))
        return e;
    *fd = ours;
    ours = -1;
    return OK;
}

struct hsm_connector hsm_supervisor_connector(struct hsm_supervisor *s)
{
    return (struct hsm_connector){.self = s, .connect = supervisor_connect};
}
