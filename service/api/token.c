/* SPDX-License-Identifier: Apache-2.0
 * POST /oauth/token (RFC 6749 section 3.2): client_credentials, token exchange (RFC 8693) and the JWT bearer grant
 * (RFC 7523 section 2.1, and identity assertion authorization grants). What comes of it are the sessions of
 * /v1/agent-sessions. */
#include "service/api/client.h"
#include "service/api/grants.h"

#include "service/core/resource.h"
#include "service/core/scope.h"

enum { TYPE_URN_MAX = 256 };

#define AT(member) offsetof(struct token_form, member)
static const struct json_field token_fields[] = {
    {"grant_type", BIND_STR, AT(grant_type), false, 0, TYPE_URN_MAX, 0},
    {"scope", BIND_STR, AT(scope), false, 0, SCOPES_MAX *(SCOPE_MAX + 1), 0},
    {"resource", BIND_STR_LIST, AT(resource), false, 0, AUDIENCES_MAX, AUDIENCE_MAX},
    {"audience", BIND_STR_LIST, AT(audience), false, 0, AUDIENCES_MAX, AUDIENCE_MAX},
    {"assertion", BIND_STR, AT(assertion), false, 0, JWS_MAX, 0},
    {"subject_token", BIND_STR, AT(subject_token), false, 0, JWS_MAX, 0},
    {"subject_token_type", BIND_STR, AT(subject_token_type), false, 0, TYPE_URN_MAX, 0},
    {"actor_token", BIND_STR, AT(actor_token), false, 0, JWS_MAX, 0},
    {"actor_token_type", BIND_STR, AT(actor_token_type), false, 0, TYPE_URN_MAX, 0},
    {"requested_token_type", BIND_STR, AT(requested_token_type), false, 0, TYPE_URN_MAX, 0},
    CLIENT_FIELDS(struct token_form, client.)};
#undef AT

/* RFC 8693 section 2.1 and RFC 8707 section 2 let both stand several times. */
static const char *const repeatable[] = {"resource", "audience", NULL};

static const struct grant *find_grant(struct str type)
{
    for (const struct grant *const *g = grants; *g != NULL; g++) {
        if (str_is(type, (*g)->type))
            return *g;
    }
    return NULL;
}

static struct err audiences_of(struct arena *a, const struct token_form *f, struct str_list *out)
{
    struct str_list l = {arena_array(a, f->audience.n + f->resource.n, sizeof *l.v), 0};
    if (l.v == NULL)
        return FAIL(ERR_NO_MEMORY, "audiences");
    for (size_t i = 0; i < f->audience.n; i++)
        l.v[l.n++] = f->audience.v[i];
    for (size_t i = 0; i < f->resource.n; i++) {
        TRY(resource_check(f->resource.v[i]));
        l.v[l.n++] = f->resource.v[i];
    }
    *out = l;
    return OK;
}

static struct err write_token(const struct issuing *i, const struct grant *g, const struct http_request *req,
                              struct http_reply *out)
{
    const struct session *s = &i->session;
    struct str scope;
    TRY(scopes_join(req->arena, s->scopes, &scope));
    struct buf b = http_body(req);
    struct json_writer w = json_writer(&b);
    json_begin_object(&w, NULL);
    json_put_str(&w, "access_token", i->token);
    json_put_int(&w, "expires_in", (s->expires_us - s->created_us) / 1000000);
    if (g->says_issued_type)
        json_put_str(&w, "issued_token_type", STR(TOKEN_TYPE_ACCESS));
    json_put_str(&w, "scope", scope);
    json_put_str(&w, "session_id", s->id);
    json_put_str(&w, "token_type", s->cnf_jkt.p != NULL ? STR("DPoP") : STR("Bearer"));
    json_end_object(&w);
    return http_reply_json(200, &b, out);
}

struct err api_oauth_token(struct api *api, const struct http_request *req, struct http_reply *out)
{
    struct token_form f = {.scope = {NULL, 0}};
    TRY(http_bind_form(req, token_fields, COUNT(token_fields), repeatable, &f));
    struct issuing i = {.call = call_of(api, req), .req = req, .assertion = f.client.assertion, .arg = &f};
    if (f.grant_type.p == NULL)
        return FAIL(ERR_INVALID_REQUEST, "grant_type is missing");
    const struct grant *g = find_grant(f.grant_type);
    if (g == NULL)
        return FAIL(ERR_UNSUPPORTED_GRANT, "see grant_types_supported of the metadata");
    TRY(client_of_form(&i.call, req, &f.client, &i.agent_id));
    TRY(g->check(&f));
    i.ask.all_scopes = f.scope.p == NULL;
    if (f.scope.p != NULL)
        TRY(scopes_split(req->arena, f.scope, &i.ask.scopes));
    TRY(audiences_of(req->arena, &f, &i.ask.audiences));
    i.op = g->op;
    i.grant_type = g->name;
    i.look = g->look;
    i.bad_user = g->bad_user;
    TRY(issue(&i));
    return write_token(&i, g, req, out);
}
