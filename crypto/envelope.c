/* SPDX-License-Identifier: Apache-2.0 */
#include "crypto/envelope.h"

#include "base/rand.h"
#include "crypto/internal.h"

#include <limits.h>
#include <openssl/err.h>

enum { FORMAT = 0x01, HEAD_LEN = 1 + ENVELOPE_NONCE_LEN, TAG_LEN = ENVELOPE_OVERHEAD - HEAD_LEN };
enum { OPEN = 0, SEAL = 1 }; /* as OpenSSL counts them */

static void ctx_free(EVP_CIPHER_CTX **x)
{
    EVP_CIPHER_CTX_free(*x);
}

/* Feeds bytes; to == NULL: they are additional data. A length fits an int by the checks of start and of its callers. */
static bool feed(EVP_CIPHER_CTX *x, uint8_t *to, struct bytes in)
{
    int n = 0;
    return in.n == 0 || EVP_CipherUpdate(x, to, &n, in.p, (int)in.n) == 1;
}

static struct err start(const struct crypto *c, int direction, struct bytes key32, const uint8_t *nonce,
                        struct bytes aad, EVP_CIPHER_CTX **out)
{
    if (key32.n != ENVELOPE_KEY_LEN || aad.n > INT_MAX)
        return FAIL(ERR_CRYPTO, "a data key of %zu bytes, additional data of %zu", key32.n, aad.n);
    *out = EVP_CIPHER_CTX_new();
    if (*out == NULL)
        return FAIL(ERR_NO_MEMORY, "EVP_CIPHER_CTX_new");
    if (EVP_CipherInit_ex2(*out, c->aes_256_gcm, key32.p, nonce, direction, NULL) != 1 || !feed(*out, NULL, aad))
        return FAIL(ERR_CRYPTO, "AES-256-GCM cannot start");
    return OK;
}

struct err envelope_seal_with(const struct crypto *c, const struct envelope_input *in, struct arena *a,
                              struct bytes *out)
{
    CLEANUP(ctx_free) EVP_CIPHER_CTX *x = NULL;
    int n = 0;
    if (in->plain.n > ENVELOPE_PLAIN_MAX)
        return FAIL(ERR_TOO_LARGE, "%zu bytes to seal; %d are the most", in->plain.n, ENVELOPE_PLAIN_MAX);
    TRY(start(c, SEAL, in->key32, in->nonce, in->aad, &x));
    uint8_t *p = arena_alloc(a, ENVELOPE_OVERHEAD + in->plain.n);
    if (p == NULL)
        return FAIL(ERR_NO_MEMORY, "a sealed value of %zu bytes", in->plain.n);
    uint8_t *tag = p + HEAD_LEN + in->plain.n;
    p[0] = FORMAT;
    memcpy(p + 1, in->nonce, ENVELOPE_NONCE_LEN);
    if (!feed(x, p + HEAD_LEN, in->plain) || EVP_CipherFinal_ex(x, tag, &n) != 1 ||
        EVP_CIPHER_CTX_ctrl(x, EVP_CTRL_AEAD_GET_TAG, TAG_LEN, tag) != 1)
        return FAIL(ERR_CRYPTO, "AES-256-GCM of %zu bytes", in->plain.n);
    *out = bytes_of(p, ENVELOPE_OVERHEAD + in->plain.n);
    return OK;
}

/* SP 800-38D section 8.3: random nonces are good for 2^32 values under one key. A data key belongs to one owner, whose
 * few values are sealed anew when they change, which is far from that. */
struct err envelope_seal(const struct crypto *c, struct bytes key32, struct bytes aad, struct bytes plain,
                         struct arena *a, struct bytes *out)
{
    struct envelope_input in = {.key32 = key32, .aad = aad, .plain = plain};
    TRY(rand_bytes(in.nonce, sizeof in.nonce));
    return envelope_seal_with(c, &in, a, out);
}

static struct err unreadable(void)
{
    ERR_clear_error(); /* of this thread's OpenSSL error queue, which nobody reads */
    return FAIL(ERR_SEALED, "the value, its key or its place is not what it was when it was sealed");
}

struct err envelope_open(const struct crypto *c, struct bytes key32, struct bytes aad, struct bytes sealed,
                         struct secret **out)
{
    CLEANUP(ctx_free) EVP_CIPHER_CTX *x = NULL;
    CLEANUP(secret_free) struct secret *plain = NULL;
    int n = 0;
    if (sealed.n < ENVELOPE_OVERHEAD || sealed.n > ENVELOPE_OVERHEAD + ENVELOPE_PLAIN_MAX || sealed.p[0] != FORMAT)
        return unreadable();
    struct bytes text = {sealed.p + HEAD_LEN, sealed.n - ENVELOPE_OVERHEAD};
    uint8_t tag[TAG_LEN];
    memcpy(tag, text.p + text.n, TAG_LEN);
    TRY(start(c, OPEN, key32, sealed.p + 1, aad, &x));
    TRY(secret_new(text.n, &plain));
    plain->n = text.n;
    if (EVP_CIPHER_CTX_ctrl(x, EVP_CTRL_AEAD_SET_TAG, TAG_LEN, tag) != 1)
        return FAIL(ERR_CRYPTO, "AES-256-GCM takes no tag");
    /* SP 800-38D section 7.2: nothing of the text leaves here unless the tag is right. */
    if (!feed(x, plain->p, text) || EVP_CipherFinal_ex(x, plain->p + text.n, &n) != 1)
        return unreadable();
    *out = plain;
    plain = NULL;
    return OK;
}
