/* SPDX-License-Identifier: Apache-2.0
 * A SoftHSM token in a folder of its own, and a signer for it under a supervisor, for one test at a time. */
#ifndef TESTS_HSM_FIXTURE_H
#define TESTS_HSM_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "hsm/client.h"
#include "hsm/supervisor.h"

#include <sys/types.h>

enum { FX_PATH = 128, FX_ENV = 24, FX_WAIT_S = 20 };

#define FX_PIN "4711"

struct fx {
    char dir[FX_PATH];
    char *env[FX_ENV];
    size_t env_n;
    struct crypto *crypto;
    struct arena *a;       /* for the whole test */
    struct arena *scratch; /* for one signature */
    struct hsm_supervisor *sup;
    struct hsm_client *c;
};

/* For cmocka: a token and an environment, nothing started; and everything ended and removed. */
int fx_make(void **state);
int fx_remove(void **state);
/* The same with the shim as the module. */
int fx_make_shim(void **state);

/* Sets NAME=value in the signer's environment, in place of an earlier one. */
void fx_env(struct fx *f, const char *name, const char *value);

/* Starts the signer and a client; the first without waiting for anything. */
void fx_spawn(struct fx *f);
void fx_start(struct fx *f);
void fx_stop(struct fx *f);

/* Starts `nexus-signer serve`; or `nexus-signer child` without a supervisor, whose broker is gone already. */
pid_t fx_serve(struct fx *f);
pid_t fx_child(struct fx *f);
int fx_wait_exit(pid_t pid);

/* The pid of the supervised signer; fails the test when there is none in time. */
pid_t fx_signer_pid(void);

void fx_write(struct fx *f, const char *name, const char *text);
/* Path of a file in the fixture's folder, in its arena. */
const char *fx_path(struct fx *f, const char *name);
/* Runs a command line by the shell with the signer's environment; fails the test when it fails. */
void fx_shell(struct fx *f, const char *command);

/* Denies all private keys on the token every use but signing: pkcs11-tool leaves that to SoftHSM, which allows all. */
void fx_sign_only(struct fx *f);

/* The shim's script and its log. */
void fx_script(struct fx *f, const char *text);
size_t fx_log_count(struct fx *f, const char *start);

/* A key id made of one byte. */
struct hsm_key_id fx_id(uint8_t b);
int64_t fx_deadline(void);
struct hsm_key fx_generate(struct fx *f, uint8_t id, enum hsm_purpose purpose, enum hsm_key_type type);

/* A signing input, in the test's arena, as the broker makes it: typ, iat now + offset, and a lifetime. */
struct str fx_input(struct fx *f, enum jose_alg alg, const char *typ, int64_t iat_offset_s, int64_t lifetime_s);
/* Signs such an input and verifies the signature with the key's public part. */
struct err fx_sign(struct fx *f, struct hsm_client *c, const struct hsm_key *key, enum jose_alg alg,
                   struct hsm_signature *sig);
void fx_verify(struct fx *f, const struct hsm_key *key, enum jose_alg alg, struct str input,
               const struct hsm_signature *sig);
/* Signs until it succeeds, which must be within FX_WAIT_S. Gives how many attempts failed. */
size_t fx_sign_until_ok(struct fx *f, const struct hsm_key *key, enum jose_alg alg);

#define assert_ok(expr)                                                                                                \
    do {                                                                                                               \
        struct err assert_e_ = (expr);                                                                                 \
        if (err_is(&assert_e_))                                                                                        \
            fail_msg("%s: %s (%s:%d)", err_name(assert_e_.code), assert_e_.detail, assert_e_.file, assert_e_.line);    \
    } while (0)

#define assert_err(expr, expected)                                                                                     \
    do {                                                                                                               \
        struct err assert_e_ = (expr);                                                                                 \
        if (assert_e_.code != (expected))                                                                              \
            fail_msg("%s instead of %s: %s", err_name(assert_e_.code), err_name(expected), assert_e_.detail);          \
    } while (0)

#endif
