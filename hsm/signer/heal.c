/* SPDX-License-Identifier: Apache-2.0 */
#include "hsm/signer/heal.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/rand.h"
#include "hsm/signer/ckr.h"
#include "hsm/signer/login.h"
#include "hsm/signer/probe.h"
#include "hsm/supervisor.h"

#include <poll.h>

enum { SLOTS_MAX = 256, PAUSE_MIN_MS = 500, PAUSE_MAX_MS = 4000, STEADY_US = 5000000, STOP_DRAIN_US = 2000000 };

static struct err find_token(struct signer *s, struct token_identity *out)
{
    CK_FUNCTION_LIST *f = s->module.f;
    CK_SLOT_ID slots[SLOTS_MAX];
    CK_ULONG n = SLOTS_MAX;
    size_t found = 0;
    CK_RV rv = f->C_GetSlotList(CK_TRUE, slots, &n);
    if (rv != CKR_OK)
        return FAIL(ERR_HSM_UNAVAILABLE, "C_GetSlotList: %s", ckr_find(rv)->name);
    for (CK_ULONG i = 0; i < n && i < SLOTS_MAX; i++) {
        CK_TOKEN_INFO info;
        rv = f->C_GetTokenInfo(slots[i], &info);
        if (rv != CKR_OK || (info.flags & CKF_TOKEN_INITIALIZED) == 0 || !token_uri_matches(s->uri, &info))
            continue;
        identity_of(slots[i], &info, out);
        found++;
    }
    if (found > 1)
        return FAIL(ERR_CONFIG, "NEXUS_PKCS11_URI: %zu tokens match; add serial= to name one", found);
    return found == 1 ? OK : FAIL(ERR_HSM_UNAVAILABLE, "no token matches NEXUS_PKCS11_URI (%lu tokens seen)", n);
}

/* A PIN must not be shown to another token, nor a signature be asked of it, because it bears the same label. */
static struct err check_identity(const struct signer *s, const struct token_identity *seen)
{
    if (!s->started || identity_same(&s->token, seen))
        return OK;
    return FAIL(ERR_HSM_UNAVAILABLE, "token %s (serial %s) is in the place of serial %s", seen->label, seen->serial,
                s->token.serial);
}

static struct err open_anchor(struct signer *s, struct lease *l)
{
    *l = (struct lease){.f = s->module.f, .session = CK_INVALID_HANDLE};
    CK_RV rv = l->f->C_OpenSession(s->token.slot, CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL, NULL, &l->session);
    if (rv != CKR_OK)
        return FAIL(ERR_HSM_UNAVAILABLE, "C_OpenSession: %s", ckr_find(rv)->name);
    s->anchor = l->session;
    return OK;
}

static struct err find_keys(struct signer *s, const struct lease *l)
{
    struct err verdict = OK;
    CK_RV rv = keys_scan(&s->keys, l, &verdict);
    if (rv != CKR_OK)
        return FAIL(ERR_HSM_UNAVAILABLE, "reading the token's keys: %s", ckr_find(rv)->name);
    /* Later, a bad key is refused alone: the good ones go on signing. */
    return s->started ? OK : verdict;
}

static struct err bring_up_initialized(struct signer *s)
{
    struct token_identity seen;
    struct lease l;
    TRY(find_token(s, &seen));
    TRY(check_identity(s, &seen));
    if (s->started)
        s->token.slot = seen.slot;
    else
        s->token = seen;
    TRY(open_anchor(s, &l));
    TRY(login_first(s, &l));
    if (!s->started)
        TRY(probe_token(s, &l));
    return find_keys(s, &l);
}

static struct err bring_up(struct signer *s)
{
    CK_RV rv = module_initialize(&s->module);
    if (rv != CKR_OK)
        return FAIL(ERR_HSM_UNAVAILABLE, "C_Initialize: %s", ckr_find(rv)->name);
    struct err e = bring_up_initialized(s);
    if (err_is(&e)) {
        keys_forget_handles(&s->keys);
        module_finalize(&s->module);
    }
    return e;
}

/* At most the pause, at least two thirds of it: signers that lost one HSM together do not return in step. */
static void rest(int64_t ms)
{
    uint16_t r = 0;
    struct err e = rand_bytes((uint8_t *)&r, sizeof r);
    int64_t jitter = err_is(&e) ? 0 : r % (ms / 3 + 1);
    (void)poll(NULL, 0, (int)(ms - jitter));
}

static void take_down(struct signer *s)
{
    if (!gate_drain(&s->gate, clock_mono_us() + s->cf.timeout_ms * 1000)) {
        /* C_Finalize with a call in flight is undefined (PKCS#11 v2.40, section 5.4). */
        LOG0(LOG_ERROR, "calls into the module do not end; the signer ends, to be replaced");
        signer_exit(SIGNER_EXIT_POISONED);
    }
    keys_forget_handles(&s->keys);
    watch_begin(&s->watch.healer);
    module_finalize(&s->module);
    watch_end(&s->watch.healer);
}

static struct err try_once(struct signer *s)
{
    watch_begin(&s->watch.healer);
    struct err e = bring_up(s);
    watch_end(&s->watch.healer);
    if (e.code != ERR_HSM_PIN)
        return e;
    log_err(LOG_ERROR, "the token is back but the PIN may not be used", &e, NULL, 0);
    signer_exit(SIGNER_EXIT_PIN);
}

static void *heal(void *arg)
{
    struct signer *s = arg;
    int64_t pause_ms = PAUSE_MIN_MS, up_us = 0;
    for (;;) {
        gate_wait_shut(&s->gate);
        LOG0(LOG_WARN, "the token is away; requests are refused until it is back");
        take_down(s);
        /* A token that comes up and fails at once is met as slowly as one that does not come up. */
        if (clock_mono_us() - up_us > STEADY_US)
            pause_ms = PAUSE_MIN_MS;
        else
            rest(pause_ms);
        for (struct err e = try_once(s); err_is(&e); e = try_once(s)) {
            log_err(LOG_WARN, "the token is still away", &e, NULL, 0);
            rest(pause_ms);
            pause_ms = pause_ms * 3 / 2 < PAUSE_MAX_MS ? pause_ms * 3 / 2 : PAUSE_MAX_MS;
        }
        up_us = clock_mono_us();
        LOG0(LOG_INFO, "the token is back");
        gate_open(&s->gate);
    }
    return NULL;
}

/* By configuration, else what the token allows beside the anchor. */
static int session_limit(const struct signer *s)
{
    uint64_t token = s->token.max_sessions > 1 ? s->token.max_sessions - 1 : s->token.max_sessions;
    uint64_t limit = s->cf.max_sessions > 0 ? (uint64_t)s->cf.max_sessions : token;
    return limit == 0 || limit > GATE_SESSIONS_MAX ? GATE_SESSIONS_MAX : (int)limit;
}

struct err heal_start(struct signer *s)
{
    pthread_t t;
    watch_begin(&s->watch.healer);
    struct err e = bring_up(s);
    watch_end(&s->watch.healer);
    if (err_is(&e))
        return e;
    s->started = true;
    gate_init(&s->gate, session_limit(s));
    gate_open(&s->gate);
    if (pthread_create(&t, NULL, heal, s) != 0)
        return FAIL(ERR_NO_MEMORY, "the healing thread");
    pthread_detach(t);
    return OK;
}

void heal_stop(struct signer *s)
{
    if (gate_stop(&s->gate) && gate_drain(&s->gate, clock_mono_us() + STOP_DRAIN_US))
        module_finalize(&s->module);
}
