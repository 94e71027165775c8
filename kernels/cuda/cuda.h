/*
 * cuda.h - one NVIDIA card: what its kernels share, and the list of them.
 *
 * Shapes and formulas are in kernels.h. A call here puts a kernel on the device's one stream and returns; the
 * first failure since the last device_sync() is kept and returned by it. After a failure nothing more is
 * promised but that device_get() gives not-a-number.
 *
 * No sum's order depends on which block runs first: no float atomics; partial sums lie in the scratch memory
 * and are added in the order of their index; how a sum is cut follows from the shape alone, never from the
 * card's number of multiprocessors. What is element by element is plain arithmetic in elements.h, compiled
 * without contraction (--fmad=false): it should have the CPU's bits where that uses + - * / and sqrt alone.
 * Where a fused multiply-add is meant, fmaf() is written.
 *
 * STATUS: compiled, not run. Nothing in this folder has met a card yet (docs/GPU.md).
 */
#ifndef KERNELS_CUDA_CUDA_H
#define KERNELS_CUDA_CUDA_H

#include "kernels/kernels.h"

#include <cuda_runtime_api.h>

#ifdef __cplusplus
extern "C" {
#endif

enum {
    CUDA_REALS_ALIGN = 8,            /* bf16 of 16 bytes: rows that are multiples of it are fast */
    CUDA_SCRATCH_BYTES = 64 << 20,   /* of partial sums: each kernel's own until it ends */
    CUDA_WORKSPACE_BYTES = 32 << 20, /* of cuBLASLt; fixed, as its algorithms depend on it */
    CUDA_HEAD_MAX = 128,             /* floats of a head in attention */
    CUDA_CLASSIFY_ROWS = 8192        /* whose logits are there at a time: 0.8 GB of 50257 bf16 */
};

/* The first card, or that of the rank's number on its host (Open MPI's and Slurm's variables). ERR_NOT_FOUND
 * where there is no driver, no card, or one that is too old; other failures as device_open() has them. */
enum err_code cuda_open(struct device **out, struct err *e);
extern const struct kernels cuda_kernels;

/* ---- for the kernels, and for whoever has a stream of its own beside theirs ---- */

enum { WARP = 32 };
#define BLOCKS(n, each) ((unsigned)(((n) + (each)-1) / (each)))

cudaStream_t device_stream(struct device *d);
enum device_precision cuda_precision(struct device *d);
/* Behind each launch: keeps the first failure for device_sync(). */
void device_launched(struct device *d, const char *kernel);
void device_keep(struct device *d, enum err_code code, const char *fmt, ...) PRINTF_LIKE(3, 4);
/* cuda_tensor_encoder(), where the card has what the kernels for sm_90a need; else NULL. */
void *device_tensor_encoder(struct device *d);
/* For partial sums, aligned to 16 bytes; NULL, and the failure is kept, where so much is not there. */
void *device_scratch(struct device *d, size_t bytes, const char *kernel);

/* Row-major c (M,N) = op(a) op(b) + bias + beta c by cuBLASLt; op(a) is (M,K), op(b) (K,N), and a matrix that
 * is transposed lies the other way round in memory. bias (N), NULL: none. K = 0: zeros, or nothing when beta
 * is 1. What is not a whole number of 16 bytes from row to row is slow with bf16. */
enum cuda_gemm_gelu {
    CUDA_GEMM_PLAIN,
    CUDA_GEMM_GELU,       /* before = op(a) op(b) + bias, c = gelu(before) */
    CUDA_GEMM_GELU_SLOPE, /* c = op(a) op(b) times gelu's slope at before */
};
struct cuda_gemm {
    bool a_transposed, b_transposed;
    bool c_is_float; /* else reals, as a, b and the bias are */
    size_t M, N, K;
    size_t a_row, b_row, c_row; /* numbers from one row of what lies in memory to the next; 0: no gap */
    const real *a, *b, *bias;
    void *c;
    float beta;
    enum cuda_gemm_gelu gelu; /* beta 0, and no gaps */
    real *before;             /* (M,N) */
};
void cuda_gemm(struct device *d, const struct cuda_gemm *g);
/* With g->gelu. false: cuBLASLt does not do it with this shape, or not as exactly as fp32 promises; nothing
 * was done. */
bool cuda_gemm_gelu(struct device *d, const struct cuda_gemm *g);
/* By a kernel of our own, without GELU: what cuBLASLt refuses. */
void cuda_gemm_plain(struct device *d, const struct cuda_gemm *g);
struct cuda_blas;
enum err_code cuda_blas_open(struct cuda_blas **out, struct err *e);
void cuda_blas_close(struct cuda_blas *b); /* accepts NULL */
struct cuda_blas *device_blas(struct device *d);

/* out[c] = sum over n of x[n,c], in strips of rows whose sums are added in their order. x (N,C) */
void cuda_sum_columns(struct device *d, float *out, const real *x, size_t N, size_t C);
/* How rows are cut into strips: at most STRIPS of them, of a whole number of rows. */
enum { STRIPS = 128, STRIP_ROWS_MIN = 64 };
static inline size_t strip_rows(size_t N)
{
    size_t each = (N + STRIPS - 1) / STRIPS;
    return each > (size_t)STRIP_ROWS_MIN ? each : (size_t)STRIP_ROWS_MIN;
}
/* out[c] = partial[0,c] + partial[1,c] + ... in `sums` sums of every sums-th strip, which are added in their
 * order; zeros where there is none. */
enum { STRIP_SUMS = 32 };
void cuda_sum_strips(struct device *d, float *out, const float *partial, size_t strips, size_t C,
                     unsigned sums);

void cuda_linear(struct device *d, float *out, const float *x, const float *w, const float *bias, size_t B,
                 size_t I, size_t O);
void cuda_linear_backward_input(struct device *d, float *dx, const float *dout, const float *w, size_t B,
                                size_t I, size_t O);
void cuda_linear_backward_weight(struct device *d, float *dw, float *dbias, const float *dout, const float *x,
                                 size_t B, size_t I, size_t O);
void cuda_relu(struct device *d, float *out, const float *x, size_t n);
void cuda_relu_backward(struct device *d, float *dx, const float *dout, const float *out, size_t n);
void cuda_dropout(struct device *d, float *out, const float *x, size_t n, float rate, uint64_t key);
void cuda_softmax(struct device *d, float *probs, const float *logits, size_t B, size_t K);
void cuda_cross_entropy(struct device *d, double *loss_sum, float *probs, const float *logits,
                        const int32_t *labels, size_t B, size_t K);
void cuda_cross_entropy_backward(struct device *d, float *dlogits, const float *probs, const int32_t *labels,
                                 size_t B, size_t K);
void cuda_adamw(struct device *d, float *w, float *m, float *v, const float *g, size_t n,
                const struct adamw *a);
void cuda_sum_squares(struct device *d, double *out, const float *x, size_t n);
/* out = sum of the n doubles, by the same tree */
void cuda_sum_f64(struct device *d, double *out, const double *x, size_t n);
void cuda_add(struct device *d, float *sum, const float *x, size_t n);
void cuda_add_on(struct device *d, cudaStream_t stream, float *sum, const float *x, size_t n);
void cuda_scale(struct device *d, float *x, size_t n, float factor);
void cuda_zero(struct device *d, float *x, size_t n);

void cuda_to_real(struct device *d, real *out, const float *x, size_t n);
void cuda_draw_real(struct device *d, real *out, const float *x, size_t n, uint64_t key);
void cuda_from_real(struct device *d, float *out, const real *x, size_t n);
void cuda_clear(struct device *d, real *x, size_t n);
void cuda_drop(struct device *d, real *out, const real *x, size_t n, float rate, uint64_t key);
void cuda_residual(struct device *d, real *out, const real *branch, const real *x, size_t n, float rate,
                   uint64_t key);
void cuda_dense(struct device *d, real *out, const real *x, const real *w, const real *bias, size_t B,
                size_t I, size_t O);
void cuda_dense_backward_input(struct device *d, real *dx, const real *dout, const real *w, size_t B,
                               size_t I, size_t O);
void cuda_dense_backward_weight(struct device *d, float *dw, float *dbias, const real *dout, const real *x,
                                size_t B, size_t I, size_t O);
void cuda_dense_gelu(struct device *d, real *out, real *before, const real *x, const real *w,
                     const real *bias, size_t B, size_t I, size_t O);
void cuda_dense_backward_gelu(struct device *d, real *dx, const real *dout, const real *w, const real *before,
                              size_t B, size_t I, size_t O);
void cuda_embed(struct device *d, real *out, const real *tokens, const real *positions, const int32_t *token,
                const int32_t *position, size_t N, size_t C);
void cuda_embed_backward(struct device *d, float *dtokens, float *dpositions, const real *dout,
                         const int32_t *token, const int32_t *position, size_t N, size_t C);
void cuda_layernorm(struct device *d, real *out, float *mean, float *rstd, const real *x, const real *w,
                    const real *b, size_t N, size_t C);
void cuda_residual_layernorm(struct device *d, real *sum, real *out, float *mean, float *rstd,
                             const struct residual *r, const real *w, const real *b, size_t N, size_t C);
void cuda_residual_rmsnorm(struct device *d, real *sum, real *out, float *rstd, const struct residual *r,
                           const real *w, size_t N, size_t C);
void cuda_layernorm_backward(struct device *d, real *dx, float *dw, float *db, const real *dout,
                             const real *x, const real *w, const float *mean, const float *rstd, size_t N,
                             size_t C);
void cuda_rmsnorm(struct device *d, real *out, float *rstd, const real *x, const real *w, size_t N, size_t C);
void cuda_rmsnorm_backward(struct device *d, real *dx, float *dw, const real *dout, const real *x,
                           const real *w, const float *rstd, size_t N, size_t C);
void cuda_gelu(struct device *d, real *out, const real *x, size_t n);
void cuda_gelu_backward(struct device *d, real *dx, const real *dout, const real *x, size_t n);
void cuda_swiglu(struct device *d, real *out, const real *gate, const real *up, size_t n);
void cuda_swiglu_backward(struct device *d, real *dgate, real *dup, const real *dout, const real *gate,
                          const real *up, size_t n);
void cuda_rotary(struct device *d, real *qkv, const float *turns, const int32_t *position, bool back,
                 const struct attention_shape *s);
void cuda_attention(struct device *d, real *out, float *lse, const real *qkv, const int32_t *starts,
                    const struct attention_shape *s);
void cuda_attention_backward(struct device *d, real *dqkv, const real *dout, const real *qkv, const real *out,
                             const float *lse, const int32_t *starts, const struct attention_shape *s);
void cuda_classify(struct device *d, double *loss, real *dx, float *dw, const real *x, const real *w,
                   const int32_t *labels, real *work, size_t N, size_t C, size_t V);
size_t cuda_classify_work(size_t N, size_t V);
void cuda_logits(struct device *d, float *out, const real *x, const real *w, size_t N, size_t C, size_t V);

#ifdef __cplusplus
}
#endif
#endif
