/* SPDX-License-Identifier: Apache-2.0 */
#include "service/api/backend.h"

#include "base/rand.h"
#include "service/api/bulkhead.h"
#include "service/core/assertion.h"
#include "service/core/backend_answer.h"
#include "service/core/token.h"
#include "service/net/net.h"

enum { REPLY_MAX = 65536, BODY_MAX = 6 * JWS_MAX + 64 /* every character as an escape */ };

/* The back end's name in aud, and what its paths begin with: the setting without the slash that may end it. */
static struct str base_of(const struct config *config)
{
    struct str url = config->backend_auth_url;
    return url.p[url.n - 1] == '/' ? (struct str){url.p, url.n - 1} : url;
}

/* The Authorization header's value. */
static struct err authorise(const struct call *c, struct str base, struct str token, struct str *out)
{
    const struct app *app = c->api->app;
    uint8_t hash[SHA256_LEN];
    TRY(crypto_sha256(app->crypto, str_bytes(token), hash));
    char jti[ID_TEXT];
    TRY(rand_id("", jti));
    const struct token_call claims = {.issuer = app->config->base_url,
                                      .audience = base,
                                      .jti = str_of(jti),
                                      .token_sha256 = hash,
                                      .now_s = clock_now_s(&app->clock)};
    struct own_jwt o = {
        .purpose = HSM_CALL, .typ = STR(CALL_TYP), .jti = claims.jti, .op = "sign", .aud = base, .detail = STR("call")};
    struct str jwt;
    TRY(token_call_claims(c->arena, &claims, &o.payload));
    TRY(record_jwt(c, &o, &jwt));
    *out = arena_printf(c->arena, "Bearer %.*s", STR_FMT(jwt));
    return out->p != NULL ? OK : FAIL(ERR_NO_MEMORY, "the Authorization header");
}

static struct err body_of(struct arena *a, struct str token, struct str *out)
{
    struct buf b = buf_in(a, BODY_MAX);
    struct json_writer w = json_writer(&b);
    json_begin_object(&w, NULL);
    json_put_str(&w, "token", token);
    json_end_object(&w);
    TRY(buf_status(&b));
    *out = buf_view(&b);
    return OK;
}

static int64_t deadline_of(const struct call *c)
{
    int64_t patience = clock_mono_us() + c->api->app->config->backend_timeout_ms * 1000;
    return patience < c->deadline_us ? patience : c->deadline_us;
}

struct err backend_verify(const struct call *c, struct str token, struct user *out)
{
    const struct app *app = c->api->app;
    CLEANUP(bulkhead_leave) struct bulkhead *place = bulkhead_enter(app->outbound);
    if (place == NULL)
        return FAIL(ERR_BACKEND_AUTH, "half of NEXUS_WORKERS wait for the back end or for issuers already");
    struct str base = base_of(app->config), authorization, body;
    TRY(body_of(c->arena, token, &body));
    TRY(authorise(c, base, token, &authorization));
    struct str url = arena_printf(c->arena, "%.*s/auth/verify-agent-token", STR_FMT(base));
    if (url.p == NULL)
        return FAIL(ERR_NO_MEMORY, "the back end's URL");
    const struct net_request q = {.reach = NET_OPERATOR,
                                  .method = NET_POST,
                                  .url = url,
                                  .body = body,
                                  .content_type = "application/json",
                                  .accept = "application/json",
                                  .authorization = authorization,
                                  .body_max = REPLY_MAX,
                                  .deadline_us = deadline_of(c)};
    struct net_reply reply;
    struct err e = net_call(c->api->net, &q, c->arena, &reply);
    if (err_is(&e))
        return e.code == ERR_NO_MEMORY ? e : err_as(e, ERR_BACKEND_AUTH);
    return backend_answer_read(reply.status, reply.body, clock_now_us(&app->clock), c->arena, out);
}
