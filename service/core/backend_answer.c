/* SPDX-License-Identifier: Apache-2.0 */
#include "service/core/backend_answer.h"

#include "crypto/json.h"
#include "service/core/scope.h"

#include <stddef.h>
#include <time.h>

enum { STATUS_OK = 200, STATUS_BAD_REQUEST = 400, STATUS_UNAUTHORIZED = 401, STATUS_FORBIDDEN = 403 };

/* The last second of the year 9999. A later one is a mistake, most often milliseconds. */
#define DATE_LAST_S INT64_C(253402300799)

struct answer {
    struct str user_id, tenant_id;
    struct json_int clearance;
    struct str_list permissions;
};

static const struct json_field fields[] = {
    {"user_id", BIND_STR, offsetof(struct answer, user_id), true, 1, USER_ID_MAX, 0},
    {"tenant_id", BIND_STR, offsetof(struct answer, tenant_id), true, 1, TENANT_ID_MAX, 0},
    {"clearance_level", BIND_INT, offsetof(struct answer, clearance), true, 0, CLEARANCE_MAX, 0},
    {"permissions", BIND_STR_LIST, offsetof(struct answer, permissions), true, 0, PERMISSIONS_MAX, SCOPE_MAX},
};

static bool has_control_bytes(struct str s)
{
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        if (c < 0x20 || c == 0x7f)
            return true;
    }
    return false;
}

/* One character of a set, taken off the front. */
static bool take(struct str *s, const char *set)
{
    if (s->n == 0 || s->p[0] == '\0' || strchr(set, s->p[0]) == NULL)
        return false;
    *s = (struct str){s->p + 1, s->n - 1};
    return true;
}

static bool take_number(struct str *s, int digits, int most, int *out)
{
    *out = 0;
    for (int i = 0; i < digits; i++) {
        if (s->n == 0)
            return false;
        char c = s->p[0];
        if (!take(s, "0123456789"))
            return false;
        *out = *out * 10 + (c - '0');
    }
    return *out <= most;
}

static bool take_fraction(struct str *s)
{
    if (!take(s, "."))
        return true;
    bool some = false;
    while (take(s, "0123456789"))
        some = true;
    return some;
}

static bool take_offset(struct str *s, int *seconds)
{
    *seconds = 0;
    if (take(s, "Zz"))
        return true;
    int hours = 0, minutes = 0;
    bool west = s->n > 0 && s->p[0] == '-';
    if (!take(s, "+-") || !take_number(s, 2, 23, &hours) || !take(s, ":") || !take_number(s, 2, 59, &minutes))
        return false;
    *seconds = (hours * 60 + minutes) * (west ? -60 : 60);
    return true;
}

/* RFC 3339 section 5.6. */
static bool read_date_time(struct str s, int64_t *seconds)
{
    struct tm tm = {0};
    int second = 0, offset = 0;
    bool date = take_number(&s, 4, 9999, &tm.tm_year) && take(&s, "-") && take_number(&s, 2, 12, &tm.tm_mon) &&
                take(&s, "-") && take_number(&s, 2, 31, &tm.tm_mday);
    bool time = date && take(&s, "Tt") && take_number(&s, 2, 23, &tm.tm_hour) && take(&s, ":") &&
                take_number(&s, 2, 59, &tm.tm_min) && take(&s, ":") && take_number(&s, 2, 60, &second);
    if (!time || !take_fraction(&s) || !take_offset(&s, &offset) || s.n != 0)
        return false;
    tm.tm_year -= 1900;
    tm.tm_mon -= 1;
    /* timegm moves what is no date, such as February 31, to another month. */
    struct tm moved = tm;
    *seconds = (int64_t)timegm(&moved) + second - offset;
    return moved.tm_mon == tm.tm_mon && moved.tm_mday == tm.tm_mday;
}

static struct err read_expiry(const struct json *v, int64_t now_us, int64_t *expires_us)
{
    *expires_us = 0;
    if (v == NULL)
        return OK;
    int64_t seconds = -1;
    if (v->type == JSON_INT)
        seconds = v->i;
    bool good = v->type == JSON_STR ? read_date_time(v->s, &seconds) : seconds >= 0;
    if (!good || seconds > DATE_LAST_S)
        return FAIL(ERR_BACKEND_AUTH, "expires_at is neither an RFC 3339 time nor seconds since 1970");
    *expires_us = seconds * 1000000;
    return *expires_us > now_us ? OK : FAIL(ERR_USER_TOKEN, "expires_at has passed");
}

static struct err check_texts(const struct answer *v)
{
    if (has_control_bytes(v->user_id) || has_control_bytes(v->tenant_id))
        return FAIL(ERR_BACKEND_AUTH, "user_id or tenant_id has control bytes");
    for (size_t i = 0; i < v->permissions.n; i++) {
        if (!scope_is_token(v->permissions.v[i]))
            return FAIL(ERR_BACKEND_AUTH, "permissions: item %zu is no scope of RFC 6749 section 3.3", i);
    }
    return OK;
}

static struct err read_user(struct bytes body, int64_t now_us, struct arena *a, struct user *out)
{
    const struct json *obj = NULL;
    struct answer v = {.user_id = {NULL, 0}};
    TRY(err_refused_as(json_parse(a, body, &obj), ERR_BACKEND_AUTH));
    TRY(err_refused_as(json_bind_object(obj, fields, COUNT(fields), JSON_UNKNOWN_IGNORED, a, &v), ERR_BACKEND_AUTH));
    TRY(check_texts(&v));
    int64_t expires_us = 0;
    TRY(read_expiry(json_get(obj, "expires_at"), now_us, &expires_us));
    *out = (struct user){.id = v.user_id,
                         .tenant_id = v.tenant_id,
                         .clearance_level = v.clearance.v,
                         .permissions = v.permissions,
                         .expires_us = expires_us};
    return OK;
}

struct err backend_answer_read(int status, struct bytes body, int64_t now_us, struct arena *a, struct user *out)
{
    switch (status) {
    case STATUS_OK:
        return read_user(body, now_us, a, out);
    case STATUS_BAD_REQUEST:
    case STATUS_UNAUTHORIZED:
    case STATUS_FORBIDDEN:
        return FAIL(ERR_USER_TOKEN, "the back end answered %d", status);
    default:
        return FAIL(ERR_BACKEND_AUTH, "the back end answered %d", status);
    }
}
