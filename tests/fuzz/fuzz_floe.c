/* Any bytes as a sealed message: refused without a crash. Any bytes as plain text: they open again as they
 * were, and one altered byte of what was sealed is refused. */
#include "core/seal/seal.h"
#include "tests/fuzz/replay.h"

#include <string.h>

enum { BYTES_MAX = 8 * 1024 * 1024, CONTROL_BYTES = 5 };

static const char aad[] = "aad";

static void open_anything(const struct floe_params *p, const struct secret *key, const uint8_t *data,
                          size_t n)
{
    struct err e = ERR_INIT;
    CLEANUP(buf_done) struct buf out = BUF_INIT(BYTES_MAX);
    enum err_code code = floe_open(p, key, aad, sizeof(aad), data, n, &out, &e);
    invariant(code == ERR_CORRUPT && out.len == 0);
}

static void altered_is_refused(const struct floe_params *p, const struct secret *key, struct buf *sealed,
                               size_t at, uint8_t flip)
{
    sealed->data[at % sealed->len] ^= flip;
    open_anything(p, key, sealed->data, sealed->len);
    sealed->data[at % sealed->len] ^= flip;
    open_anything(p, key, sealed->data, at % sealed->len); /* cut there */
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static const uint8_t zero[FLOE_KEY_BYTES];
    struct err e = ERR_INIT;
    CLEANUP(buf_done) struct buf sealed = BUF_INIT(BYTES_MAX);
    CLEANUP(buf_done) struct buf out = BUF_INIT(BYTES_MAX);
    CLEANUP(secret_freep) struct secret *key = secret_new(zero, sizeof(zero));
    if (n < CONTROL_BYTES || n > 64 * 1024)
        return 0;
    const struct floe_params p = { .segment_bytes = FLOE_SEGMENT_OVERHEAD + 1 + data[0],
                                   .rotation_log2 = data[1] % 21 };
    size_t at = (size_t)data[2] << 8 | data[3];
    uint8_t flip = data[4];
    const uint8_t *rest = data + CONTROL_BYTES;
    size_t rest_n = n - CONTROL_BYTES;
    open_anything(&p, key, rest, rest_n);
    invariant(floe_seal(&p, key, aad, sizeof(aad), rest, rest_n, &sealed, &e) == OK);
    invariant(sealed.len == floe_sealed_bytes(&p, rest_n));
    invariant(floe_open(&p, key, aad, sizeof(aad), sealed.data, sealed.len, &out, &e) == OK);
    invariant(out.len == rest_n && (rest_n == 0 || memcmp(out.data, rest, rest_n) == 0));
    if (flip)
        altered_is_refused(&p, key, &sealed, at, flip);
    return 0;
}

REPLAY_MAIN("floe")
