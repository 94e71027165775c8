/*
 * run.h - one operation of one device under test: memory on both sides, random inputs, fences behind every
 * array.
 *
 * A test program's main ends with run_everywhere(), which runs the group on each device that opens here and
 * says in a line of its own why another does not. SOVRUN_TEST_DEVICE names the only one that is asked for,
 * and which then must open.
 *
 * run_in_each_precision() does so for every precision of a device as well. Pairs of reals (real_new()) are
 * bf16 on the device then, and their floats on the host are rounded as those are.
 *
 * An output starts as not-a-number, so an element that was not written shows; behind each array lies a fence
 * that pair_fetch() looks at.
 */
#ifndef TESTS_KERNELS_RUN_H
#define TESTS_KERNELS_RUN_H

#include "base/mem.h"
#include "base/rng.h"
#include "kernels/kernels.h"
#include "tests/emulate/bf16.h"
#include "tests/test.h"

#include <math.h>
#include <string.h>

enum { FENCE = 16 };
#define FENCE_VALUE 1232.0f /* bf16 have it, too */

struct kernel_run {
    struct device *d;
    const struct kernels *k;
    uint64_t drawn;
};
struct pair {
    void *dev;
    float *host;
    size_t n, each; // bytes of a number on the device
};

static const char *run_device = "cpu"; // the one whose turn it is
static enum device_precision run_precision = DEVICE_FP32;

/* The next device whose turn it is, from run_devices[*at] on; false: that was all. */
static inline bool run_next_device(size_t *at)
{
    static const char *const run_devices[] = { "cpu", "cuda" };
    const char *wanted = getenv("SOVRUN_TEST_DEVICE");

    while (*at < ARRAY_LEN(run_devices)) {
        struct err e = ERR_INIT;
        struct device *d = NULL;
        run_device = run_devices[(*at)++];
        if (wanted && strcmp(wanted, run_device) != 0)
            continue;
        if (!device_open(run_device, &d, &e))
            print_message("# on %s%s%s\n", run_device, *device_note(d) ? ": " : "", device_note(d));
        else if (!wanted) {
            print_message("# not on %s: %s\n", run_device, e.text);
            continue;
        }
        device_close(d);
        return true;
    }
    return false;
}

/* `run` is the call of cmocka's that runs the group. */
#define run_everywhere(run)                                                                                  \
    __extension__({                                                                                          \
        int failed_ = 0;                                                                                     \
        for (size_t at_ = 0; run_next_device(&at_);)                                                         \
            failed_ += (run);                                                                                \
        failed_;                                                                                             \
    })

/* Does the device whose turn it is compute so? Says so, as it is its turn then. */
static inline bool run_next_precision(enum device_precision p)
{
    struct err e = ERR_INIT;
    struct device *d = NULL;
    assert_ok(device_open(run_device, &d, &e));
    bool can = device_use_precision(d, p, &e) == OK;
    device_close(d);
    run_precision = can ? p : DEVICE_FP32;
    if (can && p != DEVICE_FP32)
        print_message("# in %s\n", device_precision_names[p]);
    return can;
}

#define run_in_each_precision(run)                                                                           \
    run_everywhere(__extension__({                                                                           \
        int bad_ = 0;                                                                                        \
        for (int p_ = DEVICE_FP32; p_ <= DEVICE_BF16; p_++)                                                  \
            bad_ += run_next_precision((enum device_precision)p_) ? (run) : 0;                               \
        bad_;                                                                                                \
    }))

/* What a result in reals, and one of a matrix product, may be off: a rounding to bf16 (2^-8 at most), and
 * what the operands' rounding to tf32 (2^-11 each) comes to in sums of some hundred. */
static inline double of_real(double fp32)
{
    return run_precision == DEVICE_BF16 ? fmax(fp32, 1.0 / 256) : fp32;
}

static inline double of_product(double fp32)
{
    return run_precision == DEVICE_TF32 ? fmax(fp32, 1e-2) : fp32;
}

static inline struct kernel_run run_open(void)
{
    struct err e = ERR_INIT;
    struct kernel_run r = { 0 };
    assert_ok(device_open(run_device, &r.d, &e));
    assert_ok(device_use_precision(r.d, run_precision, &e));
    r.k = kernels_for(r.d);
    return r;
}

static inline void *run_memory(struct kernel_run *r, size_t bytes)
{
    struct err e = ERR_INIT;
    void *p = NULL;
    assert_ok(device_alloc(r->d, bytes, 1, &p, &e));
    return p;
}

/* As the device keeps it as a real. */
static inline float as_real(float x)
{
    return run_precision == DEVICE_BF16 ? of_bf16(bf16_of(x)) : x;
}

/* The first n of the host's numbers to the device, and rounded as they are there. */
static inline void pair_put(struct kernel_run *r, struct pair *p, size_t n)
{
    CLEANUP(freep) uint16_t *half = mem_array(n + 1, sizeof(*half));
    for (size_t i = 0; p->each == 2 && i < n; i++) {
        half[i] = bf16_of(p->host[i]);
        p->host[i] = of_bf16(half[i]);
    }
    device_put(r->d, p->dev, p->each == 2 ? (void *)half : p->host, n * p->each);
}

static inline struct pair pair_of(struct kernel_run *r, size_t n, size_t each)
{
    struct pair p = { .n = n, .each = each, .host = mem_array(n + FENCE, sizeof(float)) };
    p.dev = run_memory(r, (n + FENCE) * each);
    for (size_t i = 0; i < n + FENCE; i++)
        p.host[i] = i < n ? NAN : FENCE_VALUE;
    pair_put(r, &p, n + FENCE);
    return p;
}

static inline void pair_draw(struct kernel_run *r, struct pair *p, float low, float high)
{
    r->drawn++;
    for (size_t i = 0; i < p->n; i++)
        p->host[i] = low + (high - low) * rng_f32(r->drawn, i);
    pair_put(r, p, p->n);
}

static inline struct pair pair_new(struct kernel_run *r, size_t n)
{
    return pair_of(r, n, sizeof(float));
}

static inline struct pair pair_random(struct kernel_run *r, size_t n, float low, float high)
{
    struct pair p = pair_new(r, n);
    pair_draw(r, &p, low, high);
    return p;
}

static inline struct pair real_new(struct kernel_run *r, size_t n)
{
    return pair_of(r, n, device_real_bytes(r->d));
}

static inline struct pair real_random(struct kernel_run *r, size_t n, float low, float high)
{
    struct pair p = real_new(r, n);
    pair_draw(r, &p, low, high);
    return p;
}

static inline void pair_fetch(struct kernel_run *r, struct pair *p)
{
    struct err e = ERR_INIT;
    const size_t n = p->n + FENCE;
    CLEANUP(freep) uint16_t *half = mem_array(n, sizeof(*half));
    assert_ok(device_sync(r->d, &e));
    device_get(r->d, p->each == 2 ? (void *)half : p->host, p->dev, n * p->each);
    for (size_t i = 0; p->each == 2 && i < n; i++)
        p->host[i] = of_bf16(half[i]);
    for (size_t i = p->n; i < n; i++)
        if (p->host[i] != FENCE_VALUE)
            fail_msg("element %zu behind an array of %zu was written", i - p->n, p->n);
}

static inline void pair_done(struct kernel_run *r, struct pair *p)
{
    device_free(r->d, p->dev);
    free(p->host);
}

/* |got - want| <= tolerance * max(1, |want|); not a number never is near. */
#define assert_near(got, want, tolerance)                                                                    \
    do {                                                                                                     \
        double got_ = (got), want_ = (want);                                                                 \
        if (!(fabs(got_ - want_) <= (tolerance)*fmax(1, fabs(want_))))                                       \
            fail_msg("%s is %.9g, want %.9g", #got, got_, want_);                                            \
    } while (0)

#endif
