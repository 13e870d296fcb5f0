// SPDX-License-Identifier: Apache-2.0
// A script: what the module does wrong, and when. README.md in this folder holds the grammar for test authors.
//
//   script   = { line "\n" }                   "#" starts a comment, blank lines are skipped
//   line     = rule | setting { setting }
//   rule     = call when action { action }
//   call     = a Cryptoki function name, or "*" for any call
//   when     = "N" | "N-M" | "N-" | "every" | "every/K"    counted from 1 in this process since the script was loaded
//   action   = "rv=CKR_X" | "delay=MS" | "hang" | "crash" | "corrupt" | "overlong" | "samer" | "limit=N"
//            | "lost-login" | "once"
//   setting  = "lost-login" | "token-swap" | "token-flags=F|F" | "no-mechanism=CKM_X" | "fail-nth=K"
//            | "latency=MS" | "sessions=N"
//
// Pure: parsing neither reads files nor keeps state; a struct script is a value.
#ifndef SHIM_SCRIPT_H
#define SHIM_SCRIPT_H

#include "calls.h"

#include <stdbool.h>

#define SCRIPT_MAX_RULES  64
#define SCRIPT_MAX_HIDDEN 16
#define SCRIPT_ANY_CALL   CALL_COUNT

// What is done to one call.
struct effect {
    bool answered; // the caller gets `rv` and the real module's answer is not used
    CK_RV rv;
    CK_ULONG delay_ms;
    bool hang;
    bool crash;
    bool corrupt;
    bool overlong;
    bool samer;
    bool lost_login;
    bool limited;
    CK_ULONG limit;
};

struct rule {
    unsigned call; // an enum call_id, or SCRIPT_ANY_CALL
    CK_ULONG first;
    CK_ULONG last;
    CK_ULONG step;
    unsigned line;
    bool once;
    bool spent;
    struct effect effect;
};

struct script {
    struct rule rules[SCRIPT_MAX_RULES];
    size_t rule_count;
    CK_MECHANISM_TYPE hidden[SCRIPT_MAX_HIDDEN];
    size_t hidden_count;
    bool lost_login;
    bool token_swap;
    CK_FLAGS token_flags;
    CK_ULONG latency_ms;
    CK_ULONG sessions; // how many C_Sign may run at once; 0: any number
};

struct script_error {
    unsigned line;
    const char *why; // static text
};

// False leaves the reason in *error and an unusable *script.
bool script_parse(const char *text, struct script *script, struct script_error *error);

// Whether a rule speaks of this call, the nth of its name and the total-th of all.
bool script_rule_matches(const struct rule *rule, enum call_id id, CK_ULONG nth, CK_ULONG total);

// Adds one effect to another: delays add up, the first answer and the first limit win.
void script_effect_add(struct effect *sum, const struct effect *more);

#endif
