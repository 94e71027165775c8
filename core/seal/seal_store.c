#include "core/crypto/crypto.h"
#include "core/seal/seal.h"

#include <string.h>

enum err_code seal_put(struct store *s, const struct secret *data_key, const struct seal_context *c,
                       const void *plain, const struct store_put_options *options, struct store_info *out,
                       uint8_t *out_sha256, struct err *e)
{
    CLEANUP(buf_done) struct buf sealed = BUF_INIT(STORE_OBJECT_BYTES_MAX);
    uint8_t hash[SHA256_BYTES];
    if (seal_object(data_key, c, plain, &sealed, e))
        return e->code;
    if (out_sha256)
        sha256(sealed.data, sealed.len, hash);
    if (store_put(s, c->key, sealed.data, sealed.len, options, out, e))
        return e->code;
    if (out_sha256)
        memcpy(out_sha256, hash, sizeof(hash));
    return OK;
}

enum err_code seal_get(struct store *s, const struct secret *data_key, const struct seal_context *c,
                       const char *version, struct buf *out, struct err *e)
{
    /* The context says how long the object is. One byte more is asked for, so that a longer one shows. */
    CLEANUP(buf_done) struct buf sealed = BUF_INIT((size_t)STORE_OBJECT_BYTES_MAX + 1);
    uint64_t ask =
        floe_sealed_bytes(&floe_default, MIN(c->plain_bytes, (uint64_t)STORE_OBJECT_BYTES_MAX)) + 1;
    if (store_get(s, c->key, version, 0, MIN(ask, sealed.max), &sealed, NULL, e))
        return e->code;
    return open_object(data_key, c, sealed.data, sealed.len, out, e);
}
