#include "core/crypto/crypto.h"

#include "base/mem.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <string.h>

/* OpenSSL counts bytes as int: longer input goes in pieces, whole blocks each. */
enum { PIECE_BYTES_MAX = 1 << 30 };

enum { SEAL = 1, OPEN = 0 };

struct aead {
    EVP_CIPHER_CTX *ctx;
};

struct aead *aead_new(const uint8_t key[AEAD_KEY_BYTES])
{
    struct aead *a = mem_new(sizeof(*a));
    a->ctx = EVP_CIPHER_CTX_new();
    invariant(a->ctx != NULL);
    invariant(EVP_CipherInit_ex(a->ctx, EVP_aes_256_gcm(), NULL, key, NULL, SEAL) == 1);
    return a;
}

void aead_free(struct aead *a)
{
    if (!a)
        return;
    EVP_CIPHER_CTX_free(a->ctx); /* wipes the key schedule */
    free(a);
}

/* `out` NULL: associated data. With lengths and order as here, nothing can fail before the tag. */
static void update(struct aead *a, uint8_t *out, const uint8_t *in, size_t n)
{
    for (size_t done = 0; done < n;) {
        int made = 0;
        int take = (int)MIN(n - done, (size_t)PIECE_BYTES_MAX);
        invariant(EVP_CipherUpdate(a->ctx, out ? out + done : NULL, &made, in + done, take) == 1);
        invariant(made == take);
        done += (size_t)take;
    }
}

void aead_seal(struct aead *a, const uint8_t iv[AEAD_IV_BYTES], const void *aad, size_t aad_n,
               const void *plain, size_t n, uint8_t *out_cipher, uint8_t out_tag[AEAD_TAG_BYTES])
{
    uint8_t nothing[16];
    int made = 0;
    invariant(EVP_CipherInit_ex(a->ctx, NULL, NULL, NULL, iv, SEAL) == 1);
    update(a, NULL, aad, aad_n);
    update(a, out_cipher, plain, n);
    invariant(EVP_CipherFinal_ex(a->ctx, nothing, &made) == 1 && made == 0);
    invariant(EVP_CIPHER_CTX_ctrl(a->ctx, EVP_CTRL_AEAD_GET_TAG, AEAD_TAG_BYTES, out_tag) == 1);
}

enum err_code aead_open(struct aead *a, const uint8_t iv[AEAD_IV_BYTES], const void *aad, size_t aad_n,
                        const void *cipher, size_t n, const uint8_t tag[AEAD_TAG_BYTES], uint8_t *out_plain,
                        struct err *e)
{
    uint8_t nothing[16];
    uint8_t expected[AEAD_TAG_BYTES];
    int made = 0;
    memcpy(expected, tag, sizeof(expected)); /* OpenSSL takes it as not const */
    invariant(EVP_CipherInit_ex(a->ctx, NULL, NULL, NULL, iv, OPEN) == 1);
    update(a, NULL, aad, aad_n);
    update(a, out_plain, cipher, n);
    invariant(EVP_CIPHER_CTX_ctrl(a->ctx, EVP_CTRL_AEAD_SET_TAG, AEAD_TAG_BYTES, expected) == 1);
    if (EVP_CipherFinal_ex(a->ctx, nothing, &made) == 1)
        return OK;
    if (n)
        explicit_bzero(out_plain, n);
    ERR_clear_error();
    return err_set(e, ERR_CORRUPT, "the authentication tag does not match");
}
