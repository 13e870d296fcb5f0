/* SPDX-License-Identifier: Apache-2.0 */
#include "service/api/dpop.h"

#include "base/log.h"
#include "base/rand.h"
#include "crypto/dpop.h"

#include <stdio.h>
#include <stdlib.h>

/* How long a worker's copy of the nonces is used; and how soon an unknown nonce may have them read again. */
enum { COPY_US = 10000000, REREAD_US = 1000000 };

struct dpop_nonces {
    int64_t read_us, ends_us; /* monotonic; 0: never */
    struct store_nonces value;
};

struct err dpop_nonces_new(struct dpop_nonces **out)
{
    *out = calloc(1, sizeof **out);
    return *out != NULL ? OK : FAIL(ERR_NO_MEMORY, "nonces");
}

void dpop_nonces_free(struct dpop_nonces **n)
{
    free(*n);
    *n = NULL;
}

static struct err refresh(const struct call *c, int64_t older_than_us)
{
    struct dpop_nonces *n = c->api->nonces;
    int64_t now = clock_mono_us();
    /* When a slot of time has ended, every worker must see the new nonce at once: a client that got it from another one
     * tries once more, not twice. */
    if (n->read_us != 0 && now - n->read_us < older_than_us && now < n->ends_us)
        return OK;
    /* Offered to the database as this slot's nonce; the first broker's offer wins. */
    char offer[ID_TEXT];
    TRY(rand_id("", offer));
    struct store s = call_store(c);
    TRY(store_dpop_nonces(&s, str_of(offer), &n->value));
    n->read_us = now;
    n->ends_us = now + n->value.left_us;
    return OK;
}

static bool is_ours(const struct dpop_nonces *n, struct str nonce)
{
    return str_is(nonce, n->value.current) || (n->value.previous[0] != '\0' && str_is(nonce, n->value.previous));
}

static struct err check_nonce(const struct call *c, struct str nonce)
{
    if (c->api->app->config->insecure_no_dpop_nonces)
        return OK;
    TRY(refresh(c, COPY_US));
    if (nonce.p == NULL)
        return FAIL(ERR_DPOP_NONCE, "the proof has no nonce");
    if (is_ours(c->api->nonces, nonce))
        return OK;
    /* Another broker may have begun a new slot since the copy was made. */
    TRY(refresh(c, REREAD_US));
    return is_ours(c->api->nonces, nonce) ? OK : FAIL(ERR_DPOP_NONCE, "the proof's nonce has passed");
}

struct err dpop_of_request(const struct call *c, const struct http_request *req, struct str access_token,
                           struct dpop_use *out)
{
    *out = (struct dpop_use){.jkt = {NULL, 0}};
    if (req->dpop.p == NULL)
        return OK;
    const struct app *app = c->api->app;
    /* Never from the Host header: the caller chooses that one (attack D02). */
    struct str url = arena_printf(c->arena, "%.*s%.*s", STR_FMT(app->config->base_url), STR_FMT(req->path));
    if (url.p == NULL)
        return FAIL(ERR_NO_MEMORY, "htu");
    const struct dpop_expect expect = {.method = str_of(http_method_name(req->method)),
                                       .url = url,
                                       .access_token = access_token,
                                       .now_s = clock_now_s(&app->clock)};
    struct dpop_proof proof;
    TRY(dpop_check(app->crypto, c->arena, req->dpop, &expect, &proof));
    TRY(check_nonce(c, proof.nonce));
    out->jkt = arena_str(c->arena, str_of(proof.jkt));
    out->id =
        (struct one_time){.space = arena_printf(c->arena, "@dpop/%s", proof.jkt), .until_us = proof.replay_until_us};
    memcpy(out->id.hash, proof.jti_sha256, SHA256_LEN);
    return out->jkt.p != NULL && out->id.space.p != NULL ? OK : FAIL(ERR_NO_MEMORY, "jkt");
}

struct err dpop_check_bearer(const struct call *c, const struct http_request *req, bool by_dpop_scheme,
                             struct str token, const struct session *session)
{
    /* RFC 9449 section 7.1: not interchangeable, in either direction (attack D13). */
    if (by_dpop_scheme != (session->cnf_jkt.p != NULL))
        return FAIL(ERR_INVALID_TOKEN, "the token is %s, but came by the other scheme",
                    by_dpop_scheme ? "a bearer token" : "bound to a key");
    if (!by_dpop_scheme)
        return OK;
    struct dpop_use use;
    TRY(dpop_of_request(c, req, token, &use));
    if (use.jkt.p == NULL)
        return FAIL(ERR_DPOP_MISSING, "the token is bound to a key");
    if (!str_eq(use.jkt, session->cnf_jkt))
        return FAIL(ERR_DPOP_PROOF, "the proof is by another key than the token's");
    struct store s = call_store(c);
    bool fresh = false;
    TRY(store_replay_consume(&s, &use.id, &fresh));
    return fresh ? OK : FAIL(ERR_DPOP_PROOF, "jti: the proof was used before");
}

void dpop_offer_nonce(struct api *api, const struct http_request *req, const struct err *e, struct http_reply *out)
{
    bool asked = e->code == ERR_DPOP_NONCE || e->code == ERR_DPOP_MISSING;
    if ((req->dpop.p == NULL && !asked) || api->app->config->insecure_no_dpop_nonces)
        return;
    const struct call c = call_of(api, req);
    struct err failed = refresh(&c, COPY_US);
    struct str nonce = arena_str(req->arena, str_of(api->nonces->value.current));
    /* Without a database there is none to offer; the reply itself stands. */
    if (err_is(&failed) || nonce.n == 0)
        return;
    http_set_header(out, "DPoP-Nonce", nonce);
}
