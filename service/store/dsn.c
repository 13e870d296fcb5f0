/* SPDX-License-Identifier: Apache-2.0 */
#include "service/store/dsn.h"

#include <libpq-fe.h>
#include <stdlib.h>

struct dsn {
    PQconninfoOption *options;
    bool several_hosts;
};

/* A connection whose other end is gone must be noticed in seconds, whatever the kernel's defaults are. */
static const struct {
    const char *key, *value;
    bool only_several_hosts;
} defaults[] = {
    {"application_name", "nexus-broker", false},
    {"client_encoding", "UTF8", false},
    {"keepalives", "1", false},
    {"keepalives_idle", "10", false},
    {"keepalives_interval", "5", false},
    {"keepalives_count", "3", false},
    {"tcp_user_timeout", "5000", false},
    {"target_session_attrs", "read-write", true},
};

static char *value_of(const struct dsn *d, const char *key)
{
    for (const PQconninfoOption *o = d->options; o->keyword != NULL; o++) {
        if (strcmp(o->keyword, key) == 0)
            return o->val;
    }
    return NULL;
}

static bool is_list(const struct dsn *d, const char *key)
{
    const char *v = value_of(d, key);
    return v != NULL && strchr(v, ',') != NULL;
}

struct err dsn_parse(struct str text, struct dsn **out)
{
    char *copy = strndup(text.p != NULL ? text.p : "", text.n);
    if (copy == NULL)
        return FAIL(ERR_NO_MEMORY, "connection string");
    PQconninfoOption *options = PQconninfoParse(copy, NULL);
    explicit_bzero(copy, strlen(copy));
    free(copy);
    if (options == NULL)
        return FAIL(ERR_CONFIG,
                    "the database's connection string is malformed (form: postgresql://user@host/database)");
    struct dsn *d = calloc(1, sizeof *d);
    if (d == NULL) {
        PQconninfoFree(options);
        return FAIL(ERR_NO_MEMORY, "connection string");
    }
    d->options = options;
    d->several_hosts = is_list(d, "host") || is_list(d, "hostaddr");
    *out = d;
    return OK;
}

void dsn_free(struct dsn **d)
{
    if (*d == NULL)
        return;
    char *password = value_of(*d, "password");
    if (password != NULL)
        explicit_bzero(password, strlen(password));
    PQconninfoFree((*d)->options);
    free(*d);
    *d = NULL;
}

void dsn_params(const struct dsn *d, struct dsn_params *out)
{
    size_t n = 0;
    for (const PQconninfoOption *o = d->options; o->keyword != NULL && n < DSN_PARAMS_MAX; o++) {
        if (o->val == NULL)
            continue;
        out->keys[n] = o->keyword;
        out->values[n++] = o->val;
    }
    for (size_t i = 0; i < COUNT(defaults) && n < DSN_PARAMS_MAX; i++) {
        if (value_of(d, defaults[i].key) != NULL || (defaults[i].only_several_hosts && !d->several_hosts))
            continue;
        out->keys[n] = defaults[i].key;
        out->values[n++] = defaults[i].value;
    }
    out->keys[n] = NULL;
    out->values[n] = NULL;
}

static void reverse(char *p, size_t n)
{
    for (size_t i = 0; i < n / 2; i++) {
        char c = p[i];
        p[i] = p[n - 1 - i];
        p[n - 1 - i] = c;
    }
}

/* "a,b,c" becomes "b,c,a", in place: the whole turned round, then each part turned back. */
static void rotate(char *list)
{
    const char *comma = list != NULL ? strchr(list, ',') : NULL;
    if (comma == NULL)
        return;
    size_t n = strlen(list), first = (size_t)(comma - list), rest = n - first - 1;
    reverse(list, n);
    reverse(list, rest);
    reverse(list + rest + 1, first);
}

void dsn_next_host(struct dsn *d)
{
    static const char *const lists[] = {"host", "hostaddr", "port"};
    for (size_t i = 0; i < COUNT(lists); i++)
        rotate(value_of(d, lists[i]));
}
