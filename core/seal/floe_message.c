#include "core/seal/floe_message.h"

#include "base/rng.h"

#include <inttypes.h>
#include <string.h>

#define NOT_FINAL UINT32_C(0xFFFFFFFF) /* the length word of every segment but the last */

const struct floe_params floe_default = { .segment_bytes = 1024 * 1024, .rotation_log2 = 20 };

size_t floe_segment_plain_bytes(const struct floe_params *p)
{
    return p->segment_bytes - FLOE_SEGMENT_OVERHEAD;
}

static void put_u32be(uint8_t *out, uint32_t v)
{
    for (int i = 0; i < 4; i++)
        out[i] = (uint8_t)(v >> (24 - 8 * i));
}

static void put_u64be(uint8_t *out, uint64_t v)
{
    put_u32be(out, (uint32_t)(v >> 32));
    put_u32be(out + 4, (uint32_t)v);
}

static uint32_t get_u32be(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* PARAM_ENCODE: AES-256-GCM is AEAD 0, HKDF-Expand-SHA-384 is KDF 0. */
static void encode_params(const struct floe_params *p, uint8_t out[FLOE_PARAMS_BYTES])
{
    out[0] = 0;
    out[1] = 0;
    put_u32be(out + 2, p->segment_bytes);
    put_u32be(out + 6, FLOE_IV_BYTES);
}

/* FLOE_KDF: the info is params || iv || purpose || aad. */
static void derive(const struct floe_message *m, const struct secret *key, const void *purpose,
                   size_t purpose_n, uint8_t *out, size_t out_n)
{
    CLEANUP(buf_done) struct buf info = BUF_INIT(FLOE_AAD_BYTES_MAX + 128);
    uint8_t params[FLOE_PARAMS_BYTES];
    encode_params(&m->params, params);
    buf_add(&info, params, sizeof(params));
    buf_add(&info, m->iv, sizeof(m->iv));
    buf_add(&info, purpose, purpose_n);
    buf_add(&info, m->aad.data, m->aad.len);
    invariant(!info.full);
    hkdf_expand_sha384(secret_bytes(key), secret_len(key), info.data, info.len, out, out_n);
}

static void derive_header_tag(const struct floe_message *m, const struct secret *key,
                              uint8_t out[FLOE_HEADER_TAG_BYTES])
{
    static const char purpose[] = "HEADER_TAG:";
    derive(m, key, purpose, sizeof(purpose) - 1, out, FLOE_HEADER_TAG_BYTES);
}

static void derive_message_key(struct floe_message *m, const struct secret *key)
{
    static const char purpose[] = "MESSAGE_KEY:";
    uint8_t bytes[FLOE_MESSAGE_KEY_BYTES];
    derive(m, key, purpose, sizeof(purpose) - 1, bytes, sizeof(bytes));
    m->message_key = secret_new(bytes, sizeof(bytes));
    explicit_bzero(bytes, sizeof(bytes));
}

static enum err_code check_arguments(const struct floe_params *p, const struct secret *key, size_t aad_n,
                                     struct err *e)
{
    if (p->segment_bytes <= FLOE_SEGMENT_OVERHEAD || p->segment_bytes > FLOE_SEGMENT_BYTES_MAX)
        return err_set(e, ERR_USAGE, "FLOE segments have %d to %d bytes, not %" PRIu32,
                       FLOE_SEGMENT_OVERHEAD + 1, FLOE_SEGMENT_BYTES_MAX, p->segment_bytes);
    if (p->rotation_log2 > FLOE_ROTATION_LOG2_MAX)
        return err_set(e, ERR_USAGE, "FLOE keys serve at most 2^%d segments, not 2^%" PRIu32,
                       FLOE_ROTATION_LOG2_MAX, p->rotation_log2);
    if (secret_len(key) != FLOE_KEY_BYTES)
        return err_set(e, ERR_USAGE, "a FLOE key has %d bytes, not %zu", FLOE_KEY_BYTES, secret_len(key));
    if (aad_n > FLOE_AAD_BYTES_MAX)
        return err_set(e, ERR_LIMIT, "associated data has at most %d bytes, not %zu", FLOE_AAD_BYTES_MAX,
                       aad_n);
    return OK;
}

static void message_init(struct floe_message *m, const struct floe_params *p, const void *aad, size_t aad_n)
{
    *m = (struct floe_message){ .params = *p, .aad = BUF_INIT(FLOE_AAD_BYTES_MAX) };
    buf_add(&m->aad, aad, aad_n);
}

enum err_code floe_message_start(struct floe_message *m, const struct floe_params *p,
                                 const struct secret *key, const void *aad, size_t aad_n,
                                 uint8_t out_header[FLOE_HEADER_BYTES], struct err *e)
{
    if (check_arguments(p, key, aad_n, e))
        return e->code;
    message_init(m, p, aad, aad_n);
    random_bytes(m->iv, sizeof(m->iv));
    encode_params(p, out_header);
    memcpy(out_header + FLOE_PARAMS_BYTES, m->iv, FLOE_IV_BYTES);
    derive_header_tag(m, key, out_header + FLOE_PARAMS_BYTES + FLOE_IV_BYTES);
    derive_message_key(m, key);
    return OK;
}

enum err_code floe_message_resume(struct floe_message *m, const struct floe_params *p,
                                  const struct secret *key, const void *aad, size_t aad_n,
                                  const uint8_t header[FLOE_HEADER_BYTES], struct err *e)
{
    uint8_t params[FLOE_PARAMS_BYTES];
    uint8_t tag[FLOE_HEADER_TAG_BYTES];
    if (check_arguments(p, key, aad_n, e))
        return e->code;
    encode_params(p, params);
    if (memcmp(params, header, sizeof(params)) != 0)
        return err_set(e, ERR_CORRUPT, "not a FLOE message with segments of %" PRIu32 " bytes",
                       p->segment_bytes);
    message_init(m, p, aad, aad_n);
    memcpy(m->iv, header + FLOE_PARAMS_BYTES, FLOE_IV_BYTES);
    derive_header_tag(m, key, tag);
    if (!crypto_equal(tag, header + FLOE_PARAMS_BYTES + FLOE_IV_BYTES, sizeof(tag))) {
        floe_message_done(m);
        return err_set(e, ERR_CORRUPT,
                       "the header tag does not match: another key, another context, or altered");
    }
    derive_message_key(m, key);
    return OK;
}

void floe_message_done(struct floe_message *m)
{
    aead_free(m->aead);
    secret_free(m->message_key);
    buf_done(&m->aad);
    *m = (struct floe_message){ .aead = NULL };
}

/* DERIVE_KEY, kept for as long as segments ask for the same one. */
static struct aead *aead_for(struct floe_message *m, uint64_t index)
{
    uint64_t first = index >> m->params.rotation_log2 << m->params.rotation_log2;
    if (m->aead && m->first_of_key == first)
        return m->aead;
    uint8_t purpose[12] = { 'D', 'E', 'K', ':' };
    uint8_t key[AEAD_KEY_BYTES];
    put_u64be(purpose + 4, first);
    derive(m, m->message_key, purpose, sizeof(purpose), key, sizeof(key));
    aead_free(m->aead);
    m->aead = aead_new(key);
    m->first_of_key = first;
    explicit_bzero(key, sizeof(key));
    return m->aead;
}

enum { SEGMENT_AAD_BYTES = 9 };

static void segment_aad(uint64_t index, bool final, uint8_t out[SEGMENT_AAD_BYTES])
{
    put_u64be(out, index);
    out[8] = final ? 1 : 0;
}

void floe_message_seal(struct floe_message *m, uint64_t index, bool final, const void *plain, size_t n,
                       uint8_t *out_sealed)
{
    uint8_t aad[SEGMENT_AAD_BYTES];
    uint8_t *iv = out_sealed + FLOE_LENGTH_BYTES;
    uint8_t *cipher = iv + AEAD_IV_BYTES;
    size_t full = floe_segment_plain_bytes(&m->params);
    invariant(final ? n <= full : n == full);
    put_u32be(out_sealed, final ? (uint32_t)n + FLOE_SEGMENT_OVERHEAD : NOT_FINAL);
    random_bytes(iv, AEAD_IV_BYTES);
    segment_aad(index, final, aad);
    aead_seal(aead_for(m, index), iv, aad, sizeof(aad), plain, n, cipher, cipher + n);
}

enum err_code floe_message_open(struct floe_message *m, uint64_t index, bool final, const uint8_t *sealed,
                                size_t n, uint8_t *out_plain, struct err *e)
{
    uint8_t aad[SEGMENT_AAD_BYTES];
    const uint8_t *iv = sealed + FLOE_LENGTH_BYTES;
    const uint8_t *cipher = iv + AEAD_IV_BYTES;
    invariant(n >= FLOE_SEGMENT_OVERHEAD && n <= m->params.segment_bytes);
    size_t plain_n = n - FLOE_SEGMENT_OVERHEAD;
    if (get_u32be(sealed) != (final ? (uint32_t)n : NOT_FINAL)) {
        memset(out_plain, 0, plain_n);
        return err_set(e, ERR_CORRUPT, "segment %" PRIu64 " is %s by its length word", index,
                       final ? "not the last of this length" : "not an inner one");
    }
    segment_aad(index, final, aad);
    if (aead_open(aead_for(m, index), iv, aad, sizeof(aad), cipher, plain_n, cipher + plain_n, out_plain, e))
        return err_wrap(e, "segment %" PRIu64, index);
    return OK;
}
