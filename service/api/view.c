/* SPDX-License-Identifier: Apache-2.0 */
#include "service/api/view.h"

#include "base/clock.h"
#include "service/core/policy.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { LIMIT_DEFAULT = 50, LIMIT_MAX = 100 };

static void put_time(struct json_writer *w, const char *name, int64_t us)
{
    char text[CLOCK_TEXT];
    json_put_str(w, name, clock_rfc3339(us, text));
}

void view_session_members(struct json_writer *w, const struct session *s, int64_t now_us)
{
    if (s->acting_for.p != NULL)
        json_put_str(w, "acting_for", s->acting_for);
    json_put_bool(w, "active", session_is_active(s, now_us));
    json_put_str(w, "agent_id", s->agent_id);
    if (s->audiences.n == 1)
        json_put_str(w, "audience", s->audiences.v[0]);
    else
        json_put_list(w, "audience", s->audiences);
    if (s->chain.n > 1)
        json_put_list(w, "chain", s->chain);
    json_put_int(w, "clearance_level", s->clearance_level);
    if (s->closed_us != 0)
        put_time(w, "closed_at", s->closed_us);
    if (s->cnf_jkt.p != NULL) {
        json_begin_object(w, "cnf");
        json_put_str(w, "jkt", s->cnf_jkt);
        json_end_object(w);
    }
    put_time(w, "created_at", s->created_us);
    put_time(w, "expires_at", s->expires_us);
    json_put_str(w, "grant_type", s->grant_type);
    json_put_bool(w, "obo", s->obo);
    if (s->chain.n > 1)
        json_put_str(w, "parent_session_id", s->ancestors.v[0]);
    json_put_list(w, "scopes_granted", s->scopes);
    json_put_str(w, "session_id", s->id);
    if (s->tenant_id.p != NULL)
        json_put_str(w, "tenant_id", s->tenant_id);
}

void view_opened_members(struct json_writer *w, const struct session *s, struct str token, int64_t now_us)
{
    json_put_str(w, "access_token", token);
    view_session_members(w, s, now_us);
    json_put_str(w, "session_token", token);
    json_put_str(w, "token_type", s->cnf_jkt.p != NULL ? STR("DPoP") : STR("session"));
}

void view_agent_members(struct json_writer *w, const struct agent *a)
{
    json_put_bool(w, "active", a->active);
    json_put_str(w, "agent_id", a->id);
    json_put_list(w, "allowed_audiences", a->allowed_audiences);
    json_put_list(w, "allowed_scopes", a->allowed_scopes);
    put_time(w, "created_at", a->created_us);
    json_put_list(w, "delegates_to", a->delegates_to);
    json_put_str(w, "description", a->description);
    json_put_raw(w, "jwks", a->jwks);
    json_put_int(w, "max_ttl_seconds", a->max_ttl_s);
    json_put_bool(w, "require_dpop", a->require_dpop);
    put_time(w, "updated_at", a->updated_us);
    json_put_list(w, "workspaces", a->workspaces);
}

struct err view_query_bool(const struct http_request *req, const char *name, bool *given, bool *value)
{
    struct str v = {NULL, 0};
    TRY(http_query(req, name, &v));
    *given = v.p != NULL;
    *value = v.p != NULL && str_is(v, "true");
    if (v.p != NULL && !*value && !str_is(v, "false"))
        return FAIL(ERR_INVALID_REQUEST, "query parameter \"%s\": must be true or false", name);
    return OK;
}

struct err view_query_time(const struct http_request *req, const char *name, int64_t *us)
{
    struct str v = {NULL, 0};
    TRY(http_query(req, name, &v));
    *us = 0;
    if (v.p == NULL)
        return OK;
    /* A copy with a NUL behind it, which strptime needs. */
    v = arena_str(req->arena, v);
    if (v.p == NULL)
        return FAIL(ERR_NO_MEMORY, "%s", name);
    /* strptime forgives blanks and short fields: the fixed part must be digits where digits belong. */
    static const char shape[] = "0000-00-00T00:00:00";
    bool good = v.n >= sizeof shape;
    for (size_t i = 0; good && i < sizeof shape - 1; i++)
        good = shape[i] == '0' ? v.p[i] >= '0' && v.p[i] <= '9' : v.p[i] == shape[i];
    if (!good)
        return FAIL(ERR_INVALID_REQUEST, "query parameter \"%s\": must be a time such as 2026-01-02T03:04:05Z", name);
    struct tm tm = {0};
    const char *rest = strptime(v.p, "%Y-%m-%dT%H:%M:%S", &tm);
    if (rest != NULL && *rest == '.') {
        do
            rest++;
        while (*rest >= '0' && *rest <= '9');
    }
    /* timegm moves what is no date, such as February 31, to the next month. */
    struct tm moved = tm;
    int64_t seconds = (int64_t)timegm(&moved);
    if (rest == NULL || *rest != 'Z' || rest + 1 != v.p + v.n || moved.tm_mday != tm.tm_mday)
        return FAIL(ERR_INVALID_REQUEST, "query parameter \"%s\": must be a time such as 2026-01-02T03:04:05Z", name);
    *us = seconds * 1000000;
    return OK;
}

struct err view_query_page(const struct http_request *req, struct str *cursor, size_t *limit)
{
    TRY(http_query(req, "cursor", cursor));
    struct str v = {NULL, 0};
    TRY(http_query(req, "limit", &v));
    *limit = LIMIT_DEFAULT;
    if (v.p == NULL)
        return OK;
    size_t n = 0;
    for (size_t i = 0; i < v.n && n <= LIMIT_MAX; i++)
        n = v.p[i] >= '0' && v.p[i] <= '9' ? n * 10 + (size_t)(v.p[i] - '0') : LIMIT_MAX + 1;
    if (n < 1 || n > LIMIT_MAX)
        return FAIL(ERR_INVALID_REQUEST, "query parameter \"limit\": must be from 1 to %d", LIMIT_MAX);
    *limit = n;
    return OK;
}
