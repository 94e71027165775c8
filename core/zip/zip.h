/*
 * zip.h - zstd ends here: whole objects packed and unpacked in memory, and files read as they unpack.
 *
 * What is unpacked has a limit that the caller states before a byte is produced, so a small object cannot
 * grow into a large one behind anybody's back. Packing the same bytes at one level with one library gives the
 * same bytes again; another version of the library may give others. Threads: any, on different objects.
 */
#ifndef CORE_ZIP_ZIP_H
#define CORE_ZIP_ZIP_H

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/err.h"

enum {
    ZIP_LEVEL = 3,
    ZIP_WINDOW_LOG_MAX = 27, /* a reader's window: 128 MiB, which is zstd's own default */
};

/* Adds one zstd frame, with its content's length and checksum, to `out`. ERR_LIMIT where out->max is too
 * small. */
enum err_code zip_pack(const void *data, size_t n, struct buf *out, struct err *e);

/* One or more whole frames; adds exactly `plain_n` bytes to `out`. ERR_CORRUPT: no zstd, cut off, a checksum
 * that does not match, bytes behind the end, or fewer or more than plain_n: it stops at the first byte too
 * many. */
enum err_code zip_unpack(const void *data, size_t n, size_t plain_n, struct buf *out, struct err *e);

/* A stream of frames, piece by piece. */
struct zip_reader;
struct zip_reader *zip_reader_new(void);
void zip_reader_free(struct zip_reader *z);
DEFINE_CLEANUP_PTR(struct zip_reader, zip_reader_free)
/* Takes from `in` (*io_at moves on) and gives at most `room` bytes; *out_n 0: it needs more input.
 * ERR_CORRUPT: no zstd. ERR_LIMIT: its window is larger than ZIP_WINDOW_LOG_MAX allows. */
enum err_code zip_reader_next(struct zip_reader *z, const void *in, size_t n, size_t *io_at, void *out,
                              size_t room, size_t *out_n, struct err *e);
/* Whether the input so far ends with a whole frame. */
bool zip_reader_is_whole(const struct zip_reader *z);

#endif
