// SPDX-License-Identifier: Apache-2.0
#include "fixture.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <ftw.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MAX_PATH 512
#define WAIT_MS  20000

extern char **environ;

// One per process, as the token and the module are.
static char dir[MAX_PATH - 64];
static void *module;

static void path_of(char path[static MAX_PATH], const char *name)
{
    snprintf(path, MAX_PATH, "%s/%s", dir, name);
}

static void write_file(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static void set_path(const char *variable, const char *name)
{
    char path[MAX_PATH];
    path_of(path, name);
    assert_int_equal(setenv(variable, path, 1), 0);
}

static void init_token(void)
{
    const char *const argv[] = {"softhsm2-util", "--init-token", "--free", "--label",   "shim",
                                "--so-pin",      "12345678",     "--pin",  FIXTURE_PIN, NULL};
    char *copy[sizeof(argv) / sizeof(argv[0])] = {0};
    posix_spawn_file_actions_t quiet;
    pid_t pid = 0;
    int status = -1;
    for (size_t i = 0; argv[i] != NULL; i++)
        copy[i] = strdup(argv[i]); // posix_spawnp wants them writable
    assert_int_equal(posix_spawn_file_actions_init(&quiet), 0);
    assert_int_equal(posix_spawn_file_actions_addopen(&quiet, STDOUT_FILENO, "/dev/null", O_WRONLY, 0), 0);
    assert_int_equal(posix_spawnp(&pid, copy[0], &quiet, NULL, copy, environ), 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    posix_spawn_file_actions_destroy(&quiet);
    for (size_t i = 0; i < sizeof(copy) / sizeof(copy[0]); i++)
        free(copy[i]);
}

static CK_FUNCTION_LIST *load_shim(void)
{
    CK_FUNCTION_LIST *list = NULL;
    CK_C_GetFunctionList get_list = NULL;
    module = dlopen(SHIM_PATH, RTLD_NOW | RTLD_LOCAL);
    assert_non_null(module);
    void *symbol = dlsym(module, "C_GetFunctionList");
    assert_non_null(symbol);
    assert_null(dlsym(module, "C_Sign")); // only the list is exported
    memcpy(&get_list, &symbol, sizeof(get_list));
    assert_int_equal(get_list(&list), CKR_OK);
    return list;
}

static void find_slot(struct fixture *f)
{
    CK_SLOT_ID slots[8];
    CK_ULONG count = 8;
    assert_int_equal(f->p11->C_GetSlotList(CK_TRUE, slots, &count), CKR_OK);
    f->slot = (CK_SLOT_ID)-1;
    for (CK_ULONG i = 0; i < count; i++) {
        CK_TOKEN_INFO info;
        assert_int_equal(f->p11->C_GetTokenInfo(slots[i], &info), CKR_OK);
        if ((info.flags & CKF_TOKEN_INITIALIZED) != 0)
            f->slot = slots[i];
    }
    assert_int_not_equal(f->slot, (CK_SLOT_ID)-1);
}

static void make_keys(struct fixture *f)
{
    CK_BYTE p256[] = {0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07};
    CK_BBOOL yes = CK_TRUE;
    CK_MECHANISM generate = {.mechanism = CKM_EC_KEY_PAIR_GEN};
    CK_ATTRIBUTE public_attributes[] = {
        {CKA_EC_PARAMS, p256, sizeof(p256)}, {CKA_TOKEN, &yes, sizeof(yes)}, {CKA_VERIFY, &yes, sizeof(yes)}};
    CK_ATTRIBUTE private_attributes[] = {
        {CKA_TOKEN, &yes, sizeof(yes)}, {CKA_PRIVATE, &yes, sizeof(yes)}, {CKA_SIGN, &yes, sizeof(yes)}};
    assert_int_equal(f->p11->C_GenerateKeyPair(f->session, &generate, public_attributes, 3, private_attributes, 3,
                                               &f->public_key, &f->key),
                     CKR_OK);
}

CK_SESSION_HANDLE fixture_open(const struct fixture *f)
{
    CK_SESSION_HANDLE session = 0;
    assert_int_equal(f->p11->C_OpenSession(f->slot, CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL, NULL, &session), CKR_OK);
    return session;
}

CK_RV fixture_login(const struct fixture *f, const char *pin)
{
    CK_BYTE bytes[16]; // Cryptoki wants it writable
    size_t len = 0;
    for (; len < sizeof(bytes) && pin[len] != '\0'; len++)
        bytes[len] = (CK_BYTE)pin[len];
    return f->p11->C_Login(f->session, CKU_USER, bytes, len);
}

CK_OBJECT_HANDLE fixture_find(const struct fixture *f, CK_OBJECT_CLASS class)
{
    CK_ATTRIBUTE attribute = {CKA_CLASS, &class, sizeof(class)};
    CK_OBJECT_HANDLE found = CK_INVALID_HANDLE;
    CK_ULONG count = 0;
    assert_int_equal(f->p11->C_FindObjectsInit(f->session, &attribute, 1), CKR_OK);
    assert_int_equal(f->p11->C_FindObjects(f->session, &found, 1, &count), CKR_OK);
    assert_int_equal(f->p11->C_FindObjectsFinal(f->session), CKR_OK);
    return count == 1 ? found : CK_INVALID_HANDLE;
}

static void start(struct fixture *f)
{
    CK_C_INITIALIZE_ARGS args = {.flags = CKF_OS_LOCKING_OK};
    assert_int_equal(f->p11->C_Initialize(&args), CKR_OK);
    find_slot(f);
    f->session = fixture_open(f);
    assert_int_equal(fixture_login(f, FIXTURE_PIN), CKR_OK);
}

void fixture_attach(struct fixture *f)
{
    f->p11 = load_shim();
    start(f);
    f->key = fixture_find(f, CKO_PRIVATE_KEY);
}

int fixture_make(void **state)
{
    static struct fixture fixture; // outlives the group, as cmocka's *state has to
    const char *tmp = getenv("TMPDIR");
    char conf[MAX_PATH];
    char text[MAX_PATH + 64];
    snprintf(dir, sizeof(dir), "%s/nexus-shim-XXXXXX", tmp != NULL ? tmp : "/tmp");
    assert_non_null(mkdtemp(dir));
    path_of(conf, "softhsm.conf");
    snprintf(text, sizeof(text), "directories.tokendir = %s\nobjectstore.backend = file\nlog.level = ERROR\n", dir);
    write_file(conf, text);
    set_path("SOFTHSM2_CONF", "softhsm.conf");
    set_path("NEXUS_SHIM_SCRIPT", "script");
    set_path("NEXUS_SHIM_LOG", "log");
    init_token();
    fixture.p11 = load_shim();
    start(&fixture);
    make_keys(&fixture);
    assert_int_equal(fixture.p11->C_Finalize(NULL), CKR_OK);
    *state = &fixture;
    return 0;
}

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st, (void)type, (void)ftw;
    return remove(path);
}

int fixture_remove(void **state)
{
    (void)state;
    assert_int_equal(dlclose(module), 0);
    return nftw(dir, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
}

int fixture_begin(void **state)
{
    struct fixture *f = *state;
    char path[MAX_PATH];
    fixture_script(NULL);
    start(f);
    f->key = fixture_find(f, CKO_PRIVATE_KEY);
    f->public_key = fixture_find(f, CKO_PUBLIC_KEY);
    path_of(path, "log");
    return truncate(path, 0);
}

int fixture_end(void **state)
{
    struct fixture *f = *state;
    fixture_script(NULL);
    return f->p11->C_Finalize(NULL) == CKR_OK ? 0 : -1;
}

void fixture_script(const char *text)
{
    char path[MAX_PATH];
    char fresh[MAX_PATH];
    path_of(path, "script");
    path_of(fresh, "script.new");
    if (text == NULL) {
        unlink(path);
        return;
    }
    write_file(fresh, text);
    assert_int_equal(rename(fresh, path), 0);
}

size_t fixture_log_count(const char *start_of_line)
{
    char path[MAX_PATH];
    char line[256];
    size_t count = 0;
    path_of(path, "log");
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    while (fgets(line, sizeof(line), file) != NULL)
        count += strncmp(line, start_of_line, strlen(start_of_line)) == 0;
    fclose(file);
    return count;
}

void fixture_log_wait(const char *start_of_line, size_t count)
{
    const struct timespec pause = {.tv_nsec = 2000000};
    long deadline = fixture_now_ms() + WAIT_MS;
    while (fixture_log_count(start_of_line) < count) {
        assert_true(fixture_now_ms() < deadline);
        nanosleep(&pause, NULL);
    }
}

CK_RV fixture_sign(const struct fixture *f, CK_SESSION_HANDLE session, CK_BYTE *signature, CK_ULONG *len)
{
    CK_BYTE digest[32] = {1, 2, 3};
    CK_MECHANISM ecdsa = {.mechanism = CKM_ECDSA};
    CK_RV rv = f->p11->C_SignInit(session, &ecdsa, f->key);
    return rv == CKR_OK ? f->p11->C_Sign(session, digest, sizeof(digest), signature, len) : rv;
}

CK_RV fixture_try_sign(const struct fixture *f)
{
    CK_BYTE signature[SIGNATURE_LEN];
    CK_ULONG len = sizeof(signature);
    return fixture_sign(f, f->session, signature, &len);
}

CK_RV fixture_verify(const struct fixture *f, CK_BYTE *signature, CK_ULONG len)
{
    CK_BYTE digest[32] = {1, 2, 3};
    CK_MECHANISM ecdsa = {.mechanism = CKM_ECDSA};
    CK_RV rv = f->p11->C_VerifyInit(f->session, &ecdsa, f->public_key);
    return rv == CKR_OK ? f->p11->C_Verify(f->session, digest, sizeof(digest), signature, len) : rv;
}

long fixture_now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}
