/*
 * The matrix products that cuBLASLt refuses: shapes with a dimension of 1, rows that are no multiple of its liking. A
 * thread is an element; right on any shape, and slow on a large one, which cuBLASLt does not refuse.
 *
 * Floor: 2 M N K operations. Far from it: 2 K reads a thread, which its neighbours mostly share.
 */
#include "kernels/cuda/cuda.h"
#include "kernels/cuda/real.h"

enum { THREADS = 128 };

/* Where element (i, k) of op(a) and (k, j) of op(b) are, in steps. */
struct steps {
    size_t a_i, a_k, b_k, b_j, c_row;
};

template <typename T, typename C>
static __global__ void plain_gemm_kernel(C *c, const T *a, const T *b, const T *bias, float beta, steps at, size_t N,
                                         size_t K)
{
    const size_t j = (size_t)blockIdx.x * THREADS + threadIdx.x, i = blockIdx.y;
    float sum = 0;

    if (j >= N)
        return;
    for (size_t k = 0; k < K; k++)
        sum = fmaf(float_of(a[i * at.a_i + k * at.a_k]), float_of(b[k * at.b_k + j * at.b_j]), sum);
    if (bias)
        sum += float_of(bias[j]);
    C *to = c + i * at.c_row + j;
    set_real(to, beta != 0 ? sum + beta * float_of(*to) : sum); // not read otherwise
}

template <typename T, typename C> static void launch(struct device *d, const struct cuda_gemm *g)
{
    const size_t a_row = g->a_row ? g->a_row : g->a_transposed ? g->M : g->K;
    const size_t b_row = g->b_row ? g->b_row : g->b_transposed ? g->K : g->N;
    const steps at = { g->a_transposed ? 1 : a_row, g->a_transposed ? a_row : 1, g->b_transposed ? 1 : b_row,
                       g->b_transposed ? b_row : 1, g->c_row ? g->c_row : g->N };
    const size_t rows_at_once = 65535;
    auto kernel = plain_gemm_kernel<T, C>;

    for (size_t first = 0; first < g->M; first += rows_at_once) {
        const dim3 blocks(BLOCKS(g->N, THREADS), (unsigned)MIN(rows_at_once, g->M - first));
        const T *a = (const T *)g->a + first * at.a_i;
        kernel<<<blocks, THREADS, 0, device_stream(d)>>>((C *)g->c + first * at.c_row, a, (const T *)g->b,
                                                         (const T *)g->bias, g->beta, at, g->N, g->K);
        device_launched(d, "plain matrix product");
    }
}

void cuda_gemm_plain(struct device *d, const struct cuda_gemm *g)
{
    if (cuda_precision(d) != DEVICE_BF16)
        launch<float, float>(d, g);
    else if (g->c_is_float)
        launch<bf16, float>(d, g);
    else
        launch<bf16, bf16>(d, g);
}
