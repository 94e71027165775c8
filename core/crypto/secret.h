/*
 * secret.h - bytes that must not be seen: keys, passwords, credentials.
 *
 * A secret is opaque on purpose: it cannot be printed, compares in constant time, lies in locked memory that
 * core dumps leave out, and wipes itself. Its bytes are borrowed by secret_bytes() at the point of use only.
 */
#ifndef CORE_CRYPTO_SECRET_H
#define CORE_CRYPTO_SECRET_H

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/err.h"

enum { SECRET_BYTES_MAX = 64 * 1024 };

struct secret;

struct secret *secret_new(const void *data, size_t n); /* a copy; the caller wipes the original */
struct secret *secret_random(size_t n);
struct secret *secret_copy(const struct secret *s);
void secret_free(struct secret *s); /* wipes; NULL is fine */
DEFINE_CLEANUP_PTR(struct secret, secret_free)

const void *secret_bytes(const struct secret *s); /* borrowed; followed by a NUL that is not counted */
size_t secret_len(const struct secret *s);
bool secret_equal(const struct secret *a, const struct secret *b);

/* From a file that only its owner may read (file_read_private), one trailing newline dropped. */
enum err_code secret_from_file(const char *path, struct secret **out, struct err *e);

/* No core dumps, no ptrace by others: call once from each main(). */
void secret_harden_process(void);

#endif
