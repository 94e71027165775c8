/* Any text: refused, or read; what was read has one canonical form, and that and the pretty form mean the
 * same. */
#include "core/json/json.h"
#include "tests/fuzz/replay.h"

#include <string.h>

static void read_again(const struct buf *text, const json_t *want)
{
    CLEANUP(json_donep) json_t *j = NULL;
    struct err e = ERR_INIT;
    invariant(json_parse(text->data, text->len, "input", &j, &e) == OK);
    invariant(json_equal(j, want));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    CLEANUP(json_donep) json_t *j = NULL;
    CLEANUP(buf_done) struct buf canonical = BUF_INIT(JSON_BYTES_MAX);
    CLEANUP(buf_done) struct buf pretty = BUF_INIT(JSON_BYTES_MAX);
    struct err e = ERR_INIT;
    char name[16];
    int64_t step;
    if (json_parse(data, n, "input", &j, &e)) {
        invariant((e.code == ERR_CORRUPT || e.code == ERR_LIMIT) && strncmp(e.text, "input: ", 7) == 0);
        return 0;
    }
    invariant(json_canonical(j, &canonical, &e) == OK && json_pretty(j, &pretty, &e) == OK);
    invariant(!memchr(canonical.data, '\n', canonical.len));
    read_again(&canonical, j);
    read_again(&pretty, j);
    IGNORE(json_copy_text(j, "input", "name", name, sizeof(name), &e));
    IGNORE(json_get_i64(j, "input", "step", &step, &e));
    return 0;
}

REPLAY_MAIN("json")
