// SPDX-License-Identifier: Apache-2.0
// The state of the module. Cryptoki has no context argument: a module is one per process by definition, so its state
// can only be global. It is one struct, reached only through state_lock(), and guarded by that one mutex; the real
// module is called without it (with one exception, said where it happens), so calls run side by side as before.
#ifndef SHIM_STATE_H
#define SHIM_STATE_H

#include "script.h"
#include "sessions.h"

#include <pthread.h>
#include <sys/stat.h>

#define STATE_MAX_SIGNATURE 1024

// What tells one version of the script file from another.
struct file_version {
    bool exists;
    dev_t device;
    ino_t inode;
    off_t size;
    struct timespec modified;
    struct timespec changed;
};

struct state {
    pthread_mutex_t lock;
    pthread_cond_t gate;    // a C_Sign may try to enter
    pthread_cond_t changed; // there is a new script

    const CK_FUNCTION_LIST *real; // set once, by state_open, as are the next two
    char script_path[4000];       // empty: no script
    int log_fd;

    struct file_version version;
    struct script script;
    bool script_bad;
    unsigned generation; // counts the scripts that were loaded
    CK_ULONG counts[CALL_COUNT];
    CK_ULONG total;

    bool login_lost;      // until the next C_Login
    bool logout_due;      // the real module has not been told yet
    unsigned token_epoch; // changes with the token in the slot
    struct sessions sessions;

    CK_ULONG signing; // C_Sign calls between the gate and their return
    CK_BYTE signature[STATE_MAX_SIGNATURE];
    CK_ULONG signature_len; // of the last C_Sign; 0: none yet
};

// Loads the real module and opens the log, the first time; later calls only repeat the answer.
CK_RV state_open(void);

// The state, locked until state_unlock.
struct state *state_lock(void);
void state_unlock(struct state *state);

// Reads the script again if its file has changed; counting then starts again from 1.
void state_follow_script(struct state *state);

// Whether a rule that is marked `once` may act: true in one process only, and there once.
bool state_claim_once(struct state *state, struct rule *rule);

void state_lose_login(struct state *state);

bool state_is_hidden(const struct state *state, CK_MECHANISM_TYPE type);

#endif
