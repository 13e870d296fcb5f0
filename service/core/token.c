/* SPDX-License-Identifier: Apache-2.0 */
#include "service/core/token.h"

#include "crypto/b64u.h"
#include "service/core/scope.h"

enum { SELFTEST_LIFETIME_S = 60, CALL_LIFETIME_S = 60 };

/* RFC 8693 section 4.1: the current actor outermost, the earlier ones inside. sub_profile says which register sub is
 * a name of, since users and agents are named by different authorities (RFC 9068 section 5). */
static void put_delegation(struct json_writer *w, const struct session *s, size_t actors)
{
    if (actors == 0)
        return;
    json_put_str(w, "sub_profile", s->acting_for.p != NULL ? STR("user") : STR("ai_agent"));
    for (size_t i = 0; i < actors; i++) {
        json_begin_object(w, "act");
        json_put_str(w, "sub", s->chain.v[i]);
    }
    for (size_t i = 0; i < actors; i++)
        json_end_object(w);
    if (!s->obo)
        return;
    /* RFC 9493 section 3.2.2: users of two issuers may have one name. */
    if (s->user_issuer.p != NULL) {
        json_begin_object(w, "sub_id");
        json_put_str(w, "format", STR("iss_sub"));
        json_put_str(w, "iss", s->user_issuer);
        json_put_str(w, "sub", s->acting_for);
        json_end_object(w);
    }
    json_put_int(w, "clearance_level", s->clearance_level);
    if (s->tenant_id.p != NULL)
        json_put_str(w, "tenant_id", s->tenant_id);
}

struct err token_members(struct json_writer *w, const struct session *s, struct str issuer, struct arena *a)
{
    struct str scope;
    /* An agent that acts for itself is the subject, also when others act for it: then it ends the chain. */
    struct str subject = s->acting_for.p != NULL ? s->acting_for : s->chain.v[s->chain.n - 1];
    size_t actors = s->acting_for.p != NULL ? s->chain.n : s->chain.n - 1;
    TRY(scopes_join(a, s->scopes, &scope));
    json_put_str(w, "iss", issuer);
    json_put_str(w, "sub", subject);
    if (s->audiences.n == 1)
        json_put_str(w, "aud", s->audiences.v[0]);
    else
        json_put_list(w, "aud", s->audiences);
    json_put_str(w, "client_id", s->agent_id);
    json_put_str(w, "scope", scope);
    json_put_int(w, "iat", s->created_us / 1000000);
    json_put_int(w, "nbf", s->created_us / 1000000);
    json_put_int(w, "exp", s->expires_us / 1000000);
    json_put_str(w, "jti", s->jti);
    json_put_str(w, "sid", s->id);
    put_delegation(w, s, actors);
    /* RFC 9449 section 6.1. */
    if (s->cnf_jkt.p != NULL) {
        json_begin_object(w, "cnf");
        json_put_str(w, "jkt", s->cnf_jkt);
        json_end_object(w);
    }
    return OK;
}

struct err token_session_claims(struct arena *a, const struct session *s, struct str issuer, struct bytes *payload)
{
    struct buf b = buf_in(a, TOKEN_CLAIMS_MAX);
    struct json_writer w = json_writer(&b);
    json_begin_object(&w, NULL);
    TRY(token_members(&w, s, issuer, a));
    json_end_object(&w);
    TRY(buf_status(&b));
    *payload = buf_bytes(&b);
    return OK;
}

struct err token_selftest_claims(struct arena *a, struct str issuer, struct str jti, int64_t now_s,
                                 struct bytes *payload)
{
    struct buf b = buf_in(a, TOKEN_CLAIMS_MAX);
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

struct err token_call_claims(struct arena *a, const struct token_call *t, struct bytes *payload)
{
    struct buf b = buf_in(a, TOKEN_CLAIMS_MAX);
    struct json_writer w = json_writer(&b);
    json_begin_object(&w, NULL);
    json_put_str(&w, "iss", t->issuer);
    json_put_str(&w, "aud", t->audience);
    json_put_int(&w, "iat", t->now_s);
    json_put_int(&w, "exp", t->now_s + CALL_LIFETIME_S);
    json_put_str(&w, "jti", t->jti);
    json_put_str(&w, "token_sha256", b64u_text(a, bytes_of(t->token_sha256, SHA256_LEN)));
    json_end_object(&w);
    TRY(buf_status(&b));
    *payload = buf_bytes(&b);
    return OK;
}
