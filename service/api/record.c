/* SPDX-License-Identifier: Apache-2.0 */
#include "service/api/record.h"

#include "base/log.h"
#include "base/rand.h"
#include "crypto/jws.h"
#include "service/api/health.h"
#include "service/api/keyring.h"
#include "service/core/assertion.h"
#include "service/core/token.h"

#include <stdio.h>
#include <stdlib.h>

/* An outcome until the next write carries it into the log. One is enough: no key is used without a write before it,
 * and that write takes the waiting outcome along. */
struct waiting {
    bool set;
    const char *op;
    char corr_writer[WRITER_ID_LEN + 1];
    int64_t corr_seq;
    int64_t at_us;
    const char *reason;                      /* "ok", or the name of the error */
    const char *mech;                        /* NULL: none */
    char jti[ID_TEXT], kid[JWK_KID_MAX + 1]; /* "": none */
    struct hsm_mark mark;                    /* counter 0: the signer counted no use */
    bool has_signature;                      /* bytes came back, even if they do not verify */
    uint8_t sig_sha256[SHA256_LEN];
};

struct recorder {
    struct leaf_writer writer;
    int64_t generation; /* of the connection that the writer belongs to; 0: none yet */
    struct waiting waiting;
};

struct err recorder_new(struct recorder **out)
{
    *out = calloc(1, sizeof **out);
    return *out != NULL ? OK : FAIL(ERR_NO_MEMORY, "recorder");
}

void recorder_free(struct recorder **r)
{
    free(*r);
    *r = NULL;
}

struct call call_of(struct api *api, const struct http_request *req)
{
    return (struct call){.api = api, .arena = req->arena, .deadline_us = req->deadline_us, .req_id = req->request_id};
}

struct store call_store(const struct call *c)
{
    return (struct store){.db = c->api->db, .arena = c->arena, .deadline_us = c->deadline_us};
}

/* A chain belongs to one connection: when that is lost, it is not known whether its last insert took effect, so the
 * next leaf opens a new chain instead of guessing a number. */
static struct err writer_for_connection(const struct call *c, struct recorder *r)
{
    TRY(db_connect(c->api->db, c->deadline_us));
    int64_t generation = db_generation(c->api->db);
    if (generation == r->generation)
        return OK;
    struct leaf_writer fresh;
    TRY(leaf_writer_init(&fresh));
    struct store s = call_store(c);
    TRY(store_writer_begin(&s, fresh.id, str_of(c->api->app->instance)));
    r->writer = fresh;
    r->generation = generation;
    return OK;
}

static struct str text_or_none(const char *text)
{
    return text[0] != '\0' ? str_of(text) : (struct str){NULL, 0};
}

static struct err outcome_leaf(const struct call *c, const struct waiting *w, struct leaf_writer *writer,
                               struct leaf *out)
{
    struct leaf_fields f = {.kind = LEAF_OUTCOME,
                            .at_us = w->at_us,
                            .op = w->op,
                            .mech = w->mech,
                            .reason = w->reason,
                            .kid = text_or_none(w->kid),
                            .jti = text_or_none(w->jti),
                            .corr_writer = str_of(w->corr_writer),
                            .corr_seq = w->corr_seq,
                            .exp = -1};
    if (w->mark.counter > 0)
        f.mark = &w->mark;
    if (w->has_signature)
        f.sig_sha256 = w->sig_sha256;
    return leaf_make(c->api->app->crypto, writer, &f, c->arena, out);
}

struct err record_begin(const struct call *c, const struct leaf_fields *effect, struct recording *out)
{
    struct recorder *r = c->api->recorder;
    TRY(writer_for_connection(c, r));
    *out = (struct recording){.durable = false};
    memcpy(out->writer, r->writer.id, sizeof out->writer);
    out->batch.writer = out->writer;
    struct leaf_writer w = r->writer;
    if (r->waiting.set) {
        TRY(outcome_leaf(c, &r->waiting, &w, &out->always));
        out->batch.n_always = 1;
    }
    out->after_always = w;
    if (effect != NULL) {
        struct leaf_fields f = *effect;
        f.at_us = clock_now_us(&c->api->app->clock);
        f.req_id = c->req_id;
        TRY(leaf_make(c->api->app->crypto, &w, &f, c->arena, &out->effect));
        out->batch.n_effect = 1;
        if (f.in_sha256 != NULL)
            memcpy(out->in_sha256, f.in_sha256, SHA256_LEN);
    }
    out->after_effect = w;
    out->batch.always = &out->always;
    out->batch.effect = &out->effect;
    return OK;
}

/* The server's own refusals, after which nothing of the statement stays. Any other failure, even one of memory on our
 * side, can have come after the commit. */
static bool is_certainly_undone(enum err_code code)
{
    static const enum err_code undone[] = {ERR_CONFLICT,          ERR_DB_CONFLICT,     ERR_INVALID_REQUEST,
                                           ERR_AGENT_EXISTS,      ERR_AGENT_NOT_FOUND, ERR_ISSUER_EXISTS,
                                           ERR_ISSUER_NOT_FOUND,  ERR_SCOPE_EXISTS,    ERR_SCOPE_NOT_FOUND,
                                           ERR_SESSION_NOT_FOUND, ERR_PROVIDER_EXISTS};
    for (size_t i = 0; i < COUNT(undone); i++) {
        if (code == undone[i])
            return true;
    }
    return false;
}

struct err record_end(const struct call *c, struct recording *r, struct err stored, bool effect_in)
{
    struct recorder *rec = c->api->recorder;
    health_report_error(c->api->app->health, &stored);
    if (stored.code == ERR_CONFLICT && strstr(stored.detail, "audit_leaves") != NULL) {
        /* An earlier write whose answer was lost did carry the waiting outcome: it is in the log, so let it go. */
        LOG_ERR(LOG_WARN, "outcome was recorded already", &stored, LOG_STR("request_id", c->req_id));
        rec->waiting.set = false;
        rec->generation = 0;
        return err_as(stored, ERR_DB_CONFLICT);
    }
    if (err_is(&stored)) {
        /* Whoever cannot tell whether the leaves are in must not use their numbers again: a new chain begins. */
        if (!is_certainly_undone(stored.code))
            rec->generation = 0;
        return stored;
    }
    const struct err ok = OK;
    health_report(c->api->app->health, PART_DATABASE, &ok);
    rec->writer = effect_in ? r->after_effect : r->after_always;
    rec->waiting.set = false;
    r->durable = effect_in && r->batch.n_effect > 0;
    return OK;
}

struct err record_leaf(const struct call *c, const struct leaf_fields *leaf, struct recording *out)
{
    TRY(record_begin(c, leaf, out));
    struct store s = call_store(c);
    return record_end(c, out, store_leaves_append(&s, &out->batch), leaf != NULL);
}

struct err record_append(const struct call *c, const struct leaf_fields *leaf)
{
    if (leaf == NULL && !c->api->recorder->waiting.set)
        return OK;
    struct recording r;
    return record_leaf(c, leaf, &r);
}

static struct leaf_fields refusal_of(const struct leaf_fields *who, const struct err *why)
{
    struct leaf_fields f = *who;
    f.kind = LEAF_REFUSAL;
    f.policy = "refused";
    f.reason = err_public(why->code)->code;
    f.exp = -1;
    return f;
}

struct err record_refusal(const struct call *c, const struct leaf_fields *who, struct err why)
{
    const struct leaf_fields f = refusal_of(who, &why);
    TRY(record_append(c, &f));
    return why;
}

struct err record_refusal_once(const struct call *c, const struct leaf_fields *who, struct id_list ids, struct err why)
{
    const struct leaf_fields f = refusal_of(who, &why);
    struct recording r;
    TRY(record_begin(c, &f, &r));
    struct store s = call_store(c);
    bool fresh = false;
    struct err stored = store_replay_refuse(&s, ids.v, ids.n, &r.batch, &fresh);
    TRY(record_end(c, &r, stored, fresh));
    return fresh ? why : FAIL(ERR_INVALID_CLIENT, "a one-time id was used before");
}

static struct waiting *keep_outcome(const struct call *c, const struct recording *intent, const char *op,
                                    const struct err *how, struct hsm_mark mark)
{
    struct waiting *w = &c->api->recorder->waiting;
    *w = (struct waiting){.set = true,
                          .op = op,
                          .corr_seq = intent->effect.seq,
                          .at_us = clock_now_us(&c->api->app->clock),
                          .reason = err_is(how) ? err_name(how->code) : "ok",
                          .mark = mark};
    memcpy(w->corr_writer, intent->writer, sizeof w->corr_writer);
    return w;
}

struct err record_outcome(const struct call *c, const struct recording *intent, const char *op, const struct err *how)
{
    (void)keep_outcome(c, intent, op, how, hsm_last_mark(c->api->hsm));
    return record_append(c, NULL);
}

static void keep_signature(const struct call *c, const struct sign_order *o, const struct err *e,
                           const struct hsm_signature *sig)
{
    struct waiting *w = keep_outcome(c, o->intent, "sign", e, sig->mark);
    w->mech = jose_alg_name(jwk_alg(o->jwk));
    (void)snprintf(w->jti, sizeof w->jti, "%.*s", STR_FMT(o->jti));
    (void)snprintf(w->kid, sizeof w->kid, "%.*s", STR_FMT(jwk_kid(o->jwk)));
    if (sig->n == 0)
        return;
    /* A hash that cannot be made leaves the outcome without one; the signature itself is on its way to the caller. */
    struct err hashed = crypto_sha256(c->api->app->crypto, bytes_of(sig->v, sig->n), w->sig_sha256);
    w->has_signature = !err_is(&hashed);
}

static struct err sign_and_check(const struct call *c, const struct sign_order *o, const char *kid,
                                 struct hsm_signature *sig)
{
    const struct app *app = c->api->app;
    struct bytes input = str_bytes(o->signing_input);
    enum jose_alg alg = jwk_alg(o->jwk);
    int64_t start = clock_mono_us();
    struct err e = hsm_sign(c->api->hsm, o->key, alg, input, c->deadline_us, sig);
    const char *mech = jose_alg_name(alg);
    metric_add(app->metrics, M_HSM_OPS, 1, "sign", mech, err_is(&e) ? err_public(e.code)->code : "ok");
    metric_observe_us(app->metrics, M_HSM_TIME, clock_mono_us() - start, "sign", mech, kid);
    /* A signer that lost its configuration while we serve is an HSM that is away: 503, and /ready says so. */
    TRY(e.code == ERR_CONFIG ? err_as(e, ERR_HSM_UNAVAILABLE) : e);
    /* Attack K07: a wrong key in the slot, a flipped bit or a fault attack must not leave the house. */
    e = jws_check_signature(app->crypto, o->jwk, input, bytes_of(sig->v, sig->n));
    return err_refused_as(e, ERR_HSM_REFUSED);
}

/* Whatever the reason that the session key did not sign, this broker cannot issue now; only our own want of memory says
 * nothing of the HSM. Another key that is refused leaves issuance as it is. */
static void report(const struct call *c, enum hsm_purpose purpose, const struct err *e)
{
    if (e->code == ERR_NO_MEMORY)
        return;
    if (purpose == HSM_SESSION)
        health_report(c->api->app->health, PART_HSM, e);
    else
        health_report_error(c->api->app->health, e);
}

struct err record_sign(const struct call *c, const struct sign_order *o, struct bytes *signature)
{
    const struct app *app = c->api->app;
    uint8_t hash[SHA256_LEN];
    TRY(crypto_sha256(app->crypto, str_bytes(o->signing_input), hash));
    if (!o->intent->durable || memcmp(hash, o->intent->in_sha256, SHA256_LEN) != 0)
        return FAIL(ERR_INTERNAL, "refusing to sign what was not recorded");
    char kid[JWK_KID_MAX + 1];
    (void)snprintf(kid, sizeof kid, "%.*s", STR_FMT(jwk_kid(o->jwk)));
    struct hsm_signature sig = {.n = 0};
    struct err e = sign_and_check(c, o, kid, &sig);
    keep_signature(c, o, &e, &sig);
    report(c, o->purpose, &e);
    TRY(e);
    metric_add(app->metrics, M_HSM_KEY_USES, 1, kid, NULL, NULL);
    *signature = arena_bytes(c->arena, bytes_of(sig.v, sig.n));
    return signature->p != NULL ? OK : FAIL(ERR_NO_MEMORY, "signature");
}

static struct err sign_own(const struct call *c, const struct own_jwt *o, const struct jwk *jwk,
                           const struct hsm_key_id *key, struct str *token)
{
    struct str input, aud = o->aud;
    TRY(jws_signing_input(c->arena, jwk_alg(jwk), jwk_kid(jwk), o->typ, o->payload, &input));
    uint8_t hash[SHA256_LEN];
    TRY(crypto_sha256(c->api->app->crypto, str_bytes(input), hash));
    const struct leaf_fields f = {.kind = LEAF_INTENT,
                                  .op = o->op,
                                  .kid = jwk_kid(jwk),
                                  .mech = jose_alg_name(jwk_alg(jwk)),
                                  .in_sha256 = hash,
                                  .jti = o->jti,
                                  .aud = {&aud, aud.p != NULL ? 1 : 0},
                                  .actor = STR("self"),
                                  .detail = o->detail,
                                  .exp = -1};
    struct recording r;
    TRY(record_leaf(c, &f, &r));
    const struct sign_order order = {
        .purpose = o->purpose, .intent = &r, .key = key, .jwk = jwk, .jti = o->jti, .signing_input = input};
    struct bytes signature;
    TRY(record_sign(c, &order, &signature));
    return jws_join(c->arena, input, signature, token);
}

struct err record_jwt(const struct call *c, const struct own_jwt *o, struct str *token)
{
    CLEANUP(keyset_release) const struct keyset *keys = keyring_take(c->api->app->keyring);
    bool calls = o->purpose == HSM_CALL;
    const struct jwk *jwk = calls ? keys->call : keys->active;
    if (jwk == NULL)
        return FAIL(ERR_NO_ACTIVE_KEY, "no active %s key: run nexus-broker provision", hsm_purpose_name(o->purpose));
    return sign_own(c, o, jwk, calls ? &keys->call_id : &keys->active_id, token);
}

struct err record_selftest(const struct call *c, enum hsm_purpose purpose, const char *op)
{
    const struct app *app = c->api->app;
    struct own_jwt o = {.purpose = purpose, .typ = STR(SELFTEST_TYP), .op = op};
    char jti[ID_TEXT];
    TRY(rand_id("", jti));
    o.jti = str_of(jti);
    TRY(token_selftest_claims(c->arena, app->config->base_url, o.jti, clock_now_s(&app->clock), &o.payload));
    struct str token;
    struct err e = record_jwt(c, &o, &token);
    struct err appended = record_append(c, NULL);
    TRY(e);
    return appended;
}
