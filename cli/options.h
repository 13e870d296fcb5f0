/* SPDX-License-Identifier: Apache-2.0
 * Options of the command line, bound by tables: --name VALUE, --name=VALUE, --flag, and "--" before words that begin
 * with a dash. Names are written out whole, so that a new option never changes what an old script means. */
#ifndef CLI_OPTIONS_H
#define CLI_OPTIONS_H

#include "base/arena.h"
#include "base/err.h"

enum opt_type {
    OPT_FLAG, /* bool */
    OPT_STR,  /* struct str, with a NUL behind it; p == NULL: absent */
    OPT_TEXT, /* the same, but may be empty */
    OPT_INT,  /* struct json_int of crypto/json.h, within min to max */
    OPT_LIST, /* struct str_list; may be given several times; v == NULL: absent */
};

/* One option. Tables are static const arrays; the value is stored at offset in the struct of the command. */
struct opt {
    const char *name;
    const char *value; /* what the value is called in the help; NULL for a flag */
    const char *help;
    size_t offset;
    enum opt_type type;
    bool required;
    int64_t min, max; /* of OPT_INT */
};

/* A table and the struct (zeroed by the caller) that it fills. */
struct opt_set {
    const struct opt *v;
    size_t n;
    void *into;
};

/* Words that remain of a command line. */
struct words {
    char **v;
    int n;
};

enum { OPTION_SETS = 5 };

/* Takes the options of all sets (at most OPTION_SETS; the rest is unused) out of the words. Up to the first word that
 * is none, which stays the first of *in; or, when rest is given, all of them, with the other words in *rest.
 * ERR_INVALID_REQUEST with what is wrong. Whether required options were given is options_check's to tell. */
struct err options_parse(const struct opt_set sets[static OPTION_SETS], struct arena *a, struct words *in,
                         struct str_list *rest);
struct err options_check(const struct opt_set *set);

#endif
