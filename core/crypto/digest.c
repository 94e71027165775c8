#include "core/crypto/crypto.h"

#include "base/mem.h"
#include "base/text.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>

/* Digests cannot fail but for memory, or an OpenSSL without SHA-2: both end the program. */

void sha256(const void *data, size_t n, uint8_t out[SHA256_BYTES])
{
    invariant(EVP_Digest(data, n, out, NULL, EVP_sha256(), NULL) == 1);
}

void sha256_hex(const void *data, size_t n, char out[SHA256_HEX_BYTES])
{
    uint8_t hash[SHA256_BYTES];
    sha256(data, n, hash);
    hex_encode(hash, sizeof(hash), out);
}

struct sha256 {
    EVP_MD_CTX *ctx;
};

struct sha256 *sha256_new(void)
{
    struct sha256 *h = mem_new(sizeof(*h));
    h->ctx = EVP_MD_CTX_new();
    invariant(h->ctx != NULL);
    invariant(EVP_DigestInit_ex(h->ctx, EVP_sha256(), NULL) == 1);
    return h;
}

void sha256_add(struct sha256 *h, const void *data, size_t n)
{
    invariant(EVP_DigestUpdate(h->ctx, data, n) == 1);
}

void sha256_end(struct sha256 *h, uint8_t out[SHA256_BYTES])
{
    invariant(EVP_DigestFinal_ex(h->ctx, out, NULL) == 1);
}

void sha256_free(struct sha256 *h)
{
    if (!h)
        return;
    EVP_MD_CTX_free(h->ctx);
    free(h);
}

bool crypto_equal(const void *a, const void *b, size_t n)
{
    return CRYPTO_memcmp(a, b, n) == 0;
}
