/* Any text as the bucket or a lock of a dir store: what is accepted is written back just as it was. */
#include "core/store/dir_meta.h"
#include "core/store/dir_path.h"
#include "tests/fuzz/replay.h"

#include <string.h>

static void bucket(const char *text)
{
    CLEANUP(buf_done) struct buf again = BUF_INIT(64 * 1024);
    struct err e = ERR_INIT;
    struct dir_bucket b;
    if (dir_bucket_parse(text, &b, &e))
        return;
    dir_bucket_format(&b, &again);
    invariant(strcmp(buf_text(&again), text) == 0);
}

static void lock(const char *text)
{
    CLEANUP(buf_done) struct buf again = BUF_INIT(64 * 1024);
    struct err e = ERR_INIT;
    struct store_lock l;
    if (dir_lock_parse(text, &l, &e))
        return;
    dir_lock_format(&l, &again);
    invariant(strcmp(buf_text(&again), text) == 0);
}

/* A file's name is a key's or it is not: what decodes is encoded to the same name again. */
static void name(const char *text)
{
    CLEANUP(buf_done) struct buf key = BUF_INIT(64 * 1024);
    CLEANUP(buf_done) struct buf again = BUF_INIT(256 * 1024);
    bool more;
    if (!dir_decode_name(text, &key, &more) || more || memchr(key.data, '/', key.len))
        return;
    dir_encode_key(buf_text(&key), &again);
    invariant(strcmp(buf_text(&again), text) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    CLEANUP(buf_done) struct buf text = BUF_INIT(64 * 1024);
    buf_add(&text, data, n);
    if (text.full || (n && memchr(data, 0, n)))
        return 0;
    bucket(buf_text(&text));
    lock(buf_text(&text));
    name(buf_text(&text));
    return 0;
}

REPLAY_MAIN("dir_meta")
