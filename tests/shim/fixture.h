// SPDX-License-Identifier: Apache-2.0
// A SoftHSM token of our own behind the shim, for the shim's self test. One directory under $TMPDIR holds token,
// script and log; fixture_make creates it and fixture_remove deletes it. Only the main thread uses the group functions.
#ifndef SHIM_FIXTURE_H
#define SHIM_FIXTURE_H

// cmocka.h needs these before it.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <p11-kit/pkcs11.h>
#include <stdbool.h>

#define SIGNATURE_LEN 64

// What a test starts from: initialised, one session, logged in, the keys found, no script, an empty log.
struct fixture {
    CK_FUNCTION_LIST *p11;
    CK_SLOT_ID slot;
    CK_SESSION_HANDLE session;
    CK_OBJECT_HANDLE key;
    CK_OBJECT_HANDLE public_key;
};

// For cmocka: around a group and around a test. *state is a struct fixture.
int fixture_make(void **state);
int fixture_remove(void **state);
int fixture_begin(void **state);
int fixture_end(void **state);

// For a child process, which finds the parent's token in the environment.
void fixture_attach(struct fixture *f);

// Puts a new script in place in one step (rename), or takes it away (NULL).
void fixture_script(const char *text);

// How many lines of the log start with this.
size_t fixture_log_count(const char *start);

// Waits until the log has this many such lines; fails the test after 20 s.
void fixture_log_wait(const char *start, size_t count);

CK_SESSION_HANDLE fixture_open(const struct fixture *f);
CK_RV fixture_login(const struct fixture *f, const char *pin);
CK_OBJECT_HANDLE fixture_find(const struct fixture *f, CK_OBJECT_CLASS class);

// C_SignInit and C_Sign of one digest. *len is the size of the buffer before and of the signature afterwards.
CK_RV fixture_sign(const struct fixture *f, CK_SESSION_HANDLE session, CK_BYTE *signature, CK_ULONG *len);

// The same, for those who need no signature.
CK_RV fixture_try_sign(const struct fixture *f);

CK_RV fixture_verify(const struct fixture *f, CK_BYTE *signature, CK_ULONG len);

// Monotonic milliseconds.
long fixture_now_ms(void);

#define FIXTURE_PIN "2468"

// The groups of tests, one file each.
int run_token_tests(void);
int run_process_tests(void);

// What the test program does as a child: sign `count` times. Returns the exit status.
int run_child(int count);

#endif
