/*
 * run.h - one operation of one device under test: memory on both sides, random inputs, fences behind every
 * array.
 *
 * A test program's main ends with run_everywhere(), which runs the group on each device that opens here and says
 * in a line of its own why another does not. SOVRUN_TEST_DEVICE names the only one that is asked for, and which
 * then must open.
 *
 * An output starts as not-a-number, so an element that was not written shows; behind each array lies a fence
 * that pair_fetch() looks at.
 */
#ifndef TESTS_KERNELS_RUN_H
#define TESTS_KERNELS_RUN_H

#include "base/mem.h"
#include "base/rng.h"
#include "kernels/kernels.h"
#include "tests/test.h"

#include <math.h>
#include <string.h>

enum { FENCE = 16 };

struct kernel_run {
    struct device *d;
    const struct kernels *k;
    uint64_t drawn;
};
struct pair {
    float *dev, *host;
    size_t n;
};

static const char *run_device = "cpu"; // the one whose turn it is

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

static inline struct kernel_run run_open(void)
{
    struct err e = ERR_INIT;
    struct kernel_run r = { 0 };
    assert_ok(device_open(run_device, &r.d, &e));
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

static inline struct pair pair_new(struct kernel_run *r, size_t n)
{
    struct pair p = { .n = n, .host = mem_array(n + FENCE, sizeof(float)) };
    p.dev = run_memory(r, (n + FENCE) * sizeof(float));
    for (size_t i = 0; i < n + FENCE; i++)
        p.host[i] = i < n ? NAN : 1234.5f;
    device_put(r->d, p.dev, p.host, (n + FENCE) * sizeof(float));
    return p;
}

static inline struct pair pair_random(struct kernel_run *r, size_t n, float low, float high)
{
    struct pair p = pair_new(r, n);
    r->drawn++;
    for (size_t i = 0; i < n; i++)
        p.host[i] = low + (high - low) * rng_f32(r->drawn, i);
    device_put(r->d, p.dev, p.host, n * sizeof(float));
    return p;
}

static inline void pair_fetch(struct kernel_run *r, struct pair *p)
{
    struct err e = ERR_INIT;
    assert_ok(device_sync(r->d, &e));
    device_get(r->d, p->host, p->dev, (p->n + FENCE) * sizeof(float));
    for (size_t i = 0; i < FENCE; i++)
        if (p->host[p->n + i] != 1234.5f)
            fail_msg("element %zu behind an array of %zu was written", i, p->n);
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
