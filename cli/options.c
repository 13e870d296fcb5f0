/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/options.h"

#include "crypto/json.h"

#include <errno.h>
#include <stdlib.h>

static void *slot_of(const struct opt_set *set, const struct opt *o)
{
    return (char *)set->into + o->offset;
}

/* The option that a word names (up to any '='), and the set that it is of. */
static const struct opt *find(const struct opt_set sets[static OPTION_SETS], struct str name,
                              const struct opt_set **set)
{
    for (size_t i = 0; i < OPTION_SETS; i++) {
        for (size_t k = 0; k < sets[i].n; k++) {
            if (str_is(name, sets[i].v[k].name)) {
                *set = &sets[i];
                return &sets[i].v[k];
            }
        }
    }
    return NULL;
}

static struct err store_str(const struct opt *o, const char *value, struct str *to)
{
    if (to->p != NULL)
        return FAIL(ERR_INVALID_REQUEST, "--%s is given twice", o->name);
    *to = str_of(value);
    return to->n > 0 || o->type == OPT_TEXT ? OK : FAIL(ERR_INVALID_REQUEST, "--%s is empty", o->name);
}

static struct err store_int(const struct opt *o, const char *value, struct json_int *to)
{
    if (to->set)
        return FAIL(ERR_INVALID_REQUEST, "--%s is given twice", o->name);
    char *end = NULL;
    errno = 0;
    long long v = strtoll(value, &end, 10);
    bool digits = *value >= '0' && *value <= '9';
    if (!digits || *end != '\0' || errno != 0 || v < o->min || v > o->max)
        return FAIL(ERR_INVALID_REQUEST, "--%s must be a number from %lld to %lld", o->name, (long long)o->min,
                    (long long)o->max);
    *to = (struct json_int){.set = true, .v = v};
    return OK;
}

/* room is as many values as there can be. */
static struct err store_list(const struct opt *o, const char *value, size_t room, struct arena *a, struct str_list *to)
{
    if (*value == '\0')
        return FAIL(ERR_INVALID_REQUEST, "--%s is empty", o->name);
    if (to->v == NULL)
        to->v = arena_array(a, room, sizeof *to->v);
    if (to->v == NULL)
        return FAIL(ERR_NO_MEMORY, "--%s", o->name);
    to->v[to->n++] = str_of(value);
    return OK;
}

static struct err store(const struct opt_set *set, const struct opt *o, const char *value, size_t room, struct arena *a)
{
    void *slot = slot_of(set, o);
    switch (o->type) {
    case OPT_FLAG:
        *(bool *)slot = true;
        return OK;
    case OPT_STR:
    case OPT_TEXT:
        return store_str(o, value, slot);
    case OPT_INT:
        return store_int(o, value, slot);
    case OPT_LIST:
        return store_list(o, value, room, a, slot);
    }
    return FAIL(ERR_INTERNAL, "--%s", o->name);
}

/* Takes one option, and its value, off the words. */
static struct err take_option(const struct opt_set sets[static OPTION_SETS], struct arena *a, struct words *in)
{
    const char *word = in->v[0];
    const char *equals = strchr(word, '=');
    struct str name = {word + 2, equals != NULL ? (size_t)(equals - word - 2) : strlen(word) - 2};
    const struct opt_set *set = NULL;
    const struct opt *o = word[1] == '-' ? find(sets, name, &set) : NULL;
    if (o == NULL)
        return FAIL(ERR_INVALID_REQUEST, "no such option here: %s", word);
    if (o->value == NULL && equals != NULL)
        return FAIL(ERR_INVALID_REQUEST, "--%s takes no value", o->name);
    bool separate = o->value != NULL && equals == NULL;
    if (separate && in->n < 2)
        return FAIL(ERR_INVALID_REQUEST, "--%s needs a value: %s", o->name, o->value);
    const char *value = "";
    if (separate)
        value = in->v[1];
    else if (equals != NULL)
        value = equals + 1;
    int taken = separate ? 2 : 1;
    in->v += taken;
    in->n -= taken;
    return store(set, o, value, (size_t)in->n + 2, a);
}

static void take_word(struct words *in, struct str_list *rest)
{
    rest->v[rest->n++] = str_of(in->v[0]);
    in->v++;
    in->n--;
}

struct err options_parse(const struct opt_set sets[static OPTION_SETS], struct arena *a, struct words *in,
                         struct str_list *rest)
{
    if (rest != NULL) {
        *rest = (struct str_list){.v = arena_array(a, (size_t)in->n, sizeof *rest->v)};
        if (rest->v == NULL)
            return FAIL(ERR_NO_MEMORY, "%d words", in->n);
    }
    bool only_words = false;
    while (in->n > 0) {
        const char *word = in->v[0];
        bool is_option = !only_words && word[0] == '-' && word[1] != '\0';
        if (is_option && strcmp(word, "--") == 0) {
            only_words = true;
            in->v++;
            in->n--;
        } else if (is_option) {
            TRY(take_option(sets, a, in));
        } else if (rest == NULL) {
            return OK;
        } else {
            take_word(in, rest);
        }
    }
    return OK;
}

static bool is_given(const struct opt_set *set, const struct opt *o)
{
    const void *slot = slot_of(set, o);
    switch (o->type) {
    case OPT_FLAG:
        return *(const bool *)slot;
    case OPT_STR:
    case OPT_TEXT:
        return ((const struct str *)slot)->p != NULL;
    case OPT_INT:
        return ((const struct json_int *)slot)->set;
    case OPT_LIST:
        return ((const struct str_list *)slot)->v != NULL;
    }
    return false;
}

struct err options_check(const struct opt_set *set)
{
    for (size_t i = 0; i < set->n; i++) {
        if (set->v[i].required && !is_given(set, &set->v[i]))
            return FAIL(ERR_INVALID_REQUEST, "--%s %s is needed", set->v[i].name, set->v[i].value);
    }
    return OK;
}
