/* SPDX-License-Identifier: Apache-2.0
 * The client secret of a provider, on its way into its row and out of it again. Only who calls the provider opens it.
 */
#ifndef SERVICE_API_PROVIDER_SECRET_H
#define SERVICE_API_PROVIDER_SECRET_H

#include "base/secret.h"
#include "service/api/record.h"
#include "service/core/provider.h"

/* Takes the place of the secret that p had: the next version, under p's data key, which is made if there is none.
 * Errors as of vault_make_dek and vault_seal. */
struct err provider_secret_seal(const struct call *c, struct str secret, struct provider *p);

/* ERR_SEALED when it is not what was sealed for this provider and version. */
struct err provider_secret_open(const struct call *c, const struct provider *p, struct secret **out);

#endif
