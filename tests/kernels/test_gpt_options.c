/*
 * The operations that a GPT's options take, on every device there is: against doubles, their backward passes
 * against finite differences of those, and the same bits for any number of threads.
 */
#include "tests/kernels/run.h"

static const size_t shapes[][2] = { { 1, 1 },   { 1, 2 },  { 5, 15 },   { 32, 64 },  { 33, 65 },
                                    { 31, 63 }, { 65, 7 }, { 70, 600 }, { 3, 1603 }, { 0, 8 } }; /* (N, C) */
static const size_t counts[] = { 0, 1, 63, 64, 65, 16383, 16384, 16385, 50001 };

/* Everything on the device: given back together. */
#define done_all(r, ...)                                                                                     \
    do {                                                                                                     \
        struct pair *all_[] = { __VA_ARGS__ };                                                               \
        for (size_t i_ = 0; i_ < ARRAY_LEN(all_); i_++)                                                      \
            pair_done(r, all_[i_]);                                                                          \
    } while (0)

/* ---- normalisation ---- */

static double mean_square(const double *x, size_t C)
{
    double sum = 0;
    for (size_t i = 0; i < C; i++)
        sum += x[i] * x[i];
    return sum / (double)C;
}

static void doubles_of(double *out, const float *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        out[i] = x[i];
}

static void rmsnorm_agrees(void **state)
{
    (void)state;
    for (size_t s = 0; s < ARRAY_LEN(shapes); s++) {
        struct kernel_run r = run_open();
        size_t N = shapes[s][0], C = shapes[s][1];
        struct pair x = real_random(&r, N * C, -3, 5), w = real_random(&r, C, -2, 2);
        struct pair out = real_new(&r, N * C), rstd = pair_new(&r, N);
        CLEANUP(freep) double *row = mem_array(C, sizeof(double));
        r.k->rmsnorm(r.d, out.dev, rstd.dev, x.dev, w.dev, N, C);
        pair_fetch(&r, &out);
        pair_fetch(&r, &rstd);
        for (size_t n = 0; n < N; n++) {
            doubles_of(row, x.host + n * C, C);
            double want = 1 / sqrt(mean_square(row, C) + (double)NORM_EPSILON);
            assert_near(rstd.host[n], want, 1e-6);
            for (size_t i = 0; i < C; i++)
                assert_near(out.host[n * C + i], row[i] * want * (double)w.host[i], of_real(2e-6));
        }
        done_all(&r, &x, &w, &out, &rstd);
        device_close(r.d);
    }
}

/* sum of dout rmsnorm(x) of one row. */
static double rms_loss(const double *x, const float *w, const float *dout, size_t C)
{
    double scale = 1 / sqrt(mean_square(x, C) + (double)NORM_EPSILON), sum = 0;
    for (size_t i = 0; i < C; i++)
        sum += (double)dout[i] * x[i] * scale * (double)w[i];
    return sum;
}

static void rmsnorm_gradients_are_slopes(void **state)
{
    (void)state;
    for (size_t s = 0; s < ARRAY_LEN(shapes); s++) {
        struct kernel_run r = run_open();
        size_t N = shapes[s][0], C = shapes[s][1];
        struct pair x = real_random(&r, N * C, -3, 5), w = real_random(&r, C, -2, 2), dw = pair_new(&r, C);
        struct pair dout = real_random(&r, N * C, -1, 1), dx = real_random(&r, N * C, -1, 1);
        struct pair out = real_new(&r, N * C), rstd = pair_new(&r, N);
        CLEANUP(freep) double *row = mem_array(C, sizeof(double)), *want_dw = mem_array(C, sizeof(double));
        CLEANUP(freep) float *before = mem_array(N * C + 1, sizeof(float));
        memcpy(before, dx.host, N * C * sizeof(float));
        r.k->rmsnorm(r.d, out.dev, rstd.dev, x.dev, w.dev, N, C);
        r.k->rmsnorm_backward(r.d, dx.dev, dw.dev, dout.dev, x.dev, w.dev, rstd.dev, N, C);
        pair_fetch(&r, &dx);
        pair_fetch(&r, &dw);
        for (size_t n = 0; n < N; n++) {
            const float *g = dout.host + n * C;
            const double h = 1e-5;
            doubles_of(row, x.host + n * C, C);
            double scale = 1 / sqrt(mean_square(row, C) + (double)NORM_EPSILON);
            for (size_t i = 0; i < C; i++) {
                double kept = row[i];
                want_dw[i] += (double)g[i] * kept * scale;
                row[i] = kept + h;
                double above = rms_loss(row, w.host, g, C);
                row[i] = kept - h;
                double slope = (above - rms_loss(row, w.host, g, C)) / (2 * h);
                row[i] = kept;
                assert_near(dx.host[n * C + i], (double)before[n * C + i] + slope, of_real(1e-5));
            }
        }
        for (size_t i = 0; i < C; i++)
            assert_near(dw.host[i], want_dw[i], 1e-5);
        done_all(&r, &x, &w, &dw, &dout, &dx, &out, &rstd);
        device_close(r.d);
    }
}

/* ---- SwiGLU ---- */

static double swiglu_f64(double gate, double up)
{
    return gate / (1 + exp(-gate)) * up;
}

static void swiglu_agrees(void **state)
{
    (void)state;
    for (size_t s = 0; s < ARRAY_LEN(counts); s++) {
        struct kernel_run r = run_open();
        size_t n = counts[s];
        struct pair gate = real_random(&r, n, -12, 12), up = real_random(&r, n, -3, 3), out = real_new(&r, n);
        r.k->swiglu(r.d, out.dev, gate.dev, up.dev, n);
        pair_fetch(&r, &out);
        for (size_t i = 0; i < n; i++)
            assert_near(out.host[i], swiglu_f64(gate.host[i], up.host[i]), of_real(1e-6));
        done_all(&r, &gate, &up, &out);
        device_close(r.d);
    }
}

static void swiglu_far_from_zero(void **state)
{
    static const float gates[] = { -1e4f, -200, -100, -88, 0, 88, 100, 1e4f };
    struct kernel_run r = run_open();
    struct pair gate = real_random(&r, ARRAY_LEN(gates), 0, 1), up = real_random(&r, ARRAY_LEN(gates), 2, 3);
    struct pair out = real_new(&r, ARRAY_LEN(gates));
    (void)state;
    memcpy(gate.host, gates, sizeof(gates));
    pair_put(&r, &gate, ARRAY_LEN(gates));
    r.k->swiglu(r.d, out.dev, gate.dev, up.dev, ARRAY_LEN(gates));
    pair_fetch(&r, &out);
    for (size_t i = 0; i < ARRAY_LEN(gates); i++)
        assert_near(out.host[i], gates[i] > 0 ? (double)gate.host[i] * (double)up.host[i] : 0, of_real(1e-6));
    done_all(&r, &gate, &up, &out);
    device_close(r.d);
}

/* `into`: 0: two other arrays; 1: dgate is dout; 2: dup is. */
static void swiglu_slopes(size_t n, int into)
{
    struct kernel_run r = run_open();
    struct pair gate = real_random(&r, n, -12, 12), up = real_random(&r, n, -3, 3);
    struct pair dout = real_random(&r, n, -1, 1), one = real_new(&r, n), two = real_new(&r, n);
    CLEANUP(freep) float *given = mem_array(n + 1, sizeof(float));
    struct pair *dgate = into == 1 ? &dout : &one, *dup = into == 2 ? &dout : &two;
    const double h = 1e-5;
    memcpy(given, dout.host, n * sizeof(float));
    r.k->swiglu_backward(r.d, dgate->dev, dup->dev, dout.dev, gate.dev, up.dev, n);
    pair_fetch(&r, dgate);
    pair_fetch(&r, dup);
    for (size_t i = 0; i < n; i++) {
        double g = gate.host[i], u = up.host[i], d = given[i];
        assert_near(dgate->host[i], d * (swiglu_f64(g + h, u) - swiglu_f64(g - h, u)) / (2 * h),
                    of_real(2e-6));
        assert_near(dup->host[i], d * (swiglu_f64(g, u + h) - swiglu_f64(g, u - h)) / (2 * h), of_real(2e-6));
    }
    done_all(&r, &gate, &up, &dout, &one, &two);
    device_close(r.d);
}

static void swiglu_gradients_are_slopes(void **state)
{
    (void)state;
    for (size_t s = 0; s < ARRAY_LEN(counts); s++)
        for (int into = 0; into < 3; into++)
            swiglu_slopes(counts[s], into);
}

/* ---- rotary positions ---- */

static const struct attention_shape heads[] = { { 1, 1, 1, 2 },   { 2, 5, 3, 4 },   { 1, 32, 2, 6 },
                                                { 1, 33, 1, 64 }, { 3, 31, 2, 62 }, { 2, 300, 3, 32 } };

static void *positions_of(struct kernel_run *r, const struct attention_shape *s, int32_t *host)
{
    void *dev = run_memory(r, s->B * s->T * sizeof(int32_t));
    for (size_t i = 0; i < s->B * s->T; i++) /* documents of 17 tokens */
        host[i] = (int32_t)(i % s->T % 17);
    device_put(r->d, dev, host, s->B * s->T * sizeof(int32_t));
    return dev;
}

/* One token's queries, keys and values. */
static void turned_f64(double *out, const float *x, const struct attention_shape *s, double position)
{
    size_t size = s->size, half = size / 2;
    for (size_t h = 0; h < 3 * s->heads; h++, x += size, out += size)
        for (size_t i = 0; i < half; i++) {
            double angle = position * pow(ROTARY_BASE, -2.0 * (double)i / (double)size);
            double c = h < 2 * s->heads ? cos(angle) : 1, v = h < 2 * s->heads ? sin(angle) : 0;
            out[i] = x[i] * c - x[i + half] * v;
            out[i + half] = x[i + half] * c + x[i] * v;
        }
}

static void rotary_turns_pairs_and_back(void **state)
{
    (void)state;
    for (size_t n = 0; n < ARRAY_LEN(heads); n++) {
        const struct attention_shape *s = &heads[n];
        struct kernel_run r = run_open();
        size_t N = s->B * s->T, row = 3 * s->heads * s->size;
        struct pair qkv = real_random(&r, N * row, -2, 2), turns = pair_new(&r, s->T * s->size);
        CLEANUP(freep) float *before = mem_array(N * row, sizeof(float));
        CLEANUP(freep) double *want = mem_array(row, sizeof(double));
        CLEANUP(freep) int32_t *position = mem_array(N, sizeof(int32_t));
        void *at = positions_of(&r, s, position);
        memcpy(before, qkv.host, N * row * sizeof(float));
        rotary_prepare(turns.host, s->T, s->size);
        device_put(r.d, turns.dev, turns.host, turns.n * sizeof(float));
        r.k->rotary(r.d, qkv.dev, turns.dev, at, false, s);
        pair_fetch(&r, &qkv);
        for (size_t t = 0; t < N; t++) {
            turned_f64(want, before + t * row, s, position[t]);
            for (size_t i = 0; i < row; i++)
                assert_near(qkv.host[t * row + i], want[i], of_real(1e-6));
            for (size_t i = 2 * row / 3; i < row; i++) /* values stay to the bit */
                assert_true(qkv.host[t * row + i] == before[t * row + i]);
        }
        r.k->rotary(r.d, qkv.dev, turns.dev, at, true, s);
        pair_fetch(&r, &qkv);
        for (size_t i = 0; i < N * row; i++)
            assert_near(qkv.host[i], before[i], 3 * of_real(1e-6));
        pair_fetch(&r, &turns); /* borrowed, and not written */
        done_all(&r, &qkv, &turns);
        device_free(r.d, at);
        device_close(r.d);
    }
}

/* Of sum of dout turned(x): that the other way round is the backward pass. */
static void rotary_back_is_its_gradient(void **state)
{
    const struct attention_shape s = { 1, 20, 2, 6 };
    struct kernel_run r = run_open();
    size_t row = 3 * s.heads * s.size;
    struct pair x = real_random(&r, s.T * row, -2, 2), dout = real_random(&r, s.T * row, -1, 1);
    struct pair turns = pair_new(&r, s.T * s.size), kept = pair_random(&r, s.T * row, 0, 1);
    int32_t position[20];
    double *turned = mem_array(row, sizeof(double));
    (void)state;
    void *at = positions_of(&r, &s, position);
    memcpy(kept.host, dout.host, s.T * row * sizeof(float));
    rotary_prepare(turns.host, s.T, s.size);
    device_put(r.d, turns.dev, turns.host, turns.n * sizeof(float));
    r.k->rotary(r.d, dout.dev, turns.dev, at, true, &s);
    pair_fetch(&r, &dout);
    for (size_t t = 0; t < s.T; t++)
        for (size_t i = 0; i < row; i++) {
            float *one = x.host + t * row, was = one[i];
            double slope = 0;
            for (int side = 1; side >= -1; side -= 2) { /* linear: any step will do */
                one[i] = was + (float)side;
                turned_f64(turned, one, &s, position[t]);
                for (size_t k = 0; k < row; k++)
                    slope += side * (double)kept.host[t * row + k] * turned[k] / 2;
            }
            one[i] = was;
            assert_near(dout.host[t * row + i], slope, of_real(2e-6));
        }
    free(turned);
    done_all(&r, &x, &dout, &turns, &kept);
    device_free(r.d, at);
    device_close(r.d);
}

static void the_table_of_turns_is_near_libm(void **state)
{
    enum { T = ATTENTION_T_MAX, SIZE = 8 };
    CLEANUP(freep) float *turns = mem_array((size_t)T * SIZE, sizeof(float));
    (void)state;
    rotary_prepare(turns, T, SIZE);
    for (size_t p = 0; p < T; p++)
        for (size_t i = 0; i < SIZE / 2; i++) {
            double angle = (double)p * pow(ROTARY_BASE, -2.0 * (double)i / SIZE);
            assert_near(turns[p * SIZE + i], cos(angle), 4e-8);
            assert_near(turns[p * SIZE + SIZE / 2 + i], sin(angle), 4e-8);
        }
}

/* ---- embeddings without positions ---- */

static void embeddings_go_without_positions(void **state)
{
    enum { N = 70, C = 37, V = 11 };
    struct kernel_run r = run_open();
    int32_t token[N];
    (void)state;
    for (size_t n = 0; n < N; n++)
        token[n] = (int32_t)(n * 7 % V);
    void *t = run_memory(&r, sizeof(token));
    device_put(r.d, t, token, sizeof(token));
    struct pair tokens = real_random(&r, V * C, -1, 1), out = real_new(&r, N * C),
                dtokens = pair_random(&r, V * C, -1, 1);
    double want[V * C];
    doubles_of(want, dtokens.host, V * C);
    r.k->embed(r.d, out.dev, tokens.dev, NULL, t, NULL, N, C);
    pair_fetch(&r, &out);
    for (size_t i = 0; i < N * C; i++) {
        size_t at = (size_t)token[i / C] * C + i % C;
        assert_true(out.host[i] == tokens.host[at]);
        want[at] += out.host[i];
    }
    r.k->embed_backward(r.d, dtokens.dev, NULL, out.dev, t, NULL, N, C);
    pair_fetch(&r, &dtokens);
    for (size_t i = 0; i < V * C; i++)
        assert_near(dtokens.host[i], want[i], 1e-5);
    done_all(&r, &tokens, &out, &dtokens);
    device_free(r.d, t);
    device_close(r.d);
}

/* ---- reals ---- */

static void reals_come_and_go(void **state)
{
    (void)state;
    for (size_t s = 0; s < ARRAY_LEN(counts); s++) {
        struct kernel_run r = run_open();
        size_t n = counts[s];
        struct pair x = pair_random(&r, n, -3, 3), there = real_new(&r, n), back = pair_new(&r, n);
        if (n > 3) { /* halfway between two bf16: to the even one, up and down; and what never was a number */
            x.host[0] = 1 + 1.0f / 256;
            x.host[1] = 1 + 3.0f / 256;
            x.host[2] = NAN;
            pair_put(&r, &x, n);
        }
        r.k->to_real(r.d, there.dev, x.dev, n);
        r.k->from_real(r.d, back.dev, there.dev, n);
        pair_fetch(&r, &there);
        pair_fetch(&r, &back);
        for (size_t i = 0; i < n; i++)
            assert_true(isnan(x.host[i])
                            ? isnan(back.host[i]) && isnan(there.host[i])
                            : back.host[i] == as_real(x.host[i]) && there.host[i] == back.host[i]);
        r.k->clear(r.d, there.dev, n);
        pair_fetch(&r, &there);
        for (size_t i = 0; i < n; i++)
            assert_true(there.host[i] == 0);
        done_all(&r, &x, &there, &back);
        device_close(r.d);
    }
}

/* Of bf16, each is one of the two next to the number, the same by the same key, and right in the mean. */
static void reals_are_drawn(void **state)
{
    enum { DRAWS = 200 };
    const float step = 1.0f / 128; /* from one bf16 to the next, of 1 up to 2 */
    (void)state;
    for (size_t s = 0; s < ARRAY_LEN(counts); s++) {
        struct kernel_run r = run_open();
        size_t n = counts[s];
        struct pair x = pair_random(&r, n, 1, 2), drawn = real_new(&r, n), again = real_new(&r, n);
        CLEANUP(freep) double *sum = mem_array(n + 1, sizeof(double));
        size_t moved = 0;
        for (uint64_t key = 0; key < DRAWS; key++) {
            r.k->draw_real(r.d, drawn.dev, x.dev, n, key);
            pair_fetch(&r, &drawn);
            for (size_t i = 0; i < n; i++) {
                float off = drawn.host[i] - x.host[i];
                assert_true(run_precision == DEVICE_BF16 ? fabsf(off) < step : off == 0);
                assert_true(drawn.host[i] == as_real(drawn.host[i]));
                moved += off > 0;
                sum[i] += off;
            }
        }
        r.k->draw_real(r.d, again.dev, x.dev, n, DRAWS - 1);
        pair_fetch(&r, &again);
        for (size_t i = 0; i < n; i++) {
            assert_true(again.host[i] == drawn.host[i]);
            assert_true(fabs(sum[i] / DRAWS) <=
                        5 * (double)step / 2 / sqrt(DRAWS)); /* of a standard deviation at most */
        }
        if (run_precision == DEVICE_BF16 && n > 100) /* half of all, but for some */
            assert_true(moved > n * DRAWS * 4 / 10 && moved < n * DRAWS * 6 / 10);
        done_all(&r, &x, &drawn, &again);
        device_close(r.d);
    }
}

/* With dropout, and without; into an array of its own, and into either input. */
static void residuals_add_what_was_not_dropped(void **state)
{
    const uint64_t key = 77;
    (void)state;
    for (size_t s = 0; s < ARRAY_LEN(counts); s++)
        for (int into = 0; into < 6; into++) {
            struct kernel_run r = run_open();
            size_t n = counts[s];
            const float rate = into < 3 ? 0 : 0.25f;
            struct pair branch = real_random(&r, n, -2, 2), x = real_random(&r, n, -2, 2),
                        own = real_new(&r, n);
            struct pair dropped = real_new(&r, n), *out = into % 3 == 0 ? &own : into % 3 == 1 ? &branch : &x;
            CLEANUP(freep) float *was = mem_array(2 * n + 1, sizeof(float));
            memcpy(was, branch.host, n * sizeof(float));
            memcpy(was + n, x.host, n * sizeof(float));
            r.k->drop(r.d, dropped.dev, branch.dev, n, rate, key);
            r.k->residual(r.d, out->dev, branch.dev, x.dev, n, rate, key);
            pair_fetch(&r, out);
            pair_fetch(&r, &dropped);
            for (size_t i = 0; i < n; i++) {
                float kept = rng_f32(key, i) >= rate ? was[i] * (1 / (1 - rate)) : 0;
                assert_true(dropped.host[i] == as_real(kept));
                assert_true(out->host[i] == as_real(kept + was[n + i]));
            }
            done_all(&r, &branch, &x, &own, &dropped);
            device_close(r.d);
        }
}

/* What they are one after the other, to the bit: sum, out, and what is kept for the backward pass. */
static void residuals_join_norms(void **state)
{
    (void)state;
    for (size_t s = 0; s < ARRAY_LEN(shapes); s++)
        for (int how = 0; how < 4; how++) {
            struct kernel_run r = run_open();
            size_t N = shapes[s][0], C = shapes[s][1];
            bool rms = how & 1;
            struct pair branch = real_random(&r, N * C, -3, 3), x = real_random(&r, N * C, -3, 3);
            struct pair w = real_random(&r, C, -2, 2), b = real_random(&r, C, -1, 1);
            struct pair sum = real_new(&r, N * C), out = real_new(&r, N * C), mean = pair_new(&r, N),
                        rstd = pair_new(&r, N);
            struct pair sum2 = real_new(&r, N * C), out2 = real_new(&r, N * C), mean2 = pair_new(&r, N),
                        rstd2 = pair_new(&r, N);
            const struct residual of = { branch.dev, x.dev, how & 2 ? 0.3f : 0, 5 };
            r.k->residual(r.d, sum.dev, of.branch, of.x, N * C, of.rate, of.key);
            if (rms) {
                r.k->rmsnorm(r.d, out.dev, rstd.dev, sum.dev, w.dev, N, C);
                r.k->residual_rmsnorm(r.d, sum2.dev, out2.dev, rstd2.dev, &of, w.dev, N, C);
            } else {
                r.k->layernorm(r.d, out.dev, mean.dev, rstd.dev, sum.dev, w.dev, b.dev, N, C);
                r.k->residual_layernorm(r.d, sum2.dev, out2.dev, mean2.dev, rstd2.dev, &of, w.dev, b.dev, N,
                                        C);
            }
            struct pair *one[] = { &sum, &out, &rstd, &mean }, *two[] = { &sum2, &out2, &rstd2, &mean2 };
            for (size_t i = 0; i < ARRAY_LEN(one); i++) {
                pair_fetch(&r, one[i]);
                pair_fetch(&r, two[i]);
                assert_memory_equal(one[i]->host, two[i]->host, one[i]->n * sizeof(float));
            }
            done_all(&r, &branch, &x, &w, &b, &sum, &out, &mean, &rstd, &sum2, &out2, &mean2, &rstd2);
            device_close(r.d);
        }
}

/* ---- threads ---- */

/* Of every operation what it left. */
static void all_of_them(size_t threads, struct pair out[4])
{
    const struct attention_shape s = { 3, 101, 2, 34 };
    size_t N = s.B * s.T, C = s.heads * s.size;
    struct kernel_run r = run_open();
    CLEANUP(freep) int32_t *position = mem_array(N, sizeof(int32_t));
    device_use_threads(r.d, threads);
    struct pair x = real_random(&r, N * C, -3, 5), w = real_random(&r, C, -2, 2),
                y = real_random(&r, N * C, -2, 2);
    struct pair rstd = pair_new(&r, N), turns = pair_new(&r, s.T * s.size), made = real_new(&r, N * C);
    struct pair dup = real_new(&r, N * C);
    out[0] = real_random(&r, N * C, -1, 1);     /* dx */
    out[1] = pair_new(&r, C);                   /* dw */
    out[2] = real_new(&r, N * C);               /* SwiGLU's dgate */
    out[3] = real_random(&r, 3 * N * C, -2, 2); /* qkv */
    void *at = positions_of(&r, &s, position);
    rotary_prepare(turns.host, s.T, s.size);
    device_put(r.d, turns.dev, turns.host, turns.n * sizeof(float));
    r.k->rmsnorm(r.d, made.dev, rstd.dev, x.dev, w.dev, N, C);
    r.k->rmsnorm_backward(r.d, out[0].dev, out[1].dev, y.dev, x.dev, w.dev, rstd.dev, N, C);
    r.k->swiglu(r.d, out[2].dev, made.dev, y.dev, N * C);
    r.k->swiglu_backward(r.d, out[2].dev, dup.dev, out[2].dev, made.dev, y.dev, N * C);
    r.k->rotary(r.d, out[3].dev, turns.dev, at, false, &s);
    for (size_t i = 0; i < 4; i++) {
        pair_fetch(&r, &out[i]);
        device_free(r.d, out[i].dev);
    }
    done_all(&r, &x, &w, &y, &rstd, &turns, &made, &dup);
    device_free(r.d, at);
    device_close(r.d);
}

static void any_number_of_threads_gives_the_same_bits(void **state)
{
    struct pair one[4], more[4];
    (void)state;
    all_of_them(1, one);
    for (size_t threads = 2; threads < 6; threads++) {
        all_of_them(threads, more);
        for (size_t i = 0; i < 4; i++) {
            assert_memory_equal(one[i].host, more[i].host, one[i].n * sizeof(float));
            free(more[i].host);
        }
    }
    for (size_t i = 0; i < 4; i++)
        free(one[i].host);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(rmsnorm_agrees),
        cmocka_unit_test(rmsnorm_gradients_are_slopes),
        cmocka_unit_test(swiglu_agrees),
        cmocka_unit_test(swiglu_far_from_zero),
        cmocka_unit_test(swiglu_gradients_are_slopes),
        cmocka_unit_test(rotary_turns_pairs_and_back),
        cmocka_unit_test(rotary_back_is_its_gradient),
        cmocka_unit_test(the_table_of_turns_is_near_libm),
        cmocka_unit_test(embeddings_go_without_positions),
        cmocka_unit_test(reals_come_and_go),
        cmocka_unit_test(reals_are_drawn),
        cmocka_unit_test(residuals_add_what_was_not_dropped),
        cmocka_unit_test(residuals_join_norms),
        cmocka_unit_test(any_number_of_threads_gives_the_same_bits),
    };
    return run_in_each_precision(
        cmocka_run_group_tests_name("kernels of a GPT's options", tests, NULL, NULL));
}
