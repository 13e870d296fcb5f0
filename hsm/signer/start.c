/* SPDX-License-Identifier: Apache-2.0 */
#include "hsm/signer/start.h"

#include "base/fd.h"
#include "base/process.h"
#include "base/rand.h"
#include "hsm/signer/heal.h"
#include "hsm/signer/intake.h"
#include "hsm/supervisor.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { CONFIG_ARENA = 1 << 18 };

_Noreturn void signer_exit(int status)
{
    /* Not exit(): the destructors of vendor libraries crash while their threads still run. */
    _exit(status);
}

static const struct {
    enum err_code code;
    int status;
} statuses[] = {{ERR_NONE, SIGNER_EXIT_OK}, {ERR_CONFIG, SIGNER_EXIT_CONFIG}, {ERR_HSM_PIN, SIGNER_EXIT_PIN}};

static int exit_status(enum err_code code)
{
    for (size_t i = 0; i < COUNT(statuses); i++) {
        if (statuses[i].code == code)
            return statuses[i].status;
    }
    return SIGNER_EXIT_TOKEN;
}

static struct err prepare(struct signer *s)
{
    if (s->cf.uri.n == 0)
        return FAIL(ERR_CONFIG, "NEXUS_PKCS11_URI: must name the token");
    TRY(token_uri_parse(s->cf.uri.p, &s->uri));
    if (s->cf.pin_file.n > 0 && token_uri_pin_path(s->uri) != NULL)
        return FAIL(ERR_CONFIG,
                    "the PIN file is named twice: NEXUS_PKCS11_PIN_FILE and pin-source of NEXUS_PKCS11_URI");
    if (s->cf.pin_file.n == 0 && token_uri_pin_path(s->uri) == NULL)
        return FAIL(ERR_CONFIG, "name the PIN file: NEXUS_PKCS11_PIN_FILE, or pin-source=file:... in NEXUS_PKCS11_URI");
    TRY(rand_bytes(s->instance, sizeof s->instance));
    TRY(crypto_new("default", &s->crypto));
    TRY(keys_init(&s->keys, s->cf.accept_imported));
    pthread_mutex_init(&s->login_lock, NULL);
    pthread_mutex_init(&s->generate_lock, NULL);
    if (s->cf.accept_imported)
        LOG0(LOG_WARN, "NEXUS_INSECURE_ACCEPT_IMPORTED_KEYS is on: copies of the keys may exist outside of the token");
    return OK;
}

static struct err serve(struct signer *s, enum signer_mode mode)
{
    CLEANUP(fd_close) int signal_fd = -1;
    TRY(prepare(s));
    TRY(intake_signals(&signal_fd));
    TRY(watch_start(&s->watch, s->cf.timeout_ms * 1000));
    TRY(module_load(s->cf.module.p, &s->module));
    TRY(heal_start(s));
    LOG(LOG_INFO, "signer ready", LOG_CSTR("token", s->token.label), LOG_CSTR("serial", s->token.serial),
        LOG_INT("keys", atomic_load(&s->keys.n)));
    struct err e = mode == SIGNER_CHILD ? intake_child(s, signal_fd) : intake_listen(s, signal_fd);
    heal_stop(s);
    return e;
}

static struct err run(enum signer_mode mode, char *const *envp, struct arena *a, struct signer *s)
{
    struct str problems = {NULL, 0};
    TRY(err_as(process_harden(), ERR_CONFIG));
    struct err e = signer_config_load(mode, envp, a, &s->cf, &problems);
    if (err_is(&e)) {
        (void)fprintf(stderr, "%.*s", STR_FMT(problems));
        return e;
    }
    log_setup("signer", s->cf.log_level);
    return serve(s, mode);
}

int signer_run(enum signer_mode mode, char *const *envp)
{
    CLEANUP(arena_free) struct arena *a = NULL;
    struct signer *s = calloc(1, sizeof *s);
    log_setup("signer", LOG_INFO);
    struct err e = s == NULL ? FAIL(ERR_NO_MEMORY, "the signer") : arena_new(CONFIG_ARENA, &a);
    if (!err_is(&e))
        e = run(mode, envp, a, s);
    if (err_is(&e))
        log_err(LOG_ERROR, "the signer cannot serve", &e, NULL, 0);
    else
        LOG0(LOG_INFO, "signer ends");
    signer_exit(exit_status(e.code));
}
