/* SPDX-License-Identifier: Apache-2.0 */
#include "hsm/signer/ladder.h"

#include "hsm/signer/ckr.h"
#include "hsm/signer/login.h"

/* A session that failed is never lent again: an operation may be active in it still. */
static void drop_session(struct lease *l)
{
    if (l->session != CK_INVALID_HANDLE)
        (void)l->f->C_CloseSession(l->session);
    l->session = CK_INVALID_HANDLE;
}

static CK_RV open_session(struct signer *s, struct lease *l)
{
    CK_FLAGS flags = 0;
    if (l->session != CK_INVALID_HANDLE)
        return CKR_OK;
    /* Read-write always: some services have no other sessions (hsm.md section 4), and generating needs them. */
    CK_RV rv = l->f->C_OpenSession(s->token.slot, CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL, NULL, &l->session);
    if (rv != CKR_OK)
        l->session = CK_INVALID_HANDLE;
    if (rv == CKR_SESSION_COUNT)
        gate_no_more_sessions(&s->gate);
    return rv == CKR_OK ? identity_check(l->f, &s->token, &flags) : rv;
}

/* Finds the key of the job again. A key that cannot be found may mean a token that is gone (hsm.md section 7.1), but
 * only once: a key that a re-initialise did not bring back was destroyed, and must not take the others down. */
static struct err find_again(struct signer *s, const struct lease *l, const struct job *job, bool *gone)
{
    struct key *found = NULL;
    struct err verdict = OK;
    if (job->key == NULL)
        return OK;
    CK_RV rv = keys_lookup(&s->keys, l, &job->key->id, &found, &verdict);
    if (err_is(&verdict))
        return err_as(verdict, ERR_HSM_REFUSED);
    bool missing = rv == CKR_OK && found == NULL;
    *gone = rv != CKR_OK || (missing && !atomic_exchange(&job->key->missing, true));
    return rv != CKR_OK || missing ? FAIL(ERR_HSM_UNAVAILABLE, "%s is not found on the token", job->key->label) : OK;
}

/* What to do about a row, given which rungs were tried. */
static enum ckr_action decide(const struct ckr *row, const struct job *job, unsigned tried)
{
    if (row->action == ACT_CONFIRM && job->input_is_foreign)
        return ACT_REFUSE;
    bool again = (tried & 1U << row->action) != 0;
    switch (row->action) {
    case ACT_RETRY:
    case ACT_LOGIN:
    case ACT_REFIND:
    case ACT_CONFIRM:
        return again ? ACT_REINIT : row->action;
    case ACT_PIN: /* no operation but C_Login may say so */
        return ACT_REINIT;
    case ACT_NONE:
    case ACT_REINIT:
    case ACT_WAIT:
    case ACT_REFUSE:
        break;
    }
    return row->action;
}

/* One rung. *again: run the job once more; else the error is the answer. */
static struct err climb(struct signer *s, struct lease *l, const struct job *job, const struct ckr *row,
                        enum ckr_action action, bool *again)
{
    struct err e = OK;
    bool gone = action == ACT_REINIT;
    if (action == ACT_LOGIN)
        e = login_again(s, l);
    else if (action == ACT_REFIND)
        e = find_again(s, l, job, &gone);
    else if (action == ACT_REFUSE)
        e = FAIL(ERR_HSM_REFUSED, "%s: %s", job->name, row->name);
    else if (action == ACT_REINIT)
        e = FAIL(ERR_HSM_UNAVAILABLE, "%s: %s", job->name, row->name);
    gone |= action == ACT_LOGIN && err_is(&e);
    if (gone)
        gate_shut(&s->gate, l->epoch);
    *again = !err_is(&e);
    return e;
}

/* Once through: enter, run, leave. */
static struct err step(struct signer *s, struct watch_slot *watch, const struct job *job, unsigned *tried, bool *again)
{
    struct lease l;
    struct err e = OK;
    *again = false;
    TRY(gate_enter(&s->gate, s->module.f, &l));
    watch_begin(watch);
    CK_RV rv = open_session(s, &l);
    if (rv == CKR_OK)
        rv = job->run(job->self, &l);
    const struct ckr *row = ckr_find(rv);
    enum ckr_action action = decide(row, job, *tried);
    if (action != ACT_NONE) {
        LOG(LOG_WARN, "the token failed an operation", LOG_CSTR("operation", job->name), LOG_CSTR("ckr", row->name),
            LOG_INT("code", rv));
        e = climb(s, &l, job, row, action, again);
        drop_session(&l);
    }
    *tried |= 1U << row->action;
    watch_end(watch);
    gate_leave(&s->gate, &l);
    return e;
}

struct err ladder_run(struct signer *s, struct watch_slot *watch, const struct job *job)
{
    enum { STEPS_MAX = 6 };
    unsigned tried = 0;
    for (int i = 0; i < STEPS_MAX; i++) {
        bool again = false;
        struct err e = step(s, watch, job, &tried, &again);
        if (err_is(&e) || !again)
            return e;
    }
    return FAIL(ERR_HSM_UNAVAILABLE, "%s: the token does not settle", job->name);
}
