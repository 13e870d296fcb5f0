/* SPDX-License-Identifier: Apache-2.0 */
#include "service/core/leaf.h"

#include "base/clock.h"
#include "base/rand.h"
#include "crypto/b64u.h"
#include "crypto/json.h"

static const char *const kind_names[LEAF_KIND_COUNT] = {
    [LEAF_INTENT] = "intent", [LEAF_OUTCOME] = "outcome", [LEAF_REFUSAL] = "refusal",    [LEAF_ADMIN] = "admin",
    [LEAF_CLOSE] = "close",   [LEAF_BOOT] = "boot",       [LEAF_HEARTBEAT] = "heartbeat"};

const char *leaf_kind_name(enum leaf_kind k)
{
    return kind_names[k];
}

struct err leaf_writer_init(struct leaf_writer *w)
{
    uint8_t id[WRITER_ID_LEN / 2];
    TRY(rand_bytes(id, sizeof id));
    *w = (struct leaf_writer){.next = 0};
    hex_encode(id, sizeof id, w->id);
    return OK;
}

static void put_text(struct json_writer *w, const char *name, struct str v)
{
    if (v.p != NULL)
        json_put_str(w, name, v);
}

static void put_hash(struct json_writer *w, struct arena *a, const char *name, const uint8_t *hash)
{
    if (hash != NULL)
        json_put_str(w, name, b64u_text(a, bytes_of(hash, SHA256_LEN)));
}

static void put_mark(struct json_writer *w, struct arena *a, const struct hsm_mark *m)
{
    if (m == NULL)
        return;
    json_put_int(w, "sgnr_ctr", (int64_t)m->counter);
    json_put_str(w, "sgnr_inst", b64u_text(a, bytes_of(m->instance, HSM_INSTANCE_LEN)));
}

/* Members stand in ascending byte order, as RFC 8785 section 3.2.3 asks; the canonical writer fails on a breach. */
static struct err write_leaf(const struct leaf_writer *lw, const struct leaf_fields *f, struct arena *a, struct buf *b)
{
    char when[CLOCK_TEXT];
    struct json_writer w = json_writer_canonical(b);
    json_begin_object(&w, NULL);
    if (f->act.n > 0)
        json_put_list(&w, "act", f->act);
    put_text(&w, "actor", f->actor);
    if (f->aud.n == 1)
        put_text(&w, "aud", f->aud.v[0]);
    else if (f->aud.n > 1)
        json_put_list(&w, "aud", f->aud);
    put_hash(&w, a, "cfg", f->cfg_sha256);
    put_text(&w, "client", f->client);
    if (f->corr_writer.p != NULL)
        json_put_str(&w, "corr", arena_printf(a, "%.*s:%lld", STR_FMT(f->corr_writer), (long long)f->corr_seq));
    put_text(&w, "detail", f->detail);
    if (f->exp >= 0)
        json_put_int(&w, "exp", f->exp);
    put_hash(&w, a, "in_sha256", f->in_sha256);
    json_put_str(&w, "inst", str_of(lw->id));
    json_put_int(&w, "iseq", lw->next);
    put_text(&w, "iss", f->iss);
    put_text(&w, "jkt", f->jkt);
    put_text(&w, "jti", f->jti);
    put_text(&w, "key_id", f->key_id);
    put_text(&w, "kid", f->kid);
    json_put_str(&w, "kind", str_of(kind_names[f->kind]));
    put_text(&w, "mech", str_of(f->mech));
    put_text(&w, "op", str_of(f->op));
    put_text(&w, "parent", f->parent);
    put_text(&w, "policy", str_of(f->policy));
    put_hash(&w, a, "prev", lw->prev);
    put_text(&w, "reason", str_of(f->reason));
    put_text(&w, "req_id", f->req_id);
    if (f->scope.v != NULL)
        json_put_list(&w, "scope", f->scope);
    put_text(&w, "session", f->session);
    put_mark(&w, a, f->mark);
    put_hash(&w, a, "sig_sha256", f->sig_sha256);
    put_text(&w, "sub_jkt", f->sub_jkt);
    put_text(&w, "sub_p", f->sub_p);
    json_put_str(&w, "t", clock_rfc3339_us(f->at_us, when));
    put_text(&w, "target", f->target);
    json_put_int(&w, "v", LEAF_VERSION);
    json_end_object(&w);
    return buf_status(b);
}

/* RFC 6962 section 2.1: a leaf's hash is SHA-256 over 0x00 and the leaf. */
static struct err hash_leaf(const struct crypto *c, struct arena *a, struct bytes leaf, uint8_t out[static SHA256_LEN])
{
    uint8_t *in = arena_alloc(a, leaf.n + 1);
    if (in == NULL)
        return FAIL(ERR_NO_MEMORY, "leaf of %zu bytes", leaf.n);
    in[0] = 0x00;
    memcpy(in + 1, leaf.p, leaf.n);
    return crypto_sha256(c, bytes_of(in, leaf.n + 1), out);
}

struct err leaf_make(const struct crypto *c, struct leaf_writer *w, const struct leaf_fields *f, struct arena *a,
                     struct leaf *out)
{
    struct buf b = buf_in(a, LEAF_MAX);
    TRY(write_leaf(w, f, a, &b));
    *out = (struct leaf){.kind = f->kind,
                         .seq = w->next,
                         .bytes = buf_bytes(&b),
                         .jti = f->jti,
                         .corr_writer = f->corr_writer,
                         .corr_seq = f->corr_seq};
    TRY(hash_leaf(c, a, out->bytes, out->hash));
    w->next++;
    memcpy(w->prev, out->hash, SHA256_LEN);
    return OK;
}
