/* SPDX-License-Identifier: Apache-2.0 */
#include "base/conf.h"

#include "base/buf.h"
#include "base/fd.h"

#include <errno.h>
#include <stdlib.h>

enum { CONF_FILE_MAX = 65536, PROBLEMS_MAX = 16384, VALUE_MAX = 4096 };

struct setting {
    struct str name, value;
};

struct loader {
    const struct conf_key *table;
    size_t n;
    const char *const *known;
    struct str *values; /* by table index; p == NULL: not given */
    struct buf problems;
    struct arena *arena;
    void *out;
};

static void problem(struct loader *l, struct str name, const char *text)
{
    buf_printf(&l->problems, "%.*s: %s\n", STR_FMT(name), text);
}

static bool is_known(const struct loader *l, struct str name)
{
    for (const char *const *k = l->known; k != NULL && *k != NULL; k++) {
        struct str s = str_of(*k);
        bool prefix = s.n > 0 && s.p[s.n - 1] == '*';
        if (prefix ? str_starts(name, (struct str){s.p, s.n - 1}) : str_eq(name, s))
            return true;
    }
    return false;
}

/* Takes one NAME=value. The first source to give a name wins. */
static void take(struct loader *l, struct setting s, bool from_file)
{
    for (size_t i = 0; i < l->n; i++) {
        if (!str_is(s.name, l->table[i].name))
            continue;
        if (l->values[i].p == NULL)
            l->values[i] = s.value;
        return;
    }
    if (is_known(l, s.name))
        return;
    if (from_file)
        problem(l, s.name, "is not a setting of this program");
    else if (str_starts(s.name, STR("NEXUS_")))
        problem(l, s.name, "is not a setting of this program (unset it, or mend the spelling)");
}

static bool split(struct str line, struct setting *out)
{
    const char *eq = line.n > 0 ? memchr(line.p, '=', line.n) : NULL;
    if (eq == NULL)
        return false;
    out->name = str_trim((struct str){line.p, (size_t)(eq - line.p)});
    out->value = (struct str){eq + 1, line.n - (size_t)(eq - line.p) - 1};
    return out->name.n > 0;
}

static void take_environment(struct loader *l, char *const *envp)
{
    for (; envp != NULL && *envp != NULL; envp++) {
        struct setting s;
        if (split(str_of(*envp), &s))
            take(l, s, false);
    }
}

static struct err take_file(struct loader *l, const char *path)
{
    struct str text = {NULL, 0};
    TRY(err_as(fd_read_file(path, CONF_FILE_MAX, l->arena, &text), ERR_CONFIG));
    for (size_t i = 0, start = 0; i <= text.n; i++) {
        if (i < text.n && text.p[i] != '\n')
            continue;
        struct str line = str_trim((struct str){text.p + start, i - start});
        start = i + 1;
        struct setting s;
        if (line.n == 0 || line.p[0] == '#')
            continue;
        if (!split(line, &s)) {
            problem(l, line, "is not of the form NAME=value");
            continue;
        }
        s.value = str_trim(s.value);
        take(l, s, true);
    }
    return OK;
}

static bool parse_int(struct str v, int64_t *out)
{
    char tmp[32];
    if (v.n == 0 || v.n >= sizeof tmp || (v.p[0] != '-' && (v.p[0] < '0' || v.p[0] > '9')))
        return false;
    memcpy(tmp, v.p, v.n);
    tmp[v.n] = '\0';
    char *end = NULL;
    errno = 0;
    long long x = strtoll(tmp, &end, 10);
    if (errno != 0 || end == tmp || *end != '\0')
        return false;
    *out = x;
    return true;
}

static bool parse_bool(struct str v, bool *out)
{
    bool yes = str_is(v, "on") || str_is(v, "true") || str_is(v, "1");
    bool no = str_is(v, "off") || str_is(v, "false") || str_is(v, "0");
    *out = yes;
    return yes || no;
}

static void store_str(struct loader *l, const struct conf_key *k, struct str v, void *slot)
{
    size_t most = k->max > 0 ? (size_t)k->max : VALUE_MAX;
    struct str copy = arena_str(l->arena, v);
    if (v.n > most)
        buf_printf(&l->problems, "%s: is longer than %zu bytes\n", k->name, most);
    memcpy(slot, &copy, sizeof copy);
}

static void store_int(struct loader *l, const struct conf_key *k, struct str v, void *slot)
{
    int64_t x = 0;
    if (!parse_int(v, &x) || x < k->min || x > k->max)
        buf_printf(&l->problems, "%s: must be a whole number from %lld to %lld\n", k->name, (long long)k->min,
                   (long long)k->max);
    memcpy(slot, &x, sizeof x);
}

static void store_bool(struct loader *l, const struct conf_key *k, struct str v, void *slot)
{
    bool x = false;
    if (!parse_bool(v, &x))
        buf_printf(&l->problems, "%s: must be on or off\n", k->name);
    memcpy(slot, &x, sizeof x);
}

static void store(struct loader *l, const struct conf_key *k, struct str given)
{
    struct str v = given.p != NULL ? given : str_of(k->def);
    void *slot = (char *)l->out + k->offset;
    if (v.p == NULL) {
        buf_printf(&l->problems, "%s: must be set (%s)\n", k->name, k->help);
        return;
    }
    switch (k->type) {
    case CONF_STR:
        store_str(l, k, v, slot);
        break;
    case CONF_INT:
        store_int(l, k, v, slot);
        break;
    case CONF_BOOL:
        store_bool(l, k, v, slot);
        break;
    }
}

struct err conf_load(const struct conf_key *table, size_t n, const char *const *known, char *const *envp,
                     const char *file, struct arena *a, void *out, struct str *problems)
{
    struct loader l = {.table = table, .n = n, .known = known, .arena = a, .out = out};
    l.problems = buf_in(a, PROBLEMS_MAX);
    l.values = arena_array(a, n, sizeof *l.values);
    if (l.values == NULL)
        return FAIL(ERR_NO_MEMORY, "%zu settings", n);
    take_environment(&l, envp);
    if (file != NULL)
        TRY(take_file(&l, file));
    for (size_t i = 0; i < n; i++)
        store(&l, &table[i], l.values[i]);
    TRY(buf_status(&l.problems));
    *problems = buf_view(&l.problems);
    return problems->n == 0 ? OK : FAIL(ERR_CONFIG, "bad configuration");
}
