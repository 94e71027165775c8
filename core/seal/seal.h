/*
 * seal.h - the sealed format: C2SP FLOE over AES-256-GCM, and objects sealed with it.
 *
 * FLOE (C2SP FLOE.md; Snowflake, Eurocrypt 2026) cuts a message into segments that are sealed one by one with keys
 * derived from the message key, a random IV and the associated data; a header tag commits to all three. So memory is
 * bounded, any segment can be opened alone, and truncation, reordering, splicing, extension, a wrong key or a wrong
 * context are each refused (ERR_CORRUPT) before one wrong byte is given out. Bytes on disk: docs/FORMATS.md.
 *
 * We seal every object under its own key: HKDF-Expand-SHA-256(data key, "sovrun object key v1" || context), with the
 * canonical context as associated data. tools/open_sealed.py opens an object with Python's cryptography library alone.
 */
#ifndef CORE_SEAL_SEAL_H
#define CORE_SEAL_SEAL_H

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "core/crypto/secret.h"
#include "core/store/store.h"

#include <stdint.h>

/* ---- FLOE itself ---- */

struct floe_params {
    uint32_t segment_bytes; /* ENC_SEG_LEN: a whole sealed segment, its 32 bytes of overhead included; to 64 MiB */
    uint32_t rotation_log2; /* AEAD_ROTATION_MASK: 2^this segments share a derived key: 20; test vectors use less */
};
extern const struct floe_params floe_default; /* 1 MiB segments, rotation 20 */

enum { FLOE_HEADER_BYTES = 74, FLOE_SEGMENT_OVERHEAD = 32, FLOE_KEY_BYTES = 32 };

uint64_t floe_sealed_bytes(const struct floe_params *p, uint64_t plain_bytes);

struct floe_writer; /* header, then segments, then the final one */
/* Adds the header to `out`. The key is copied. */
enum err_code floe_writer_open(const struct floe_params *p, const struct secret *key, const void *aad, size_t aad_n,
                               struct floe_writer **out_writer, struct buf *out, struct err *e);
/* Any number of bytes; whole segments are added to `out` as they fill. */
enum err_code floe_write(struct floe_writer *w, const void *plain, size_t n, struct buf *out, struct err *e);
enum err_code floe_writer_end(struct floe_writer *w, struct buf *out, struct err *e); /* the final segment */
void floe_writer_free(struct floe_writer *w);
DEFINE_CLEANUP_PTR(struct floe_writer, floe_writer_free)

struct floe_reader; /* random access, given the sealed length */
/* `header` is the first FLOE_HEADER_BYTES. ERR_CORRUPT: wrong key, wrong aad, or other parameters than `p`. */
enum err_code floe_reader_open(const struct floe_params *p, const struct secret *key, const void *aad, size_t aad_n,
                               const void *header, uint64_t sealed_bytes, struct floe_reader **out, struct err *e);
void floe_reader_free(struct floe_reader *r);
DEFINE_CLEANUP_PTR(struct floe_reader, floe_reader_free)
uint64_t floe_plain_bytes(const struct floe_reader *r);
uint64_t floe_segment_count(const struct floe_reader *r);
void floe_segment_range(const struct floe_reader *r, uint64_t index, uint64_t *out_offset, uint32_t *out_bytes);
enum err_code floe_open_segment(struct floe_reader *r, uint64_t index, const void *sealed, size_t n, struct buf *out,
                                struct err *e);

/* Whole messages. `out` is extended; on failure nothing is added. */
enum err_code floe_seal(const struct floe_params *p, const struct secret *key, const void *aad, size_t aad_n,
                        const void *plain, size_t n, struct buf *out, struct err *e);
enum err_code floe_open(const struct floe_params *p, const struct secret *key, const void *aad, size_t aad_n,
                        const void *sealed, size_t n, struct buf *out, struct err *e);

/* ---- sealed objects ---- */

/* What an object is and where it belongs; borrowed text. */
struct seal_context {
    const char *cluster, *region, *job; /* which cluster, in which region, of which job */
    const char *artifact;               /* "checkpoint/000000000120-2-7", "model/..." */
    uint32_t part, part_count;
    const char *bucket, *key;
    uint64_t plain_bytes;
};

/* Canonical form: "sovrun-seal-v1", then each field in the order above as u32be length || bytes; a number's bytes
 * are eight, big-endian, with their length (8) in front like the rest. No text may be NULL. */
void seal_context_bytes(const struct seal_context *c, struct buf *out);

/* In memory: plain <-> sealed object bytes under the object's own key. `plain` has c->plain_bytes bytes. ERR_LIMIT:
 * sealed, it exceeds STORE_OBJECT_BYTES_MAX. ERR_CORRUPT: another key, context or length, or altered bytes; `out`
 * then gains nothing. */
enum err_code seal_object(const struct secret *data_key, const struct seal_context *c, const void *plain,
                          struct buf *out, struct err *e);
enum err_code open_object(const struct secret *data_key, const struct seal_context *c, const void *sealed, size_t n,
                          struct buf *out, struct err *e);

/* Through a store: seal and put under c->key; get by version (NULL: latest), and open. `out_sha256` (may be NULL) is of
 * the sealed bytes, hashed once on the way. */
enum err_code seal_put(struct store *s, const struct secret *data_key, const struct seal_context *c, const void *plain,
                       const struct store_put_options *options, struct store_info *out, uint8_t *out_sha256,
                       struct err *e);
enum err_code seal_get(struct store *s, const struct secret *data_key, const struct seal_context *c,
                       const char *version, struct buf *out, struct err *e);

#endif
