/*
 * bench_gemm.c - our matrix products at the shapes of a GPT's step, beside oneDNN's dnnl_sgemm where its
 * library is installed, and beside the most multiply-adds that the processor does at all.
 *
 *     bench_gemm [THREADS [ROUNDS [PATH]]]        PATH: avx512, avx2, plain
 *     bench_gemm ceiling THREADS                  one number: the best GFLOP/s of ours at a large shape
 *
 * They take turns, ROUNDS times each. A line a shape: the median and the best of each in GFLOP/s. dnnl_sgemm
 * is called with one thread on tiles of 128 x 384 that our threads share, which is how it does best.
 */
#include "base/clock.h"
#include "base/mem.h"
#include "base/num.h"
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/gemm.h"
#include "kernels/cpu/gemm_path.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ROUNDS = 9, ROUNDS_MAX = 101, TILE_ROWS = 128, TILE_COLUMNS = 384, FLOATS = 26000000 };

static const struct shape {
    const char *name;
    bool a_transposed, b_transposed, add;
    size_t M, N, K;
} shapes[] = {
    { "a large one", false, false, false, 2048, 2048, 2048 },
    { "width 384: up", false, false, false, 2048, 1536, 384 },
    { "up, dx", false, true, false, 2048, 384, 1536 },
    { "up, dw", true, false, false, 384, 1536, 2048 },
    { "down", false, false, false, 2048, 384, 1536 },
    { "down, dx", false, true, false, 2048, 1536, 384 },
    { "down, dw", true, false, false, 1536, 384, 2048 },
    { "qkv", false, false, false, 2048, 1152, 384 },
    { "out", false, false, false, 2048, 384, 384 },
    { "out, dw", true, false, false, 384, 384, 2048 },
    { "width 768: up", false, false, false, 256, 3072, 768 },
    { "up, dx", false, true, false, 256, 768, 3072 },
    { "up, dw", true, false, false, 768, 3072, 256 },
    { "down", false, false, false, 256, 768, 3072 },
    { "down, dx", false, true, false, 256, 3072, 768 },
    { "down, dw", true, false, false, 3072, 768, 256 },
    { "out", false, false, false, 256, 768, 768 },
    { "384: logits", false, true, false, 256, 50257, 384 },
    { "logits, dx", false, false, false, 256, 384, 50257 },
    { "logits, dw", true, false, true, 50257, 384, 256 },
};

struct times {
    double us[ROUNDS_MAX];
    size_t n;
};
static void time_add(struct times *t, int64_t from)
{
    t->us[t->n++] = (double)(clock_mono_us() - from);
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* GFLOP/s: the median of all but the first, and the best. */
struct rate {
    double median, best;
};
static struct rate rate_of(struct times *t, double flop)
{
    size_t first = t->n > 1 ? 1 : 0;
    qsort(t->us + first, t->n - first, sizeof(t->us[0]), by_value);
    return (struct rate){ flop / t->us[first + (t->n - first) / 2] / 1e3, flop / t->us[first] / 1e3 };
}

/* ---- the peer ---- */

typedef int sgemm_fn(char a_op, char b_op, int64_t M, int64_t N, int64_t K, float alpha, const float *a,
                     int64_t a_row, const float *b, int64_t b_row, float beta, float *c, int64_t c_row);
struct peer {
    sgemm_fn *sgemm; /* NULL: not installed */
    void (*set_threads)(int);
    const struct gemm *g;
    size_t across;
};

static struct peer peer_open(void)
{
    struct peer p = { 0 };
    void *dnnl = dlopen("libdnnl.so.2", RTLD_NOW), *gomp = dlopen("libgomp.so.1", RTLD_NOW);
    if (dnnl && gomp) {
        *(void **)&p.sgemm = dlsym(dnnl, "dnnl_sgemm");
        *(void **)&p.set_threads = dlsym(gomp, "omp_set_num_threads");
    }
    return p;
}

static void peer_tile(void *context, size_t i, void *scratch)
{
    const struct peer *p = context;
    const struct gemm *g = p->g;
    size_t row = i / p->across * TILE_ROWS, column = i % p->across * TILE_COLUMNS;
    (void)scratch;
    p->set_threads(1);
    IGNORE(p->sgemm(g->a_transposed ? 'T' : 'N', g->b_transposed ? 'T' : 'N',
                    (int64_t)MIN((size_t)TILE_ROWS, g->M - row),
                    (int64_t)MIN((size_t)TILE_COLUMNS, g->N - column), (int64_t)g->K, 1,
                    g->a + row * (g->a_transposed ? 1 : g->a_row), (int64_t)g->a_row,
                    g->b + column * (g->b_transposed ? g->b_row : 1), (int64_t)g->b_row, g->add ? 1 : 0,
                    g->c + row * g->c_row + column, (int64_t)g->c_row));
}

/* ---- the peak ---- */

enum { TURNS = 100000, CHAINS = 24 };
#define EACH_CHAIN(F)                                                                                        \
    F(0)                                                                                                     \
    F(1) F(2) F(3) F(4) F(5) F(6) F(7) F(8) F(9) F(10) F(11) F(12) F(13) F(14) F(15) F(16) F(17) F(18) F(19) \
        F(20) F(21) F(22) F(23)

/* Multiply-adds of registers that depend on nothing: TURNS times CHAINS of 16 floats; 0 flops where there are
 * none. */
static void peak_task(void *context, size_t i, void *scratch)
{
    (void)context;
    (void)i;
    (void)scratch;
#ifdef __x86_64__
#define F(n) "vfmadd231ps %%zmm30, %%zmm31, %%zmm" #n "\n\t"
    if (__builtin_cpu_supports("avx512f"))
        __asm__ volatile("mov %0, %%ecx\n1:\n\t" EACH_CHAIN(F) "dec %%ecx\n\tjnz 1b" ::"i"(TURNS)
                         : "ecx", "cc");
#undef F
#endif
}

/* ---- */

struct bench {
    struct device *d;
    const struct gemm_path *path;
    struct peer peer;
    size_t threads, rounds;
    float *a, *b, *c;
};

static struct gemm gemm_of(const struct bench *b, const struct shape *s)
{
    return (struct gemm){ .a_transposed = s->a_transposed,
                          .b_transposed = s->b_transposed,
                          .add = s->add,
                          .M = s->M,
                          .N = s->N,
                          .K = s->K,
                          .alpha = 1,
                          .a = b->a,
                          .a_row = s->a_transposed ? s->M : s->K,
                          .b = b->b,
                          .b_row = s->b_transposed ? s->K : s->N,
                          .c = b->c,
                          .c_row = s->N };
}

static void one_shape(struct bench *b, const struct shape *s)
{
    const struct gemm g = gemm_of(b, s);
    struct times peak = { .n = 0 }, ours = { .n = 0 }, theirs = { .n = 0 };
    double flop = 2.0 * (double)s->M * (double)s->N * (double)s->K;
    b->peer.g = &g;
    b->peer.across = (g.N + TILE_COLUMNS - 1) / TILE_COLUMNS;
    for (size_t r = 0; r < b->rounds; r++) {
        int64_t from = clock_mono_us();
        cpu_run(b->d, b->threads, peak_task, NULL);
        time_add(&peak, from);
        from = clock_mono_us();
        cpu_gemm_by(b->path, b->d, &g);
        time_add(&ours, from);
        from = clock_mono_us();
        if (b->peer.sgemm)
            cpu_run(b->d, b->peer.across * ((g.M + TILE_ROWS - 1) / TILE_ROWS), peer_tile, &b->peer);
        time_add(&theirs, from);
    }
    struct rate most = rate_of(&peak, (double)b->threads * TURNS * CHAINS * 32), we = rate_of(&ours, flop),
                they = rate_of(&theirs, flop);
    printf("%-14s %5zu x %5zu x %5zu %c%c  %5.0f %5.0f  %5.0f %5.0f", s->name, s->M, s->N, s->K,
           s->a_transposed ? 'T' : 'N', s->b_transposed ? 'T' : 'N', most.median, most.best, we.median,
           we.best);
    if (b->peer.sgemm)
        printf("  %5.0f %5.0f  %5.2f %5.2f", they.median, they.best, we.median / they.median,
               we.best / they.best);
    printf("\n");
    fflush(stdout);
}

static void ceiling(struct bench *b)
{
    const struct gemm g = gemm_of(b, &shapes[0]);
    struct times t = { .n = 0 };
    for (size_t r = 0; r < b->rounds; r++) {
        int64_t from = clock_mono_us();
        cpu_gemm_by(b->path, b->d, &g);
        time_add(&t, from);
    }
    printf("%.1f\n", rate_of(&t, 2.0 * (double)g.M * (double)g.N * (double)g.K).best);
}

int main(int argc, char **argv)
{
    struct bench b = { .path = gemm_path(), .peer = peer_open(), .threads = 1, .rounds = ROUNDS };
    struct err e = ERR_INIT;
    bool only_ceiling = argc > 1 && strcmp(argv[1], "ceiling") == 0;
    size_t *const numbers[] = { &b.threads, &b.rounds };
    char **words = argv + (only_ceiling ? 2 : 1), **end = argv + argc;
    for (size_t i = 0; i < ARRAY_LEN(numbers) && words < end && e.code == OK; i++) {
        uint64_t n = 0;
        IGNORE(parse_u64(*words++, &n, &e));
        *numbers[i] = MAX(n, (uint64_t)1);
    }
    for (size_t i = 0; i < ARRAY_LEN(gemm_paths) && words < end; i++)
        if (strcmp(gemm_paths[i]->name, *words) == 0 && gemm_paths[i]->available())
            b.path = gemm_paths[i];
    b.rounds = MIN(b.rounds, (size_t)ROUNDS_MAX);
    if (e.code || device_open("cpu", &b.d, &e)) {
        fprintf(stderr, "bench_gemm: %s\n", e.text);
        return 1;
    }
    device_use_threads(b.d, b.threads);
    float **const matrices[] = { &b.a, &b.b, &b.c };
    for (size_t m = 0; m < ARRAY_LEN(matrices); m++) {
        *matrices[m] = mem_array(FLOATS, sizeof(float));
        for (size_t i = 0; i < FLOATS; i++)
            (*matrices[m])[i] = (float)(i % 251) / 256 - 0.5f;
    }
    if (only_ceiling) {
        ceiling(&b);
        return 0;
    }
    printf("path %s, %zu threads; GFLOP/s, median and best\n%-43s %-12s %-12s %-12s  ours / dnnl\n",
           b.path->name, b.threads, "", "peak", "ours", b.peer.sgemm ? "dnnl_sgemm" : "");
    for (size_t s = 0; s < ARRAY_LEN(shapes); s++)
        one_shape(&b, &shapes[s]);
    return 0;
}
