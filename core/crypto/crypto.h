/*
 * crypto.h - OpenSSL ends here: digests, AEAD, key derivation, signatures, under our names and error rules.
 *
 * AES-256-GCM (NIST SP 800-38D), SHA-256 and SHA-384 (FIPS 180-4), HMAC (RFC 2104), HKDF-Expand (RFC 5869),
 * Ed25519 (RFC 8032). Nothing here chooses policy; core/seal and core/keys do. Threads: all functions may be
 * called from any thread on different objects.
 */
#ifndef CORE_CRYPTO_CRYPTO_H
#define CORE_CRYPTO_CRYPTO_H

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "core/crypto/secret.h"

enum {
    SHA256_BYTES = 32,
    SHA384_BYTES = 48,
    SHA256_HEX_BYTES = 65, /* with the NUL */
    AEAD_KEY_BYTES = 32,
    AEAD_IV_BYTES = 12,
    AEAD_TAG_BYTES = 16,
    SIGN_BYTES = 64,
    SIGN_PUBLIC_BYTES = 32,
};

void sha256(const void *data, size_t n, uint8_t out[SHA256_BYTES]);
void sha256_hex(const void *data, size_t n, char out[SHA256_HEX_BYTES]);

struct sha256; /* incremental */
struct sha256 *sha256_new(void);
void sha256_add(struct sha256 *h, const void *data, size_t n);
void sha256_end(struct sha256 *h, uint8_t out[SHA256_BYTES]); /* the object may only be freed afterwards */
void sha256_free(struct sha256 *h);
DEFINE_CLEANUP_PTR(struct sha256, sha256_free)

void hmac_sha256(const void *key, size_t key_n, const void *data, size_t n, uint8_t out[SHA256_BYTES]);

/* RFC 5869 section 2.3. out_n <= 255 hash lengths. */
void hkdf_expand_sha256(const void *prk, size_t prk_n, const void *info, size_t info_n, uint8_t *out, size_t out_n);
void hkdf_expand_sha384(const void *prk, size_t prk_n, const void *info, size_t info_n, uint8_t *out, size_t out_n);

/* One AES-256-GCM key, its schedule kept for many messages. One thread. */
struct aead;
struct aead *aead_new(const uint8_t key[AEAD_KEY_BYTES]);
void aead_free(struct aead *a);
DEFINE_CLEANUP_PTR(struct aead, aead_free)

void aead_seal(struct aead *a, const uint8_t iv[AEAD_IV_BYTES], const void *aad, size_t aad_n, const void *plain,
               size_t n, uint8_t *out_cipher, uint8_t out_tag[AEAD_TAG_BYTES]); /* in place is fine */
/* ERR_CORRUPT where the tag does not match; out_plain is then zeroed. */
enum err_code aead_open(struct aead *a, const uint8_t iv[AEAD_IV_BYTES], const void *aad, size_t aad_n,
                        const void *cipher, size_t n, const uint8_t tag[AEAD_TAG_BYTES], uint8_t *out_plain,
                        struct err *e);

bool crypto_equal(const void *a, const void *b, size_t n); /* constant time */

/*
 * Ed25519. The private key is the 32-byte seed as a secret; public keys are 32 raw bytes. A key's id, as it stands
 * in signatures, is the first 16 hex digits of the SHA-256 of the raw public key.
 */
enum { SIGN_KEY_ID_BYTES = 17 };
struct signer {
    struct secret *seed; /* owned */
    uint8_t public_key[SIGN_PUBLIC_BYTES];
    char key_id[SIGN_KEY_ID_BYTES];
};
enum err_code signer_from_seed(const struct secret *seed, struct signer *out, struct err *e); /* copies the seed */
void signer_done(struct signer *s);
void sign_key_id(const uint8_t public_key[SIGN_PUBLIC_BYTES], char out[SIGN_KEY_ID_BYTES]);
enum err_code sign(const struct signer *s, const void *data, size_t n, uint8_t out[SIGN_BYTES], struct err *e);
/* ERR_CORRUPT where it is not this key's signature of these bytes. */
enum err_code sign_verify(const uint8_t public_key[SIGN_PUBLIC_BYTES], const void *data, size_t n,
                          const uint8_t signature[SIGN_BYTES], struct err *e);

/* PEM (PKCS #8 private, SubjectPublicKeyInfo public), so that the openssl command reads them too. */
enum err_code sign_private_pem(const struct secret *seed, struct buf *out, struct err *e);
enum err_code sign_public_pem(const uint8_t public_key[SIGN_PUBLIC_BYTES], struct buf *out, struct err *e);
enum err_code sign_private_from_pem(const struct secret *pem, struct secret **out_seed, struct err *e);
enum err_code sign_public_from_pem(const char *pem, uint8_t out[SIGN_PUBLIC_BYTES], struct err *e);

#endif
