/*
 * keys_ops.h - what a key provider does; keys.c does the rest once for all of them.
 *
 * The facade has checked names, context and policy before it calls; it makes and reads the wrapped text. A
 * provider sees a data key, the KEK's name and version, and the context, and gives or takes opaque wrapped
 * bytes.
 */
#ifndef CORE_KEYS_KEYS_OPS_H
#define CORE_KEYS_KEYS_OPS_H

#include "core/keys/keys.h"

enum { KEYS_WRAPPED_RAW_MAX = 2048, KEYS_BOUND_BYTES_MAX = 64 * 1024 };

struct keys_ops {
    const char *name; /* as in keys_provider_names */
    bool is_kms;      /* the KEK never leaves hardware or a service: fine where policy says kms_required */
    enum err_code (*open)(const struct keys_config *config, struct keys **out, struct err *e);
    void (*close)(struct keys *k); /* frees */
    enum err_code (*create)(struct keys *k, const char *name, struct err *e);
    /* The version that wraps now. ERR_NOT_FOUND: there is none. */
    enum err_code (*newest)(struct keys *k, const char *name, int64_t *out_version, struct err *e);
    enum err_code (*wrap)(struct keys *k, const char *name, int64_t version,
                          const struct keys_context *context, const struct secret *data_key, struct buf *out,
                          struct err *e);
    enum err_code (*unwrap)(struct keys *k, const char *name, int64_t version,
                            const struct keys_context *context, const void *wrapped, size_t n,
                            struct secret **out_key, struct err *e);
};

struct keys { /* first member of each provider's struct */
    const struct keys_ops *ops;
    bool kms_required;
};

extern const struct keys_ops keys_file_ops;

/* Canonical bytes of what a wrapped key is bound to: "sovrun-wrap-v1", provider, key, version, then the
 * context's pairs sorted by name; each as u32be length || bytes, the version as eight bytes, big-endian. */
void keys_bound_bytes(const char *provider, const char *name, int64_t version,
                      const struct keys_context *context, struct buf *out);

#endif
