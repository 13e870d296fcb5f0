/* SPDX-License-Identifier: Apache-2.0 */
#include "hsm/client.h"

#include "base/fd.h"
#include "hsm/proto.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>

struct hsm_client {
    struct hsm_connector from;
    int fd;
    struct frame frame;   /* the request, then its reply */
    struct hsm_mark mark; /* of the last call */
};

struct err hsm_client_new(struct hsm_connector from, struct hsm_client **out)
{
    struct hsm_client *c = calloc(1, sizeof *c);
    if (c == NULL)
        return FAIL(ERR_NO_MEMORY, "a signer client");
    c->from = from;
    c->fd = -1;
    *out = c;
    return OK;
}

void hsm_client_free(struct hsm_client **c)
{
    if (*c == NULL)
        return;
    fd_close(&(*c)->fd);
    frame_wipe(&(*c)->frame);
    free(*c);
    *c = NULL;
}

/* Between calls the signer says nothing, so anything readable means that this socket's signer has ended. */
static bool is_stale(int fd)
{
    char byte;
    ssize_t r = recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    return r >= 0 || (errno != EAGAIN && errno != EINTR);
}

static struct err ensure_connected(struct hsm_client *c, int64_t deadline_us)
{
    if (c->fd >= 0 && is_stale(c->fd))
        fd_close(&c->fd);
    if (c->fd >= 0)
        return OK;
    return c->from.connect(c->from.self, deadline_us, &c->fd);
}

static struct err transfer(struct hsm_client *c, int64_t deadline_us)
{
    TRY(frame_send(c->fd, &c->frame, deadline_us));
    return frame_recv(c->fd, &c->frame, deadline_us);
}

/* One request and its reply. A failure on the way drops the socket: a late reply must never meet the next request. */
static struct err call(struct hsm_client *c, const struct proto_request *q, int64_t deadline_us, struct proto_reply *r)
{
    c->mark = (struct hsm_mark){0};
    TRY(proto_write_request(q, &c->frame));
    TRY(ensure_connected(c, deadline_us));
    struct err e = transfer(c, deadline_us);
    if (!err_is(&e))
        e = proto_read_reply(frame_body(&c->frame), r);
    if (!err_is(&e) && r->op != q->op)
        e = FAIL(ERR_INTERNAL, "the signer answered %s to %s", proto_op_name(r->op), proto_op_name(q->op));
    if (err_is(&e)) {
        fd_close(&c->fd);
        r->mark = (struct hsm_mark){0};
        return e.code == ERR_DEADLINE ? e : err_as(e, ERR_HSM_UNAVAILABLE);
    }
    c->mark = r->mark;
    if (r->status == PROTO_OK)
        return OK;
    return FAIL(proto_status_error(r->status), "%s: %.*s", proto_op_name(q->op), STR_FMT(r->reason));
}

struct hsm_mark hsm_last_mark(const struct hsm_client *c)
{
    return c->mark;
}

struct err hsm_sign(struct hsm_client *c, const struct hsm_key_id *key, enum jose_alg alg, struct bytes input,
                    int64_t deadline_us, struct hsm_signature *out)
{
    struct proto_request q = {.op = PROTO_SIGN, .key = *key, .alg = alg, .data = input};
    struct proto_reply r = {0};
    struct err e = call(c, &q, deadline_us, &r);
    out->n = 0;
    out->mark = r.mark;
    if (err_is(&e))
        return e;
    memcpy(out->v, r.data.p, r.data.n);
    out->n = r.data.n;
    out->us = r.us;
    return OK;
}

/* Copies what a decoded key points at out of the frame. */
static struct err own_key(struct arena *a, struct hsm_key *k)
{
    k->label = arena_str(a, k->label);
    k->point = k->point.n > 0 ? arena_bytes(a, k->point) : bytes_of(NULL, 0);
    k->n = k->n.n > 0 ? arena_bytes(a, k->n) : bytes_of(NULL, 0);
    k->e = k->e.n > 0 ? arena_bytes(a, k->e) : bytes_of(NULL, 0);
    bool whole = k->label.p != NULL && (k->point.p != NULL || k->point.n == 0) && (k->n.p != NULL || k->n.n == 0) &&
                 (k->e.p != NULL || k->e.n == 0);
    return whole ? OK : FAIL(ERR_NO_MEMORY, "a key");
}

/* Appends one page to the array, which is made when the first page tells how many keys there are. */
static struct err take_page(struct arena *a, const struct proto_reply *r, size_t total, struct hsm_key *all, size_t *n)
{
    if (r->n == 0 || r->n > total - *n)
        return FAIL(ERR_HSM_UNAVAILABLE, "the signer's list of keys changed while it was read");
    for (size_t i = 0; i < r->n; i++) {
        all[*n] = r->keys[i];
        TRY(own_key(a, &all[*n]));
        ++*n;
    }
    return OK;
}

struct err hsm_keys(struct hsm_client *c, struct arena *a, int64_t deadline_us, struct hsm_key **out, size_t *n)
{
    struct hsm_key page[PROTO_KEYS_PAGE];
    struct proto_request q = {.op = PROTO_KEYS};
    struct proto_reply r = {.keys = page};
    TRY(call(c, &q, deadline_us, &r));
    size_t total = r.total;
    struct hsm_key *all = arena_array(a, total, sizeof *all);
    size_t got = 0;
    if (all == NULL)
        return FAIL(ERR_NO_MEMORY, "%zu keys", total);
    while (got < total) {
        TRY(take_page(a, &r, total, all, &got));
        q.count = (uint16_t)got;
        if (got < total)
            TRY(call(c, &q, deadline_us, &r));
    }
    *out = all;
    *n = got;
    return OK;
}

struct err hsm_generate(struct hsm_client *c, const struct hsm_key_id *id, enum hsm_purpose purpose,
                        enum hsm_key_type type, struct arena *a, int64_t deadline_us, struct hsm_key *out)
{
    struct hsm_key page[PROTO_KEYS_PAGE];
    struct proto_request q = {.op = PROTO_GENERATE, .key = *id, .purpose = purpose, .type = type};
    struct proto_reply r = {.keys = page};
    TRY(call(c, &q, deadline_us, &r));
    *out = page[0];
    return own_key(a, out);
}

struct err hsm_wrap(struct hsm_client *c, const struct hsm_key_id *kek, struct bytes dek, struct arena *a,
                    int64_t deadline_us, struct bytes *blob)
{
    struct proto_request q = {.op = PROTO_WRAP, .key = *kek, .data = dek};
    struct proto_reply r = {0};
    struct err e = call(c, &q, deadline_us, &r);
    if (!err_is(&e)) {
        *blob = arena_bytes(a, r.data);
        e = blob->p != NULL ? OK : FAIL(ERR_NO_MEMORY, "a wrapped key");
    }
    frame_wipe(&c->frame);
    return e;
}

static struct err take_dek(struct bytes in, struct secret **dek)
{
    struct secret *s = NULL;
    if (in.n != HSM_DEK_LEN)
        return FAIL(ERR_HSM_UNAVAILABLE, "the signer's answer holds no data key");
    TRY(secret_new(in.n, &s));
    memcpy(s->p, in.p, in.n);
    s->n = in.n;
    *dek = s;
    return OK;
}

struct err hsm_unwrap(struct hsm_client *c, const struct hsm_key_id *kek, struct bytes blob, int64_t deadline_us,
                      struct secret **dek)
{
    struct proto_request q = {.op = PROTO_UNWRAP, .key = *kek, .data = blob};
    struct proto_reply r = {0};
    struct err e = call(c, &q, deadline_us, &r);
    if (!err_is(&e))
        e = take_dek(r.data, dek);
    frame_wipe(&c->frame);
    return e;
}

struct err hsm_random(struct hsm_client *c, uint8_t *p, size_t n, int64_t deadline_us)
{
    if (n == 0 || n > PROTO_RANDOM_MAX)
        return FAIL(ERR_INVALID_REQUEST, "%zu random bytes at once", n);
    struct proto_request q = {.op = PROTO_RANDOM, .count = (uint16_t)n};
    struct proto_reply r = {0};
    TRY(call(c, &q, deadline_us, &r));
    if (r.data.n != n)
        return FAIL(ERR_HSM_UNAVAILABLE, "%zu random bytes instead of %zu", r.data.n, n);
    memcpy(p, r.data.p, n);
    frame_wipe(&c->frame);
    return OK;
}

static bool own_str(struct arena *a, struct str *s)
{
    *s = arena_str(a, *s);
    return s->p != NULL;
}

struct err hsm_hello(struct hsm_client *c, struct arena *a, int64_t deadline_us, struct hsm_info *out)
{
    struct proto_request q = {.op = PROTO_HELLO};
    struct proto_reply r = {0};
    TRY(call(c, &q, deadline_us, &r));
    *out = r.info;
    bool whole = own_str(a, &out->token_label) && own_str(a, &out->token_serial) && own_str(a, &out->manufacturer) &&
                 own_str(a, &out->model) && own_str(a, &out->module) && own_str(a, &out->wrap_alg);
    return whole ? OK : FAIL(ERR_NO_MEMORY, "the signer's description");
}
