/*
 * The promise of gemm.h: each element is one chain of fused multiply-adds in the order of k, whatever the
 * path, the number of threads, the transposes, the strides and the size.
 */
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/gemm.h"
#include "kernels/cpu/gemm_path.h"
#include "tests/kernels/run.h"

/* Around blocks (8 x 48, 4 x 24, 4 x 16), packed rows (16, 8, 4), the depth (384) and what fits of b (about
 * 400). */
static const struct row {
    const char *name;
    size_t M, N, K;
} rows[] = {
    { "one by one by one", 1, 1, 1 },
    { "nothing to add up", 3, 5, 0 },
    { "no rows", 0, 5, 3 },
    { "no columns", 5, 0, 3 },
    { "odd and small", 3, 7, 5 },
    { "a row", 1, 200, 33 },
    { "a column", 100, 1, 40 },
    { "below a block", 7, 47, 16 },
    { "a block", 8, 48, 16 },
    { "above a block", 9, 49, 17 },
    { "edges of every vector", 19, 95, 31 },
    { "a panel below the depth", 17, 50, 383 },
    { "a panel above the depth", 33, 25, 385 },
    { "twice the depth and a bit", 21, 70, 770 },
    { "wider than what is packed at once", 18, 1000, 390 },
    { "narrow, as in attention", 64, 64, 128 },
    { "tall", 500, 33, 20 },
    { "of some tiles", 150, 210, 64 },
};
enum { PAD = 3 }; /* floats behind each row that are not of the matrix */

static const struct start {
    const char *name;
    bool add, bias;
    float alpha;
} starts[] = {
    { "from zero", false, false, 1 },
    { "from a bias", false, true, 1 },
    { "added", true, false, 1 },
    { "scaled", false, false, 0.3f },
};

struct product {
    struct kernel_run r;
    struct pair a, b, bias, c;
    float *before, *want;
    struct gemm g;
};

static float element(const struct pair *p, bool transposed, size_t step, size_t row, size_t column)
{
    return transposed ? p->host[column * step + row] : p->host[row * step + column];
}

static struct product product_new(const struct row *w, const struct start *s, bool a_transposed,
                                  bool b_transposed)
{
    struct product p = { .r = run_open() };
    struct gemm g = { .a_transposed = a_transposed,
                      .b_transposed = b_transposed,
                      .add = s->add,
                      .alpha = s->alpha,
                      .M = w->M,
                      .N = w->N,
                      .K = w->K,
                      .a_row = (a_transposed ? w->M : w->K) + PAD,
                      .b_row = (b_transposed ? w->K : w->N) + PAD,
                      .c_row = w->N + PAD };
    p.a = pair_random(&p.r, g.a_row * (a_transposed ? w->K : w->M), -1, 1);
    p.b = pair_random(&p.r, g.b_row * (b_transposed ? w->N : w->K), -1, 1);
    p.bias = pair_random(&p.r, w->N, -1, 1);
    p.c = pair_random(&p.r, g.c_row * w->M, -1, 1);
    g.a = p.a.dev;
    g.b = p.b.dev;
    g.c = p.c.dev;
    g.bias = s->bias ? p.bias.dev : NULL;
    p.g = g;
    p.before = mem_array(p.c.n + 1, sizeof(float));
    p.want = mem_array(p.c.n + 1, sizeof(float));
    memcpy(p.before, p.c.host, p.c.n * sizeof(float));
    memcpy(p.want, p.c.host, p.c.n * sizeof(float));
    return p;
}

/* The chain in floats, and the same in doubles to see that it means what it should. */
static void expect(struct product *p)
{
    const struct gemm *g = &p->g;
    for (size_t i = 0; i < g->M; i++)
        for (size_t j = 0; j < g->N; j++) {
            float sum = g->add ? p->before[i * g->c_row + j] : g->bias ? p->bias.host[j] : 0;
            double exact = sum;
            for (size_t k = 0; k < g->K; k++) {
                float x = element(&p->a, g->a_transposed, g->a_row, i, k);
                float y = element(&p->b, g->b_transposed, g->b_row, k, j);
                volatile float scaled = g->alpha * y;
                sum = fmaf(x, scaled, sum);
                exact += (double)x * (double)y * (double)g->alpha;
            }
            assert_near(sum, exact, 2e-5);
            p->want[i * g->c_row + j] = sum;
        }
}

/* Bytes, so the floats between the rows are looked at as well. */
static void same(struct product *p, const char *what)
{
    pair_fetch(&p->r, &p->c);
    for (size_t i = 0; i < p->c.n; i++)
        if (memcmp(&p->c.host[i], &p->want[i], sizeof(float)) != 0)
            fail_msg("%s: element %zu of row %zu is %.9g, want %.9g", what, i % p->g.c_row, i / p->g.c_row,
                     (double)p->c.host[i], (double)p->want[i]);
    device_put(p->r.d, p->c.dev, p->before, p->c.n * sizeof(float));
}

static void product_done(struct product *p)
{
    struct pair *all[] = { &p->a, &p->b, &p->bias, &p->c };
    for (size_t i = 0; i < ARRAY_LEN(all); i++)
        pair_done(&p->r, all[i]);
    free(p->before);
    free(p->want);
    device_close(p->r.d);
}

static void is_one_chain_by_every_path(void **state)
{
    static const size_t threads[] = { 1, 2, 5 };
    const struct row *w = *state;
    for (size_t v = 0; v < 4 * ARRAY_LEN(starts); v++) {
        struct product p = product_new(w, &starts[v / 4], v % 2 == 1, v / 2 % 2 == 1);
        void *work = aligned_alloc(64, GEMM_WORK_BYTES);
        expect(&p);
        for (size_t t = 0; t < ARRAY_LEN(threads); t++) {
            device_use_threads(p.r.d, threads[t]);
            for (size_t i = 0; i < ARRAY_LEN(gemm_paths); i++)
                if (gemm_paths[i]->available()) {
                    cpu_gemm_by(gemm_paths[i], p.r.d, &p.g);
                    same(&p, gemm_paths[i]->name);
                }
        }
        cpu_gemm_here(&p.g, work);
        same(&p, "here");
        free(work);
        product_done(&p);
    }
}

/* Without `add`, what c held does not matter, even if it is no number. */
static void c_need_not_hold_numbers(void **state)
{
    const struct row *w = &rows[10];
    (void)state;
    struct product p = product_new(w, &starts[0], false, false);
    expect(&p);
    for (size_t i = 0; i < p.g.M; i++)
        for (size_t j = 0; j < p.g.N; j++)
            p.before[i * p.g.c_row + j] = NAN;
    device_put(p.r.d, p.c.dev, p.before, p.c.n * sizeof(float));
    for (size_t i = 0; i < ARRAY_LEN(gemm_paths); i++)
        if (gemm_paths[i]->available()) {
            cpu_gemm_by(gemm_paths[i], p.r.d, &p.g);
            same(&p, gemm_paths[i]->name);
        }
    product_done(&p);
}

int main(void)
{
    static struct CMUnitTest tests[ARRAY_LEN(rows) + 1];
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        tests[i] =
            (struct CMUnitTest){ rows[i].name, is_one_chain_by_every_path, NULL, NULL, (void *)&rows[i] };
    tests[ARRAY_LEN(rows)] =
        (struct CMUnitTest){ "c need not hold numbers", c_need_not_hold_numbers, NULL, NULL, NULL };
    return cmocka_run_group_tests_name("matrix products", tests, NULL, NULL);
}
