#include "core/crypto/crypto.h"

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <string.h>

static EVP_MAC_CTX *hmac_new(const char *digest)
{
    EVP_MAC *mac = EVP_MAC_fetch(NULL, "HMAC", NULL);
    invariant(mac != NULL);
    EVP_MAC_CTX *ctx = EVP_MAC_CTX_new(mac);
    EVP_MAC_free(mac); /* the context holds on to it */
    invariant(ctx != NULL);
    char name[16];
    size_t n = strlen(digest);
    invariant(n < sizeof(name));
    memcpy(name, digest, n + 1);
    const OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, name, 0),
        OSSL_PARAM_construct_end(),
    };
    invariant(EVP_MAC_CTX_set_params(ctx, params) == 1);
    return ctx;
}

static void hmac_start(EVP_MAC_CTX *ctx, const void *key, size_t key_n)
{
    /* A NULL key means "the key as before" to OpenSSL; an empty key is a key. */
    invariant(EVP_MAC_init(ctx, key_n ? key : "", key_n, NULL) == 1);
}

static void hmac_add(EVP_MAC_CTX *ctx, const void *data, size_t n)
{
    invariant(n == 0 || EVP_MAC_update(ctx, data, n) == 1);
}

void hmac_sha256(const void *key, size_t key_n, const void *data, size_t n, uint8_t out[SHA256_BYTES])
{
    EVP_MAC_CTX *ctx = hmac_new("SHA256");
    size_t made = 0;
    hmac_start(ctx, key, key_n);
    hmac_add(ctx, data, n);
    invariant(EVP_MAC_final(ctx, out, &made, SHA256_BYTES) == 1 && made == SHA256_BYTES);
    EVP_MAC_CTX_free(ctx);
}

/*
 * T(i) = HMAC(prk, T(i-1) || info || i); the output is T(1) || T(2) || ...  By hand over OpenSSL's HMAC,
 * because the HKDF of OpenSSL 3.0 takes at most 2 KiB of info, and ours holds whole contexts.
 */
static void hkdf_expand(const char *digest, size_t hash_n, const void *prk, size_t prk_n, const void *info,
                        size_t info_n, uint8_t *out, size_t out_n)
{
    uint8_t block[SHA384_BYTES];
    invariant(hash_n <= sizeof(block) && out_n <= 255 * hash_n);
    EVP_MAC_CTX *ctx = hmac_new(digest);
    for (size_t done = 0, i = 1; done < out_n; i++) {
        const uint8_t counter = (uint8_t)i;
        size_t made = 0;
        hmac_start(ctx, prk, prk_n);
        hmac_add(ctx, block, i == 1 ? 0 : hash_n);
        hmac_add(ctx, info, info_n);
        hmac_add(ctx, &counter, 1);
        invariant(EVP_MAC_final(ctx, block, &made, sizeof(block)) == 1 && made == hash_n);
        size_t take = MIN(hash_n, out_n - done);
        memcpy(out + done, block, take);
        done += take;
    }
    EVP_MAC_CTX_free(ctx);
    explicit_bzero(block, sizeof(block));
}

void hkdf_expand_sha256(const void *prk, size_t prk_n, const void *info, size_t info_n, uint8_t *out,
                        size_t out_n)
{
    hkdf_expand("SHA256", SHA256_BYTES, prk, prk_n, info, info_n, out, out_n);
}

void hkdf_expand_sha384(const void *prk, size_t prk_n, const void *info, size_t info_n, uint8_t *out,
                        size_t out_n)
{
    hkdf_expand("SHA384", SHA384_BYTES, prk, prk_n, info, info_n, out, out_n);
}
