/*
 * keys.h - data keys, wrapped by a key that we never see in the clear outside its provider.
 *
 * Envelope encryption: a fresh 32-byte data key for each attempt, wrapped by a named key-encryption key (KEK)
 * of the provider and bound to a context (cluster, job, ...). Unwrapping with another context fails.
 * Providers:
 *
 *     file    development: KEKs as 0600 files; refused where the policy says kms_required
 *     pkcs11  any HSM by its PKCS#11 module; KEKs are made inside it and cannot be read out
 *     kms     an AWS-compatible key service; each KEK version is a key of its own, found by its alias, and
 * used by its ARN, which must fit one of the allowed patterns
 *
 * The wrapped form is one line of text that stands in signed manifests: JSON
 * {"provider","key","version","wrapped"}. A key has versions; the newest wraps, each can unwrap what it
 * wrapped until it is destroyed. One contract test holds for all of them (tests/contract/test_keys.c).
 * Threads: one handle, one thread.
 */
#ifndef CORE_KEYS_KEYS_H
#define CORE_KEYS_KEYS_H

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "core/crypto/secret.h"
#include "core/http/guard.h"

enum {
    KEYS_NAME_BYTES = 64,
    KEYS_WRAPPED_BYTES_MAX = 4096,
    KEYS_CONTEXT_MAX = 12,
    DATA_KEY_BYTES = 32,
    KEYS_ARNS_MAX = 16,
    KEYS_ARN_BYTES = 192
};

enum keys_provider { KEYS_FILE, KEYS_PKCS11, KEYS_KMS };
extern const char *const keys_provider_names[]; /* "file", "pkcs11", "kms", NULL */

enum keys_mechanism { KEYS_MECHANISM_AUTO, KEYS_MECHANISM_GCM, KEYS_MECHANISM_WRAP };
extern const char *const keys_mechanism_names[]; /* "auto", "gcm", "wrap", NULL */

struct keys_config {
    int provider;      /* enum keys_provider */
    bool kms_required; /* policy: the file provider is refused (ERR_DENIED) at every use */
    char dir[512];     /* file: the folder; each KEK is DIR/NAME.vN.key, 0600, 32 bytes as hex */

    char module[512]; /* pkcs11: path of the HSM's library */
    char token[64];   /* pkcs11: label of the token */
    int mechanism;    /* pkcs11: enum keys_mechanism; auto: GCM where the token has it */

    char endpoint[256], region[64]; /* kms: "https://kms.eusc-de-east-1.amazonaws.eu" */
    char alias_prefix[64];          /* kms: version N of key NAME has the alias alias/PREFIX-NAME-vN */
    char ca_file[512], cert_file[512], key_file[512];
    struct http_guard guard;
    char arns[KEYS_ARNS_MAX][KEYS_ARN_BYTES]; /* kms: what a key's ARN must fit; none: no key is allowed */
    size_t arn_count;

    /* Where the secrets are: read by whoever opens the keys, not by core/keys. */
    char pin_file[512];         /* pkcs11: a private file (0600) ... */
    char pin_credential[64];    /* ... or a systemd credential: $CREDENTIALS_DIRECTORY/NAME */
    char credentials_file[512]; /* kms: as a store's */
};

/* What a provider must know and nobody else may: borrowed during keys_open(), copied by it. NULL: not given.
 */
struct keys_secrets {
    const struct secret *pin;                                     /* pkcs11 */
    const struct secret *access_key, *secret_key, *session_token; /* kms; the last may be NULL */
};

/* Names and values that a wrapped key is bound to; the order does not matter. Borrowed. A key service logs
 * them in the clear: no personal data. */
struct keys_context {
    struct {
        const char *name, *value;
    } pair[KEYS_CONTEXT_MAX];
    size_t count;
};

struct keys;
/* `secrets` NULL: none. ERR_DENIED: the PIN is wrong (tried once: a token locks itself after a few). */
enum err_code keys_open(const struct keys_config *config, const struct keys_secrets *secrets,
                        struct keys **out, struct err *e);
void keys_close(struct keys *k);
DEFINE_CLEANUP_PTR(struct keys, keys_close)

/* Make KEK `name` (version 1), or a next version of it. For `up`, set-up and rotation. Never overwrites;
 * ERR_CONFLICT: somebody else made that version at the same moment. */
enum err_code keys_create(struct keys *k, const char *name, struct err *e);
bool keys_has(struct keys *k, const char *name);
/* The version that wraps now. ERR_NOT_FOUND: there is no such KEK. */
enum err_code keys_newest(struct keys *k, const char *name, int64_t *out_version, struct err *e);

/* Every version of every KEK, in no order. A non-zero return ends the listing and is returned. */
typedef enum err_code keys_each_fn(void *context, const char *name, int64_t version, struct err *e);
enum err_code keys_list(struct keys *k, keys_each_fn *each, void *context, struct err *e);

/* Crypto-shredding: what that version wrapped, and was not wrapped again since, can never be opened from here
 * on. There is no way back (kms: the service keeps it for the shortest time that it allows, disabled).
 * ERR_NOT_FOUND: it is gone already. */
enum err_code keys_destroy(struct keys *k, const char *name, int64_t version, struct err *e);

/* A new data key and its wrapped form. ERR_NOT_FOUND: no such KEK. ERR_DENIED: policy, the file's mode, a
 * foreign ARN. ERR_RETRY: the HSM or the service is away. */
enum err_code keys_generate(struct keys *k, const char *name, const struct keys_context *context,
                            struct secret **out_key, struct buf *out_wrapped, struct err *e);

/* ERR_CORRUPT: wrong context, wrong KEK or altered bytes (they cannot be told apart). ERR_NOT_FOUND: the KEK,
 * or that version of it, is gone (destroyed). */
enum err_code keys_unwrap(struct keys *k, const char *wrapped, const struct keys_context *context,
                          struct secret **out_key, struct err *e);

/* Under the newest version of `name`, the data key itself unchanged. A key service does it inside. */
enum err_code keys_rewrap(struct keys *k, const char *wrapped, const struct keys_context *context,
                          const char *name, struct buf *out_wrapped, struct err *e);

/* What a wrapped text says of itself, for the ledger: provider, key, version. No secret. */
struct keys_facts {
    char provider[16], key[KEYS_NAME_BYTES];
    int64_t version;
};
enum err_code keys_describe(const char *wrapped, struct keys_facts *out, struct err *e);

/* Does an ARN fit a pattern? Field by field (partition, service, region, account): equal, or "*" in the
 * pattern; the last field may end in "*". No field matches across a colon. Pure. */
bool keys_arn_fits(const char *pattern, const char *arn);

#endif
