#include "core/crypto/crypto.h"

#include "base/text.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <string.h>

DEFINE_CLEANUP_PTR(EVP_PKEY, EVP_PKEY_free)
DEFINE_CLEANUP_PTR(EVP_MD_CTX, EVP_MD_CTX_free)

enum { PEM_BYTES_MAX = 16 * 1024 };

static void bio_donep(BIO **b)
{
    BIO_free(*b);
    *b = NULL;
}

static enum err_code private_key(const struct secret *seed, EVP_PKEY **out, struct err *e)
{
    if (secret_len(seed) != SIGN_PUBLIC_BYTES)
        return err_set(e, ERR_USAGE, "an Ed25519 key has 32 bytes, not %zu", secret_len(seed));
    *out = EVP_PKEY_new_raw_private_key_ex(NULL, "ED25519", NULL, secret_bytes(seed), secret_len(seed));
    invariant(*out != NULL);
    return OK;
}

static EVP_PKEY *public_key_of(const uint8_t raw[SIGN_PUBLIC_BYTES])
{
    EVP_PKEY *key = EVP_PKEY_new_raw_public_key_ex(NULL, "ED25519", NULL, raw, SIGN_PUBLIC_BYTES);
    invariant(key != NULL);
    return key;
}

void sign_key_id(const uint8_t public_key[SIGN_PUBLIC_BYTES], char out[SIGN_KEY_ID_BYTES])
{
    uint8_t hash[SHA256_BYTES];
    sha256(public_key, SIGN_PUBLIC_BYTES, hash);
    hex_encode(hash, (SIGN_KEY_ID_BYTES - 1) / 2, out);
}

enum err_code signer_from_seed(const struct secret *seed, struct signer *out, struct err *e)
{
    CLEANUP(EVP_PKEY_freep) EVP_PKEY *key = NULL;
    if (private_key(seed, &key, e))
        return e->code;
    size_t n = SIGN_PUBLIC_BYTES;
    invariant(EVP_PKEY_get_raw_public_key(key, out->public_key, &n) == 1 && n == SIGN_PUBLIC_BYTES);
    sign_key_id(out->public_key, out->key_id);
    out->seed = secret_copy(seed);
    return OK;
}

void signer_done(struct signer *s)
{
    secret_free(s->seed);
    *s = (struct signer){ .seed = NULL };
}

enum err_code sign(const struct signer *s, const void *data, size_t n, uint8_t out[SIGN_BYTES], struct err *e)
{
    CLEANUP(EVP_PKEY_freep) EVP_PKEY *key = NULL;
    CLEANUP(EVP_MD_CTX_freep) EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    invariant(ctx != NULL);
    if (private_key(s->seed, &key, e))
        return e->code;
    size_t made = SIGN_BYTES;
    uint8_t made_signature[SIGN_BYTES];
    if (EVP_DigestSignInit_ex(ctx, NULL, NULL, NULL, NULL, key, NULL) != 1 ||
        EVP_DigestSign(ctx, made_signature, &made, data, n) != 1 || made != SIGN_BYTES) {
        ERR_clear_error();
        return err_set(e, ERR_IO, "OpenSSL refused to sign with Ed25519");
    }
    memcpy(out, made_signature, SIGN_BYTES);
    return OK;
}

enum err_code sign_verify(const uint8_t public_key[SIGN_PUBLIC_BYTES], const void *data, size_t n,
                          const uint8_t signature[SIGN_BYTES], struct err *e)
{
    CLEANUP(EVP_PKEY_freep) EVP_PKEY *key = public_key_of(public_key);
    CLEANUP(EVP_MD_CTX_freep) EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    invariant(ctx != NULL);
    if (EVP_DigestVerifyInit_ex(ctx, NULL, NULL, NULL, NULL, key, NULL) == 1 &&
        EVP_DigestVerify(ctx, signature, SIGN_BYTES, data, n) == 1)
        return OK;
    ERR_clear_error();
    char id[SIGN_KEY_ID_BYTES];
    sign_key_id(public_key, id);
    return err_set(e, ERR_CORRUPT, "the signature is not one of key %s over these bytes", id);
}

/* What OpenSSL wrote goes over to `out` and is wiped behind us. */
static enum err_code bio_take(BIO *bio, struct buf *out, struct err *e)
{
    char *text = NULL;
    long n = BIO_get_mem_data(bio, &text);
    invariant(n > 0);
    buf_add(out, text, (size_t)n);
    explicit_bzero(text, (size_t)n);
    return buf_check(out, "PEM text", e);
}

enum err_code sign_private_pem(const struct secret *seed, struct buf *out, struct err *e)
{
    CLEANUP(EVP_PKEY_freep) EVP_PKEY *key = NULL;
    CLEANUP(bio_donep) BIO *bio = BIO_new(BIO_s_secmem());
    invariant(bio != NULL);
    if (private_key(seed, &key, e))
        return e->code;
    invariant(PEM_write_bio_PKCS8PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL) == 1);
    return bio_take(bio, out, e);
}

enum err_code sign_public_pem(const uint8_t public_key[SIGN_PUBLIC_BYTES], struct buf *out, struct err *e)
{
    CLEANUP(EVP_PKEY_freep) EVP_PKEY *key = public_key_of(public_key);
    CLEANUP(bio_donep) BIO *bio = BIO_new(BIO_s_mem());
    invariant(bio != NULL);
    invariant(PEM_write_bio_PUBKEY(bio, key) == 1);
    return bio_take(bio, out, e);
}

/* OpenSSL's own would ask on the terminal. */
static int no_passphrase(char *text, int size, int writing, void *context)
{
    (void)text, (void)size, (void)writing, (void)context;
    return -1;
}

enum err_code sign_private_from_pem(const struct secret *pem, struct secret **out_seed, struct err *e)
{
    if (secret_len(pem) == 0 || secret_len(pem) > PEM_BYTES_MAX)
        return err_set(e, ERR_USAGE, "a private key in PEM has 1 to %d bytes, not %zu", PEM_BYTES_MAX,
                       secret_len(pem));
    CLEANUP(bio_donep) BIO *bio = BIO_new_mem_buf(secret_bytes(pem), (int)secret_len(pem));
    invariant(bio != NULL);
    CLEANUP(EVP_PKEY_freep) EVP_PKEY *key = PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, NULL);
    uint8_t seed[SIGN_PUBLIC_BYTES];
    size_t n = sizeof(seed);
    if (!key || !EVP_PKEY_is_a(key, "ED25519") || EVP_PKEY_get_raw_private_key(key, seed, &n) != 1 ||
        n != sizeof(seed)) {
        ERR_clear_error();
        return err_set(e, ERR_USAGE, "not an Ed25519 private key in PEM without a passphrase");
    }
    *out_seed = secret_new(seed, sizeof(seed));
    explicit_bzero(seed, sizeof(seed));
    return OK;
}

enum err_code sign_public_from_pem(const char *pem, uint8_t out[SIGN_PUBLIC_BYTES], struct err *e)
{
    size_t pem_n = strnlen(pem, PEM_BYTES_MAX + 1);
    if (pem_n == 0 || pem_n > PEM_BYTES_MAX)
        return err_set(e, ERR_USAGE, "a public key in PEM has 1 to %d bytes", PEM_BYTES_MAX);
    CLEANUP(bio_donep) BIO *bio = BIO_new_mem_buf(pem, (int)pem_n);
    invariant(bio != NULL);
    CLEANUP(EVP_PKEY_freep) EVP_PKEY *key = PEM_read_bio_PUBKEY(bio, NULL, no_passphrase, NULL);
    uint8_t raw[SIGN_PUBLIC_BYTES];
    size_t n = sizeof(raw);
    if (!key || !EVP_PKEY_is_a(key, "ED25519") || EVP_PKEY_get_raw_public_key(key, raw, &n) != 1 ||
        n != sizeof(raw)) {
        ERR_clear_error();
        return err_set(e, ERR_USAGE, "not an Ed25519 public key in PEM");
    }
    memcpy(out, raw, sizeof(raw));
    return OK;
}
