/* SPDX-License-Identifier: Apache-2.0 */
#include "service/core/token.h"

#include "crypto/json.h"
#include "service/core/scope.h"

enum { CLAIMS_MAX = 12000, SELFTEST_LIFETIME_S = 60 };

struct err token_session_claims(struct arena *a, const struct session *s, struct str issuer, struct bytes *payload)
{
    struct str scope;
    TRY(scopes_join(a, s->scopes, &scope));
    struct buf b = buf_in(a, CLAIMS_MAX);
    struct json_writer w = json_writer(&b);
    json_begin_object(&w, NULL);
    json_put_str(&w, "iss", issuer);
    json_put_str(&w, "sub", s->agent_id);
    json_put_str(&w, "aud", s->audience);
    json_put_str(&w, "client_id", s->agent_id);
    json_put_str(&w, "scope", scope);
    json_put_int(&w, "iat", s->created_us / 1000000);
    json_put_int(&w, "nbf", s->created_us / 1000000);
    json_put_int(&w, "exp", s->expires_us / 1000000);
    json_put_str(&w, "jti", s->jti);
    json_put_str(&w, "sid", s->id);
    json_end_object(&w);
    TRY(buf_status(&b));
    *payload = buf_bytes(&b);
    return OK;
}

struct err token_selftest_claims(struct arena *a, struct str issuer, struct str jti, int64_t now_s,
                                 struct bytes *payload)
{
    struct buf b = buf_in(a, CLAIMS_MAX);
    struct json_writer w = json_writer(&b);
    json_begin_object(&w, NULL);
    json_put_str(&w, "iss", issuer);
    json_put_int(&w, "iat", now_s);
    json_put_int(&w, "exp", now_s + SELFTEST_LIFETIME_S);
    json_put_str(&w, "jti", jti);
    json_end_object(&w);
    TRY(buf_status(&b));
    *payload = buf_bytes(&b);
    return OK;
}
