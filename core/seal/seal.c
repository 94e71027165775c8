#include "core/seal/seal.h"

#include "core/crypto/crypto.h"

#include <inttypes.h>
#include <string.h>

enum { CONTEXT_BYTES_MAX = 16 * 1024 };

static const char context_version[] = "sovrun-seal-v1";
static const char object_key_label[] = "sovrun object key v1";

static void add_field(struct buf *out, const char *text)
{
    invariant(text != NULL);
    size_t n = strlen(text);
    invariant(n <= UINT32_MAX);
    buf_add_u32be(out, (uint32_t)n);
    buf_add(out, text, n);
}

static void add_number(struct buf *out, uint64_t v)
{
    buf_add_u32be(out, 8);
    buf_add_u64be(out, v);
}

void seal_context_bytes(const struct seal_context *c, struct buf *out)
{
    buf_add(out, context_version, sizeof(context_version) - 1);
    add_field(out, c->cluster);
    add_field(out, c->region);
    add_field(out, c->job);
    add_field(out, c->artifact);
    add_number(out, c->part);
    add_number(out, c->part_count);
    add_field(out, c->bucket);
    add_field(out, c->key);
    add_number(out, c->plain_bytes);
}

/* The canonical context, and the key of the object that it names. */
static enum err_code object_key(const struct secret *data_key, const struct seal_context *c,
                                struct buf *context, struct secret **out_key, struct err *e)
{
    if (secret_len(data_key) != FLOE_KEY_BYTES)
        return err_set(e, ERR_USAGE, "a data key has %d bytes, not %zu", FLOE_KEY_BYTES,
                       secret_len(data_key));
    seal_context_bytes(c, context);
    if (buf_check(context, "context of a sealed object", e))
        return e->code;
    CLEANUP(buf_done) struct buf info = BUF_INIT(sizeof(object_key_label) + CONTEXT_BYTES_MAX);
    uint8_t key[FLOE_KEY_BYTES];
    buf_add_text(&info, object_key_label);
    buf_add(&info, context->data, context->len);
    invariant(!info.full);
    hkdf_expand_sha256(secret_bytes(data_key), secret_len(data_key), info.data, info.len, key, sizeof(key));
    *out_key = secret_new(key, sizeof(key));
    explicit_bzero(key, sizeof(key));
    return OK;
}

/* One put holds the whole object, so the limit is the store's, on the sealed bytes. */
static enum err_code check_size(const struct seal_context *c, struct err *e)
{
    if (c->plain_bytes > STORE_OBJECT_BYTES_MAX ||
        floe_sealed_bytes(&floe_default, c->plain_bytes) > STORE_OBJECT_BYTES_MAX)
        return err_set(e, ERR_LIMIT, "%" PRIu64 " bytes sealed do not fit in one object of %" PRId64,
                       c->plain_bytes, STORE_OBJECT_BYTES_MAX);
    return OK;
}

enum err_code seal_object(const struct secret *data_key, const struct seal_context *c, const void *plain,
                          struct buf *out, struct err *e)
{
    CLEANUP(buf_done) struct buf context = BUF_INIT(CONTEXT_BYTES_MAX);
    CLEANUP(secret_freep) struct secret *key = NULL;
    if (check_size(c, e) || object_key(data_key, c, &context, &key, e) ||
        floe_seal(&floe_default, key, context.data, context.len, plain, c->plain_bytes, out, e))
        return err_wrap(e, "seal '%s'", c->key);
    return OK;
}

enum err_code open_object(const struct secret *data_key, const struct seal_context *c, const void *sealed,
                          size_t n, struct buf *out, struct err *e)
{
    CLEANUP(buf_done) struct buf context = BUF_INIT(CONTEXT_BYTES_MAX);
    CLEANUP(secret_freep) struct secret *key = NULL;
    if (check_size(c, e))
        return err_wrap(e, "open '%s'", c->key);
    uint64_t expected = floe_sealed_bytes(&floe_default, c->plain_bytes);
    if (n != expected)
        return err_set(e, ERR_CORRUPT, "open '%s': %zu sealed bytes where %" PRIu64 " belong", c->key, n,
                       expected);
    if (object_key(data_key, c, &context, &key, e) ||
        floe_open(&floe_default, key, context.data, context.len, sealed, n, out, e))
        return err_wrap(e, "open '%s'", c->key);
    return OK;
}
