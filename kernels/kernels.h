/*
 * kernels.h - the operations of training, each once, with shapes and formula.
 *
 * The first part of the table is for small models. There kernels/cpu is the specification: plain loops, every
 * sum in a fixed order, no fused multiply-add, no function of libm but sqrt (base/fixed.h has the others). So
 * the CPU's bits depend on the inputs alone: not on threads, ranks, compiler flags or the processor's model.
 *
 * The second part is for large ones: all of a device's threads share the work, and matrix products are chains
 * of fused multiply-adds (kernels/cpu/gemm.h). The bits depend on the inputs alone there as well, but for log
 * and the like, which are the C library's: not on the number of threads, nor on how wide a processor's
 * vectors are.
 *
 * "cuda" computes the same formulas, with other rounding where there is a sum; its bits depend on the inputs,
 * on the kind of card and on the version of cuBLASLt.
 *
 * All pointers are memory of the device, matrices are row-major. Outputs may not overlap inputs unless the
 * line says "may be". Operations with B, n or both 0 do nothing but what the formula says of an empty sum.
 */
#ifndef KERNELS_KERNELS_H
#define KERNELS_KERNELS_H

#include "kernels/device.h"

/* One step of AdamW (Loshchilov and Hutter 2019, algorithm 2), for the step number t = 1, 2, ... */
struct adamw {
    float lr, beta1, beta2, epsilon;
    float weight_decay; /* decoupled: w loses lr * weight_decay * w */
    float grad_scale;   /* g is multiplied by it first: 1 / records, and clipping */
    float correct1;     /* 1 / (1 - beta1^t) */
    float correct2;     /* 1 / (1 - beta2^t) */
};
#ifdef __cplusplus
extern "C" {
#endif

/* Fills correct1 and correct2 for step t >= 1 from the other fields; powers by repeated squaring in double.
 * */
void adamw_prepare(struct adamw *a, int64_t t);

/* Fills turns (positions, size), on the host: of position p the cosines of p ROTARY_BASE^(-2i/size), i <
 * size/2, then the sines of the same angles. Computed in double, bits that never change; size even. */
#define ROTARY_BASE 10000.0
void rotary_prepare(float *turns, size_t positions, size_t size);

/* A number of a large model's passes, its weights as they take part in them included: a float, or of a device
 * with DEVICE_BF16 a bf16 (device_real_bytes()). Pointers to it only: nobody but a device looks inside. */
typedef void real;

#define NORM_EPSILON 1e-5f
enum { ATTENTION_T_MAX = 65536, CLASSIFY_ROWS = 1024 /* at a time */ };
struct attention_shape {
    size_t B, T, heads, size; /* sequences, tokens of one, heads, floats of a head */
};

/* A branch and the stream that it joins. */
struct residual {
    const real *branch, *x; /* (N,C) */
    float rate;             /* of dropout; 0: none */
    uint64_t key;
};

struct kernels {
    const char *device;

    /* out[b,o] = bias[o] + sum over i of x[b,i] w[o,i]             out (B,O)  x (B,I)  w (O,I)  bias (O) */
    void (*linear)(struct device *d, float *out, const float *x, const float *w, const float *bias, size_t B,
                   size_t I, size_t O);
    /* dx[b,i] = sum over o of dout[b,o] w[o,i]                     dx (B,I)  dout (B,O)  w (O,I) */
    void (*linear_backward_input)(struct device *d, float *dx, const float *dout, const float *w, size_t B,
                                  size_t I, size_t O);
    /* dw[o,i] = sum over b of dout[b,o] x[b,i]; dbias[o] = sum over b of dout[b,o]; B = 0 writes zeros */
    void (*linear_backward_weight)(struct device *d, float *dw, float *dbias, const float *dout,
                                   const float *x, size_t B, size_t I, size_t O);

    /* out = max(x, 0); not a number stays so. out may be x. */
    void (*relu)(struct device *d, float *out, const float *x, size_t n);
    /* dx = dout where out > 0, else 0. dx may be dout. */
    void (*relu_backward)(struct device *d, float *dx, const float *dout, const float *out, size_t n);

    /* out[i] = x[i] (1 / (1 - rate)) where rng_f32(key, i) >= rate, else 0; rate in [0, 1). out may be x.
     * The backward pass is the same call on the gradient (Srivastava et al. 2014, inverted). */
    void (*dropout)(struct device *d, float *out, const float *x, size_t n, float rate, uint64_t key);

    /* probs[b,:] = softmax(logits[b,:]) (B,K), K >= 2. probs may be logits. */
    void (*softmax)(struct device *d, float *probs, const float *logits, size_t B, size_t K);
    /* The same, and *loss_sum = sum over b of -ln softmax(logits[b,:])[labels[b]], one double; labels in [0,
     * K) */
    void (*cross_entropy)(struct device *d, double *loss_sum, float *probs, const float *logits,
                          const int32_t *labels, size_t B, size_t K);
    /* dlogits[b,k] = probs[b,k] - (k == labels[b]): of the sum, not of the mean. dlogits may be probs. */
    void (*cross_entropy_backward)(struct device *d, float *dlogits, const float *probs,
                                   const int32_t *labels, size_t B, size_t K);

    /* g' = g grad_scale; m = beta1 m + (1 - beta1) g'; v = beta2 v + (1 - beta2) g'^2
     * w = w - lr weight_decay w - lr (m correct1) / (sqrt(v correct2) + epsilon)            all (n) */
    void (*adamw)(struct device *d, float *w, float *m, float *v, const float *g, size_t n,
                  const struct adamw *a);

    /* *out = sum of x[i]^2, one double: in 8 sums of every 8th element, these added as
     * ((0+1)+(2+3))+((4+5)+(6+7)) */
    void (*sum_squares)(struct device *d, double *out, const float *x, size_t n);
    void (*add)(struct device *d, float *sum, const float *x, size_t n); /* sum[i] = sum[i] + x[i] */
    void (*scale)(struct device *d, float *x, size_t n, float factor);   /* x[i] = x[i] factor */
    void (*zero)(struct device *d, float *x, size_t n);

    /* ---- large models ---- */

    /* Between float and real: rounded to the nearest, ties to even; plain copies where a real is a float. */
    void (*to_real)(struct device *d, real *out, const float *x, size_t n);
    void (*from_real)(struct device *d, float *out, const real *x, size_t n);
    /* To the next real above or below, each with the probability that makes the mean x: that of rng_u64(key, i). */
    void (*draw_real)(struct device *d, real *out, const float *x, size_t n, uint64_t key);
    void (*clear)(struct device *d, real *x, size_t n); /* x = 0 */
    /* `dropout` on reals; out may be x. */
    void (*drop)(struct device *d, real *out, const real *x, size_t n, float rate, uint64_t key);
    /* out = dropout(branch) + x; rate 0: none. out may be either. */
    void (*residual)(struct device *d, real *out, const real *branch, const real *x, size_t n, float rate,
                     uint64_t key);

    /* out[b,o] = bias[o] + sum over i of x[b,i] w[i,o]; bias NULL: none    out (B,O)  x (B,I)  w (I,O)  bias
     * (O) */
    void (*dense)(struct device *d, real *out, const real *x, const real *w, const real *bias, size_t B,
                  size_t I, size_t O);
    /* dx[b,i] = sum over o of dout[b,o] w[i,o] */
    void (*dense_backward_input)(struct device *d, real *dx, const real *dout, const real *w, size_t B,
                                 size_t I, size_t O);
    /* before = dense(x, w, bias), out = gelu(before)                       before, out (B,O) */
    void (*dense_gelu)(struct device *d, real *out, real *before, const real *x, const real *w,
                       const real *bias, size_t B, size_t I, size_t O);
    /* dense_backward_input() through gelu(before): dx[b,i] = slope at before[b,i] times sum over o of
     * dout[b,o] w[i,o] */
    void (*dense_backward_gelu)(struct device *d, real *dx, const real *dout, const real *w,
                                const real *before, size_t B, size_t I, size_t O);
    /* dw[i,o] = sum over b of x[b,i] dout[b,o]; dbias[o] = sum over b of dout[b,o], NULL: none */
    void (*dense_backward_weight)(struct device *d, float *dw, float *dbias, const real *dout, const real *x,
                                  size_t B, size_t I, size_t O);

    /* out[n,:] = tokens[token[n],:] + positions[position[n],:]; positions NULL: none      out (N,C) */
    void (*embed)(struct device *d, real *out, const real *tokens, const real *positions,
                  const int32_t *token, const int32_t *position, size_t N, size_t C);
    /* Adds dout's rows to those of dtokens and dpositions (NULL: none), in the order of n. */
    void (*embed_backward)(struct device *d, float *dtokens, float *dpositions, const real *dout,
                           const int32_t *token, const int32_t *position, size_t N, size_t C);

    /* out = (x - mean) rstd w + b by rows, rstd = 1 / sqrt(variance + NORM_EPSILON)       out, x (N,C)  w, b
     * (C) (Ba et al. 2016). Keeps mean and rstd (N) for the backward pass. */
    void (*layernorm)(struct device *d, real *out, float *mean, float *rstd, const real *x, const real *w,
                      const real *b, size_t N, size_t C);
    /* sum = dropout(branch) + x, as residual() has it, then layernorm() of sum. sum may be branch. */
    void (*residual_layernorm)(struct device *d, real *sum, real *out, float *mean, float *rstd,
                               const struct residual *r, const real *w, const real *b, size_t N, size_t C);
    /* Adds to dx, as a residual's gradient is there already; writes dw and db. */
    void (*layernorm_backward)(struct device *d, real *dx, float *dw, float *db, const real *dout,
                               const real *x, const real *w, const float *mean, const float *rstd, size_t N,
                               size_t C);

    /* out = x rstd w by rows, rstd = 1 / sqrt(mean of x^2 + NORM_EPSILON)              out, x (N,C)  w (C)
     * (Zhang and Sennrich 2019). Keeps rstd (N) for the backward pass. */
    void (*rmsnorm)(struct device *d, real *out, float *rstd, const real *x, const real *w, size_t N,
                    size_t C);
    void (*residual_rmsnorm)(struct device *d, real *sum, real *out, float *rstd, const struct residual *r,
                             const real *w, size_t N, size_t C);
    /* Adds to dx, as a residual's gradient is there already; writes dw. */
    void (*rmsnorm_backward)(struct device *d, real *dx, float *dw, const real *dout, const real *x,
                             const real *w, const float *rstd, size_t N, size_t C);

    /* out = x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))) / 2 (Hendrycks and Gimpel 2016) */
    void (*gelu)(struct device *d, real *out, const real *x, size_t n);
    void (*gelu_backward)(struct device *d, real *dx, const real *dout, const real *x,
                          size_t n); /* dx may be dout */

    /* out = gate / (1 + e^-gate) up                                       all (n) (Shazeer 2020, SwiGLU) */
    void (*swiglu)(struct device *d, real *out, const real *gate, const real *up, size_t n);
    /* dgate = dout up s (1 + gate (1 - s)), dup = dout gate s, s = 1 / (1 + e^-gate). Either may be dout. */
    void (*swiglu_backward)(struct device *d, real *dgate, real *dup, const real *dout, const real *gate,
                            const real *up, size_t n);

    /* Turns the queries and keys of each head, in place, by the angles of their positions (Su et al. 2021,
     * RoFormer): with a = turns[position,i] and b = turns[position,i + size/2], a cosine and a sine,
     *     x[i], x[i + size/2] = x[i] a - x[i + size/2] b, x[i + size/2] a + x[i] b        i < size/2
     * so the pairs are half a head apart, as GPT-NeoX has them; the paper's are neighbours. back: the other
     * way round, which is the backward pass.
     * qkv (B,T,3,heads,size), size even  turns of rotary_prepare()  position (B,T): rows of turns */
    void (*rotary)(struct device *d, real *qkv, const float *turns, const int32_t *position, bool back,
                   const struct attention_shape *s);

    /* Each head by itself: out[t] = sum over s of softmax_s(q[t] . k[s] / sqrt(size)) v[s], s = starts[t] ..
     * t qkv (B,T,3,heads,size)  out (B,T,heads,size)  lse (B,heads,T): ln of the softmax's sum, for the
     * backward pass starts (B,T): where the document of each token begins, NULL: at 0. */
    void (*attention)(struct device *d, real *out, float *lse, const real *qkv, const int32_t *starts,
                      const struct attention_shape *s);
    void (*attention_backward)(struct device *d, real *dqkv, const real *dout, const real *qkv,
                               const real *out, const float *lse, const int32_t *starts,
                               const struct attention_shape *s);

    /* loss[n] = -ln softmax(x[n,:] w^T)[labels[n]], 0 where the label is -1               x (N,C)  w (V,C)
     * dx (N,C) and dw (V,C): of the sum of the losses; dx NULL: no gradients. `work`: classify_work(N, V)
     * reals, room for V floats at least. */
    void (*classify)(struct device *d, double *loss, real *dx, float *dw, const real *x, const real *w,
                     const int32_t *labels, real *work, size_t N, size_t C, size_t V);
    size_t (*classify_work)(size_t N, size_t V);
    /* out[n,v] = x[n,:] . w[v,:], what classify begins with                               out (N,V) */
    void (*logits)(struct device *d, float *out, const real *x, const real *w, size_t N, size_t C, size_t V);
};

const struct kernels *kernels_for(const struct device *d);

#ifdef __cplusplus
}
#endif

#endif
