// SPDX-License-Identifier: Apache-2.0
#include "call.h"

#include "names.h"
#include "state.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MAX_HANG_MS  120000
#define HANG_POLL_MS 10

// How much more than the buffer holds an `overlong` answer claims.
#define OVERLONG_BY 64

static unsigned flags_of(const struct call *call)
{
    return call_infos[call->id].flags;
}

// One write(2) on an O_APPEND file, so lines of several threads and processes do not mix. Never data, never a PIN.
static void log_line(const struct call *call, const char *text, const char *suffix)
{
    char line[128];
    if (call->log_fd < 0)
        return;
    int len = snprintf(line, sizeof(line), "%s %s%s\n", call_infos[call->id].name, text, suffix);
    // A full disk under a test log is the test's to notice: it counts lines.
    if (len > 0 && (size_t)len < sizeof(line) && write(call->log_fd, line, (size_t)len) < 0)
        return;
}

static void log_answer(const struct call *call, CK_RV rv)
{
    char text[64];
    if (call->log_fd < 0)
        return;
    const char *name = names_rv(rv);
    if (name != NULL)
        snprintf(text, sizeof(text), "CKR_%s", name);
    else
        snprintf(text, sizeof(text), "0x%lx", rv);
    bool size_query = (flags_of(call) & CALL_OUTPUT) != 0 && call->out == NULL;
    log_line(call, text, call->touched ? " shim" : size_query ? " size" : "");
}

static void answer(struct call *call, CK_RV rv)
{
    if (call->effect.answered)
        return;
    call->effect.answered = true;
    call->effect.rv = rv;
}

static void collect_rules(struct state *state, struct call *call)
{
    CK_ULONG nth = ++state->counts[call->id];
    CK_ULONG total = ++state->total;
    for (size_t i = 0; i < state->script.rule_count; i++) {
        struct rule *rule = &state->script.rules[i];
        if (!script_rule_matches(rule, call->id, nth, total))
            continue;
        if (rule->once && !state_claim_once(state, rule))
            continue;
        script_effect_add(&call->effect, &rule->effect);
    }
}

static bool is_stale(const struct state *state, CK_SESSION_HANDLE session)
{
    unsigned epoch = 0;
    // Most scripts never change the token: spare them the search.
    if (session == NO_SESSION || state->token_epoch == 0)
        return false;
    return sessions_epoch(&state->sessions, session, &epoch) && epoch != state->token_epoch;
}

// What the state of the token refuses, whatever the rules say of this call.
static void refuse(const struct state *state, struct call *call)
{
    unsigned flags = flags_of(call);
    if (state->script_bad)
        answer(call, CKR_GENERAL_ERROR);
    if (is_stale(state, call->session))
        answer(call, CKR_SESSION_HANDLE_INVALID);
    if (call->mechanism != NULL && state_is_hidden(state, call->mechanism->mechanism))
        answer(call, CKR_MECHANISM_INVALID);
    if (state->login_lost && (flags & CALL_LOGIN) != 0)
        answer(call, CKR_USER_NOT_LOGGED_IN);
    if (state->script.token_swap && (flags & CALL_KEY) != 0)
        answer(call, call->mechanism != NULL ? CKR_KEY_HANDLE_INVALID : CKR_OBJECT_HANDLE_INVALID);
}

// A lost login is a real logout, so that session states, searches and old handles are as they would be then. The real
// module is called under the lock here: a C_Login of another thread must not slip in between the flag and the call.
static void log_out(struct state *state, const struct call *call)
{
    if (!state->logout_due || call->session == NO_SESSION)
        return;
    CK_RV rv = state->real->C_Logout(call->session);
    state->logout_due = rv != CKR_OK && rv != CKR_USER_NOT_LOGGED_IN;
}

static void decide(struct state *state, struct call *call)
{
    state_follow_script(state);
    call->real = state->real;
    call->log_fd = state->log_fd;
    call->generation = state->generation;
    collect_rules(state, call);
    if (call->effect.lost_login)
        state_lose_login(state);
    log_out(state, call);
    refuse(state, call);
    call->swapped = state->script.token_swap;
    call->token_flags = state->script.token_flags;
    call->touched = call->effect.answered;
    // An operation ends with its last call even if that fails, and the real module has to see it end.
    bool ends = (flags_of(call) & CALL_ENDS) != 0 && call->effect.rv != CKR_BUFFER_TOO_SMALL;
    call->forward = !call->effect.answered || ends;
}

static void sleep_ms(CK_ULONG ms)
{
    struct timespec left = {.tv_sec = (time_t)(ms / 1000), .tv_nsec = (long)(ms % 1000) * 1000000};
    while (nanosleep(&left, &left) != 0 && errno == EINTR)
        continue;
}

static void hang(const struct call *call)
{
    bool changed = false;
    log_line(call, "hang", "");
    for (int waited = 0; waited < MAX_HANG_MS && !changed; waited += HANG_POLL_MS) {
        sleep_ms(HANG_POLL_MS);
        struct state *state = state_lock();
        state_follow_script(state);
        changed = state->generation != call->generation;
        state_unlock(state);
    }
}

static void crash(const struct call *call)
{
    log_line(call, "crash", "");
    raise(SIGSEGV);
    abort(); // a handler that returns does not save a process whose module is broken
}

// The gate stands for a network HSM: a few signatures at once, each with its latency; the others wait in line.
static void pass_gate(struct state *state, struct call *call)
{
    if (call->id != CALL_C_Sign || call->out == NULL || call->effect.answered)
        return;
    if (state->script.latency_ms == 0 && state->script.sessions == 0)
        return;
    while (state->script.sessions != 0 && state->signing >= state->script.sessions)
        pthread_cond_wait(&state->gate, &state->lock);
    state->signing++;
    call->gated = true;
    call->generation = state->generation; // it may have waited here for a new script
    clock_gettime(CLOCK_MONOTONIC, &call->due);
    CK_ULONG ns = (CK_ULONG)call->due.tv_nsec + state->script.latency_ms * 1000000;
    call->due.tv_sec += (time_t)(ns / 1000000000);
    call->due.tv_nsec = (long)(ns % 1000000000);
}

// A new script ends the latency of the old one, so that a test may set one that it never wants to sit out.
static void leave_gate(const struct call *call)
{
    if (!call->gated)
        return;
    struct state *state = state_lock();
    int timed_out = 0;
    while (timed_out == 0 && state->generation == call->generation)
        timed_out = pthread_cond_clockwait(&state->changed, &state->lock, CLOCK_MONOTONIC, &call->due);
    state->signing--;
    pthread_cond_signal(&state->gate);
    state_unlock(state);
}

static bool waits(const struct call *call)
{
    return call->effect.crash || call->effect.hang || call->effect.delay_ms > 0;
}

static void wait_as_told(const struct call *call)
{
    if (call->effect.delay_ms > 0)
        sleep_ms(call->effect.delay_ms);
    if (call->effect.hang)
        hang(call);
    if (call->effect.crash)
        crash(call);
}

void call_enter(struct call *call)
{
    // Only with a buffer: the length of a size query is not the caller's to initialise.
    call->capacity = call->out != NULL && call->out_len != NULL ? *call->out_len : 0;
    struct state *state = state_lock();
    decide(state, call);
    if (waits(call)) {
        state_unlock(state);
        wait_as_told(call);
        state = state_lock();
    }
    pass_gate(state, call);
    state_unlock(state);
}

static void repeat_signature(const struct state *state, struct call *call)
{
    if (state->signature_len == 0 || state->signature_len > call->capacity)
        return;
    memcpy(call->out, state->signature, state->signature_len);
    *call->out_len = state->signature_len;
    call->touched = true;
}

static void keep_signature(struct state *state, const struct call *call)
{
    if (*call->out_len > sizeof(state->signature))
        return;
    memcpy(state->signature, call->out, *call->out_len);
    state->signature_len = *call->out_len;
}

static void spoil_output(struct call *call)
{
    CK_ULONG len = *call->out_len;
    if (call->id == CALL_C_Sign) {
        struct state *state = state_lock();
        if (call->effect.samer)
            repeat_signature(state, call);
        keep_signature(state, call);
        state_unlock(state);
    }
    if (call->effect.corrupt && len > 0) {
        call->out[len / 2] ^= 1;
        call->touched = true;
    }
    if (call->effect.overlong) {
        *call->out_len = call->capacity + OVERLONG_BY;
        call->touched = true;
    }
}

CK_RV call_leave(struct call *call, CK_RV rv)
{
    if (call->effect.answered)
        rv = call->effect.rv;
    else if (rv == CKR_OK && call->out != NULL && call->out_len != NULL)
        spoil_output(call);
    leave_gate(call);
    log_answer(call, rv);
    return rv;
}
