/*
 * cpu.h - the CPU's operations: the specification that other devices are measured against.
 *
 * Shapes and formulas are in kernels.h. Every sum runs in the order of its index and starts from what the
 * formula names first; vectors only ever run across sums, never along one.
 */
#ifndef KERNELS_CPU_CPU_H
#define KERNELS_CPU_CPU_H

#include "kernels/cpu/pool.h"
#include "kernels/kernels.h"

/* One source, compiled for each width of vector: the bits are the same, as no sum is split. A sanitizer's own
 * start-up comes too late for the choice to be made at load time. */
#if defined(__x86_64__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__) &&                \
    !defined(__clang__)
#define VECTOR_CLONES __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define VECTOR_CLONES
#endif

enum err_code cpu_open(struct device **out, struct err *e);
extern const struct kernels cpu_kernels;

/* A matrix by its steps: element (i, j) is at data[i row + j column]. Transposed, it is the same memory. */
struct matrix {
    const float *data;
    size_t row, column;
};
/* c[i,j] = (bias ? bias[j] : 0) + sum over k of a[i,k] b[k,j], k = 0, 1, ...; c (M,N) row-major. */
void cpu_matmul(float *c, struct matrix a, struct matrix b, const float *bias, size_t M, size_t N, size_t K);

void cpu_linear(struct device *d, float *out, const float *x, const float *w, const float *bias, size_t B,
                size_t I, size_t O);
void cpu_linear_backward_input(struct device *d, float *dx, const float *dout, const float *w, size_t B,
                               size_t I, size_t O);
void cpu_linear_backward_weight(struct device *d, float *dw, float *dbias, const float *dout, const float *x,
                                size_t B, size_t I, size_t O);
void cpu_relu(struct device *d, float *out, const float *x, size_t n);
void cpu_relu_backward(struct device *d, float *dx, const float *dout, const float *out, size_t n);
void cpu_dropout(struct device *d, float *out, const float *x, size_t n, float rate, uint64_t key);
void cpu_softmax(struct device *d, float *probs, const float *logits, size_t B, size_t K);
void cpu_cross_entropy(struct device *d, double *loss_sum, float *probs, const float *logits,
                       const int32_t *labels, size_t B, size_t K);
void cpu_cross_entropy_backward(struct device *d, float *dlogits, const float *probs, const int32_t *labels,
                                size_t B, size_t K);
void cpu_adamw(struct device *d, float *w, float *m, float *v, const float *g, size_t n,
               const struct adamw *a);
void cpu_sum_squares(struct device *d, double *out, const float *x, size_t n);
void cpu_add(struct device *d, float *sum, const float *x, size_t n);
void cpu_scale(struct device *d, float *x, size_t n, float factor);
void cpu_zero(struct device *d, float *x, size_t n);

/* Tasks by the device's threads: pool.h. */
void cpu_run(struct device *d, size_t count, cpu_task_fn *task, void *context);
size_t cpu_threads(struct device *d);
/* Calls some(context, first, count) for pieces of 0 .. n - 1: for what is done element by element. */
typedef void cpu_some_fn(void *context, size_t first, size_t count);
void cpu_for(struct device *d, size_t n, cpu_some_fn *some, void *context);

void cpu_to_real(struct device *d, real *out, const float *x, size_t n);
void cpu_draw_real(struct device *d, real *out, const float *x, size_t n, uint64_t key);
void cpu_from_real(struct device *d, float *out, const real *x, size_t n);
void cpu_clear(struct device *d, real *x, size_t n);
void cpu_drop(struct device *d, real *out, const real *x, size_t n, float rate, uint64_t key);
void cpu_residual(struct device *d, real *out, const real *branch, const real *x, size_t n, float rate,
                  uint64_t key);
void cpu_dense(struct device *d, real *out, const real *x, const real *w, const real *bias, size_t B,
               size_t I, size_t O);
void cpu_dense_backward_input(struct device *d, real *dx, const real *dout, const real *w, size_t B, size_t I,
                              size_t O);
void cpu_dense_backward_weight(struct device *d, float *dw, float *dbias, const real *dout, const real *x,
                               size_t B, size_t I, size_t O);
void cpu_dense_gelu(struct device *d, real *out, real *before, const real *x, const real *w, const real *bias,
                    size_t B, size_t I, size_t O);
void cpu_dense_backward_gelu(struct device *d, real *dx, const real *dout, const real *w, const real *before,
                             size_t B, size_t I, size_t O);
void cpu_embed(struct device *d, real *out, const real *tokens, const real *positions, const int32_t *token,
               const int32_t *position, size_t N, size_t C);
void cpu_embed_backward(struct device *d, float *dtokens, float *dpositions, const real *dout,
                        const int32_t *token, const int32_t *position, size_t N, size_t C);
void cpu_layernorm(struct device *d, real *out, float *mean, float *rstd, const real *x, const real *w,
                   const real *b, size_t N, size_t C);
void cpu_residual_layernorm(struct device *d, real *sum, real *out, float *mean, float *rstd,
                            const struct residual *r, const real *w, const real *b, size_t N, size_t C);
void cpu_residual_rmsnorm(struct device *d, real *sum, real *out, float *rstd, const struct residual *r,
                          const real *w, size_t N, size_t C);
void cpu_layernorm_backward(struct device *d, real *dx, float *dw, float *db, const real *dout, const real *x,
                            const real *w, const float *mean, const float *rstd, size_t N, size_t C);
void cpu_gelu(struct device *d, real *out, const real *x, size_t n);
void cpu_gelu_backward(struct device *d, real *dx, const real *dout, const real *x, size_t n);
void cpu_rmsnorm(struct device *d, real *out, float *rstd, const real *x, const real *w, size_t N, size_t C);
void cpu_rmsnorm_backward(struct device *d, real *dx, float *dw, const real *dout, const real *x,
                          const real *w, const float *rstd, size_t N, size_t C);
void cpu_swiglu(struct device *d, real *out, const real *gate, const real *up, size_t n);
void cpu_swiglu_backward(struct device *d, real *dgate, real *dup, const real *dout, const real *gate,
                         const real *up, size_t n);
void cpu_rotary(struct device *d, real *qkv, const float *turns, const int32_t *position, bool back,
                const struct attention_shape *s);
void cpu_attention(struct device *d, real *out, float *lse, const real *qkv, const int32_t *starts,
                   const struct attention_shape *s);
void cpu_attention_backward(struct device *d, real *dqkv, const real *dout, const real *qkv, const real *out,
                            const float *lse, const int32_t *starts, const struct attention_shape *s);
void cpu_classify(struct device *d, double *loss, real *dx, float *dw, const real *x, const real *w,
                  const int32_t *labels, real *work, size_t N, size_t C, size_t V);
size_t cpu_classify_work(size_t N, size_t V);
void cpu_logits(struct device *d, float *out, const real *x, const real *w, size_t N, size_t C, size_t V);

#endif
