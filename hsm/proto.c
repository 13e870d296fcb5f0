/* SPDX-License-Identifier: Apache-2.0 */
#include "hsm/proto.h"

enum field {
    F_END,
    F_KEY,
    F_ALG,
    F_PURPOSE,
    F_TYPE,
    F_COUNT,
    F_DATA,
    F_US,
    F_INFO,
    F_TOTAL,
    F_KEYS,
};

/* Which fields follow the head of a message, and how long its data may be. */
struct layout {
    enum field fields[4];
    size_t data_min, data_max;
};

static const struct layout requests[PROTO_OP_END] = {
    [PROTO_KEYS] = {{F_COUNT}, 0, 0},
    [PROTO_SIGN] = {{F_KEY, F_ALG, F_DATA}, 1, HSM_INPUT_MAX},
    [PROTO_WRAP] = {{F_KEY, F_DATA}, HSM_DEK_LEN, HSM_DEK_LEN},
    [PROTO_UNWRAP] = {{F_KEY, F_DATA}, 1, HSM_BLOB_MAX},
    [PROTO_RANDOM] = {{F_COUNT}, 0, 0},
    [PROTO_GENERATE] = {{F_KEY, F_PURPOSE, F_TYPE}, 0, 0},
};

static const struct layout replies[PROTO_OP_END] = {
    [PROTO_HELLO] = {{F_INFO}, 0, 0},
    [PROTO_KEYS] = {{F_TOTAL, F_KEYS}, 0, 0},
    [PROTO_SIGN] = {{F_US, F_DATA}, 1, JOSE_SIG_MAX},
    [PROTO_WRAP] = {{F_DATA}, 1, HSM_BLOB_MAX},
    [PROTO_UNWRAP] = {{F_DATA}, HSM_DEK_LEN, HSM_DEK_LEN},
    [PROTO_RANDOM] = {{F_DATA}, 1, PROTO_RANDOM_MAX},
    [PROTO_GENERATE] = {{F_KEYS}, 0, 0},
};

static const char *const op_names[PROTO_OP_END] = {
    [PROTO_HELLO] = "hello",   [PROTO_KEYS] = "keys",     [PROTO_SIGN] = "sign",         [PROTO_WRAP] = "wrap",
    [PROTO_UNWRAP] = "unwrap", [PROTO_RANDOM] = "random", [PROTO_GENERATE] = "generate", [PROTO_PING] = "ping"};

const char *proto_op_name(enum proto_op op)
{
    return op > 0 && op < PROTO_OP_END ? op_names[op] : "unknown";
}

static const enum err_code status_errors[] = {[PROTO_OK] = ERR_NONE,
                                              [PROTO_UNAVAILABLE] = ERR_HSM_UNAVAILABLE,
                                              [PROTO_REFUSED] = ERR_HSM_REFUSED,
                                              [PROTO_PIN] = ERR_HSM_PIN,
                                              [PROTO_FAILED] = ERR_INTERNAL};
_Static_assert(COUNT(status_errors) == PROTO_STATUS_END, "a status without an error");

enum err_code proto_status_error(enum proto_status s)
{
    return s < PROTO_STATUS_END ? status_errors[s] : ERR_INTERNAL;
}

enum proto_status proto_status_of(enum err_code code)
{
    for (size_t i = 0; i < COUNT(status_errors); i++) {
        if (status_errors[i] == code)
            return (enum proto_status)i;
    }
    return PROTO_FAILED;
}

/* Writing. Failure is sticky in full. */

struct put {
    struct frame *f;
    bool full;
};

static void put(struct put *w, const void *p, size_t n)
{
    if (w->full || n > sizeof w->f->p - w->f->n) {
        w->full = true;
        return;
    }
    if (n > 0)
        memcpy(w->f->p + w->f->n, p, n);
    w->f->n += n;
}

static void put_int(struct put *w, uint64_t v, size_t width)
{
    uint8_t b[8];
    for (size_t i = 0; i < width; i++)
        b[i] = (uint8_t)(v >> (8 * (width - 1 - i)));
    put(w, b, width);
}

static void put_bytes(struct put *w, struct bytes b)
{
    w->full |= b.n > UINT16_MAX;
    put_int(w, b.n, 2);
    put(w, b.p, b.n);
}

static void put_text(struct put *w, struct str s)
{
    size_t n = s.n < PROTO_TEXT_MAX ? s.n : PROTO_TEXT_MAX;
    put_int(w, n, 1);
    put(w, s.p, n);
}

static void put_data(struct put *w, const struct layout *l, struct bytes b)
{
    w->full |= b.n < l->data_min || b.n > l->data_max;
    put_bytes(w, b);
}

static uint8_t evidence_bits(const struct hsm_evidence *e)
{
    return (uint8_t)(e->local << 0 | e->sensitive << 1 | e->always_sensitive << 2 | e->extractable << 3 |
                     e->never_extractable << 4 | e->private_object << 5 | e->token_object << 6);
}

static void put_key(struct put *w, const struct hsm_key *k)
{
    put(w, k->id.v, sizeof k->id.v);
    put_int(w, k->purpose, 1);
    put_int(w, k->type, 1);
    put_int(w, evidence_bits(&k->evidence), 1);
    put_text(w, k->label);
    put_bytes(w, k->point);
    put_bytes(w, k->n);
    put_bytes(w, k->e);
}

static void put_info(struct put *w, const struct hsm_info *i)
{
    put_text(w, i->token_label);
    put_text(w, i->token_serial);
    put_text(w, i->manufacturer);
    put_text(w, i->model);
    put_text(w, i->module);
    put_int(w, i->sign_algs, 8);
    put_int(w, i->key_types, 8);
    put_text(w, i->wrap_alg);
    put_int(w, i->max_sessions, 8);
}

static struct put begin(struct frame *f, enum proto_op op)
{
    struct put w = {.f = f, .full = false};
    f->n = FRAME_PREFIX;
    put_int(&w, PROTO_VERSION, 1);
    put_int(&w, op, 1);
    return w;
}

static struct err finish(struct put *w)
{
    if (w->full)
        return FAIL(ERR_TOO_LARGE, "a value does not fit its field");
    size_t n = w->f->n - FRAME_PREFIX;
    for (size_t i = 0; i < FRAME_PREFIX; i++)
        w->f->p[i] = (uint8_t)(n >> (8 * (FRAME_PREFIX - 1 - i)));
    return OK;
}

static void put_request_field(struct put *w, enum field f, const struct layout *l, const struct proto_request *q)
{
    if (f == F_KEY)
        put(w, q->key.v, sizeof q->key.v);
    else if (f == F_ALG)
        put_int(w, q->alg, 1);
    else if (f == F_PURPOSE)
        put_int(w, q->purpose, 1);
    else if (f == F_TYPE)
        put_int(w, q->type, 1);
    else if (f == F_COUNT)
        put_int(w, q->count, 2);
    else if (f == F_DATA)
        put_data(w, l, q->data);
}

struct err proto_write_request(const struct proto_request *q, struct frame *out)
{
    if (q->op <= 0 || q->op >= PROTO_OP_END)
        return FAIL(ERR_INVALID_REQUEST, "no operation %d", (int)q->op);
    const struct layout *l = &requests[q->op];
    struct put w = begin(out, q->op);
    for (size_t i = 0; i < COUNT(l->fields) && l->fields[i] != F_END; i++)
        put_request_field(&w, l->fields[i], l, q);
    return finish(&w);
}

static void put_reply_field(struct put *w, enum field f, const struct layout *l, const struct proto_reply *r)
{
    if (f == F_DATA)
        put_data(w, l, r->data);
    else if (f == F_US)
        put_int(w, r->us, 4);
    else if (f == F_INFO)
        put_info(w, &r->info);
    else if (f == F_TOTAL)
        put_int(w, r->total, 2);
    if (f != F_KEYS)
        return;
    w->full |= r->n > PROTO_KEYS_PAGE;
    put_int(w, r->n, 1);
    for (size_t i = 0; i < r->n && !w->full; i++)
        put_key(w, &r->keys[i]);
}

struct err proto_write_reply(const struct proto_reply *r, struct frame *out)
{
    if (r->op <= 0 || r->op >= PROTO_OP_END)
        return FAIL(ERR_INVALID_REQUEST, "no operation %d", (int)r->op);
    const struct layout *l = &replies[r->op];
    struct put w = begin(out, r->op);
    put_int(&w, r->status, 1);
    put(&w, r->mark.instance, sizeof r->mark.instance);
    put_int(&w, r->mark.counter, 8);
    if (r->status != PROTO_OK)
        put_text(&w, r->reason);
    for (size_t i = 0; r->status == PROTO_OK && i < COUNT(l->fields) && l->fields[i] != F_END; i++)
        put_reply_field(&w, l->fields[i], l, r);
    return finish(&w);
}

/* Reading. Failure is sticky in bad, and every getter then gives nothing. */

struct get {
    const uint8_t *p;
    size_t n;
    bool bad;
};

static struct bytes get(struct get *r, size_t n)
{
    if (r->bad || n > r->n) {
        r->bad = true;
        return bytes_of(NULL, 0);
    }
    struct bytes b = bytes_of(r->p, n);
    r->p += n;
    r->n -= n;
    return b;
}

static uint64_t get_int(struct get *r, size_t width)
{
    struct bytes b = get(r, width);
    uint64_t v = 0;
    for (size_t i = 0; i < b.n; i++)
        v = v << 8 | b.p[i];
    return v;
}

static unsigned get_below(struct get *r, unsigned end)
{
    unsigned v = (unsigned)get_int(r, 1);
    r->bad |= v >= end;
    return r->bad ? 0 : v;
}

static struct bytes get_bytes(struct get *r)
{
    return get(r, (size_t)get_int(r, 2));
}

static struct str get_text(struct get *r)
{
    return bytes_str(get(r, (size_t)get_int(r, 1)));
}

static struct bytes get_data(struct get *r, const struct layout *l)
{
    struct bytes b = get_bytes(r);
    r->bad |= b.n < l->data_min || b.n > l->data_max;
    return b;
}

static void get_id(struct get *r, struct hsm_key_id *out)
{
    struct bytes b = get(r, sizeof out->v);
    if (b.p != NULL)
        memcpy(out->v, b.p, sizeof out->v);
}

static struct hsm_evidence evidence_of(uint64_t bits)
{
    return (struct hsm_evidence){.local = (bits & 1) != 0,
                                 .sensitive = (bits & 2) != 0,
                                 .always_sensitive = (bits & 4) != 0,
                                 .extractable = (bits & 8) != 0,
                                 .never_extractable = (bits & 16) != 0,
                                 .private_object = (bits & 32) != 0,
                                 .token_object = (bits & 64) != 0};
}

static void get_key(struct get *r, struct hsm_key *k)
{
    *k = (struct hsm_key){0};
    get_id(r, &k->id);
    k->purpose = (enum hsm_purpose)get_below(r, HSM_PURPOSE_COUNT);
    k->type = (enum hsm_key_type)get_below(r, HSM_KEY_TYPE_COUNT);
    k->evidence = evidence_of(get_below(r, 1U << 7));
    k->label = get_text(r);
    k->point = get_bytes(r);
    k->n = get_bytes(r);
    k->e = get_bytes(r);
}

static void get_info(struct get *r, struct hsm_info *i)
{
    i->token_label = get_text(r);
    i->token_serial = get_text(r);
    i->manufacturer = get_text(r);
    i->model = get_text(r);
    i->module = get_text(r);
    i->sign_algs = get_int(r, 8);
    i->key_types = get_int(r, 8);
    i->wrap_alg = get_text(r);
    i->max_sessions = get_int(r, 8);
}

static enum proto_op get_head(struct get *r)
{
    r->bad |= get_int(r, 1) != PROTO_VERSION;
    unsigned op = get_below(r, PROTO_OP_END);
    r->bad |= op == 0;
    return (enum proto_op)op;
}

static struct err done(const struct get *r)
{
    if (r->bad)
        return FAIL(ERR_INVALID_REQUEST, "a malformed message");
    return r->n == 0 ? OK : FAIL(ERR_INVALID_REQUEST, "%zu bytes behind a message", r->n);
}

static void get_request_field(struct get *r, enum field f, const struct layout *l, struct proto_request *q)
{
    if (f == F_KEY)
        get_id(r, &q->key);
    else if (f == F_ALG)
        q->alg = (enum jose_alg)get_below(r, JOSE_ALG_COUNT);
    else if (f == F_PURPOSE)
        q->purpose = (enum hsm_purpose)get_below(r, HSM_PURPOSE_COUNT);
    else if (f == F_TYPE)
        q->type = (enum hsm_key_type)get_below(r, HSM_KEY_TYPE_COUNT);
    else if (f == F_COUNT)
        q->count = (uint16_t)get_int(r, 2);
    else if (f == F_DATA)
        q->data = get_data(r, l);
}

struct err proto_read_request(struct bytes in, struct proto_request *out)
{
    struct get r = {.p = in.p, .n = in.n, .bad = false};
    *out = (struct proto_request){0};
    out->op = get_head(&r);
    const struct layout *l = &requests[out->op];
    for (size_t i = 0; !r.bad && i < COUNT(l->fields) && l->fields[i] != F_END; i++)
        get_request_field(&r, l->fields[i], l, out);
    if (out->op == PROTO_RANDOM)
        r.bad |= out->count == 0 || out->count > PROTO_RANDOM_MAX;
    return done(&r);
}

static void get_reply_field(struct get *r, enum field f, const struct layout *l, struct proto_reply *out)
{
    if (f == F_DATA)
        out->data = get_data(r, l);
    else if (f == F_US)
        out->us = (uint32_t)get_int(r, 4);
    else if (f == F_INFO)
        get_info(r, &out->info);
    else if (f == F_TOTAL)
        out->total = (uint16_t)get_int(r, 2);
    if (f != F_KEYS)
        return;
    out->n = get_below(r, PROTO_KEYS_PAGE + 1);
    r->bad |= out->keys == NULL || (out->op == PROTO_GENERATE && out->n != 1);
    for (size_t i = 0; i < out->n && !r->bad; i++)
        get_key(r, &out->keys[i]);
}

struct err proto_read_reply(struct bytes in, struct proto_reply *out)
{
    struct get r = {.p = in.p, .n = in.n, .bad = false};
    *out = (struct proto_reply){.keys = out->keys};
    out->op = get_head(&r);
    const struct layout *l = &replies[out->op];
    out->status = (enum proto_status)get_below(&r, PROTO_STATUS_END);
    struct bytes instance = get(&r, sizeof out->mark.instance);
    if (instance.p != NULL)
        memcpy(out->mark.instance, instance.p, sizeof out->mark.instance);
    out->mark.counter = get_int(&r, 8);
    out->info.mark = out->mark;
    if (out->status != PROTO_OK)
        out->reason = get_text(&r);
    for (size_t i = 0; out->status == PROTO_OK && !r.bad && i < COUNT(l->fields) && l->fields[i] != F_END; i++)
        get_reply_field(&r, l->fields[i], l, out);
    return done(&r);
}
