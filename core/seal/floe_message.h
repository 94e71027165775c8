/*
 * floe_message.h - inside core/seal: what the writer and the reader of one FLOE message share.
 *
 * A message is known by its parameters, its random IV, its associated data and a message key derived from all
 * of them and the caller's key. Segments are sealed under keys derived from the message key, a new one for
 * every 2^rotation_log2 segments; the current one is kept. Names in capitals are those of the specification.
 */
#ifndef CORE_SEAL_FLOE_MESSAGE_H
#define CORE_SEAL_FLOE_MESSAGE_H

#include "core/crypto/crypto.h"
#include "core/seal/seal.h"

enum {
    FLOE_IV_BYTES = 32,
    FLOE_PARAMS_BYTES = 10,
    FLOE_HEADER_TAG_BYTES = 32,
    FLOE_MESSAGE_KEY_BYTES = 48,
    FLOE_LENGTH_BYTES = 4,
    FLOE_SEGMENT_BYTES_MAX = 64 * 1024 * 1024, /* a reader holds one in memory */
    FLOE_ROTATION_LOG2_MAX = 20,               /* AEAD_ROTATION_MASK: GCM's bound for random IVs */
    FLOE_AAD_BYTES_MAX = 64 * 1024,
};
#define FLOE_SEGMENTS_MAX ((uint64_t)1 << 40) /* AEAD_MAX_SEGMENTS */

struct floe_message {
    struct floe_params params;
    uint8_t iv[FLOE_IV_BYTES];
    struct buf aad;
    struct secret *message_key;
    struct aead *aead; /* of the segments from first_of_key on; NULL: none yet */
    uint64_t first_of_key;
};

/* Draws the IV and writes the header. */
enum err_code floe_message_start(struct floe_message *m, const struct floe_params *p,
                                 const struct secret *key, const void *aad, size_t aad_n,
                                 uint8_t out_header[FLOE_HEADER_BYTES], struct err *e);
/* From a header that this key, associated data and parameters made; ERR_CORRUPT otherwise. */
enum err_code floe_message_resume(struct floe_message *m, const struct floe_params *p,
                                  const struct secret *key, const void *aad, size_t aad_n,
                                  const uint8_t header[FLOE_HEADER_BYTES], struct err *e);
void floe_message_done(struct floe_message *m); /* wipes; {0} is fine */

size_t floe_segment_plain_bytes(const struct floe_params *p); /* of a full segment */

/* out_sealed: n + FLOE_SEGMENT_OVERHEAD bytes. A segment that is not final is full. */
void floe_message_seal(struct floe_message *m, uint64_t index, bool final, const void *plain, size_t n,
                       uint8_t *out_sealed);
/* out_plain: n - FLOE_SEGMENT_OVERHEAD bytes, zeroed on failure. The caller has checked the bounds of n. */
enum err_code floe_message_open(struct floe_message *m, uint64_t index, bool final, const uint8_t *sealed,
                                size_t n, uint8_t *out_plain, struct err *e);

#endif
