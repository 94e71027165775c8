#include "core/zip/zip.h"

#include "base/mem.h"

#include <zstd.h>
#include <zstd_errors.h>

struct zip_reader {
    ZSTD_DCtx *ctx;
    bool whole;
};

enum err_code zip_pack(const void *data, size_t n, struct buf *out, struct err *e)
{
    ZSTD_CCtx *ctx = ZSTD_createCCtx();
    size_t bound = ZSTD_compressBound(n);
    uint8_t *room;

    invariant(ctx != NULL && !ZSTD_isError(ZSTD_CCtx_setParameter(ctx, ZSTD_c_compressionLevel, ZIP_LEVEL)) &&
              !ZSTD_isError(ZSTD_CCtx_setParameter(ctx, ZSTD_c_checksumFlag, 1)));
    room = buf_reserve(out, bound);
    size_t got = room ? ZSTD_compress2(ctx, room, bound, data, n) : 0;
    ZSTD_freeCCtx(ctx);
    if (!room)
        return err_set(e, ERR_LIMIT, "%zu bytes do not fit when packed", n);
    if (ZSTD_isError(got))
        return err_set(e, ERR_LIMIT, "pack %zu bytes: %s", n, ZSTD_getErrorName(got));
    buf_commit(out, got);
    return OK;
}

struct zip_reader *zip_reader_new(void)
{
    struct zip_reader *z = mem_new(sizeof(*z));
    z->ctx = ZSTD_createDCtx();
    z->whole = true;
    invariant(z->ctx != NULL &&
              !ZSTD_isError(ZSTD_DCtx_setParameter(z->ctx, ZSTD_d_windowLogMax, ZIP_WINDOW_LOG_MAX)));
    return z;
}

void zip_reader_free(struct zip_reader *z)
{
    if (!z)
        return;
    ZSTD_freeDCtx(z->ctx);
    free(z);
}

enum err_code zip_reader_next(struct zip_reader *z, const void *in, size_t n, size_t *io_at, void *out,
                              size_t room, size_t *out_n, struct err *e)
{
    ZSTD_inBuffer from = { in, n, *io_at };
    ZSTD_outBuffer to = { out, room, 0 };

    /* Also without input: what did not fit before may still be inside. */
    while (to.pos < to.size) {
        size_t in_before = from.pos, out_before = to.pos;
        size_t left = ZSTD_decompressStream(z->ctx, &to, &from);
        if (ZSTD_getErrorCode(left) == ZSTD_error_frameParameter_windowTooLarge)
            return err_set(e, ERR_LIMIT, "zstd: its window is larger than the 2^%d bytes that are read",
                           ZIP_WINDOW_LOG_MAX);
        if (ZSTD_isError(left))
            return err_set(e, ERR_CORRUPT, "zstd: %s", ZSTD_getErrorName(left));
        if (from.pos == in_before && to.pos == out_before)
            break; /* a whole frame before it stays one */
        z->whole = left == 0;
    }
    *io_at = from.pos;
    *out_n = to.pos;
    return OK;
}

bool zip_reader_is_whole(const struct zip_reader *z)
{
    return z->whole;
}

enum err_code zip_unpack(const void *data, size_t n, size_t plain_n, struct buf *out, struct err *e)
{
    CLEANUP(zip_reader_freep) struct zip_reader *z = zip_reader_new();
    size_t at = 0, done = 0, got = 0;
    uint8_t one_more;
    uint8_t *room = buf_reserve(out, plain_n);

    if (!room)
        return err_set(e, ERR_LIMIT, "%zu unpacked bytes do not fit", plain_n);
    do {
        if (zip_reader_next(z, data, n, &at, room + done, plain_n - done, &got, e))
            return e->code;
        done += got;
    } while (got > 0 && done < plain_n);
    /* Room for one byte more: the frame's end and checksum are read, and a byte too many is seen. */
    if (done == plain_n && zip_reader_next(z, data, n, &at, &one_more, 1, &got, e))
        return e->code;
    if (done == plain_n && got > 0)
        return err_set(e, ERR_CORRUPT, "it unpacks to more than the %zu bytes that it should have", plain_n);
    if (done < plain_n || !z->whole || at != n)
        return err_set(e, ERR_CORRUPT, "it unpacks to %zu bytes%s where %zu were said", done,
                       z->whole ? "" : " and is cut off", plain_n);
    buf_commit(out, plain_n);
    return OK;
}
