/* Any text: cut into records whose fields, written down again with quotes, are the same records; or refused
 * and left alone. */
#include "core/job/dataset.h"
#include "tests/fuzz/replay.h"

#include <string.h>

enum { FIELDS_MAX = 8, TEXT_BYTES_MAX = 1 << 20 };

static void quote(const char *field, struct buf *out)
{
    buf_add_byte(out, '"');
    for (const char *p = field; *p; p++) {
        if (*p == '"')
            buf_add_byte(out, '"');
        buf_add_byte(out, (uint8_t)*p);
    }
    buf_add_byte(out, '"');
}

/* `text` is n bytes and a NUL. Adds each record in quotes; false where the text is refused. */
static bool rewrite(char *text, size_t n, struct buf *out, size_t *out_lines)
{
    CLEANUP(buf_done) struct buf before = BUF_INIT(TEXT_BYTES_MAX);
    char *p = text, *end = text + n, *fields[FIELDS_MAX];
    size_t count = 0, lines = 0;
    for (;;) {
        struct err e = ERR_INIT;
        char *from = p;
        buf_reset(&before);
        buf_add(&before, p, (size_t)(end - p) + 1);
        if (csv_next(&p, end, fields, FIELDS_MAX, &count, &lines, &e)) {
            invariant(e.code == ERR_USAGE && p == from);
            invariant(memcmp(p, before.data, before.len) == 0);
            return false;
        }
        invariant(p >= from && p <= end && (count == 0) == (from == end));
        if (count == 0)
            return true;
        *out_lines += lines;
        for (size_t i = 0; i < count; i++) {
            invariant(fields[i] >= from && fields[i] + strlen(fields[i]) <= end);
            buf_add_text(out, i ? "," : "");
            quote(fields[i], out);
        }
        buf_add_byte(out, '\n');
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    CLEANUP(buf_done) struct buf once = BUF_INIT(TEXT_BYTES_MAX);
    CLEANUP(buf_done) struct buf twice = BUF_INIT(TEXT_BYTES_MAX);
    size_t lines = 0, lines_again = 0, line_ends = 0;
    if (n > 4096)
        return 0;
    CLEANUP(freep) char *text = malloc(n + 1);
    if (n)
        memcpy(text, data, n);
    text[n] = '\0';
    for (size_t i = 0; i < n; i++)
        line_ends += data[i] == '\n';
    if (!rewrite(text, n, &once, &lines))
        return 0;
    invariant(lines == line_ends);
    CLEANUP(freep) char *copy = malloc(once.len + 1);
    memcpy(copy, buf_text(&once), once.len + 1);
    invariant(rewrite(copy, once.len, &twice, &lines_again));
    invariant(once.len == twice.len && memcmp(buf_text(&once), buf_text(&twice), once.len) == 0);
    return 0;
}

REPLAY_MAIN("csv")
