/*
 * Causal attention in blocks (Dao et al. 2022, FlashAttention; the running maximum is Milakov and Gimelshein
 * 2018): no more of the T x T matrix than one block is ever there. A head of a sequence is one task, so the
 * order of each sum is that of its blocks, whoever runs it.
 */
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/fast_math.h"
#include "kernels/cpu/gemm.h"
#include "kernels/cpu/lanes.h"
#include "kernels/cpu/pool.h"

#include <math.h>

enum { QUERIES = 64, KEYS = 128 };

struct attention {
    struct attention_shape s;
    float *out, *lse, *dqkv;
    const float *qkv, *outs, *dout, *lses;
    const int32_t *starts;
};

/* One head of one sequence, and where its things lie. */
struct head {
    const struct attention *a;
    size_t b, row, C; // its sequence, floats from token to token in qkv, and in out
    size_t at_qkv, at_out;
    const int32_t *starts; // of its sequence; NULL: none
    float scale;
    void *work; // GEMM_WORK_BYTES
};

static struct head head_of(const struct attention *a, size_t task, void *work)
{
    size_t C = a->s.heads * a->s.size, b = task / a->s.heads, h = task % a->s.heads;
    return (struct head){ .a = a,
                          .b = b,
                          .row = 3 * C,
                          .C = C,
                          .at_qkv = b * a->s.T * 3 * C + h * a->s.size,
                          .at_out = b * a->s.T * C + h * a->s.size,
                          .starts = a->starts ? a->starts + b * a->s.T : NULL,
                          .scale = 1.0f / sqrtf((float)a->s.size),
                          .work = work };
}

/* scores[q,k] = scale Q[q] . K[k] for some queries and keys. */
static void score(const struct head *h, float *scores, size_t q, size_t queries, size_t k, size_t keys)
{
    const float *base = h->a->qkv + h->at_qkv;
    const struct gemm g = { .b_transposed = true,
                            .M = queries,
                            .N = keys,
                            .K = h->a->s.size,
                            .alpha = h->scale,
                            .a = base + q * h->row,
                            .a_row = h->row,
                            .b = base + h->C + k * h->row,
                            .b_row = h->row,
                            .c = scores,
                            .c_row = KEYS };
    cpu_gemm_here(&g, h->work);
}

/* The keys first .. *out_end - 1 of a block are those that a query sees: from its document's start to itself.
 */
static size_t seen(const struct head *h, size_t query, size_t k, size_t keys, size_t *out_end)
{
    size_t start = h->starts ? (size_t)h->starts[query] : 0;
    size_t end = query + 1 > k ? MIN(query + 1 - k, keys) : 0;
    *out_end = end;
    return MIN(start > k ? start - k : 0, end);
}

/* e^(x - shift) in place for what is seen, 0 for the rest; returns its sum. */
VECTOR_CLONES static float exponentiate(float *x, size_t first, size_t end, size_t keys, float shift)
{
    float s[LANES] = { 0 };
    for (size_t i = 0; i < first; i++)
        x[i] = 0;
    for (size_t i = first; i < end; i++)
        x[i] = fast_exp(x[i] - shift);
    for (size_t i = end; i < keys; i++)
        x[i] = 0;
    BY_LANES(i, j, keys, s[j] += x[i]);
    return sum_of_lanes(s);
}

VECTOR_CLONES static float largest(const float *x, size_t first, size_t end, float so_far)
{
    for (size_t i = first; i < end; i++)
        so_far = x[i] > so_far ? x[i] : so_far;
    return so_far;
}

static void scale_row(float *x, size_t n, float factor)
{
    for (size_t i = 0; i < n; i++)
        x[i] = x[i] * factor;
}

/* One block of keys into the running softmax of some queries, whose outputs stand unnormalised in `out`. */
static void absorb(const struct head *h, float *scores, float *out, float *max, float *sum, size_t q,
                   size_t queries, size_t k, size_t keys)
{
    size_t size = h->a->s.size, end;
    score(h, scores, q, queries, k, keys);
    for (size_t i = 0; i < queries; i++) {
        size_t first = seen(h, q + i, k, keys, &end);
        float now = largest(scores + i * KEYS, first, end, max[i]);
        float lower = max[i] == now ? 1.0f : fast_exp(max[i] - now); /* 0 from -infinity */
        float here = exponentiate(scores + i * KEYS, first, end, keys, now);
        sum[i] = sum[i] * lower + here;
        if (lower != 1.0f)
            scale_row(out + i * h->C, size, lower);
        max[i] = now;
    }
    const struct gemm g = { .M = queries,
                            .N = size,
                            .K = keys,
                            .alpha = 1,
                            .a = scores,
                            .a_row = KEYS,
                            .b = h->a->qkv + h->at_qkv + 2 * h->C + k * h->row,
                            .b_row = h->row,
                            .add = true,
                            .c = out,
                            .c_row = h->C };
    cpu_gemm_here(&g, h->work);
}

static void forward_task(void *context, size_t task, void *scratch)
{
    const struct attention *a = context;
    const struct head h = head_of(a, task, scratch);
    float *scores = (float *)scratch + GEMM_WORK_BYTES / sizeof(float), max[QUERIES], sum[QUERIES];
    for (size_t q = 0; q < a->s.T; q += QUERIES) {
        size_t queries = MIN((size_t)QUERIES, a->s.T - q), last = q + queries;
        float *out = a->out + h.at_out + q * h.C;
        for (size_t i = 0; i < queries; i++) {
            max[i] = -INFINITY;
            sum[i] = 0;
            for (size_t c = 0; c < a->s.size; c++)
                out[i * h.C + c] = 0;
        }
        for (size_t k = 0; k < last; k += KEYS)
            absorb(&h, scores, out, max, sum, q, queries, k, MIN((size_t)KEYS, last - k));
        for (size_t i = 0; i < queries; i++) {
            scale_row(out + i * h.C, a->s.size, 1.0f / sum[i]);
            a->lse[task * a->s.T + q + i] = max[i] + logf(sum[i]);
        }
    }
}

void cpu_attention(struct device *d, real *out, float *lse, const real *qkv, const int32_t *starts,
                   const struct attention_shape *s)
{
    struct attention a = { .s = *s, .out = out, .lse = lse, .qkv = qkv, .starts = starts };
    cpu_run(d, s->B * s->heads, forward_task, &a);
}

/* ---- backward ---- */

/* Of some queries and keys: probabilities, and then their gradients, both (queries, KEYS). */
struct block {
    float *probs, *grads, *delta; /* delta (T): dout . out of each query */
};

VECTOR_CLONES static void soften(float *probs, float *grads, size_t first, size_t end, size_t keys, float lse,
                                 float delta, float scale)
{
    for (size_t i = 0; i < first; i++)
        probs[i] = grads[i] = 0;
    for (size_t i = first; i < end; i++) {
        probs[i] = fast_exp(probs[i] - lse);
        grads[i] = probs[i] * (grads[i] - delta) * scale;
    }
    for (size_t i = end; i < keys; i++)
        probs[i] = grads[i] = 0;
}

static void backward_block(const struct head *h, const struct block *w, size_t task, size_t q, size_t queries,
                           size_t k, size_t keys)
{
    const struct attention *a = h->a;
    const float *qkv = a->qkv + h->at_qkv, *dout = a->dout + h->at_out + q * h->C;
    float *dqkv = a->dqkv + h->at_qkv;
    size_t size = a->s.size, end;
    score(h, w->probs, q, queries, k, keys);
    const struct gemm dprobs = { .b_transposed = true,
                                 .M = queries,
                                 .N = keys,
                                 .K = size,
                                 .alpha = 1,
                                 .a = dout,
                                 .a_row = h->C,
                                 .b = qkv + 2 * h->C + k * h->row,
                                 .b_row = h->row,
                                 .c = w->grads,
                                 .c_row = KEYS };
    cpu_gemm_here(&dprobs, h->work);
    for (size_t i = 0; i < queries; i++) {
        size_t first = seen(h, q + i, k, keys, &end);
        soften(w->probs + i * KEYS, w->grads + i * KEYS, first, end, keys, a->lses[task * a->s.T + q + i],
               w->delta[q + i], h->scale);
    }
    /* A block of keys is begun by the first queries that see it, and a query by the first keys. */
    bool begun_keys = q > k / QUERIES * QUERIES, begun_queries = k > 0;
    const struct gemm dv = { .a_transposed = true,
                             .M = keys,
                             .N = size,
                             .K = queries,
                             .alpha = 1,
                             .a = w->probs,
                             .a_row = KEYS,
                             .b = dout,
                             .b_row = h->C,
                             .add = begun_keys,
                             .c = dqkv + 2 * h->C + k * h->row,
                             .c_row = h->row };
    const struct gemm dk = { .a_transposed = true,
                             .M = keys,
                             .N = size,
                             .K = queries,
                             .alpha = 1,
                             .a = w->grads,
                             .a_row = KEYS,
                             .b = qkv + q * h->row,
                             .b_row = h->row,
                             .add = begun_keys,
                             .c = dqkv + h->C + k * h->row,
                             .c_row = h->row };
    const struct gemm dq = { .M = queries,
                             .N = size,
                             .K = keys,
                             .alpha = 1,
                             .a = w->grads,
                             .a_row = KEYS,
                             .b = qkv + h->C + k * h->row,
                             .b_row = h->row,
                             .add = begun_queries,
                             .c = dqkv + q * h->row,
                             .c_row = h->row };
    cpu_gemm_here(&dv, h->work);
    cpu_gemm_here(&dk, h->work);
    cpu_gemm_here(&dq, h->work);
}

static float dot(const float *x, const float *y, size_t n)
{
    float s[LANES] = { 0 };
    BY_LANES(i, j, n, s[j] += x[i] * y[i]);
    return sum_of_lanes(s);
}

static void backward_task(void *context, size_t task, void *scratch)
{
    const struct attention *a = context;
    const struct head h = head_of(a, task, scratch);
    size_t T = a->s.T;
    struct block w = { .probs = (float *)scratch + GEMM_WORK_BYTES / sizeof(float) };
    w.grads = w.probs + QUERIES * KEYS;
    w.delta = w.grads + QUERIES * KEYS;
    for (size_t t = 0; t < T; t++)
        w.delta[t] = dot(a->dout + h.at_out + t * h.C, a->outs + h.at_out + t * h.C, a->s.size);
    for (size_t k = 0; k < T; k += KEYS) {
        size_t keys = MIN((size_t)KEYS, T - k);
        for (size_t q = k / QUERIES * QUERIES; q < T; q += QUERIES)
            backward_block(&h, &w, task, q, MIN((size_t)QUERIES, T - q), k, keys);
    }
}

void cpu_attention_backward(struct device *d, real *dqkv, const real *dout, const real *qkv, const real *out,
                            const float *lse, const int32_t *starts, const struct attention_shape *s)
{
    struct attention a = {
        .s = *s, .dqkv = dqkv, .dout = dout, .qkv = qkv, .outs = out, .lses = lse, .starts = starts
    };
    invariant(s->T <= ATTENTION_T_MAX);
    _Static_assert(GEMM_WORK_BYTES + (2 * QUERIES * KEYS + ATTENTION_T_MAX) * sizeof(float) <=
                       CPU_POOL_SCRATCH_BYTES,
                   "scratch");
    cpu_run(d, s->B * s->heads, backward_task, &a);
}
