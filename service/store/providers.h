/* SPDX-License-Identifier: Apache-2.0
 * The register of providers. Each change is one statement with its leaves; where it finds nothing to change, only the
 * leaves that were waiting are in, and *changed is false. */
#ifndef SERVICE_STORE_PROVIDERS_H
#define SERVICE_STORE_PROVIDERS_H

#include "service/core/provider.h"
#include "service/store/store.h"

/* ERR_PROVIDER_EXISTS when another one has the name. *changed is false when there are PROVIDERS_MAX. */
struct err store_provider_insert(const struct store *s, const struct provider *p, const struct leaf_batch *l,
                                 bool *changed);

/* By id, or by name in any case of its letters. ERR_PROVIDER_NOT_FOUND, also for deleted ones. */
struct err store_provider_get(const struct store *s, struct str id, struct provider *out);
struct err store_provider_find(const struct store *s, struct str name, struct provider *out);
/* All of them, ordered by name, with what is shown of them in lists alone: id, name, description, category, auth,
 * scopes, api_base_url and user_info_endpoint. */
struct err store_provider_list(const struct store *s, struct provider **out, size_t *n);

/* Replaces all but the id of the row whose version is p->version, and gives it the next version; false when it has
 * moved on, or is gone. A data key that is there stays as it is wrapped: it may have been wrapped anew meanwhile.
 * ERR_PROVIDER_EXISTS. */
struct err store_provider_update(const struct store *s, const struct provider *p, const struct leaf_batch *l,
                                 bool *changed, struct provider *out);
/* Deletes: the row stays, with its sealed secret, for the connections that were made through it. */
struct err store_provider_delete(const struct store *s, struct str id, const struct leaf_batch *l, bool *changed);

#endif
