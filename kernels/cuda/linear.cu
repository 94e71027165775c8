/*
 * The layers of small models: every sum in the order of its index, product and sum rounded one by one, as on the
 * CPU. The bits should be the CPU's. (The tiles' order follows no card; cuBLASLt's would.)
 *
 * Floor: 2 B I O operations at half of the fp32 rate, as multiply and add are not fused; with the small models
 * that this is for, the launch is what takes the time.
 */
#include "kernels/cuda/cuda.h"

enum { TILE = 16 };

/* A matrix by its steps, as in kernels/cpu: element (i, j) is at data[i row + j column]. */
struct matrix {
    const float *data;
    size_t row, column;
};

/* c[i,j] = (bias ? bias[j] : 0) + sum over k of a[i,k] b[k,j]; c (M,N) */
static __global__ void matmul_kernel(float *c, struct matrix a, struct matrix b, const float *bias, size_t M,
                                     size_t N, size_t K)
{
    __shared__ float of_a[TILE][TILE + 1], of_b[TILE][TILE + 1];
    unsigned x = threadIdx.x, y = threadIdx.y;
    size_t i = (size_t)blockIdx.y * TILE + y, j = (size_t)blockIdx.x * TILE + x;
    float sum = bias && j < N ? bias[j] : 0;

    for (size_t k = 0; k < K; k += TILE) {
        size_t depth = MIN(K - k, (size_t)TILE);
        of_a[y][x] = i < M && x < depth ? a.data[i * a.row + (k + x) * a.column] : 0;
        of_b[y][x] = j < N && y < depth ? b.data[(k + y) * b.row + j * b.column] : 0;
        __syncthreads();
        for (size_t l = 0; l < depth; l++)
            sum += of_a[y][l] * of_b[l][x];
        __syncthreads();
    }
    if (i < M && j < N)
        c[i * N + j] = sum;
}

static void matmul(struct device *d, const char *name, float *c, struct matrix a, struct matrix b,
                   const float *bias, size_t M, size_t N, size_t K)
{
    const dim3 blocks(BLOCKS(N, TILE), BLOCKS(M, TILE)), threads(TILE, TILE);

    if (M == 0 || N == 0)
        return;
    if (blocks.y > 65535) {
        device_keep(d, ERR_LIMIT, "%s: %zu rows are too many", name, M);
        return;
    }
    matmul_kernel<<<blocks, threads, 0, device_stream(d)>>>(c, a, b, bias, M, N, K);
    device_launched(d, name);
}

void cuda_linear(struct device *d, float *out, const float *x, const float *w, const float *bias, size_t B,
                 size_t I, size_t O)
{
    matmul(d, "linear", out, (struct matrix){ x, I, 1 }, (struct matrix){ w, 1, I }, bias, B, O, I);
}

void cuda_linear_backward_input(struct device *d, float *dx, const float *dout, const float *w, size_t B,
                                size_t I, size_t O)
{
    matmul(d, "linear_backward_input", dx, (struct matrix){ dout, O, 1 }, (struct matrix){ w, I, 1 }, NULL, B, I,
           O);
}

void cuda_linear_backward_weight(struct device *d, float *dw, float *dbias, const float *dout, const float *x,
                                 size_t B, size_t I, size_t O)
{
    matmul(d, "linear_backward_weight", dw, (struct matrix){ dout, 1, O }, (struct matrix){ x, I, 1 }, NULL, O, I,
           B);
    cuda_sum_strips(d, dbias, dout, B, O, 1); /* in the CPU's order: each row is a strip */
}
