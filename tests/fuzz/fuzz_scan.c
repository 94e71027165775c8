/* Any bytes as a value, as a line, and as a column's name: nothing is read beyond them, and counts stay
 * within what the bytes can hold. */
#include "base/err.h"
#include "core/scan/scan.h"
#include "tests/fuzz/replay.h"

#include <string.h>

static void check_counts(const struct scan_counts *c, size_t n)
{
    char name[64];
    invariant(c->values <= 1);
    for (size_t k = 0; k < scan_kinds(); k++) {
        invariant(c->whole[k] <= 1 && c->inside[k] <= n / 5); /* "a@b.c" is the shortest there is */
        invariant(scan_found(c, "x", k) <= c->whole[k] + c->inside[k]);
        snprintf(name, sizeof(name), "%s", scan_kind_name(k));
        invariant(name[0]);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct scan_counts value = { .values = 0 }, line = { .values = 0 };
    char column[256];
    scan_value((const char *)data, n, 2026, &value);
    check_counts(&value, n);
    scan_line((const char *)data, n, &line);
    check_counts(&line, n);
    scan_add(&line, &value);
    snprintf(column, sizeof(column), "%.*s", (int)MIN(n, sizeof(column) - 1), (const char *)data);
    for (size_t k = 0; k < scan_kinds(); k++)
        invariant(scan_found(&line, column, k) <= line.whole[k] + line.inside[k]);
    return 0;
}

REPLAY_MAIN("scan")
