/* SPDX-License-Identifier: Apache-2.0
 * A batch of leaves as parameters: one array for each column, so that any number of them is one statement. */
#include "service/store/internal.h"

struct columns {
    int64_t *seq, *corr_seq;
    struct str *kind, *jti, *corr_writer;
    struct bytes *leaf, *hash;
};

static struct err columns_new(struct arena *a, size_t n, struct columns *c)
{
    *c = (struct columns){
        .seq = arena_array(a, n, sizeof *c->seq),
        .corr_seq = arena_array(a, n, sizeof *c->corr_seq),
        .kind = arena_array(a, n, sizeof *c->kind),
        .jti = arena_array(a, n, sizeof *c->jti),
        .corr_writer = arena_array(a, n, sizeof *c->corr_writer),
        .leaf = arena_array(a, n, sizeof *c->leaf),
        .hash = arena_array(a, n, sizeof *c->hash),
    };
    bool ok = c->seq != NULL && c->corr_seq != NULL && c->kind != NULL && c->jti != NULL && c->corr_writer != NULL &&
              c->leaf != NULL && c->hash != NULL;
    return ok ? OK : FAIL(ERR_NO_MEMORY, "%zu leaves", n);
}

static void put_leaf(const struct columns *c, size_t i, const struct leaf *l)
{
    c->seq[i] = l->seq;
    c->kind[i] = str_of(leaf_kind_name(l->kind));
    c->jti[i] = l->jti;
    c->corr_writer[i] = l->corr_writer;
    c->corr_seq[i] = l->corr_seq;
    c->leaf[i] = l->bytes;
    c->hash[i] = bytes_of(l->hash, sizeof l->hash);
}

struct err leaves_bind(const struct store *s, const struct leaf_batch *l, bool needs_effect,
                       struct db_param p[static LEAF_PARAMS])
{
    if (needs_effect && l->n_effect == 0)
        return FAIL(ERR_INTERNAL, "an effect without an audit leaf");
    /* A writer's leaves end with its connection: its lock is what tells others that no more will come. */
    TRY(db_connect(s->db, s->deadline_us));
    if (strcmp(db_writer(s->db), l->writer) != 0)
        return FAIL(ERR_DB_UNAVAILABLE, "the audit writer's connection was lost");
    size_t n = l->n_always + l->n_effect;
    struct columns c;
    TRY(columns_new(s->arena, n, &c));
    for (size_t i = 0; i < l->n_always; i++)
        put_leaf(&c, i, &l->always[i]);
    for (size_t i = 0; i < l->n_effect; i++)
        put_leaf(&c, l->n_always + i, &l->effect[i]);
    p[0] = P_TEXT(str_of(l->writer));
    p[1] = P_INTS(c.seq, n);
    p[2] = P_TEXTS(((struct str_list){c.kind, n}));
    p[3] = P_TEXTS(((struct str_list){c.jti, n}));
    p[4] = P_TEXTS(((struct str_list){c.corr_writer, n}));
    p[5] = P_INTS(c.corr_seq, n);
    p[6] = P_BYTESS(c.leaf, n);
    p[7] = P_BYTESS(c.hash, n);
    p[8] = P_INT((int64_t)l->n_always);
    return OK;
}
