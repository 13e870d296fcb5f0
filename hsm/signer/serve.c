/* SPDX-License-Identifier: Apache-2.0 */
#include "hsm/signer/serve.h"

#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/rand.h"
#include "hsm/proto.h"
#include "hsm/signer/generate.h"
#include "hsm/signer/ladder.h"
#include "hsm/signer/permit.h"
#include "hsm/signer/probe.h"
#include "hsm/signer/shape.h"
#include "hsm/signer/sign.h"
#include "hsm/signer/wrap.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>

/* The scratch arena holds one decoded signing input. */
enum { SCRATCH_MAX = 1 << 20, SEND_US = 10000000 };

struct client {
    struct signer *s;
    int fd;
    struct watch_slot *watch;
    struct arena *scratch;
    struct sign_job sign;
    struct wrap_job wrap;
    uint8_t random[PROTO_RANDOM_MAX];
    struct hsm_key page[PROTO_KEYS_PAGE];
    struct frame frame, reply;
};

/* Clients send nothing while they wait, and hang up at their deadline. */
static bool is_waiting(int fd)
{
    char byte;
    ssize_t r = recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    return r > 0 || (r < 0 && (errno == EAGAIN || errno == EINTR));
}

/* Every use of a key that gets past the permissions has its number, whatever becomes of it. A use that nobody waits
 * for any more is not begun: its signature would be in nobody's books, and its number a gap in the broker's. */
static struct err count_use(struct client *c, struct proto_reply *r)
{
    if (!is_waiting(c->fd))
        return FAIL(ERR_HSM_UNAVAILABLE, "the client has hung up");
    r->mark.counter = atomic_fetch_add(&c->s->counter, 1) + 1;
    return OK;
}

static struct err run(struct client *c, const char *name, CK_RV (*step)(void *, const struct lease *), void *self,
                      struct key *key)
{
    struct job job = {.name = name, .run = step, .self = self, .key = key};
    return ladder_run(c->s, c->watch, &job);
}

struct lookup_job {
    struct signer *s;
    struct hsm_key_id id;
    struct key *found;
    struct err verdict;
};

static CK_RV lookup_run(void *job, const struct lease *l)
{
    struct lookup_job *j = job;
    return keys_lookup(&j->s->keys, l, &j->id, &j->found, &j->verdict);
}

/* A key by id, for a use. One that no scan has seen may have been made by another signer of the same token. */
static struct err find_key(struct client *c, const struct proto_request *q, struct key **out)
{
    struct key *k = keys_find(&c->s->keys, &q->key);
    if (k == NULL) {
        struct lookup_job j = {.s = c->s, .id = q->key};
        TRY(run(c, "find key", lookup_run, &j, NULL));
        TRY(err_as(j.verdict, ERR_HSM_REFUSED));
        k = j.found;
    }
    if (k == NULL)
        return FAIL(ERR_HSM_REFUSED, "no such key on the token");
    if (atomic_load(&k->refused))
        return FAIL(ERR_HSM_REFUSED, "%s on the token is not the key that was there before", k->label);
    *out = k;
    return permit_use(k->purpose, q->op);
}

static struct err do_sign(struct client *c, const struct proto_request *q, struct proto_reply *r)
{
    struct sign_job *j = &c->sign;
    struct clock wall = clock_real();
    j->s = c->s;
    j->alg = q->alg;
    TRY(find_key(c, q, &j->key));
    TRY(permit_alg(j->key->type, q->alg));
    TRY(shape_check(j->key->purpose, q->alg, q->data, clock_now_s(&wall), c->scratch));
    TRY(sign_prepare(j, q->data));
    TRY(count_use(c, r));
    TRY(run(c, "sign", sign_run, j, j->key));
    r->data = bytes_of(j->out, j->out_n);
    r->us = j->us;
    return OK;
}

struct use_kek {
    struct wrap_job *w;
    struct key *key;
    CK_RV (*step)(struct wrap_job *, const struct lease *);
};

static CK_RV use_kek_run(void *job, const struct lease *l)
{
    struct use_kek *u = job;
    u->w->kek = atomic_load(&u->key->handle);
    return u->w->kek != CK_INVALID_HANDLE ? u->step(u->w, l) : CKR_KEY_HANDLE_INVALID;
}

static struct err use_kek(struct client *c, const struct proto_request *q, struct proto_reply *r, bool wrap)
{
    struct use_kek u = {.w = &c->wrap, .step = wrap ? wrap_dek : unwrap_dek};
    TRY(find_key(c, q, &u.key));
    if (wrap && c->s->can.wrap == WRAP_NONE)
        return FAIL(ERR_HSM_REFUSED, "the token can neither wrap nor encrypt a DEK");
    u.w->id = q->key;
    u.w->alg = c->s->can.wrap;
    u.w->in_n = q->data.n;
    memcpy(u.w->in, q->data.p, q->data.n);
    TRY(count_use(c, r));
    struct job job = {
        .name = proto_op_name(q->op), .run = use_kek_run, .self = &u, .key = u.key, .input_is_foreign = !wrap};
    TRY(ladder_run(c->s, c->watch, &job));
    r->data = bytes_of(u.w->out, u.w->out_n);
    return OK;
}

static struct err do_wrap(struct client *c, const struct proto_request *q, struct proto_reply *r)
{
    return use_kek(c, q, r, true);
}

static struct err do_unwrap(struct client *c, const struct proto_request *q, struct proto_reply *r)
{
    return use_kek(c, q, r, false);
}

struct random_job {
    uint8_t *p;
    size_t n;
};

static CK_RV random_run(void *job, const struct lease *l)
{
    struct random_job *j = job;
    return l->f->C_GenerateRandom(l->session, j->p, j->n);
}

static struct err do_random(struct client *c, const struct proto_request *q, struct proto_reply *r)
{
    struct random_job j = {.p = c->random, .n = q->count};
    TRY(run(c, "random", random_run, &j, NULL));
    r->data = bytes_of(c->random, j.n);
    return OK;
}

static struct err do_generate(struct client *c, const struct proto_request *q, struct proto_reply *r)
{
    struct generate_job j = {.s = c->s, .id = q->key, .purpose = q->purpose, .type = q->type};
    TRY(permit_use(q->purpose, PROTO_GENERATE));
    TRY(permit_type(q->purpose, q->type));
    if ((c->s->can.key_types & 1ULL << q->type) == 0)
        return FAIL(ERR_HSM_REFUSED, "the token does not make keys of type %s", hsm_key_type_name(q->type));
    TRY(run(c, "generate", generate_run, &j, NULL));
    if (err_is(&j.verdict))
        return j.verdict.code == ERR_HSM_UNAVAILABLE ? j.verdict : err_as(j.verdict, ERR_HSM_REFUSED);
    LOG(LOG_INFO, "key made or found", LOG_CSTR("label", j.made->label), LOG_CSTR("type", hsm_key_type_name(q->type)));
    c->page[0] = key_wire(j.made);
    r->keys = c->page;
    r->n = 1;
    return OK;
}

static CK_RV scan_run(void *job, const struct lease *l)
{
    struct err verdict = OK;
    /* A bad key was logged and left out; the others are told. */
    CK_RV rv = keys_scan(job, l, &verdict);
    return err_is(&verdict) && rv == CKR_OK ? CKR_OK : rv;
}

static struct err do_keys(struct client *c, const struct proto_request *q, struct proto_reply *r)
{
    struct keys *keys = &c->s->keys;
    if (q->count == 0)
        TRY(run(c, "read keys", scan_run, keys, NULL));
    size_t total = atomic_load_explicit(&keys->n, memory_order_acquire);
    r->total = (uint16_t)total;
    r->keys = c->page;
    for (size_t i = q->count; i < total && r->n < PROTO_KEYS_PAGE; i++)
        c->page[r->n++] = key_wire(&keys->v[i]);
    return OK;
}

static struct err do_hello(struct client *c, const struct proto_request *q, struct proto_reply *r)
{
    const struct signer *s = c->s;
    (void)q;
    /* No use of a key, but the question where the counter stands. */
    r->mark.counter = atomic_load(&s->counter);
    r->info = (struct hsm_info){.token_label = str_of(s->token.label),
                                .token_serial = str_of(s->token.serial),
                                .manufacturer = str_of(s->token.manufacturer),
                                .model = str_of(s->token.model),
                                .module = s->cf.module,
                                .sign_algs = s->can.sign_algs,
                                .key_types = s->can.key_types,
                                .wrap_alg = str_of(wrap_alg_name(s->can.wrap)),
                                .max_sessions = s->token.max_sessions};
    return OK;
}

static struct err do_ping(struct client *c, const struct proto_request *q, struct proto_reply *r)
{
    (void)c;
    (void)q;
    (void)r;
    return OK;
}

static struct err (*const handlers[PROTO_OP_END])(struct client *, const struct proto_request *,
                                                  struct proto_reply *) = {
    [PROTO_HELLO] = do_hello,   [PROTO_KEYS] = do_keys,     [PROTO_SIGN] = do_sign,         [PROTO_WRAP] = do_wrap,
    [PROTO_UNWRAP] = do_unwrap, [PROTO_RANDOM] = do_random, [PROTO_GENERATE] = do_generate, [PROTO_PING] = do_ping,
};

static void log_refusal(const struct proto_request *q, const struct err *e)
{
    char id[2 * HSM_KEY_ID_LEN + 1];
    hex_encode(q->key.v, sizeof q->key.v, id);
    LOG_ERR(LOG_WARN, "request refused", e, LOG_CSTR("operation", proto_op_name(q->op)), LOG_CSTR("key_id", id));
}

static struct err answer(struct client *c, const struct proto_request *q)
{
    struct proto_reply r = {.op = q->op};
    memcpy(r.mark.instance, c->s->instance, sizeof r.mark.instance);
    struct err e = handlers[q->op](c, q, &r);
    if (err_is(&e)) {
        log_refusal(q, &e);
        r.status = proto_status_of(e.code);
        r.reason = str_of(e.detail);
    }
    return proto_write_reply(&r, &c->reply);
}

/* Nothing of a DEK, or of random bytes that may become a secret, stays behind in this process. */
static void wipe(struct client *c, enum proto_op op)
{
    arena_reset(c->scratch);
    if (op != PROTO_WRAP && op != PROTO_UNWRAP && op != PROTO_RANDOM)
        return;
    explicit_bzero(&c->wrap, sizeof c->wrap);
    explicit_bzero(c->random, sizeof c->random);
    frame_wipe(&c->frame);
    frame_wipe(&c->reply);
}

static struct err serve_one(struct client *c)
{
    struct proto_request q;
    TRY(frame_recv(c->fd, &c->frame, INT64_MAX));
    TRY(proto_read_request(frame_body(&c->frame), &q));
    struct err e = answer(c, &q);
    if (!err_is(&e))
        e = frame_send(c->fd, &c->reply, clock_mono_us() + SEND_US);
    wipe(c, q.op);
    return e;
}

static void client_free(struct client **c)
{
    if (*c == NULL)
        return;
    fd_close(&(*c)->fd);
    arena_free(&(*c)->scratch);
    if ((*c)->watch != NULL)
        watch_quit((*c)->watch);
    free(*c);
    *c = NULL;
}

static void *serve(void *arg)
{
    CLEANUP(client_free) struct client *c = arg;
    for (;;) {
        struct err e = serve_one(c);
        if (!err_is(&e))
            continue;
        bool gone = e.code == ERR_IO && strcmp(e.detail, "closed") == 0;
        log_err(gone ? LOG_DEBUG : LOG_WARN, "client gone", &e, NULL, 0);
        return NULL;
    }
}

static struct err start(struct signer *s, int fd)
{
    CLEANUP(client_free) struct client *c = calloc(1, sizeof *c);
    if (c == NULL) {
        fd_close(&fd);
        return FAIL(ERR_NO_MEMORY, "a client");
    }
    c->s = s;
    c->fd = fd;
    c->watch = watch_join(&s->watch);
    if (c->watch == NULL)
        return FAIL(ERR_OVERLOADED, "more than %d clients", WATCH_SLOTS);
    TRY(arena_new(SCRATCH_MAX, &c->scratch));
    pthread_t t;
    if (pthread_create(&t, NULL, serve, c) != 0)
        return FAIL(ERR_NO_MEMORY, "a thread");
    pthread_detach(t);
    c = NULL;
    return OK;
}

void serve_client(struct signer *s, int fd)
{
    struct err e = start(s, fd);
    if (err_is(&e))
        log_err(LOG_WARN, "client refused", &e, NULL, 0);
}
