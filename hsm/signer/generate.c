/* SPDX-License-Identifier: Apache-2.0 */
#include "hsm/signer/generate.h"

#include "base/log.h"
#include "hsm/signer/ckr.h"
#include "hsm/signer/kind.h"

enum { TEMPLATE_MAX = 24 };

/* A template whose last rows, from required on, may be left out. */
struct template
{
    CK_ATTRIBUTE a[TEMPLATE_MAX];
    size_t n, required;
};

/* What the rows point at. */
struct values {
    char label[KEY_LABEL_MAX];
    CK_ULONG value_len, modulus_bits;
    CK_MECHANISM_TYPE mechanisms[2];
    size_t mechanisms_n;
};

static const uint8_t exponent_65537[] = {0x01, 0x00, 0x01};

static void row(struct template *t, CK_ATTRIBUTE a)
{
    t->a[t->n++] = a;
}

static void flags(struct template *t, const CK_ATTRIBUTE_TYPE *types, size_t n, bool v)
{
    for (size_t i = 0; i < n; i++)
        row(t, attr_of_bool(types[i], v));
}

static void common(struct template *t, struct generate_job *j, struct values *v, bool private)
{
    row(t, attr_of_bool(CKA_TOKEN, true));
    row(t, attr_of_bool(CKA_PRIVATE, private));
    row(t, attr_of(CKA_ID, j->id.v, sizeof j->id.v));
    row(t, attr_of(CKA_LABEL, v->label, strlen(v->label)));
}

/* What a token may refuse to be told, the least loved last: it goes first. */
static void optional(struct template *t, const CK_ATTRIBUTE_TYPE *denied, size_t n, struct values *v)
{
    t->required = t->n;
    flags(t, denied, n, false);
    row(t, attr_of_bool(CKA_COPYABLE, false));
    row(t, attr_of_bool(CKA_MODIFIABLE, false));
    row(t, attr_of(CKA_ALLOWED_MECHANISMS, v->mechanisms, v->mechanisms_n * sizeof v->mechanisms[0]));
}

static void private_template(struct template *t, struct generate_job *j, struct values *v)
{
    static const CK_ATTRIBUTE_TYPE denied[] = {CKA_DECRYPT, CKA_UNWRAP, CKA_SIGN_RECOVER, CKA_DERIVE};
    common(t, j, v, true);
    row(t, attr_of_bool(CKA_SENSITIVE, true));
    row(t, attr_of_bool(CKA_EXTRACTABLE, false));
    row(t, attr_of_bool(CKA_SIGN, true));
    optional(t, denied, COUNT(denied), v);
}

static void public_template(struct template *t, struct generate_job *j, struct values *v, struct bytes params)
{
    common(t, j, v, false);
    row(t, attr_of_bool(CKA_VERIFY, true));
    if (params.n > 0) {
        row(t, attr_of(CKA_EC_PARAMS, cryptoki_in(params.p), params.n));
    } else {
        row(t, attr_of(CKA_MODULUS_BITS, &v->modulus_bits, sizeof v->modulus_bits));
        row(t, attr_of(CKA_PUBLIC_EXPONENT, cryptoki_in(exponent_65537), sizeof exponent_65537));
    }
    t->required = t->n;
}

/* A KEK does one thing: it wraps where the token wraps, else it encrypts. */
static void kek_template(struct template *t, struct generate_job *j, struct values *v)
{
    static const CK_ATTRIBUTE_TYPE wrapping[] = {CKA_WRAP, CKA_UNWRAP}, encrypting[] = {CKA_ENCRYPT, CKA_DECRYPT};
    static const CK_ATTRIBUTE_TYPE denied_wrapping[] = {CKA_ENCRYPT, CKA_DECRYPT, CKA_SIGN, CKA_VERIFY, CKA_DERIVE};
    static const CK_ATTRIBUTE_TYPE denied_encrypting[] = {CKA_WRAP, CKA_UNWRAP, CKA_SIGN, CKA_VERIFY, CKA_DERIVE};
    bool kw = j->s->can.wrap == WRAP_AES_KW;
    common(t, j, v, true);
    row(t, attr_of_bool(CKA_SENSITIVE, true));
    row(t, attr_of_bool(CKA_EXTRACTABLE, false));
    row(t, attr_of(CKA_VALUE_LEN, &v->value_len, sizeof v->value_len));
    flags(t, kw ? wrapping : encrypting, 2, true);
    optional(t, kw ? denied_wrapping : denied_encrypting, COUNT(denied_wrapping), v);
}

/* Codes by which tokens refuse a row; one of those tried says GENERAL_ERROR. */
static bool is_about_template(CK_RV rv)
{
    return rv == CKR_ATTRIBUTE_TYPE_INVALID || rv == CKR_ATTRIBUTE_VALUE_INVALID || rv == CKR_ATTRIBUTE_READ_ONLY ||
           rv == CKR_TEMPLATE_INCONSISTENT || rv == CKR_GENERAL_ERROR || rv == CKR_ARGUMENTS_BAD;
}

struct made {
    CK_OBJECT_HANDLE private, public;
};

static CK_RV generate_once(const struct lease *l, CK_MECHANISM *m, struct template *private, struct template *public,
                           struct made *out)
{
    if (public->n == 0)
        return l->f->C_GenerateKey(l->session, m, private->a, private->n, &out->private);
    return l->f->C_GenerateKeyPair(l->session, m, public->a, public->n, private->a, private->n, &out->public,
                                   &out->private);
}

static CK_RV generate_leniently(const struct lease *l, CK_MECHANISM *m, struct template private,
                                struct template *public, struct made *out)
{
    CK_RV rv = generate_once(l, m, &private, public, out);
    while (rv != CKR_OK && is_about_template(rv) && private.n > private.required) {
        private.n--;
        LOG(LOG_WARN, "the token refuses a template; an attribute is left out", LOG_CSTR("ckr", ckr_find(rv)->name),
            LOG_INT("attribute", private.a[private.n].type));
        rv = generate_once(l, m, &private, public, out);
    }
    return rv;
}

static CK_RV generate(struct generate_job *j, const struct lease *l, struct made *out)
{
    const struct key_kind *kind = key_kind(j->type);
    struct values v = {.value_len = kind->bits / 8, .modulus_bits = kind->bits, .mechanisms_n = kind->mechanisms_n};
    struct template private = {0}, public = {0};
    CK_MECHANISM m = {.mechanism = kind->generate};
    memcpy(v.mechanisms, kind->mechanisms, sizeof v.mechanisms);
    key_label(j->purpose, &j->id, v.label);
    if (j->type == HSM_AES_256) {
        kek_template(&private, j, &v);
        return generate_leniently(l, &m, private, &public, out);
    }
    private_template(&private, j, &v);
    public_template(&public, j, &v, kind->params);
    CK_RV rv = generate_leniently(l, &m, private, &public, out);
    if (rv == CKR_OK || kind->params_alt.n == 0)
        return rv;
    public = (struct template){0};
    public_template(&public, j, &v, kind->params_alt);
    return generate_leniently(l, &m, private, &public, out);
}

static void destroy(const struct lease *l, const struct made *made)
{
    if (made->private != CK_INVALID_HANDLE)
        (void)l->f->C_DestroyObject(l->session, made->private);
    if (made->public != CK_INVALID_HANDLE)
        (void)l->f->C_DestroyObject(l->session, made->public);
}

static CK_RV find_or_make(struct generate_job *j, const struct lease *l)
{
    struct keys *keys = &j->s->keys;
    struct made made = {CK_INVALID_HANDLE, CK_INVALID_HANDLE};
    CK_RV rv = keys_lookup(keys, l, &j->id, &j->made, &j->verdict);
    if (rv != CKR_OK || j->made != NULL || err_is(&j->verdict))
        return rv;
    rv = generate(j, l, &made);
    if (rv != CKR_OK)
        return rv;
    rv = keys_lookup(keys, l, &j->id, &j->made, &j->verdict);
    if (rv == CKR_OK && j->made == NULL && !err_is(&j->verdict))
        j->verdict = FAIL(ERR_HSM_UNAVAILABLE, "the key that was made is not found");
    if (rv == CKR_OK && err_is(&j->verdict))
        destroy(l, &made);
    return rv;
}

CK_RV generate_run(void *job, const struct lease *l)
{
    struct generate_job *j = job;
    j->verdict = OK;
    j->made = NULL;
    /* One at a time: software tokens have lost objects in parallel generation (hsm.md section 5, item 9). */
    pthread_mutex_lock(&j->s->generate_lock);
    CK_RV rv = find_or_make(j, l);
    pthread_mutex_unlock(&j->s->generate_lock);
    if (rv == CKR_OK && j->made != NULL && (j->made->purpose != j->purpose || j->made->type != j->type))
        j->verdict = FAIL(ERR_HSM_REFUSED, "that id is taken by %s of type %s", j->made->label,
                          hsm_key_type_name(j->made->type));
    return rv;
}
