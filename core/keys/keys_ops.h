/*
 * keys_ops.h - what a key provider does; keys.c does the rest once for all of them.
 *
 * The facade has checked names, context and policy before it calls; it makes and reads the wrapped text. A
 * provider sees a KEK's name and version and the context, and gives or takes opaque wrapped bytes. No member
 * is optional.
 */
#ifndef CORE_KEYS_KEYS_OPS_H
#define CORE_KEYS_KEYS_OPS_H

#include "core/keys/keys.h"

enum { KEYS_WRAPPED_RAW_MAX = 2048, KEYS_BOUND_BYTES_MAX = 64 * 1024, KEYS_LIST_MAX = 100000 };

/* One wrapping of one data key. */
struct keys_use {
    const char *name;
    int64_t version;
    const struct keys_context *context;
};

struct keys_ops {
    const char *name; /* as in keys_provider_names */
    bool is_kms;      /* the KEK never leaves hardware or a service: fine where policy says kms_required */
    enum err_code (*open)(const struct keys_config *config, const struct keys_secrets *secrets,
                          struct keys **out, struct err *e);
    void (*close)(struct keys *k); /* frees */
    enum err_code (*create)(struct keys *k, const char *name, struct err *e);
    enum err_code (*list)(struct keys *k, keys_each_fn *each, void *context, struct err *e);
    enum err_code (*destroy)(struct keys *k, const char *name, int64_t version, struct err *e);
    enum err_code (*generate)(struct keys *k, const struct keys_use *use, struct secret **out_key,
                              struct buf *out, struct err *e);
    enum err_code (*unwrap)(struct keys *k, const struct keys_use *use, const void *wrapped, size_t n,
                            struct secret **out_key, struct err *e);
    enum err_code (*rewrap)(struct keys *k, const struct keys_use *from, const void *wrapped, size_t n,
                            const struct keys_use *to, struct buf *out, struct err *e);
};

struct keys { /* first member of each provider's struct */
    const struct keys_ops *ops;
    bool kms_required;
};

extern const struct keys_ops keys_file_ops, keys_pkcs11_ops, keys_kms_ops;

/* Canonical bytes of what a wrapped key is bound to: "sovrun-wrap-v1", provider, key, version, then the
 * context's pairs sorted by name; each as u32be length || bytes, the version as eight bytes, big-endian. */
void keys_bound_bytes(const char *provider, const struct keys_use *use, struct buf *out);

/* "demo.v3" -> 3 where `name` is demo; 0 where it is another name's. "demo.v03" is nobody's. */
int64_t keys_version_of(const char *label, const char *name);
/* The same for any name: "demo.v3" -> "demo" and 3. */
bool keys_label_parse(const char *label, char out_name[KEYS_NAME_BYTES], int64_t *out_version);

#endif
