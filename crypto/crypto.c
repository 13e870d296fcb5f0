/* SPDX-License-Identifier: Apache-2.0 */
#include "crypto/internal.h"

#include <stdlib.h>

static struct err load_provider(struct crypto *c, const char *name)
{
    bool fips = strcmp(name, "fips") == 0;
    if (!fips && strcmp(name, "default") != 0)
        return FAIL(ERR_CONFIG, "OpenSSL provider must be default or fips");
    c->lib = OSSL_LIB_CTX_new();
    if (c->lib == NULL)
        return FAIL(ERR_NO_MEMORY, "OSSL_LIB_CTX_new");
    /* The FIPS module finds its own checksum in the host's configuration; nothing else reads that file. */
    if (fips && OSSL_LIB_CTX_load_config(c->lib, NULL) != 1)
        return FAIL(ERR_CONFIG, "the host's OpenSSL configuration, which the fips provider needs, cannot be read");
    c->provider = OSSL_PROVIDER_load(c->lib, name);
    if (c->provider == NULL)
        return FAIL(ERR_CONFIG, "OpenSSL has no usable provider \"%s\"", name);
    return OK;
}

struct err crypto_new(const char *provider, struct crypto **out)
{
    CLEANUP(crypto_free) struct crypto *c = calloc(1, sizeof *c);
    if (c == NULL)
        return FAIL(ERR_NO_MEMORY, "crypto");
    TRY(load_provider(c, provider));
    c->sha256 = EVP_MD_fetch(c->lib, "SHA256", NULL);
    c->sha384 = EVP_MD_fetch(c->lib, "SHA384", NULL);
    c->aes_256_gcm = EVP_CIPHER_fetch(c->lib, "AES-256-GCM", NULL);
    if (c->sha256 == NULL || c->sha384 == NULL || c->aes_256_gcm == NULL)
        return FAIL(ERR_CONFIG, "OpenSSL provider \"%s\" lacks SHA-256, SHA-384 or AES-256-GCM", provider);
    *out = c;
    c = NULL;
    return OK;
}

void crypto_free(struct crypto **c)
{
    if (*c == NULL)
        return;
    EVP_MD_free((*c)->sha256);
    EVP_MD_free((*c)->sha384);
    EVP_CIPHER_free((*c)->aes_256_gcm);
    if ((*c)->provider != NULL)
        OSSL_PROVIDER_unload((*c)->provider);
    OSSL_LIB_CTX_free((*c)->lib);
    free(*c);
    *c = NULL;
}

static struct err digest(const EVP_MD *md, struct bytes in, uint8_t *out)
{
    return EVP_Digest(in.p, in.n, out, NULL, md, NULL) == 1 ? OK : FAIL(ERR_CRYPTO, "EVP_Digest of %zu bytes", in.n);
}

struct err crypto_sha256(const struct crypto *c, struct bytes in, uint8_t out[static SHA256_LEN])
{
    return digest(c->sha256, in, out);
}

struct err crypto_sha384(const struct crypto *c, struct bytes in, uint8_t out[static SHA384_LEN])
{
    return digest(c->sha384, in, out);
}

struct err crypto_hmac_sha256(const struct crypto *c, struct bytes key, struct bytes in, uint8_t out[static SHA256_LEN])
{
    size_t n = 0;
    const void *made = EVP_Q_mac(c->lib, "HMAC", NULL, "SHA256", NULL, key.p, key.n, in.p, in.n, out, SHA256_LEN, &n);
    return made != NULL && n == SHA256_LEN ? OK : FAIL(ERR_CRYPTO, "HMAC of %zu bytes", in.n);
}
