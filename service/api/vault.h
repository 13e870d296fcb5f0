/* SPDX-License-Identifier: Apache-2.0
 * Secrets at rest. Each owner of secrets (a provider, a connection) has one data key, which lies wrapped in the owner's
 * row; its secrets are sealed under it (crypto/envelope.h), each for its place. A worker keeps the data keys that it
 * unwrapped in locked memory, for a bounded time and in a bounded number. */
#ifndef SERVICE_API_VAULT_H
#define SERVICE_API_VAULT_H

#include "service/api/record.h"

struct vault;
/* Keeps at most `most` data keys, each for lifetime_s seconds. Either 0: none is ever kept. */
struct err vault_new(int64_t lifetime_s, int64_t most, struct vault **out);
void vault_free(struct vault **v);

/* Wipes the data keys whose time is over. Every use of the vault does so; this is for workers that do not use it. */
void vault_expire(struct vault *v);

/* A new data key, which the caller stores with its owner. It is not kept: the first use unwraps it, so that nothing is
 * ever sealed under a key whose wrapped form does not lead back to it. ERR_NO_ACTIVE_KEY when there is no KEK. */
struct err vault_make_dek(const struct call *c, struct dek *out);

/* Where a sealed value belongs. What was sealed for one place opens at no other; the version is that of the value, so
 * an older value in a newer row does not open either. */
struct sealed_place {
    struct str tenant; /* p == NULL: the owner has none */
    struct str owner;  /* its kind and id, such as "provider:prov_1": one owner, one text */
    struct str column;
    int64_t version;
};

/* ERR_HSM_* and ERR_DB_* when the data key has to be unwrapped and cannot be. */
struct err vault_seal(const struct call *c, const struct dek *d, const struct sealed_place *p, struct bytes plain,
                      struct bytes *out);
/* ERR_SEALED when it is not what was sealed under this key for this place. */
struct err vault_open(const struct call *c, const struct dek *d, const struct sealed_place *p, struct bytes sealed,
                      struct secret **out);

/* What administrators may see of a secret, to tell whether it changed: 16 characters of base64url. It depends on the
 * data key, so nobody can try guesses against it without the HSM. */
struct err vault_fingerprint(const struct call *c, const struct dek *d, struct bytes secret, struct str *out);

#endif
