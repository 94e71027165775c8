/*
 * bench_scan.c - how fast the scan for personal data is beside the parsing and hashing that staging does
 * anyway, on one core: it should not be what staging waits for.
 *
 *     bench_scan
 *
 * Three CSV files in memory: what a table usually holds (words and small numbers), nothing but long numbers,
 * and nothing but personal data. The three steps are timed in turn, ROUNDS times; printed are the medians.
 */
#include "base/clock.h"
#include "base/mem.h"
#include "base/rng.h"
#include "core/crypto/crypto.h"
#include "core/job/dataset.h"
#include "core/scan/scan.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ROUNDS = 7, TABLE_BYTES = 32 << 20, YEAR = 2026, FIELDS_MAX = 16, STEPS = 3 };

typedef void add_row_fn(uint64_t i, struct buf *out);

static void usual_row(uint64_t i, struct buf *out)
{
    static const char *const words[] = { "existing paid", "radio/tv", "no known savings",
                                         "male single",   "own",      "good" };
    buf_addf(out, "%" PRIu64 ",%s,%s,%" PRIu64 ",%s,%" PRIu64 ".%02" PRIu64 "\n", i, words[i % 6],
             words[i / 6 % 6], rng_below(1, i, 10000), words[i / 36 % 6], rng_below(2, i, 1000),
             rng_below(3, i, 100));
}

static void number_row(uint64_t i, struct buf *out)
{
    buf_addf(out, "%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%" PRIu64 "\n", 100000000 + i,
             rng_below(1, i, 100000000000), rng_below(2, i, 1000000000), rng_below(3, i, 10000000000000));
}

static void person_row(uint64_t i, struct buf *out)
{
    buf_addf(out,
             "u%" PRIu64 "@example.org,+49 170 %07" PRIu64 ",DE89370400440532013000,19%02" PRIu64 "-0%" PRIu64
             "-11,"
             "4111 1111 1111 1111,85073003328\n",
             i, rng_below(1, i, 10000000), rng_below(2, i, 100), 1 + i % 9);
}

/* Sums what was seen, so that nothing is left out. */
static uint64_t parse(struct buf *text, bool scan)
{
    struct scan_counts *counts = mem_array(FIELDS_MAX, sizeof(*counts));
    char *fields[FIELDS_MAX], *at = (char *)text->data, *end = at + text->len;
    struct err e = ERR_INIT;
    size_t count, lines;
    uint64_t seen = 0;

    while (at < end) {
        invariant(csv_next(&at, end, fields, FIELDS_MAX, &count, &lines, &e) == OK);
        for (size_t i = 0; i < count; i++)
            if (scan)
                scan_value(fields[i], strlen(fields[i]), YEAR, &counts[i]);
        seen += count;
    }
    free(counts);
    return seen;
}

static double rate(size_t bytes, int64_t from_us)
{
    return (double)bytes / (double)MAX(clock_mono_us() - from_us, (int64_t)1); // MB/s
}

static int by_rate(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void measure(const char *name, add_row_fn *add)
{
    CLEANUP(buf_done) struct buf table = BUF_INIT(TABLE_BYTES + 4096);
    CLEANUP(buf_done) struct buf copy = BUF_INIT(TABLE_BYTES + 4096);
    double rates[STEPS][ROUNDS];
    char hex[SHA256_HEX_BYTES];
    uint64_t rows = 0, seen = 0;

    for (; table.len < TABLE_BYTES; rows++)
        add(rows, &table);
    for (int round = 0; round < ROUNDS; round++) {
        int64_t from = clock_mono_us();
        sha256_hex(table.data, table.len, hex);
        rates[0][round] = rate(table.len, from);
        for (int scan = 0; scan < 2; scan++) { /* parsing cuts the text up, so each time a fresh copy */
            buf_reset(&copy);
            buf_add(&copy, table.data, table.len);
            from = clock_mono_us();
            seen += parse(&copy, scan);
            rates[1 + scan][round] = rate(table.len, from);
        }
    }
    for (int step = 0; step < STEPS; step++)
        qsort(rates[step], ROUNDS, sizeof(double), by_rate);
    double hash = rates[0][ROUNDS / 2], plain = rates[1][ROUNDS / 2], both = rates[2][ROUNDS / 2];
    printf("%-16s SHA-256 %5.0f MB/s   parse %5.0f MB/s   parse and scan %5.0f MB/s   so the scan alone "
           "%5.0f MB/s"
           "   (%" PRIu64 " values)\n",
           name, hash, plain, both, plain > both ? 1 / (1 / both - 1 / plain) : 0, seen / (2 * ROUNDS));
}

int main(void)
{
    measure("usual table", usual_row);
    measure("long numbers", number_row);
    measure("personal data", person_row);
    return 0;
}
