/* SPDX-License-Identifier: Apache-2.0 */
#include "hsm/signer/login.h"

#include "base/log.h"
#include "base/secret.h"
#include "hsm/signer/ckr.h"
#include "hsm/signer/fuse.h"
#include "hsm/supervisor.h"

enum { PIN_MAX = 256 };

static struct err read_pin(const struct signer *s, struct secret **pin)
{
    const char *path = s->cf.pin_file.n > 0 ? s->cf.pin_file.p : token_uri_pin_path(s->uri);
    return err_as(secret_from_file(path, PIN_MAX, pin), ERR_CONFIG);
}

static struct err check_flags(CK_FLAGS flags)
{
    if ((flags & CKF_USER_PIN_LOCKED) != 0)
        return FAIL(ERR_HSM_PIN, "the token says that the user PIN is locked; the security officer must reset it");
    if ((flags & CKF_USER_PIN_FINAL_TRY) != 0)
        return FAIL(ERR_HSM_PIN,
                    "the token has one last try of the user PIN left, which is not spent here; log in once "
                    "by hand with the right PIN");
    return OK;
}

static struct err attempt(struct fuse *f, const struct lease *l, struct secret *pin)
{
    CK_RV rv = l->f->C_Login(l->session, CKU_USER, pin->p, pin->n);
    const struct ckr *row = ckr_find(rv);
    if (rv == CKR_OK)
        return fuse_settle(f, FUSE_GOOD);
    if (rv == CKR_USER_ALREADY_LOGGED_IN)
        return fuse_settle(f, FUSE_UNTRIED);
    if (row->action != ACT_PIN) {
        TRY(fuse_settle(f, FUSE_UNJUDGED));
        return FAIL(ERR_HSM_UNAVAILABLE, "C_Login: %s", row->name);
    }
    TRY(fuse_settle(f, FUSE_BAD));
    return FAIL(ERR_HSM_PIN, "C_Login: %s; this PIN is not tried again: put the right one into the PIN file",
                row->name);
}

struct err login_first(struct signer *s, const struct lease *l)
{
    CK_FLAGS flags = 0;
    CLEANUP(secret_free) struct secret *pin = NULL;
    CLEANUP(fuse_close) struct fuse fuse = {.lock_fd = -1};
    CK_RV rv = identity_check(l->f, &s->token, &flags);
    if (rv != CKR_OK)
        return FAIL(ERR_HSM_UNAVAILABLE, "before the login: %s", ckr_find(rv)->name);
    TRY(check_flags(flags));
    TRY(read_pin(s, &pin));
    TRY(fuse_open(s->crypto, s->cf.state_dir.p, str_of(s->token.serial), secret_bytes(pin), &fuse));
    TRY(fuse_arm(&fuse, (flags & CKF_USER_PIN_COUNT_LOW) != 0));
    return attempt(&fuse, l, pin);
}

static bool is_logged_in(const struct lease *l)
{
    CK_SESSION_INFO info;
    CK_RV rv = l->f->C_GetSessionInfo(l->session, &info);
    return rv == CKR_OK && (info.state == CKS_RW_USER_FUNCTIONS || info.state == CKS_RO_USER_FUNCTIONS);
}

struct err login_again(struct signer *s, const struct lease *l)
{
    pthread_mutex_lock(&s->login_lock);
    struct err e = is_logged_in(l) ? OK : login_first(s, l);
    pthread_mutex_unlock(&s->login_lock);
    if (e.code == ERR_HSM_PIN) {
        log_err(LOG_ERROR, "the login was lost and cannot be renewed", &e, NULL, 0);
        signer_exit(SIGNER_EXIT_PIN);
    }
    return e;
}
