/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/hsm/fixture.h"

#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/rand.h"
#include "crypto/jws.h"

#include <dirent.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <p11-kit/pkcs11.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { ARENA_MAX = 1 << 22, LOG_MAX = 1 << 22, CALL_S = 10 };

#define SOFTHSM "/usr/lib/softhsm/libsofthsm2.so"

const char *fx_path(struct fx *f, const char *name)
{
    struct str s = arena_printf(f->a, "%s/%s", f->dir, name);
    assert_non_null(s.p);
    return s.p;
}

void fx_write(struct fx *f, const char *name, const char *text)
{
    assert_ok(fd_write_file_durable(fx_path(f, name), str_bytes(str_of(text))));
}

void fx_env(struct fx *f, const char *name, const char *value)
{
    size_t n = strlen(name);
    char *entry = NULL;
    assert_true(asprintf(&entry, "%s=%s", name, value) > 0);
    for (size_t i = 0; i < f->env_n; i++) {
        if (strncmp(f->env[i], name, n) != 0 || f->env[i][n] != '=')
            continue;
        free(f->env[i]);
        f->env[i] = entry;
        return;
    }
    assert_true(f->env_n + 1 < FX_ENV);
    f->env[f->env_n++] = entry;
}

void fx_shell(struct fx *f, const char *command)
{
    pid_t pid = fork();
    if (pid == 0) {
        int quiet = open("/dev/null", O_RDWR | O_CLOEXEC);
        (void)dup2(quiet, STDOUT_FILENO);
        (void)execle("/bin/sh", "sh", "-c", command, (char *)NULL, f->env);
        _exit(127);
    }
    assert_int_equal(fx_wait_exit(pid), 0);
}

static CK_RV deny_uses(CK_FUNCTION_LIST *p)
{
    CK_OBJECT_CLASS class = CKO_PRIVATE_KEY;
    CK_BBOOL no = CK_FALSE;
    CK_ATTRIBUTE wanted = {CKA_CLASS, &class, sizeof class};
    CK_ATTRIBUTE denied[] = {{CKA_DECRYPT, &no, sizeof no}, {CKA_UNWRAP, &no, sizeof no}, {CKA_DERIVE, &no, sizeof no}};
    CK_SLOT_ID slots[4];
    CK_ULONG slots_n = COUNT(slots), n = 0;
    CK_SESSION_HANDLE s = 0;
    CK_OBJECT_HANDLE h[8];
    CK_BYTE pin[] = FX_PIN;
    CK_RV rv = p->C_Initialize(NULL);
    rv = rv == CKR_OK ? p->C_GetSlotList(CK_TRUE, slots, &slots_n) : rv;
    rv = rv == CKR_OK ? p->C_OpenSession(slots[0], CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL, NULL, &s) : rv;
    rv = rv == CKR_OK ? p->C_Login(s, CKU_USER, pin, sizeof pin - 1) : rv;
    rv = rv == CKR_OK ? p->C_FindObjectsInit(s, &wanted, 1) : rv;
    rv = rv == CKR_OK ? p->C_FindObjects(s, h, COUNT(h), &n) : rv;
    rv = rv == CKR_OK ? p->C_FindObjectsFinal(s) : rv;
    for (CK_ULONG i = 0; i < n && rv == CKR_OK; i++)
        rv = p->C_SetAttributeValue(s, h[i], denied, COUNT(denied));
    return n == 0 && rv == CKR_OK ? CKR_OBJECT_HANDLE_INVALID : rv;
}

void fx_sign_only(struct fx *f)
{
    pid_t pid = fork();
    if (pid == 0) {
        CK_FUNCTION_LIST *p = NULL;
        CK_C_GetFunctionList get = NULL;
        (void)setenv("SOFTHSM2_CONF", fx_path(f, "softhsm.conf"), 1);
        void *module = dlopen(SOFTHSM, RTLD_NOW);
        void *symbol = module != NULL ? dlsym(module, "C_GetFunctionList") : NULL;
        memcpy(&get, &symbol, sizeof get);
        _exit(get != NULL && get(&p) == CKR_OK && deny_uses(p) == CKR_OK ? 0 : 1);
    }
    assert_int_equal(fx_wait_exit(pid), 0);
}

static void make_token(struct fx *f)
{
    struct str conf =
        arena_printf(f->a, "directories.tokendir=%s/tokens\nobjectstore.backend=file\nlog.level=ERROR\n", f->dir);
    assert_int_equal(mkdir(fx_path(f, "tokens"), 0700), 0);
    assert_int_equal(mkdir(fx_path(f, "state"), 0700), 0);
    fx_write(f, "softhsm.conf", conf.p);
    fx_write(f, "pin", FX_PIN "\n");
    fx_env(f, "PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    /* ThreadSanitizer would sleep at each of the many ends of a signer. */
    fx_env(f, "TSAN_OPTIONS", "atexit_sleep_ms=0");
    fx_env(f, "SOFTHSM2_CONF", fx_path(f, "softhsm.conf"));
    fx_env(f, "NEXUS_PKCS11_MODULE", SOFTHSM);
    fx_env(f, "NEXUS_PKCS11_URI", "pkcs11:token=unit");
    fx_env(f, "NEXUS_PKCS11_PIN_FILE", fx_path(f, "pin"));
    fx_env(f, "NEXUS_SIGNER_STATE_DIR", fx_path(f, "state"));
    fx_env(f, "NEXUS_LOG_LEVEL", getenv("TEST_LOG") != NULL ? "debug" : "error");
    fx_shell(f, "softhsm2-util --init-token --free --label unit --so-pin 87654321 --pin " FX_PIN);
}

int fx_make(void **state)
{
    const char *tmp = getenv("TMPDIR");
    struct fx *f = calloc(1, sizeof *f);
    assert_non_null(f);
    log_setup("test", getenv("TEST_LOG") != NULL ? LOG_DEBUG : LOG_ERROR + 1);
    (void)snprintf(f->dir, sizeof f->dir, "%s/nexus-hsm-XXXXXX", tmp != NULL ? tmp : "/tmp");
    assert_non_null(mkdtemp(f->dir));
    assert_ok(arena_new(ARENA_MAX, &f->a));
    assert_ok(arena_new(ARENA_MAX, &f->scratch));
    assert_ok(crypto_new("default", &f->crypto));
    make_token(f);
    *state = f;
    return 0;
}

int fx_make_shim(void **state)
{
    (void)fx_make(state);
    struct fx *f = *state;
    fx_env(f, "NEXUS_PKCS11_MODULE", SHIM_PATH);
    fx_env(f, "NEXUS_SHIM_MODULE", SOFTHSM);
    fx_env(f, "NEXUS_SHIM_SCRIPT", fx_path(f, "script"));
    fx_env(f, "NEXUS_SHIM_LOG", fx_path(f, "shim.log"));
    return 0;
}

int fx_remove(void **state)
{
    struct fx *f = *state;
    struct str rm = arena_printf(f->a, "rm -rf %s", f->dir);
    fx_stop(f);
    fx_shell(f, rm.p);
    for (size_t i = 0; i < f->env_n; i++)
        free(f->env[i]);
    crypto_free(&f->crypto);
    arena_free(&f->a);
    arena_free(&f->scratch);
    free(f);
    return 0;
}

void fx_spawn(struct fx *f)
{
    assert_ok(hsm_supervisor_start(SIGNER_PATH, f->env, &f->sup));
    assert_ok(hsm_client_new(hsm_supervisor_connector(f->sup), &f->c));
}

void fx_start(struct fx *f)
{
    struct hsm_info info;
    fx_spawn(f);
    assert_ok(hsm_hello(f->c, f->a, fx_deadline(), &info));
}

void fx_stop(struct fx *f)
{
    hsm_client_free(&f->c);
    hsm_supervisor_stop(&f->sup);
}

pid_t fx_serve(struct fx *f)
{
    pid_t pid = fork();
    if (pid == 0) {
        (void)execle(SIGNER_PATH, "nexus-signer", "serve", (char *)NULL, f->env);
        _exit(127);
    }
    return pid;
}

pid_t fx_child(struct fx *f)
{
    int pair[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    pid_t pid = fork();
    if (pid == 0) {
        (void)close(pair[0]);
        if (dup2(pair[1], 3) == 3)
            (void)execle(SIGNER_PATH, "nexus-signer", "child", (char *)NULL, f->env);
        _exit(127);
    }
    (void)close(pair[0]);
    (void)close(pair[1]);
    return pid;
}

int fx_wait_exit(pid_t pid)
{
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static bool is_our_signer(const char *pid)
{
    char path[64], comm[32];
    int parent = 0;
    (void)snprintf(path, sizeof path, "/proc/%.16s/stat", pid);
    FILE *s = fopen(path, "re");
    if (s == NULL)
        return false;
    int got = fscanf(s, "%*d (%31[^)]) %*c %d", comm, &parent);
    (void)fclose(s);
    return got == 2 && parent == getpid() && strcmp(comm, "nexus-signer") == 0;
}

static pid_t find_signer(void)
{
    pid_t found = 0;
    DIR *proc = opendir("/proc");
    assert_non_null(proc);
    for (struct dirent *d = readdir(proc); d != NULL && found == 0; d = readdir(proc)) {
        if (d->d_name[0] >= '1' && d->d_name[0] <= '9' && is_our_signer(d->d_name))
            found = (pid_t)strtol(d->d_name, NULL, 10);
    }
    (void)closedir(proc);
    return found;
}

pid_t fx_signer_pid(void)
{
    int64_t end = clock_mono_us() + FX_WAIT_S * 1000000LL;
    for (;;) {
        pid_t pid = find_signer();
        if (pid != 0)
            return pid;
        assert_true(clock_mono_us() < end);
        (void)poll(NULL, 0, 5);
    }
}

void fx_script(struct fx *f, const char *text)
{
    fx_write(f, "script", text);
}

size_t fx_log_count(struct fx *f, const char *start)
{
    struct str text, wanted = str_of(start);
    size_t n = 0;
    CLEANUP(arena_free) struct arena *a = NULL;
    assert_ok(arena_new(LOG_MAX + 4096, &a));
    if (access(fx_path(f, "shim.log"), F_OK) != 0)
        return 0;
    assert_ok(fd_read_file(fx_path(f, "shim.log"), LOG_MAX, a, &text));
    for (size_t i = 0; i < text.n; i++) {
        bool begin = i == 0 || text.p[i - 1] == '\n';
        n += begin && str_starts((struct str){text.p + i, text.n - i}, wanted);
    }
    return n;
}

struct hsm_key_id fx_id(uint8_t b)
{
    struct hsm_key_id id;
    memset(id.v, b, sizeof id.v);
    return id;
}

int64_t fx_deadline(void)
{
    return clock_mono_us() + CALL_S * 1000000LL;
}

struct hsm_key fx_generate(struct fx *f, uint8_t id, enum hsm_purpose purpose, enum hsm_key_type type)
{
    struct hsm_key_id i = fx_id(id);
    struct hsm_key k;
    assert_ok(hsm_generate(f->c, &i, purpose, type, f->a, fx_deadline(), &k));
    return k;
}

static struct str input_in(struct arena *a, enum jose_alg alg, const char *typ, int64_t iat_offset_s,
                           int64_t lifetime_s)
{
    struct clock wall = clock_real();
    long long iat = clock_now_s(&wall) + iat_offset_s;
    struct str input;
    struct str payload = arena_printf(a, "{\"iss\":\"https://broker.test\",\"sub\":\"a\",\"iat\":%lld,\"exp\":%lld}",
                                      iat, iat + (long long)lifetime_s);
    assert_ok(jws_signing_input(a, alg, STR("kid-1"), str_of(typ), str_bytes(payload), &input));
    return input;
}

struct str fx_input(struct fx *f, enum jose_alg alg, const char *typ, int64_t iat_offset_s, int64_t lifetime_s)
{
    return input_in(f->a, alg, typ, iat_offset_s, lifetime_s);
}

void fx_verify(struct fx *f, const struct hsm_key *key, enum jose_alg alg, struct str input,
               const struct hsm_signature *sig)
{
    CLEANUP(jwk_free) struct jwk *k = NULL;
    if (key->n.n > 0)
        assert_ok(jwk_from_rsa(f->crypto, alg, key->n, key->e, &k));
    else if (alg == JOSE_EDDSA)
        assert_ok(jwk_from_ed25519(f->crypto, key->point, &k));
    else
        assert_ok(jwk_from_ec(f->crypto, alg, key->point, &k));
    assert_ok(jws_check_signature(f->crypto, k, str_bytes(input), bytes_of(sig->v, sig->n)));
}

struct err fx_sign(struct fx *f, struct hsm_client *c, const struct hsm_key *key, enum jose_alg alg,
                   struct hsm_signature *sig)
{
    arena_reset(f->scratch);
    struct str input = input_in(f->scratch, alg, "at+jwt", 0, 900);
    TRY(hsm_sign(c, &key->id, alg, str_bytes(input), fx_deadline(), sig));
    fx_verify(f, key, alg, input, sig);
    return OK;
}

size_t fx_sign_until_ok(struct fx *f, const struct hsm_key *key, enum jose_alg alg)
{
    int64_t end = clock_mono_us() + FX_WAIT_S * 1000000LL;
    for (size_t failed = 0;; failed++) {
        struct hsm_signature sig;
        struct err e = fx_sign(f, f->c, key, alg, &sig);
        if (!err_is(&e))
            return failed;
        if (e.code != ERR_HSM_UNAVAILABLE && e.code != ERR_DEADLINE)
            fail_msg("%s: %s", err_name(e.code), e.detail);
        assert_true(clock_mono_us() < end);
        (void)poll(NULL, 0, 20);
    }
}
