/*
 * The operations of large models, on every device there is, against doubles; and the same bits for any number
 * of threads.
 */
#include "kernels/cpu/fast_math.h"
#include "tests/kernels/run.h"

#include <float.h>

static const size_t sizes[][3] = {
    /* (B, I, O) */
    { 1, 1, 1 }, { 3, 5, 7 }, { 16, 16, 16 }, { 17, 33, 15 }, { 256, 8, 512 }, { 257, 40, 513 }, { 0, 3, 4 },
};

struct three {
    struct pair a, b, c;
};

static void done3(struct kernel_run *r, struct three *t)
{
    pair_done(r, &t->a);
    pair_done(r, &t->b);
    pair_done(r, &t->c);
}

/* ---- dense ---- */

static void dense_agrees(void **state)
{
    (void)state;
    for (size_t s = 0; s < ARRAY_LEN(sizes); s++) {
        struct kernel_run r = run_open();
        size_t B = sizes[s][0], I = sizes[s][1], O = sizes[s][2];
        struct pair x = real_random(&r, B * I, -1, 1), w = real_random(&r, I * O, -1, 1);
        struct pair bias = real_random(&r, O, -1, 1), out = real_new(&r, B * O);
        for (int with_bias = 0; with_bias < 2; with_bias++) {
            r.k->dense(r.d, out.dev, x.dev, w.dev, with_bias ? bias.dev : NULL, B, I, O);
            pair_fetch(&r, &out);
            for (size_t b = 0; b < B; b++)
                for (size_t o = 0; o < O; o++) {
                    double want = with_bias ? bias.host[o] : 0;
                    for (size_t i = 0; i < I; i++)
                        want += (double)x.host[b * I + i] * (double)w.host[i * O + o];
                    assert_near(out.host[b * O + o], want, of_real(of_product(2e-5)));
                }
        }
        struct three t = { x, w, bias };
        done3(&r, &t);
        pair_done(&r, &out);
        device_close(r.d);
    }
}

static void dense_gradients_agree(void **state)
{
    (void)state;
    for (size_t s = 0; s < ARRAY_LEN(sizes); s++) {
        struct kernel_run r = run_open();
        size_t B = sizes[s][0], I = sizes[s][1], O = sizes[s][2];
        struct pair x = real_random(&r, B * I, -1, 1), w = real_random(&r, I * O, -1, 1);
        struct pair dout = real_random(&r, B * O, -1, 1), dx = real_new(&r, B * I), dw = pair_new(&r, I * O);
        struct pair dbias = pair_new(&r, O);
        r.k->dense_backward_input(r.d, dx.dev, dout.dev, w.dev, B, I, O);
        r.k->dense_backward_weight(r.d, dw.dev, dbias.dev, dout.dev, x.dev, B, I, O);
        pair_fetch(&r, &dx);
        pair_fetch(&r, &dw);
        pair_fetch(&r, &dbias);
        for (size_t b = 0; b < B; b++)
            for (size_t i = 0; i < I; i++) {
                double want = 0;
                for (size_t o = 0; o < O; o++)
                    want += (double)dout.host[b * O + o] * (double)w.host[i * O + o];
                assert_near(dx.host[b * I + i], want, of_real(of_product(2e-5)));
            }
        for (size_t o = 0; o < O; o++) {
            double sum = 0;
            for (size_t b = 0; b < B; b++)
                sum += (double)dout.host[b * O + o];
            assert_near(dbias.host[o], sum, 2e-5);
            for (size_t i = 0; i < I; i++) {
                double want = 0;
                for (size_t b = 0; b < B; b++)
                    want += (double)x.host[b * I + i] * (double)dout.host[b * O + o];
                assert_near(dw.host[i * O + o], want, of_product(2e-5));
            }
        }
        struct three t = { x, w, dout }, u = { dx, dw, dbias };
        done3(&r, &t);
        done3(&r, &u);
        device_close(r.d);
    }
}

/* ---- layer normalisation ---- */

static void normalised(const float *x, size_t C, double *out, double *out_rstd)
{
    double mean = 0, variance = 0;
    for (size_t i = 0; i < C; i++)
        mean += x[i] / (double)C;
    for (size_t i = 0; i < C; i++)
        variance += (x[i] - mean) * (x[i] - mean) / (double)C;
    *out_rstd = 1 / sqrt(variance + (double)NORM_EPSILON);
    for (size_t i = 0; i < C; i++)
        out[i] = (x[i] - mean) * *out_rstd;
}

static void layernorm_agrees(void **state)
{
    static const size_t shapes[][2] = { { 1, 1 },     { 1, 2 },     { 5, 15 },    { 32, 16 },
                                        { 33, 17 },   { 65, 200 },  { 19, 1600 }, { 18, 7000 },
                                        { 17, 6151 }, { 17000, 3 }, { 0, 8 } };
    (void)state;
    for (size_t s = 0; s < ARRAY_LEN(shapes); s++) {
        struct kernel_run r = run_open();
        size_t N = shapes[s][0], C = shapes[s][1];
        const double more = fmax(1, (double)N / 1000); /* of long sums */
        struct pair x = real_random(&r, N * C, -3, 5), w = real_random(&r, C, -2, 2),
                    b = real_random(&r, C, -1, 1);
        struct pair out = real_new(&r, N * C), mean = pair_new(&r, N), rstd = pair_new(&r, N);
        struct pair dout = real_random(&r, N * C, -1, 1), dx = real_random(&r, N * C, -1, 1);
        struct pair dw = pair_new(&r, C), db = pair_new(&r, C), before = pair_new(&r, N * C);
        double *norm = mem_array(C, sizeof(double)), *want_dw = mem_array(C, sizeof(double)), scale;
        memcpy(before.host, dx.host, N * C * sizeof(float));
        r.k->layernorm(r.d, out.dev, mean.dev, rstd.dev, x.dev, w.dev, b.dev, N, C);
        r.k->layernorm_backward(r.d, dx.dev, dw.dev, db.dev, dout.dev, x.dev, w.dev, mean.dev, rstd.dev, N,
                                C);
        pair_fetch(&r, &out);
        pair_fetch(&r, &dx);
        pair_fetch(&r, &dw);
        pair_fetch(&r, &db);
        for (size_t n = 0; n < N; n++) {
            const float *g = dout.host + n * C;
            double one = 0, two = 0;
            normalised(x.host + n * C, C, norm, &scale);
            for (size_t i = 0; i < C; i++) {
                assert_near(out.host[n * C + i], norm[i] * w.host[i] + b.host[i], of_real(2e-5));
                one += (double)w.host[i] * g[i] / (double)C;
                two += (double)w.host[i] * g[i] * norm[i] / (double)C;
                want_dw[i] += g[i] * norm[i];
            }
            for (size_t i = 0; i < C; i++)
                assert_near(dx.host[n * C + i],
                            before.host[n * C + i] + ((double)w.host[i] * g[i] - one - norm[i] * two) * scale,
                            of_real(1e-4));
        }
        for (size_t i = 0; i < C; i++) {
            double sum = 0;
            for (size_t n = 0; n < N; n++)
                sum += dout.host[n * C + i];
            assert_near(db.host[i], sum, more * 2e-5);
            assert_near(dw.host[i], want_dw[i], more * 1e-4);
        }
        free(norm);
        free(want_dw);
        struct three all[] = { { x, w, b }, { out, mean, rstd }, { dout, dx, before } };
        for (size_t i = 0; i < ARRAY_LEN(all); i++)
            done3(&r, &all[i]);
        pair_done(&r, &dw);
        pair_done(&r, &db);
        device_close(r.d);
    }
}

/* ---- GELU ---- */

static double gelu_f64(double x)
{
    return 0.5 * x * (1 + tanh(sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
}

static void gelu_agrees(void **state)
{
    static const size_t counts[] = { 0, 1, 15, 16384, 16385 };
    (void)state;
    for (size_t s = 0; s < ARRAY_LEN(counts); s++) {
        struct kernel_run r = run_open();
        size_t n = counts[s];
        struct pair x = real_random(&r, n, -12, 12), out = real_new(&r, n), dout = real_random(&r, n, -1, 1);
        r.k->gelu(r.d, out.dev, x.dev, n);
        r.k->gelu_backward(r.d, dout.dev, dout.dev, x.dev, n);
        struct pair dx = dout;
        float *given = mem_array(n + 1, sizeof(float));
        memcpy(given, dout.host, n * sizeof(float));
        pair_fetch(&r, &out);
        pair_fetch(&r, &dx);
        for (size_t i = 0; i < n; i++) {
            double h = 1e-5, at = x.host[i];
            assert_near(out.host[i], gelu_f64(at), of_real(2e-6));
            assert_near(dx.host[i], given[i] * (gelu_f64(at + h) - gelu_f64(at - h)) / (2 * h),
                        of_real(3e-6));
        }
        free(given);
        struct three t = { x, out, dx };
        done3(&r, &t);
        device_close(r.d);
    }
}

/* GELU behind a product, and a product's gradient through it: what the two are one after the other. */
static void gelu_joins_products(void **state)
{
    (void)state;
    for (size_t s = 0; s < ARRAY_LEN(sizes); s++) {
        struct kernel_run r = run_open();
        size_t B = sizes[s][0], I = sizes[s][1], O = sizes[s][2];
        struct pair x = real_random(&r, B * I, -1, 1), w = real_random(&r, I * O, -1, 1);
        struct pair bias = real_random(&r, O, -1, 1), out = real_new(&r, B * O), before = real_new(&r, B * O);
        struct pair dout = real_random(&r, B * O, -1, 1), at = real_random(&r, B * I, -3, 3),
                    dx = real_new(&r, B * I);
        r.k->dense_gelu(r.d, out.dev, before.dev, x.dev, w.dev, bias.dev, B, I, O);
        r.k->dense_backward_gelu(r.d, dx.dev, dout.dev, w.dev, at.dev, B, I, O);
        struct pair *made[] = { &out, &before, &dx };
        for (size_t i = 0; i < ARRAY_LEN(made); i++)
            pair_fetch(&r, made[i]);
        for (size_t i = 0; i < B * O; i++) {
            double want = bias.host[i % O];
            for (size_t k = 0; k < I; k++)
                want += (double)x.host[i / O * I + k] * (double)w.host[k * O + i % O];
            assert_near(before.host[i], want, of_real(of_product(2e-5)));
            assert_near(out.host[i], gelu_f64(want), 2.5 * of_real(of_product(2e-5)));
        }
        for (size_t i = 0; i < B * I; i++) {
            double want = 0, h = 1e-5, y = at.host[i];
            for (size_t k = 0; k < O; k++)
                want += (double)dout.host[i / I * O + k] * (double)w.host[i % I * O + k];
            want *= (gelu_f64(y + h) - gelu_f64(y - h)) / (2 * h);
            assert_near(dx.host[i], want, of_real(of_product(2e-5)) * 2);
        }
        struct three t = { x, w, bias }, u = { out, before, dx };
        done3(&r, &t);
        done3(&r, &u);
        pair_done(&r, &dout);
        pair_done(&r, &at);
        device_close(r.d);
    }
}

/* exp in units of the last place, tanh absolutely: over all of their range. */
static void the_fast_functions_are_close(void **state)
{
    double worst_exp = 0, worst_tanh = 0;
    (void)state;
    for (double x = -87.2; x < 88; x += 0.00137) {
        float f = (float)x;
        worst_exp = fmax(worst_exp, fabs(fast_exp(f) / exp(f) - 1));
        worst_tanh = fmax(worst_tanh, fabs(fast_tanh(f / 6) - tanh(f / 6)));
    }
    assert_true(worst_exp < 2.5 * FLT_EPSILON);
    assert_true(worst_tanh < 4e-7);
    assert_true(fast_exp(-1000) == 0 && fast_exp(-INFINITY) == 0);
    assert_true(fast_tanh(100) == 1 && fast_tanh(-100) == -1 && fast_tanh(0) == 0);
}

/* ---- tokens ---- */

static void *tokens_of(struct kernel_run *r, const int32_t *host, size_t n)
{
    void *dev = run_memory(r, n * sizeof(int32_t));
    device_put(r->d, dev, host, n * sizeof(int32_t));
    return dev;
}

static void embeddings_come_and_go(void **state)
{
    enum { N = 70, C = 37, V = 11, P = 5 };
    int32_t token[N], position[N];
    struct kernel_run r = run_open();
    (void)state;
    for (size_t n = 0; n < N; n++) {
        token[n] = (int32_t)(n * 7 % V);
        position[n] = (int32_t)(n % P);
    }
    struct pair tokens = real_random(&r, V * C, -1, 1), positions = real_random(&r, P * C, -1, 1);
    struct pair out = real_new(&r, N * C), dtokens = pair_random(&r, V * C, -1, 1),
                dpositions = pair_random(&r, P * C, -1, 1);
    double want[V * C];
    for (size_t i = 0; i < V * C; i++)
        want[i] = dtokens.host[i];
    void *t = tokens_of(&r, token, N), *p = tokens_of(&r, position, N);
    r.k->embed(r.d, out.dev, tokens.dev, positions.dev, t, p, N, C);
    pair_fetch(&r, &out);
    for (size_t n = 0; n < N; n++)
        for (size_t c = 0; c < C; c++) {
            float sum = tokens.host[(size_t)token[n] * C + c] + positions.host[(size_t)position[n] * C + c];
            assert_true(out.host[n * C + c] == as_real(sum));
            want[(size_t)token[n] * C + c] += out.host[n * C + c];
        }
    r.k->embed_backward(r.d, dtokens.dev, dpositions.dev, out.dev, t, p, N, C);
    pair_fetch(&r, &dtokens);
    for (size_t i = 0; i < V * C; i++)
        assert_near(dtokens.host[i], want[i], 1e-5);
    struct three a = { tokens, positions, out };
    done3(&r, &a);
    pair_done(&r, &dtokens);
    pair_done(&r, &dpositions);
    device_free(r.d, t);
    device_free(r.d, p);
    device_close(r.d);
}

static const struct embed_case {
    const char *name;
    size_t N, C, V, step; // token n is n step modulo V
} embeds[] = {
    { "one row", 1, 1, 1, 0 },
    { "one token", 1500, 8, 1, 0 },
    { "all distinct, falling", 1100, 5, 1100, 1099 },
    { "few tokens", 2600, 3, 7, 3 },
    { "one more than a tile", 1025, 8, 40, 7 },
    { "many tokens", 5000, 16, 3001, 1789 },
    { "wide rows", 40, 1032, 5, 2 },
    { "wide and odd rows", 70, 519, 2, 1 },
};

/* To the bit on every device: one sum after the other, in the order of the batch. */
static void embedding_gradients_have_one_order(void **state)
{
    enum { P = 33 };
    (void)state;
    for (size_t q = 0; q < ARRAY_LEN(embeds); q++) {
        const struct embed_case *c = &embeds[q];
        const size_t N = c->N, C = c->C;
        struct kernel_run r = run_open();
        CLEANUP(freep) int32_t *token = mem_array(N, sizeof(int32_t));
        CLEANUP(freep) int32_t *position = mem_array(N, sizeof(int32_t));
        struct pair dout = real_random(&r, N * C, -1, 1), of_tokens = pair_random(&r, c->V * C, -1, 1),
                    of_positions = pair_random(&r, P * C, -1, 1);
        CLEANUP(freep) float *want = mem_array((c->V + P) * C, sizeof(float));
        memcpy(want, of_tokens.host, c->V * C * sizeof(float));
        memcpy(want + c->V * C, of_positions.host, P * C * sizeof(float));
        for (size_t n = 0; n < N; n++) {
            token[n] = (int32_t)(n * c->step % c->V);
            position[n] = (int32_t)(n % P);
            for (size_t i = 0; i < C; i++) {
                want[(size_t)token[n] * C + i] += dout.host[n * C + i];
                want[(c->V + n % P) * C + i] += dout.host[n * C + i];
            }
        }
        void *t = tokens_of(&r, token, N), *p = tokens_of(&r, position, N);
        r.k->embed_backward(r.d, of_tokens.dev, of_positions.dev, dout.dev, t, p, N, C);
        pair_fetch(&r, &of_tokens);
        pair_fetch(&r, &of_positions);
        if (memcmp(of_tokens.host, want, c->V * C * sizeof(float)) != 0 ||
            memcmp(of_positions.host, want + c->V * C, P * C * sizeof(float)) != 0)
            fail_msg("%s: other sums", c->name);
        device_free(r.d, t);
        device_free(r.d, p);
        struct three all = { dout, of_tokens, of_positions };
        done3(&r, &all);
        device_close(r.d);
    }
}

/* ---- attention ---- */

struct attention_case {
    const char *name;
    struct attention_shape s;
    size_t document; /* tokens of one; 0: the whole sequence */
};

static double *softmax_row(const struct attention_case *c, const float *qkv, size_t b, size_t h, size_t t,
                           size_t *out_start)
{
    const struct attention_shape *s = &c->s;
    size_t row = 3 * s->heads * s->size, start = c->document ? t / c->document * c->document : 0;
    const float *q = qkv + (b * s->T + t) * row + h * s->size;
    double *p = mem_array(s->T, sizeof(double)), largest = -INFINITY, sum = 0;
    for (size_t u = start; u <= t; u++) {
        const float *k = qkv + (b * s->T + u) * row + (s->heads + h) * s->size;
        for (size_t i = 0; i < s->size; i++)
            p[u] += (double)q[i] * (double)k[i] / sqrt((double)s->size);
        largest = fmax(largest, p[u]);
    }
    for (size_t u = start; u <= t; u++)
        sum += p[u] = exp(p[u] - largest);
    for (size_t u = start; u <= t; u++)
        p[u] /= sum;
    *out_start = start;
    return p;
}

/* out, and where `dout` is given, dqkv by the formulas of the plain T x T softmax. */
static void attention_f64(const struct attention_case *c, const float *qkv, const float *dout, double *out,
                          double *dqkv)
{
    const struct attention_shape *s = &c->s;
    size_t C = s->heads * s->size, row = 3 * C, start;
    for (size_t b = 0; b < s->B; b++)
        for (size_t h = 0; h < s->heads; h++)
            for (size_t t = 0; t < s->T; t++) {
                double *p = softmax_row(c, qkv, b, h, t, &start), *dp = mem_array(s->T, sizeof(double)),
                       mean = 0;
                const float *g = dout + (b * s->T + t) * C + h * s->size;
                for (size_t u = start; u <= t; u++) {
                    const float *v = qkv + (b * s->T + u) * row + (2 * s->heads + h) * s->size;
                    double *dv = dqkv + (b * s->T + u) * row + (2 * s->heads + h) * s->size;
                    for (size_t i = 0; i < s->size; i++) {
                        out[(b * s->T + t) * C + h * s->size + i] += p[u] * v[i];
                        dp[u] += (double)g[i] * v[i];
                        dv[i] += p[u] * g[i];
                    }
                    mean += p[u] * dp[u];
                }
                const float *q = qkv + (b * s->T + t) * row + h * s->size;
                double *dq = dqkv + (b * s->T + t) * row + h * s->size;
                for (size_t u = start; u <= t; u++) {
                    const float *k = qkv + (b * s->T + u) * row + (s->heads + h) * s->size;
                    double *dk = dqkv + (b * s->T + u) * row + (s->heads + h) * s->size;
                    double ds = p[u] * (dp[u] - mean) / sqrt((double)s->size);
                    for (size_t i = 0; i < s->size; i++) {
                        dq[i] += ds * k[i];
                        dk[i] += ds * q[i];
                    }
                }
                free(p);
                free(dp);
            }
}

static const struct attention_case attentions[] = {
    { "one token", { 1, 1, 1, 1 }, 0 },
    { "a few tokens", { 2, 5, 3, 4 }, 0 },
    { "one block", { 1, 64, 2, 8 }, 0 },
    { "one more than a block", { 2, 65, 1, 16 }, 0 },
    { "several blocks", { 1, 300, 2, 8 }, 0 },
    { "documents", { 2, 200, 2, 8 }, 37 },
    { "documents of one token", { 1, 70, 1, 4 }, 1 },
    { "heads of 64", { 1, 130, 2, 64 }, 0 },
    { "heads of 66, documents", { 1, 150, 2, 66 }, 70 },
    { "heads of 72", { 1, 67, 1, 72 }, 0 },
    { "heads of 128", { 2, 70, 1, 128 }, 0 },
    { "many tiles", { 1, 330, 1, 64 }, 0 },
    { "many tiles, documents", { 2, 330, 1, 64 }, 210 },
    { "many tiles, heads of 120", { 1, 330, 1, 120 }, 0 },
};

/* With bf16 a weight is rounded before it meets its value (2^-8 of up to 2), and so is the gradient of a
 * score before it meets its query or key. */
static void attention_agrees_by(const char *instruction)
{
    const bool rounds = run_precision == DEVICE_BF16;
    const double of_out = rounds ? 1e-2 : 1e-5, of_dqkv = rounds ? 3e-2 : 2e-5;
    assert_int_equal(setenv("SOVRUN_ATTENTION", instruction, 1), 0);
    for (size_t n = 0; n < ARRAY_LEN(attentions); n++) {
        const struct attention_case *c = &attentions[n];
        const struct attention_shape *s = &c->s;
        struct kernel_run r = run_open();
        size_t tokens = s->B * s->T, C = s->heads * s->size;
        int32_t *starts = mem_array(tokens, sizeof(int32_t));
        for (size_t i = 0; i < tokens; i++)
            starts[i] = (int32_t)(c->document ? i % s->T / c->document * c->document : 0);
        struct pair qkv = real_random(&r, tokens * 3 * C, -2, 2), out = real_new(&r, tokens * C);
        struct pair lse = pair_new(&r, s->B * s->heads * s->T), dout = real_random(&r, tokens * C, -1, 1);
        struct pair dqkv = real_new(&r, tokens * 3 * C);
        double *want = mem_array(tokens * C, sizeof(double)),
               *dwant = mem_array(tokens * 3 * C, sizeof(double));
        void *from = c->document ? tokens_of(&r, starts, tokens) : NULL;
        r.k->attention(r.d, out.dev, lse.dev, qkv.dev, from, s);
        r.k->attention_backward(r.d, dqkv.dev, dout.dev, qkv.dev, out.dev, lse.dev, from, s);
        pair_fetch(&r, &out);
        pair_fetch(&r, &lse);
        pair_fetch(&r, &dqkv);
        attention_f64(c, qkv.host, dout.host, want, dwant);
        for (size_t i = 0; i < tokens * C; i++)
            assert_near(out.host[i], want[i], of_out);
        for (size_t i = 0; i < tokens * 3 * C; i++)
            assert_near(dqkv.host[i], dwant[i], of_dqkv);
        free(starts);
        free(want);
        free(dwant);
        device_free(r.d, from);
        struct three t = { qkv, out, lse };
        done3(&r, &t);
        pair_done(&r, &dout);
        pair_done(&r, &dqkv);
        device_close(r.d);
    }
}

/* A card of sm_90 has two ways with bf16, and takes the second where it is told to. */
static void attention_agrees(void **state)
{
    (void)state;
    attention_agrees_by("");
    if (run_precision == DEVICE_BF16)
        attention_agrees_by("mma");
    unsetenv("SOVRUN_ATTENTION");
}

/* ---- the end ---- */

static void classify_agrees(void **state)
{
    static const size_t shapes[][3] = { { 1, 1, 2 },      { 5, 8, 50 },   { 513, 4, 33 },
                                        { 300, 16, 700 }, { 9, 2, 8203 }, { 6, 2, 8192 } }; /* N C V */
    /* Logits are of up to 64 products of up to 4, then rounded to tf32's or bf16's operands or memory. */
    const bool rounds = run_precision != DEVICE_FP32;
    const double of_loss = rounds ? 6e-2 : 1e-5, of_dx = rounds ? 6e-2 : 2e-5, of_dw = rounds ? 6e-2 : 3e-5;
    (void)state;
    for (size_t q = 0; q < ARRAY_LEN(shapes); q++) {
        struct kernel_run r = run_open();
        size_t N = shapes[q][0], C = shapes[q][1], V = shapes[q][2];
        struct pair x = real_random(&r, N * C, -2, 2), w = real_random(&r, V * C, -2, 2);
        struct pair dx = real_new(&r, N * C), dw = pair_new(&r, V * C),
                    work = real_new(&r, r.k->classify_work(N, V));
        int32_t *labels = mem_array(N, sizeof(int32_t));
        double *loss = mem_array(N, sizeof(double)), *want_dw = mem_array(V * C, sizeof(double)),
               *p = mem_array(V, sizeof(double));
        for (size_t n = 0; n < N; n++)
            labels[n] = n % 7 == 3 ? -1 : (int32_t)((n * 13 + V / 8192 * 7000) % V);
        void *l = tokens_of(&r, labels, N), *loss_dev = run_memory(&r, N * sizeof(double));
        r.k->classify(r.d, loss_dev, dx.dev, dw.dev, x.dev, w.dev, l, work.dev, N, C, V);
        pair_fetch(&r, &dx);
        pair_fetch(&r, &dw);
        device_get(r.d, loss, loss_dev, N * sizeof(double));
        for (size_t n = 0; n < N; n++) {
            double sum = 0;
            for (size_t v = 0; v < V; v++) {
                p[v] = 0;
                for (size_t c = 0; c < C; c++)
                    p[v] += (double)x.host[n * C + c] * (double)w.host[v * C + c];
                sum += exp(p[v]);
            }
            assert_near(loss[n], labels[n] < 0 ? 0 : log(sum) - p[labels[n]], of_loss);
            for (size_t v = 0; v < V; v++)
                p[v] = labels[n] < 0 ? 0 : exp(p[v]) / sum - (v == (size_t)labels[n]);
            for (size_t c = 0; c < C; c++) {
                double want = 0;
                for (size_t v = 0; v < V; v++) {
                    want += p[v] * (double)w.host[v * C + c];
                    want_dw[v * C + c] += p[v] * (double)x.host[n * C + c];
                }
                assert_near(dx.host[n * C + c], want, of_dx);
            }
        }
        for (size_t i = 0; i < V * C; i++)
            assert_near(dw.host[i], want_dw[i], of_dw);
        double *again = mem_array(N, sizeof(double));
        r.k->classify(r.d, loss_dev, NULL, NULL, x.dev, w.dev, l, work.dev, N, C, V);
        device_get(r.d, again, loss_dev, N * sizeof(double));
        assert_memory_equal(again, loss, N * sizeof(double));
        free(again);
        free(labels);
        free(loss);
        free(want_dw);
        free(p);
        device_free(r.d, l);
        device_free(r.d, loss_dev);
        struct three t = { x, w, dx };
        done3(&r, &t);
        pair_done(&r, &dw);
        pair_done(&r, &work);
        device_close(r.d);
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(dense_agrees),           cmocka_unit_test(dense_gradients_agree),
        cmocka_unit_test(layernorm_agrees),       cmocka_unit_test(gelu_agrees),
        cmocka_unit_test(gelu_joins_products),    cmocka_unit_test(the_fast_functions_are_close),
        cmocka_unit_test(embeddings_come_and_go), cmocka_unit_test(embedding_gradients_have_one_order),
        cmocka_unit_test(attention_agrees),       cmocka_unit_test(classify_agrees),
    };
    return run_in_each_precision(cmocka_run_group_tests_name("kernels of large models", tests, NULL, NULL));
}
