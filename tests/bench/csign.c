/* SPDX-License-Identifier: Apache-2.0
 * How fast a PKCS#11 module signs by itself: N threads, each with a session of its own, call C_SignInit and C_Sign over
 * a 32-byte digest with the session signing key on the token, for S seconds. The yardstick of scripts/bench.
 *
 *   bench-csign MODULE TOKEN-LABEL PIN-FILE THREADS SECONDS        prints signatures per second */
#include <dlfcn.h>
#include <p11-kit/pkcs11.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { SLOTS_MAX = 64, THREADS_MAX = 256, KEYS_MAX = 64, PIN_MAX = 256 };

struct bench {
    CK_FUNCTION_LIST *f;
    CK_SLOT_ID slot;
    CK_OBJECT_HANDLE key;
    atomic_bool stop;
    atomic_long signatures;
};

static void check(CK_RV rv, const char *what)
{
    if (rv == CKR_OK || rv == CKR_USER_ALREADY_LOGGED_IN)
        return;
    (void)fprintf(stderr, "bench-csign: %s failed with 0x%lx\n", what, (unsigned long)rv);
    exit(1);
}

static CK_FUNCTION_LIST *load(const char *module)
{
    void *dl = dlopen(module, RTLD_NOW | RTLD_LOCAL);
    CK_RV (*get)(CK_FUNCTION_LIST **) = NULL;
    if (dl != NULL)
        *(void **)&get = dlsym(dl, "C_GetFunctionList");
    CK_FUNCTION_LIST *f = NULL;
    if (get == NULL || get(&f) != CKR_OK) {
        (void)fprintf(stderr, "bench-csign: cannot load %s\n", module);
        exit(1);
    }
    CK_C_INITIALIZE_ARGS args = {.flags = CKF_OS_LOCKING_OK};
    check(f->C_Initialize(&args), "C_Initialize");
    return f;
}

static CK_SLOT_ID find_slot(CK_FUNCTION_LIST *f, const char *label)
{
    CK_SLOT_ID slots[SLOTS_MAX];
    CK_ULONG n = SLOTS_MAX;
    check(f->C_GetSlotList(CK_TRUE, slots, &n), "C_GetSlotList");
    for (CK_ULONG i = 0; i < n; i++) {
        CK_TOKEN_INFO info;
        check(f->C_GetTokenInfo(slots[i], &info), "C_GetTokenInfo");
        if (strncmp((const char *)info.label, label, strlen(label)) == 0)
            return slots[i];
    }
    (void)fprintf(stderr, "bench-csign: no token labelled %s\n", label);
    exit(1);
}

static void login(CK_FUNCTION_LIST *f, CK_SESSION_HANDLE session, const char *pin_file)
{
    char pin[PIN_MAX];
    FILE *in = fopen(pin_file, "r");
    size_t n = in != NULL ? fread(pin, 1, sizeof pin, in) : 0;
    if (in == NULL || n == 0) {
        (void)fprintf(stderr, "bench-csign: cannot read %s\n", pin_file);
        exit(1);
    }
    (void)fclose(in);
    while (n > 0 && pin[n - 1] == '\n')
        n--;
    check(f->C_Login(session, CKU_USER, (CK_UTF8CHAR *)pin, n), "C_Login");
    explicit_bzero(pin, sizeof pin);
}

static CK_OBJECT_HANDLE find_key(CK_FUNCTION_LIST *f, CK_SESSION_HANDLE session)
{
    static const char prefix[] = "nexus:session:";
    CK_OBJECT_CLASS class = CKO_PRIVATE_KEY;
    CK_ATTRIBUTE template[] = {{CKA_CLASS, &class, sizeof class}};
    CK_OBJECT_HANDLE found[KEYS_MAX];
    CK_ULONG n = 0;
    check(f->C_FindObjectsInit(session, template, 1), "C_FindObjectsInit");
    check(f->C_FindObjects(session, found, KEYS_MAX, &n), "C_FindObjects");
    check(f->C_FindObjectsFinal(session), "C_FindObjectsFinal");
    for (CK_ULONG i = 0; i < n; i++) {
        char label[128] = {0};
        CK_ATTRIBUTE get = {CKA_LABEL, label, sizeof label - 1};
        if (f->C_GetAttributeValue(session, found[i], &get, 1) == CKR_OK &&
            strncmp(label, prefix, sizeof prefix - 1) == 0)
            return found[i];
    }
    (void)fprintf(stderr, "bench-csign: no key labelled %s...\n", prefix);
    exit(1);
}

static void *sign(void *arg)
{
    struct bench *b = arg;
    CK_SESSION_HANDLE session;
    check(b->f->C_OpenSession(b->slot, CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL, NULL, &session), "C_OpenSession");
    CK_MECHANISM mechanism = {CKM_ECDSA, NULL, 0};
    CK_BYTE digest[32] = {1};
    long n = 0;
    while (!atomic_load(&b->stop)) {
        CK_BYTE signature[128];
        CK_ULONG len = sizeof signature;
        check(b->f->C_SignInit(session, &mechanism, b->key), "C_SignInit");
        check(b->f->C_Sign(session, digest, sizeof digest, signature, &len), "C_Sign");
        n++;
    }
    atomic_fetch_add(&b->signatures, n);
    return NULL;
}

int main(int argc, char **argv)
{
    long threads = argc == 6 ? strtol(argv[4], NULL, 10) : 0;
    long seconds = argc == 6 ? strtol(argv[5], NULL, 10) : 0;
    if (threads < 1 || threads > THREADS_MAX || seconds < 1 || seconds > 600) {
        (void)fprintf(stderr, "usage: bench-csign MODULE TOKEN-LABEL PIN-FILE THREADS SECONDS\n");
        return 2;
    }
    struct bench b = {.f = load(argv[1])};
    b.slot = find_slot(b.f, argv[2]);
    CK_SESSION_HANDLE anchor;
    check(b.f->C_OpenSession(b.slot, CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL, NULL, &anchor), "C_OpenSession");
    login(b.f, anchor, argv[3]);
    b.key = find_key(b.f, anchor);
    pthread_t t[THREADS_MAX];
    for (int i = 0; i < threads; i++) {
        if (pthread_create(&t[i], NULL, sign, &b) != 0)
            return 1;
    }
    const struct timespec span = {.tv_sec = seconds};
    (void)nanosleep(&span, NULL);
    atomic_store(&b.stop, true);
    for (int i = 0; i < threads; i++)
        (void)pthread_join(t[i], NULL);
    (void)printf("%.1f\n", (double)atomic_load(&b.signatures) / (double)seconds);
    check(b.f->C_Finalize(NULL), "C_Finalize");
    return 0;
}
