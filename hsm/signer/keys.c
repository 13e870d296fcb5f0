/* SPDX-License-Identifier: Apache-2.0 */
#include "hsm/signer/keys.h"

#include "base/log.h"

#include <stdlib.h>

struct err keys_init(struct keys *k, bool accept_imported)
{
    pthread_mutex_init(&k->lock, NULL);
    k->accept_imported = accept_imported;
    k->v = calloc(KEYS_MAX, sizeof *k->v);
    return k->v != NULL ? OK : FAIL(ERR_NO_MEMORY, "a table of %d keys", KEYS_MAX);
}

struct key *keys_find(struct keys *k, const struct hsm_key_id *id)
{
    size_t n = atomic_load_explicit(&k->n, memory_order_acquire);
    for (size_t i = 0; i < n; i++) {
        if (memcmp(k->v[i].id.v, id->v, sizeof id->v) == 0)
            return &k->v[i];
    }
    return NULL;
}

/* Under the lock. */
static struct err add(struct keys *k, const struct key *seen)
{
    size_t n = atomic_load(&k->n);
    if (n == KEYS_MAX)
        return FAIL(ERR_CONFIG, "more than %d keys of ours on the token; destroy retired ones", KEYS_MAX);
    memcpy(&k->v[n], seen, sizeof *seen);
    k->v[n].scan = k->scans;
    atomic_store_explicit(&k->n, n + 1, memory_order_release);
    return OK;
}

/* Takes a key that was read into the table, under the lock. */
static struct err admit(struct keys *k, const struct key *seen, bool scanning)
{
    struct key *known = keys_find(k, &seen->id);
    if (known == NULL)
        return add(k, seen);
    if (scanning && known->scan == k->scans)
        return FAIL(ERR_CONFIG, "two keys of one CKA_ID on the token: %s and %s", known->label, seen->label);
    known->scan = k->scans;
    if (!key_same(known, seen)) {
        atomic_store(&known->refused, true);
        atomic_store(&known->handle, CK_INVALID_HANDLE);
        return FAIL(ERR_CONFIG, "%s on the token is not the key that was there before", known->label);
    }
    atomic_store(&known->refused, false);
    atomic_store(&known->missing, false);
    atomic_store(&known->handle, atomic_load(&seen->handle));
    return OK;
}

static CK_RV take(struct keys *k, const struct lease *l, CK_OBJECT_HANDLE h, bool scanning, struct err *verdict)
{
    struct key seen = {0};
    CK_RV rv = key_read(l, h, k->accept_imported, &seen, verdict);
    if (rv == CKR_OK && !err_is(verdict))
        *verdict = admit(k, &seen, scanning);
    return rv;
}

/* One class of objects. Foreign objects are counted, ours that must not be used are logged and the first is kept. */
static CK_RV scan_class(struct keys *k, const struct lease *l, CK_OBJECT_CLASS class, size_t *foreign,
                        struct err *first)
{
    CK_OBJECT_HANDLE h[KEYS_MAX];
    size_t n = 0;
    CK_ATTRIBUTE template[] = {attr_of(CKA_CLASS, &class, sizeof class), attr_of_bool(CKA_TOKEN, true)};
    CK_RV rv = attr_find(l, template, COUNT(template), h, COUNT(h), &n);
    for (size_t i = 0; rv == CKR_OK && i < n; i++) {
        struct err verdict = OK;
        rv = take(k, l, h[i], true, &verdict);
        *foreign += verdict.code == ERR_NOT_FOUND;
        if (rv != CKR_OK || verdict.code != ERR_CONFIG)
            continue;
        log_err(LOG_ERROR, "a key on the token is refused", &verdict, NULL, 0);
        if (!err_is(first))
            *first = verdict;
    }
    return rv;
}

CK_RV keys_scan(struct keys *k, const struct lease *l, struct err *verdict)
{
    size_t foreign = 0;
    *verdict = OK;
    pthread_mutex_lock(&k->lock);
    k->scans++;
    CK_RV rv = scan_class(k, l, CKO_PRIVATE_KEY, &foreign, verdict);
    if (rv == CKR_OK)
        rv = scan_class(k, l, CKO_SECRET_KEY, &foreign, verdict);
    bool first = k->scans == 1;
    pthread_mutex_unlock(&k->lock);
    if (foreign > 0 && first)
        LOG(LOG_WARN, "keys on the token that are not ours are left alone", LOG_INT("keys", foreign));
    return rv;
}

CK_RV keys_lookup(struct keys *k, const struct lease *l, const struct hsm_key_id *id, struct key **out,
                  struct err *verdict)
{
    enum { SAME_ID_MAX = 8 };
    static const CK_OBJECT_CLASS classes[] = {CKO_PRIVATE_KEY, CKO_SECRET_KEY};
    struct hsm_key_id wanted = *id;
    size_t found = 0;
    CK_RV rv = CKR_OK;
    *verdict = OK;
    pthread_mutex_lock(&k->lock);
    for (size_t c = 0; rv == CKR_OK && c < COUNT(classes); c++) {
        CK_OBJECT_HANDLE h[SAME_ID_MAX];
        CK_OBJECT_CLASS class = classes[c];
        size_t n = 0;
        CK_ATTRIBUTE template[] = {attr_of(CKA_CLASS, &class, sizeof class), attr_of(CKA_ID, wanted.v, sizeof wanted.v),
                                   attr_of_bool(CKA_TOKEN, true)};
        rv = attr_find(l, template, COUNT(template), h, COUNT(h), &n);
        for (size_t i = 0; rv == CKR_OK && i < n; i++, found++)
            rv = take(k, l, h[i], false, verdict);
    }
    pthread_mutex_unlock(&k->lock);
    if (rv == CKR_OK && found > 1)
        *verdict = FAIL(ERR_CONFIG, "%zu keys of one CKA_ID on the token", found);
    *out = rv == CKR_OK && found == 1 && !err_is(verdict) ? keys_find(k, id) : NULL;
    return rv;
}

void keys_forget_handles(struct keys *k)
{
    size_t n = atomic_load(&k->n);
    for (size_t i = 0; i < n; i++)
        atomic_store(&k->v[i].handle, CK_INVALID_HANDLE);
}
