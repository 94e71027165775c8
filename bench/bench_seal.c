/*
 * bench_seal.c - how fast sealing is beside bare AES-256-GCM, on one core: the budget is 80 % of it.
 *
 *     bench_seal [MiB]
 *
 * The three are timed in turn, ROUNDS times, on the same buffers; printed are the medians of the rates and of
 * the ratios within a round, as a machine's speed drifts. All memory has been touched before.
 */
#include "base/clock.h"
#include "base/mem.h"
#include "base/num.h"
#include "base/rng.h"
#include "core/crypto/crypto.h"
#include "core/seal/seal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ROUNDS = 9, MIB_DEFAULT = 64, MIB_MAX = 1024 };

struct bench {
    uint8_t *plain;
    size_t n;
    struct secret *key;
    struct buf sealed, opened;
};

static double gb_per_s(size_t bytes, int64_t us)
{
    return (double)bytes / 1e3 / (double)MAX(us, (int64_t)1);
}

static double time_aead(struct bench *b)
{
    static const uint8_t iv[AEAD_IV_BYTES];
    uint8_t tag[AEAD_TAG_BYTES];
    CLEANUP(aead_freep) struct aead *a = aead_new(secret_bytes(b->key));
    int64_t from = clock_mono_us();
    aead_seal(a, iv, NULL, 0, b->plain, b->n, b->opened.data, tag);
    return gb_per_s(b->n, clock_mono_us() - from);
}

static double time_seal(struct bench *b)
{
    struct err e = ERR_INIT;
    buf_reset(&b->sealed);
    int64_t from = clock_mono_us();
    invariant(floe_seal(&floe_default, b->key, "aad", 3, b->plain, b->n, &b->sealed, &e) == OK);
    return gb_per_s(b->n, clock_mono_us() - from);
}

static double time_open(struct bench *b)
{
    struct err e = ERR_INIT;
    buf_reset(&b->opened);
    int64_t from = clock_mono_us();
    invariant(floe_open(&floe_default, b->key, "aad", 3, b->sealed.data, b->sealed.len, &b->opened, &e) ==
              OK);
    return gb_per_s(b->n, clock_mono_us() - from);
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double v[ROUNDS])
{
    qsort(v, ROUNDS, sizeof(v[0]), by_value);
    return v[ROUNDS / 2];
}

static void run(struct bench *b)
{
    double aead[ROUNDS], seal[ROUNDS], open[ROUNDS], seal_share[ROUNDS], open_share[ROUNDS];
    time_seal(b);
    time_open(b); /* memory is there from here on */
    for (int i = 0; i < ROUNDS; i++) {
        aead[i] = time_aead(b);
        seal[i] = time_seal(b);
        open[i] = time_open(b);
        seal_share[i] = seal[i] / aead[i];
        open_share[i] = open[i] / aead[i];
    }
    printf("AES-256-GCM %6.2f GB/s\n", median(aead));
    printf("seal        %6.2f GB/s  %3.0f %%\n", median(seal), 100 * median(seal_share));
    printf("open        %6.2f GB/s  %3.0f %%\n", median(open), 100 * median(open_share));
}

int main(int argc, char **argv)
{
    struct err e = ERR_INIT;
    int64_t mib = MIB_DEFAULT;
    if (argc > 2 || (argc == 2 && parse_i64(argv[1], &mib, &e)) || mib < 1 || mib > MIB_MAX) {
        fprintf(stderr, "usage: bench_seal [1 to %d MiB]\n", MIB_MAX);
        return 2;
    }
    struct bench b = { .n = (size_t)mib << 20 };
    b.plain = mem_new(b.n);
    for (size_t at = 0; at < b.n; at += 1 << 20)
        random_bytes(b.plain + at, 1 << 20);
    b.key = secret_random(FLOE_KEY_BYTES);
    b.sealed = (struct buf)BUF_INIT(floe_sealed_bytes(&floe_default, b.n));
    b.opened = (struct buf)BUF_INIT(b.n);
    printf("%lld MiB, medians of %d\n", (long long)mib, ROUNDS);
    run(&b);
    buf_done(&b.sealed);
    buf_done(&b.opened);
    secret_free(b.key);
    free(b.plain);
    return 0;
}
