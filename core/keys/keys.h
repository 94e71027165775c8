/*
 * keys.h - data keys, wrapped by a key that we never see in the clear outside its provider.
 *
 * Envelope encryption: a fresh 32-byte data key for each attempt, wrapped by a named key-encryption key (KEK) of the
 * provider and bound to a context (cluster, job, ...). Unwrapping with another context fails. Providers: `file`
 * (development: KEKs as 0600 files; refused where the policy says kms_required); pkcs11 and kms come as further rows.
 *
 * The wrapped form is one line of text that stands in signed manifests: JSON {"provider","key","version","wrapped"}.
 * A key has versions; the newest wraps, each can unwrap what it wrapped. Threads: one handle, one thread.
 */
#ifndef CORE_KEYS_KEYS_H
#define CORE_KEYS_KEYS_H

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "core/crypto/secret.h"

enum { KEYS_NAME_BYTES = 64, KEYS_WRAPPED_BYTES_MAX = 4096, KEYS_CONTEXT_MAX = 12, DATA_KEY_BYTES = 32 };

enum keys_provider { KEYS_FILE };
extern const char *const keys_provider_names[]; /* "file", NULL */

struct keys_config {
    int provider;       /* enum keys_provider */
    char dir[512];      /* file: the folder; each KEK is DIR/NAME.vN.key, 0600, 32 bytes as hex */
    bool kms_required;  /* policy: the file provider is refused (ERR_DENIED) at every use */
};

/* Names and values that a wrapped key is bound to; the order does not matter. Borrowed. */
struct keys_context {
    struct {
        const char *name, *value;
    } pair[KEYS_CONTEXT_MAX];
    size_t count;
};

struct keys;
enum err_code keys_open(const struct keys_config *config, struct keys **out, struct err *e);
void keys_close(struct keys *k);
DEFINE_CLEANUP_PTR(struct keys, keys_close)

/* Make KEK `name` (version 1), or a next version of it. For `up`, set-up and rotation. Never overwrites; ERR_CONFLICT:
 * somebody else made that version at the same moment. */
enum err_code keys_create(struct keys *k, const char *name, struct err *e);
bool keys_has(struct keys *k, const char *name);

/* A new data key and its wrapped form. ERR_NOT_FOUND: no such KEK. ERR_DENIED: policy or the file's mode. */
enum err_code keys_generate(struct keys *k, const char *name, const struct keys_context *context,
                            struct secret **out_key, struct buf *out_wrapped, struct err *e);

/* ERR_CORRUPT: wrong context, wrong KEK or altered bytes (they cannot be told apart). ERR_NOT_FOUND: the KEK, or that
 * version of it, is gone (destroyed). */
enum err_code keys_unwrap(struct keys *k, const char *wrapped, const struct keys_context *context,
                          struct secret **out_key, struct err *e);

/* Under the newest version of `name`, the data key itself unchanged. */
enum err_code keys_rewrap(struct keys *k, const char *wrapped, const struct keys_context *context, const char *name,
                          struct buf *out_wrapped, struct err *e);

/* What a wrapped text says of itself, for the ledger: provider, key, version. No secret. */
struct keys_facts {
    char provider[16], key[KEYS_NAME_BYTES];
    int64_t version;
};
enum err_code keys_describe(const char *wrapped, struct keys_facts *out, struct err *e);

#endif
