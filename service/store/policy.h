/* SPDX-License-Identifier: Apache-2.0
 * The registers that sessions on behalf of users are decided by: who vouches for users, and the scopes' conditions.
 * Changes of both come one after the other, each with its leaves in one statement, and with the next revision unless it
 * changes nothing that decides. */
#ifndef SERVICE_STORE_POLICY_H
#define SERVICE_STORE_POLICY_H

#include "service/store/store.h"

/* --- issuers.c --- Lists are whole, and ordered by issuer or name. */
/* ERR_ISSUER_EXISTS; ERR_INVALID_REQUEST when there are ISSUERS_MAX. */
struct err store_issuer_insert(const struct store *s, const struct issuer *i, const struct leaf_batch *l,
                               int64_t *created_us);
struct err store_issuer_get(const struct store *s, struct str id, struct issuer *out); /* ERR_ISSUER_NOT_FOUND */
struct err store_issuer_list(const struct store *s, struct issuer **out, size_t *n);
/* Replaces all but id and issuer of the row whose version is i->version, and gives it the next version; ERR_CONFLICT
 * when it has moved on, or is gone. */
struct err store_issuer_update(const struct store *s, const struct issuer *i, const struct leaf_batch *l,
                               struct issuer *out);
struct err store_issuer_delete(const struct store *s, struct str id, const struct leaf_batch *l);

/* --- scopes.c --- */
/* ERR_SCOPE_EXISTS; ERR_INVALID_REQUEST when there are SCOPE_RULES_MAX. */
struct err store_scope_insert(const struct store *s, const struct scope_rule *d, const struct leaf_batch *l,
                              int64_t *created_us);
struct err store_scope_get(const struct store *s, struct str name, struct scope_rule *out); /* ERR_SCOPE_NOT_FOUND */
struct err store_scope_list(const struct store *s, struct scope_rule **out, size_t *n);
/* Replaces all but the name; of two changes at once the last one stays. */
struct err store_scope_update(const struct store *s, const struct scope_rule *d, const struct leaf_batch *l,
                              struct scope_rule *out);
struct err store_scope_delete(const struct store *s, struct str name, const struct leaf_batch *l);

#endif
