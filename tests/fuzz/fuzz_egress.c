/* Any line of a rank: refused, or read; what was read is written to a line that reads the same. */
#include "core/cluster/egress.h"
#include "tests/fuzz/replay.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    CLEANUP(buf_done) struct buf text = BUF_INIT(1 << 20);
    CLEANUP(buf_done) struct buf line = BUF_INIT(4096);
    struct egress_refusal r, again;
    struct err e = ERR_INIT;
    buf_add(&text, data, n);
    if (egress_from_line(buf_text(&text), 1, &r, &e)) {
        invariant(e.code == ERR_CORRUPT || e.code == ERR_LIMIT);
        return 0;
    }
    invariant(http_refusal_names[r.kind] && r.rank >= 0);
    egress_to_line(&r, &line);
    invariant(line.len > strlen(EGRESS_LINE) &&
              strchr(buf_text(&line), '\n') == buf_text(&line) + line.len - 1);
    invariant(egress_from_line(buf_text(&line) + strlen(EGRESS_LINE), 1, &again, &e) == OK);
    invariant(memcmp(&r, &again, sizeof(r)) == 0);
    return 0;
}

REPLAY_MAIN("egress")
