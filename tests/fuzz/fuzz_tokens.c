/* Any bytes as a tokens file: refused as malformed, or as many tokens as its bytes hold behind the header. */
#include "base/file.h"
#include "runner/cli/records.h"
#include "tests/fuzz/replay.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

static void read_all(const char *path, int token_bytes, size_t n)
{
    CLEANUP(source_closep) struct source *source = NULL;
    CLEANUP(records_closep) struct records *in = NULL;
    struct err e = ERR_INIT;
    struct record r;
    uint64_t units = 0;
    bool over = false;

    invariant(source_open(path, "/tmp", 0, &source, &e) == OK);
    invariant(records_open(source, RECORDS_TOKENS, token_bytes, &in, &e) == OK);
    while (!over) {
        if (records_next(in, 100, &r, &over, &e)) {
            invariant(e.code == ERR_USAGE && e.text[0]);
            return;
        }
        if (over)
            break;
        invariant(r.units >= 1 && r.units <= 100);
        invariant(r.raw_bytes == r.units * (size_t)records_token_bytes(in));
        units += r.units;
    }
    uint64_t bytes = units * (uint64_t)records_token_bytes(in);
    invariant(bytes == n || bytes + TOKENS_HEADER_BYTES == n);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    char path[] = "/tmp/fuzz-tokens-XXXXXX";
    int fd = mkstemp(path);
    struct err e = ERR_INIT;
    invariant(fd >= 0 && file_write_all(fd, data, n, &e) == OK);
    close(fd);
    read_all(path, 0, n);
    read_all(path, 2, n);
    read_all(path, 4, n);
    unlink(path);
    return 0;
}

REPLAY_MAIN("tokens")
