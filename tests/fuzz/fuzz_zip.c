/* Any bytes as a packed object: refused, or exactly the length that was said; and the stream reader gives the
 * same as the whole, in pieces of any size. */
#include "core/zip/zip.h"
#include "tests/fuzz/replay.h"

#include <string.h>

enum { MOST = 1 << 20 };

/* At most MOST bytes; false where it is refused. */
static bool stream(const uint8_t *data, size_t n, size_t room, struct buf *out)
{
    CLEANUP(zip_reader_freep) struct zip_reader *z = zip_reader_new();
    uint8_t piece[4096];
    struct err e = ERR_INIT;
    size_t at = 0, got = 1;
    while (got > 0 && out->len < MOST) {
        if (zip_reader_next(z, data, n, &at, piece, room, &got, &e)) {
            invariant(e.code == ERR_CORRUPT || e.code == ERR_LIMIT);
            return false;
        }
        invariant(got <= room && at <= n);
        buf_add(out, piece, got);
    }
    return zip_reader_is_whole(z) && at == n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    CLEANUP(buf_done) struct buf large = BUF_INIT(MOST + 4096);
    CLEANUP(buf_done) struct buf small = BUF_INIT(MOST + 4096);
    bool whole = stream(data, n, 4096, &large);
    if (whole && large.len < 65536) {
        invariant(stream(data, n, 7, &small));
        invariant(small.len == large.len &&
                  (small.len == 0 || memcmp(small.data, large.data, small.len) == 0));
    }
    for (size_t said = 1; said <= 4096; said *= 8) {
        CLEANUP(buf_done) struct buf plain = BUF_INIT(4096);
        struct err e = ERR_INIT;
        enum err_code code = zip_unpack(data, n, said, &plain, &e);
        invariant(code == OK ? plain.len == said : plain.len == 0);
        invariant(code != OK || (whole && large.len == said));
    }
    return 0;
}

REPLAY_MAIN("zip")
