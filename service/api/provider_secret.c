/* SPDX-License-Identifier: Apache-2.0 */
#include "service/api/provider_secret.h"

#include "service/api/vault.h"

/* Providers are everybody's: "-" stands where the tenant of a connection's secrets does. */
static struct err place_of(const struct call *c, const struct provider *p, int64_t version, struct sealed_place *out)
{
    struct str owner = arena_printf(c->arena, "provider:%.*s", STR_FMT(p->id));
    *out =
        (struct sealed_place){.tenant = STR("-"), .owner = owner, .column = STR("client_secret"), .version = version};
    return owner.p != NULL ? OK : FAIL(ERR_NO_MEMORY, "provider");
}

struct err provider_secret_seal(const struct call *c, struct str secret, struct provider *p)
{
    struct provider_secret next = p->secret;
    struct sealed_place place;
    next.version++;
    TRY(place_of(c, p, next.version, &place));
    if (next.dek.wrapped.p == NULL)
        TRY(vault_make_dek(c, &next.dek));
    TRY(vault_seal(c, &next.dek, &place, str_bytes(secret), &next.sealed));
    TRY(vault_fingerprint(c, &next.dek, str_bytes(secret), &next.fingerprint));
    p->secret = next;
    return OK;
}

struct err provider_secret_open(const struct call *c, const struct provider *p, struct secret **out)
{
    struct sealed_place place;
    TRY(place_of(c, p, p->secret.version, &place));
    return vault_open(c, &p->secret.dek, &place, p->secret.sealed, out);
}
