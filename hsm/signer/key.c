/* SPDX-License-Identifier: Apache-2.0 */
#include "hsm/signer/key.h"

#include "base/rand.h"
#include "hsm/signer/kind.h"

#include <stdio.h>

enum { ATTR_MAX = 1024 };

void key_label(enum hsm_purpose purpose, const struct hsm_key_id *id, char out[static KEY_LABEL_MAX])
{
    char hex[2 * HSM_KEY_ID_LEN + 1];
    hex_encode(id->v, sizeof id->v, hex);
    (void)snprintf(out, KEY_LABEL_MAX, "nexus:%s:%s", hsm_purpose_name(purpose), hex);
}

CK_OBJECT_CLASS key_class(enum hsm_key_type type)
{
    return type == HSM_AES_256 ? CKO_SECRET_KEY : CKO_PRIVATE_KEY;
}

/* CKA_LABEL and CKA_ID make a key ours, and must agree. */
static CK_RV read_name(const struct object *o, struct key *k, struct err *verdict)
{
    uint8_t label[ATTR_MAX];
    uint8_t id[ATTR_MAX];
    size_t label_n = 0, id_n = 0;
    CK_RV rv = attr_bytes(o, CKA_LABEL, label, sizeof label, &label_n);
    if (rv == CKR_OK)
        rv = attr_bytes(o, CKA_ID, id, sizeof id, &id_n);
    struct str text = bytes_str(bytes_of(label, label_n));
    if (rv != CKR_OK || !str_starts(text, STR("nexus:"))) {
        *verdict = FAIL(ERR_NOT_FOUND, "not one of ours");
        return rv;
    }
    if (id_n == sizeof k->id.v)
        memcpy(k->id.v, id, sizeof k->id.v);
    for (int p = 0; id_n == sizeof k->id.v && p < HSM_PURPOSE_COUNT; p++) {
        k->purpose = (enum hsm_purpose)p;
        key_label(k->purpose, &k->id, k->label);
        if (str_is(text, k->label))
            return CKR_OK;
    }
    *verdict = FAIL(ERR_NOT_FOUND, "label %.*s does not name a purpose and the object's CKA_ID", STR_FMT(text));
    return CKR_OK;
}

static bool is_curve(const struct key_kind *kind, CK_KEY_TYPE type, struct bytes params)
{
    return kind->params.n > 0 && kind->cko == type &&
           (bytes_eq(params, kind->params) || bytes_eq(params, kind->params_alt));
}

static CK_RV read_type(const struct object *o, struct key *k, struct err *verdict)
{
    uint8_t params[ATTR_MAX];
    size_t n = 0;
    CK_ULONG type = 0, value_len = 0;
    CK_RV rv = attr_ulong(o, CKA_KEY_TYPE, CK_UNAVAILABLE_INFORMATION, &type);
    if (rv == CKR_OK && type == CKK_AES)
        rv = attr_ulong(o, CKA_VALUE_LEN, 0, &value_len);
    else if (rv == CKR_OK && type == CKK_RSA)
        rv = attr_bytes(o, CKA_MODULUS, params, sizeof params, &n);
    else if (rv == CKR_OK)
        rv = attr_bytes(o, CKA_EC_PARAMS, params, sizeof params, &n);
    for (int t = 0; rv == CKR_OK && t < HSM_KEY_TYPE_COUNT; t++) {
        const struct key_kind *kind = key_kind((enum hsm_key_type)t);
        k->type = (enum hsm_key_type)t;
        bool sized = kind->cko == type && (type == CKK_AES || type == CKK_RSA) && kind->bits == 8 * (value_len + n);
        if (sized || is_curve(kind, type, bytes_of(params, n)))
            return rv;
    }
    *verdict = FAIL(ERR_NOT_FOUND, "%s is of a type that is not served", k->label);
    return rv;
}

static CK_RV read_rsa(const struct object *o, struct key *k)
{
    CK_RV rv = attr_bytes(o, CKA_MODULUS, k->public_part, sizeof k->public_part, &k->public_n);
    if (rv == CKR_OK)
        rv = attr_bytes(o, CKA_PUBLIC_EXPONENT, k->exponent, sizeof k->exponent, &k->exponent_n);
    return rv;
}

/* PKCS#11 wraps a point in a DER OCTET STRING (v2.40, section 2.3.3); some tokens give it bare. The lengths tell. */
static CK_RV read_point(const struct object *o, struct key *k)
{
    uint8_t v[ATTR_MAX];
    size_t n = 0, want = key_kind(k->type)->point_len;
    CK_RV rv = attr_bytes(o, CKA_EC_POINT, v, sizeof v, &n);
    if (rv != CKR_OK)
        return rv;
    bool wrapped = n == want + 2 && v[0] == 0x04 && v[1] == want;
    if (!wrapped && n != want)
        return CKR_OK;
    memcpy(k->public_part, wrapped ? v + 2 : v, want);
    k->public_n = want;
    return CKR_OK;
}

/* From the public key object of the same CKA_ID, else from the private one (RSA always has it, EC on some tokens). */
static CK_RV read_public(const struct object *o, struct key *k)
{
    CK_OBJECT_CLASS class = CKO_PUBLIC_KEY;
    CK_ATTRIBUTE template[] = {attr_of(CKA_CLASS, &class, sizeof class), attr_of(CKA_ID, k->id.v, sizeof k->id.v)};
    CK_OBJECT_HANDLE h[1];
    size_t n = 0;
    bool rsa = key_kind(k->type)->cko == CKK_RSA;
    CK_RV rv = attr_find(o->l, template, COUNT(template), h, COUNT(h), &n);
    struct object public = {.l = o->l, .h = n > 0 ? h[0] : o->h};
    if (rv == CKR_OK)
        rv = rsa ? read_rsa(&public, k) : read_point(&public, k);
    if (rv == CKR_OK && k->public_n == 0 && n > 0)
        rv = rsa ? read_rsa(o, k) : read_point(o, k);
    return rv;
}

/* What else the object may be used for. An attribute that the token does not know is false. */
struct uses {
    bool sign, decrypt, unwrap, wrap, derive, always_authenticate;
};

static CK_RV read_evidence(const struct object *o, struct key *k, struct uses *u)
{
    struct hsm_evidence *e = &k->evidence;
    const struct {
        CK_ATTRIBUTE_TYPE type;
        bool *to;
    } wanted[] = {
        {CKA_LOCAL, &e->local},
        {CKA_SENSITIVE, &e->sensitive},
        {CKA_ALWAYS_SENSITIVE, &e->always_sensitive},
        {CKA_EXTRACTABLE, &e->extractable},
        {CKA_NEVER_EXTRACTABLE, &e->never_extractable},
        {CKA_PRIVATE, &e->private_object},
        {CKA_TOKEN, &e->token_object},
        {CKA_SIGN, &u->sign},
        {CKA_DECRYPT, &u->decrypt},
        {CKA_UNWRAP, &u->unwrap},
        {CKA_WRAP, &u->wrap},
        {CKA_DERIVE, &u->derive},
        {CKA_ALWAYS_AUTHENTICATE, &u->always_authenticate},
    };
    CK_RV rv = CKR_OK;
    for (size_t i = 0; rv == CKR_OK && i < COUNT(wanted); i++)
        rv = attr_bool(o, wanted[i].type, wanted[i].to);
    return rv;
}

/* A key does one thing. One that signs and decrypts can be made to decrypt what it signed for others; one that wraps
 * and decrypts gives away in the clear what it wrapped. */
static struct err judge_uses(const struct key *k, const struct uses *u)
{
    if (u->always_authenticate)
        return FAIL(ERR_CONFIG, "%s wants the PIN for every use (CKA_ALWAYS_AUTHENTICATE); it cannot serve here",
                    k->label);
    if (k->purpose == HSM_KEK && u->sign)
        return FAIL(ERR_CONFIG, "%s may sign besides wrapping (CKA_SIGN is true); make a new key, destroy this one",
                    k->label);
    if (k->purpose == HSM_KEK && u->wrap && u->decrypt)
        return FAIL(ERR_CONFIG,
                    "%s may both wrap and decrypt (CKA_WRAP, CKA_DECRYPT), so a wrapped key can be read; make a new "
                    "key, destroy this one",
                    k->label);
    if (k->purpose != HSM_KEK && (u->decrypt || u->unwrap || u->derive))
        return FAIL(ERR_CONFIG,
                    "%s may do more than sign: DECRYPT=%d UNWRAP=%d DERIVE=%d; make a new key, destroy this one",
                    k->label, u->decrypt, u->unwrap, u->derive);
    return OK;
}

static struct err judge(const struct key *k, const struct uses *u, bool accept_imported)
{
    const struct hsm_evidence *e = &k->evidence;
    if (e->extractable)
        return FAIL(ERR_CONFIG, "%s can leave the token (CKA_EXTRACTABLE is true); make a new key, destroy this one",
                    k->label);
    if (!e->sensitive)
        return FAIL(ERR_CONFIG, "%s can be read (CKA_SENSITIVE is false); make a new key, destroy this one", k->label);
    if (!e->private_object || !e->token_object)
        return FAIL(ERR_CONFIG, "%s is not a private token object: PRIVATE=%d TOKEN=%d; make a new key", k->label,
                    e->private_object, e->token_object);
    TRY(judge_uses(k, u));
    bool born_here = e->local && e->always_sensitive && e->never_extractable;
    if (!born_here && !accept_imported)
        return FAIL(ERR_CONFIG, "%s was not born in the token: LOCAL=%d ALWAYS_SENSITIVE=%d NEVER_EXTRACTABLE=%d",
                    k->label, e->local, e->always_sensitive, e->never_extractable);
    if ((k->type == HSM_AES_256) != (k->purpose == HSM_KEK))
        return FAIL(ERR_CONFIG, "%s is of type %s, which its purpose does not use", k->label,
                    hsm_key_type_name(k->type));
    if (k->type != HSM_AES_256 && k->public_n == 0)
        return FAIL(ERR_CONFIG, "%s has no readable public key object of the same CKA_ID", k->label);
    return OK;
}

CK_RV key_read(const struct lease *l, CK_OBJECT_HANDLE h, bool accept_imported, struct key *out, struct err *verdict)
{
    const struct object o = {.l = l, .h = h};
    struct uses uses = {0};
    *verdict = OK;
    CK_RV rv = read_name(&o, out, verdict);
    if (rv != CKR_OK || err_is(verdict))
        return rv;
    rv = read_type(&o, out, verdict);
    if (rv != CKR_OK || err_is(verdict))
        return rv;
    rv = read_evidence(&o, out, &uses);
    if (rv == CKR_OK && out->type != HSM_AES_256)
        rv = read_public(&o, out);
    else if (rv == CKR_OK)
        rv = attr_bytes(&o, CKA_CHECK_VALUE, out->check, sizeof out->check, &out->check_n);
    if (rv == CKR_OK)
        *verdict = judge(out, &uses, accept_imported);
    atomic_store(&out->handle, h);
    return rv;
}

bool key_same(const struct key *a, const struct key *b)
{
    bool check =
        a->check_n == 0 || b->check_n == 0 || bytes_eq(bytes_of(a->check, a->check_n), bytes_of(b->check, b->check_n));
    return a->type == b->type && a->purpose == b->purpose && check &&
           bytes_eq(bytes_of(a->public_part, a->public_n), bytes_of(b->public_part, b->public_n)) &&
           bytes_eq(bytes_of(a->exponent, a->exponent_n), bytes_of(b->exponent, b->exponent_n));
}

struct hsm_key key_wire(const struct key *k)
{
    struct hsm_key w = {
        .id = k->id, .purpose = k->purpose, .type = k->type, .label = str_of(k->label), .evidence = k->evidence};
    struct bytes public = bytes_of(k->public_part, k->public_n);
    if (k->exponent_n > 0) {
        w.n = public;
        w.e = bytes_of(k->exponent, k->exponent_n);
    } else if (k->public_n > 0) {
        w.point = public;
    }
    return w;
}
