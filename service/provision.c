/* SPDX-License-Identifier: Apache-2.0
 * nexus-broker provision: makes the keys that are missing (a session key, a call key and a KEK) inside the token, and
 * records them. Each generation has its intent before and its admin leaf after, like every use of a key. */
#include "service/commands.h"

#include "base/log.h"
#include "base/rand.h"
#include "service/api/background.h"
#include "service/api/record.h"

#include <stdio.h>

enum { GENERATE_MS = 120000, CALL_MS = 10000, JSON_BYTES = 8192 };

static const struct {
    enum jose_alg alg;
    enum hsm_key_type type;
} signing_types[] = {{JOSE_ES256, HSM_EC_P256},
                     {JOSE_ES384, HSM_EC_P384},
                     {JOSE_PS256, HSM_RSA_2048},
                     {JOSE_RS256, HSM_RSA_2048},
                     {JOSE_EDDSA, HSM_ED25519}};

static struct err public_jwk(struct workbench *w, const struct hsm_key *key, enum jose_alg alg, struct ring_key *row)
{
    const struct crypto *c = w->runtime.crypto;
    CLEANUP(jwk_free) struct jwk *jwk = NULL;
    if (key->type == HSM_ED25519)
        TRY(jwk_from_ed25519(c, key->point, &jwk));
    else if (key->type == HSM_EC_P256 || key->type == HSM_EC_P384)
        TRY(jwk_from_ec(c, alg, key->point, &jwk));
    else
        TRY(jwk_from_rsa(c, alg, key->n, key->e, &jwk));
    struct buf b = buf_in(w->arena, JSON_BYTES);
    struct json_writer jw = json_writer(&b);
    jwk_write(jwk, &jw, NULL);
    TRY(buf_status(&b));
    row->jwk = buf_view(&b);
    row->kid = arena_str(w->arena, jwk_kid(jwk));
    row->alg = str_of(jose_alg_name(alg));
    return row->kid.p != NULL ? OK : FAIL(ERR_NO_MEMORY, "kid");
}

static struct err evidence_json(struct arena *a, const struct hsm_evidence *e, struct str *out)
{
    struct buf b = buf_in(a, JSON_BYTES);
    struct json_writer w = json_writer(&b);
    json_begin_object(&w, NULL);
    json_put_bool(&w, "always_sensitive", e->always_sensitive);
    json_put_bool(&w, "extractable", e->extractable);
    json_put_bool(&w, "local", e->local);
    json_put_bool(&w, "never_extractable", e->never_extractable);
    json_put_bool(&w, "private", e->private_object);
    json_put_bool(&w, "sensitive", e->sensitive);
    json_put_bool(&w, "token", e->token_object);
    json_end_object(&w);
    TRY(buf_status(&b));
    *out = buf_view(&b);
    return OK;
}

/* The intent to generate, durable before the token is asked. */
static struct err record_generate(const struct call *c, struct str key_id, struct str what, struct recording *intent)
{
    const struct leaf_fields f = {
        .kind = LEAF_INTENT, .op = "generate", .key_id = key_id, .actor = STR("operator"), .detail = what, .exp = -1};
    return record_leaf(c, &f, intent);
}

static struct err record_key(const struct call *c, const struct ring_key *row, const struct hsm_key *key,
                             struct str key_id)
{
    struct str evidence;
    TRY(evidence_json(c->arena, &key->evidence, &evidence));
    const struct leaf_fields f = {.kind = LEAF_ADMIN,
                                  .op = "key.activate",
                                  .key_id = key_id,
                                  .kid = row->kid,
                                  .mech = row->alg.p,
                                  .actor = STR("operator"),
                                  .target = str_of(hsm_purpose_name(row->purpose)),
                                  .detail = evidence,
                                  .exp = -1};
    struct recording r;
    TRY(record_begin(c, &f, &r));
    struct store s = call_store(c);
    return record_end(c, &r, store_key_insert(&s, row, evidence, &r.batch), true);
}

static struct err make_key(struct workbench *w, enum hsm_purpose purpose, enum hsm_key_type type, enum jose_alg alg)
{
    struct call c = workbench_call(w, GENERATE_MS);
    struct ring_key row = {.purpose = purpose, .type = type, .state = KEY_ACTIVE};
    TRY(rand_bytes(row.id.v, sizeof row.id.v));
    char hex[2 * HSM_KEY_ID_LEN + 1];
    hex_encode(row.id.v, sizeof row.id.v, hex);
    struct recording intent;
    TRY(record_generate(&c, str_of(hex), str_of(hsm_key_type_name(type)), &intent));
    struct hsm_key key;
    struct err made = hsm_generate(w->api->hsm, &row.id, purpose, type, w->arena, c.deadline_us, &key);
    TRY(record_outcome(&c, &intent, "generate", &made));
    TRY(made);
    if (type != HSM_AES_256)
        TRY(public_jwk(w, &key, alg, &row));
    row.created_us = row.activated_us = clock_now_us(&w->runtime.app.clock);
    TRY(record_key(&c, &row, &key, str_of(hex)));
    (void)printf("%s key made in the token: %s, CKA_ID %s%s%.*s\n", hsm_purpose_name(purpose), hsm_key_type_name(type),
                 hex, row.kid.n > 0 ? ", kid " : "", STR_FMT(row.kid));
    return OK;
}

static bool has_active(const struct ring_key *rows, size_t n, enum hsm_purpose purpose)
{
    for (size_t i = 0; i < n; i++) {
        if (rows[i].purpose == purpose && rows[i].state == KEY_ACTIVE)
            return true;
    }
    return false;
}

static struct err signing_key_type(const struct config *config, enum jose_alg *alg, enum hsm_key_type *type)
{
    TRY(err_as(jose_alg_parse(config->session_alg, alg), ERR_CONFIG));
    for (size_t i = 0; i < COUNT(signing_types); i++) {
        if (signing_types[i].alg == *alg)
            *type = signing_types[i].type;
    }
    return OK;
}

/* Another operator may have provisioned at the same moment: the database lets one of two active keys in. */
static struct err ensure(struct workbench *w, bool there, enum hsm_purpose purpose, enum hsm_key_type type,
                         enum jose_alg alg)
{
    if (there) {
        (void)printf("%s key is there already\n", hsm_purpose_name(purpose));
        return OK;
    }
    return make_key(w, purpose, type, alg);
}

struct err command_provision(struct command_line *line)
{
    if (line->argc != 0) {
        line->wrong = "nothing stands behind this command";
        return OK;
    }
    CLEANUP(workbench_close) struct workbench w;
    TRY(workbench_open(line, true, &w));
    enum jose_alg alg = JOSE_ES256;
    enum hsm_key_type type = HSM_EC_P256;
    TRY(signing_key_type(&w.runtime.config, &alg, &type));
    struct call c = workbench_call(&w, CALL_MS);
    struct store s = call_store(&c);
    struct ring_key *rows = NULL;
    size_t n = 0;
    TRY(store_key_list(&s, &rows, &n));
    TRY(ensure(&w, has_active(rows, n, HSM_SESSION), HSM_SESSION, type, alg));
    TRY(ensure(&w, has_active(rows, n, HSM_CALL), HSM_CALL, type, alg));
    TRY(ensure(&w, has_active(rows, n, HSM_KEK), HSM_KEK, HSM_AES_256, alg));
    /* A key that signs nothing is no key: prove it now, on record, and not at the first agent's request. */
    c = workbench_call(&w, CALL_MS);
    TRY(background_load_keys(w.api, w.arena, c.deadline_us));
    TRY(record_selftest(&c, HSM_SESSION, "selftest.provision"));
    return record_selftest(&c, HSM_CALL, "selftest.provision");
}
