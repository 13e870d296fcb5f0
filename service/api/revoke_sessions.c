/* SPDX-License-Identifier: Apache-2.0
 * POST /admin/v1/sessions/revoke: the kill switch. Ends what an agent or a user has open, or one session, at every
 * broker from the next request on. */
#include "base/log.h"
#include "service/api/pseudonym.h"
#include "service/core/agent_rules.h"
#include "service/store/revoke.h"

enum { SESSION_ID_MAX = 64, DETAIL_MAX = 1024, PSEUDONYM_US = 1000000 };

static const struct json_field fields[] = {
    {"agent_id", BIND_STR, offsetof(struct revoke_ask, agent_id), false, 1, 1024, 0},
    {"user_id", BIND_STR, offsetof(struct revoke_ask, user_id), false, 1, USER_ID_MAX, 0},
    {"session_id", BIND_STR, offsetof(struct revoke_ask, session_id), false, 1, SESSION_ID_MAX, 0},
};

static struct err check_ask(struct revoke_ask *ask)
{
    if ((ask->agent_id.p != NULL) + (ask->user_id.p != NULL) + (ask->session_id.p != NULL) != 1)
        return FAIL(ERR_INVALID_REQUEST, "name exactly one of \"agent_id\", \"user_id\" and \"session_id\"");
    return ask->agent_id.p != NULL ? agent_id_check(ask->agent_id, &ask->agent_id) : OK;
}

/* A user is who somebody vouched for: a pseudonym for each who did. */
static struct err pseudonyms(const struct call *c, struct str user_id, struct str *out)
{
    struct store s = call_store(c);
    struct str_list issuers;
    TRY(store_user_issuers(&s, user_id, &issuers));
    struct buf b = buf_in(c->arena, DETAIL_MAX);
    for (size_t i = 0; i < issuers.n; i++) {
        struct str name;
        TRY(pseudonym_of(c, issuers.v[i], user_id, &name));
        buf_printf(&b, "%s%.*s", i == 0 ? "sub_p=" : ",", STR_FMT(name));
    }
    TRY(buf_status(&b));
    if (issuers.n > 0)
        *out = buf_view(&b);
    return OK;
}

/* A leaf stays for good and a person must be able to be forgotten, so the clear value of a user's id never stands in
 * one. Pseudonyms can need the HSM, and a kill switch must work when that is away: then, or when it takes longer than a
 * second, the leaf goes without. */
static void name_user(const struct call *c, struct str user_id, struct leaf_fields *f)
{
    f->target = STR("user");
    struct call hasty = *c;
    int64_t until = clock_mono_us() + PSEUDONYM_US;
    hasty.deadline_us = until < c->deadline_us ? until : c->deadline_us;
    struct err e = pseudonyms(&hasty, user_id, &f->detail);
    if (err_is(&e))
        LOG_ERR(LOG_WARN, "a user's sessions are revoked without a pseudonym on record", &e,
                LOG_STR("request_id", c->req_id));
}

static struct err name_target(const struct call *c, const struct revoke_ask *ask, struct leaf_fields *f)
{
    if (ask->user_id.p != NULL) {
        name_user(c, ask->user_id, f);
        return OK;
    }
    bool agent = ask->agent_id.p != NULL;
    f->target = arena_printf(c->arena, "%s:%.*s", agent ? "agent" : "session",
                             STR_FMT(agent ? ask->agent_id : ask->session_id));
    return f->target.p != NULL ? OK : FAIL(ERR_NO_MEMORY, "the leaf's target");
}

struct err api_sessions_revoke(struct api *api, const struct http_request *req, struct http_reply *out)
{
    struct revoke_ask ask = {.agent_id = {NULL, 0}};
    TRY(http_bind_json(req, fields, COUNT(fields), JSON_UNKNOWN_REFUSED, &ask));
    TRY(check_ask(&ask));
    struct call c = call_of(api, req);
    struct leaf_fields f = {.kind = LEAF_ADMIN, .op = "sessions.revoke", .actor = api->caller.name, .exp = -1};
    TRY(name_target(&c, &ask, &f));
    struct recording r;
    TRY(record_begin(&c, &f, &r));
    struct store s = call_store(&c);
    int64_t closed = 0, descendants = 0;
    struct err stored = store_sessions_revoke(&s, &ask, &r.batch, &closed, &descendants);
    TRY(record_end(&c, &r, stored, true));
    struct buf b = http_body(req);
    struct json_writer w = json_writer(&b);
    json_begin_object(&w, NULL);
    json_put_int(&w, "descendants_closed", descendants);
    json_put_int(&w, "sessions_closed", closed);
    json_end_object(&w);
    return http_reply_json(200, &b, out);
}
