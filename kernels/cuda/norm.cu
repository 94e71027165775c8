/*
 * LayerNorm and RMSNorm: a warp is a row. The weights' gradients are sums over rows, by strips.
 *
 * Floor: bytes. Forward 8 N C. Backward 16 N C for dx (dout, x, dx read, dx written), and 8 N C to read dout and
 * x again for the weights.
 */
#include "kernels/cuda/cuda.h"
#include "kernels/cuda/reduce.h"

enum { THREADS = 256, ROWS_AT_ONCE = THREADS / WARP, COLUMNS = 32, ROWS = 8 };

/* The row of this warp. */
static __device__ size_t own_row(void)
{
    return (size_t)blockIdx.x * ROWS_AT_ONCE + threadIdx.x / WARP;
}

static __global__ void layernorm_kernel(float *out, float *means, float *rstds, const float *x, const float *w,
                                        const float *b, size_t N, size_t C)
{
    size_t row = own_row(), lane = threadIdx.x % WARP;
    if (row >= N)
        return;
    x += row * C;
    out += row * C;
    float sum = 0, squares = 0;
    for (size_t i = lane; i < C; i += WARP)
        sum += x[i];
    float mean = warp_sum(sum) / (float)C;
    for (size_t i = lane; i < C; i += WARP)
        squares += (x[i] - mean) * (x[i] - mean);
    float rstd = 1.0f / sqrtf(warp_sum(squares) / (float)C + NORM_EPSILON);
    for (size_t i = lane; i < C; i += WARP)
        out[i] = (x[i] - mean) * rstd * w[i] + b[i];
    if (lane == 0) {
        means[row] = mean;
        rstds[row] = rstd;
    }
}

void cuda_layernorm(struct device *d, float *out, float *mean, float *rstd, const float *x, const float *w,
                    const float *b, size_t N, size_t C)
{
    if (N == 0)
        return;
    layernorm_kernel<<<BLOCKS(N, ROWS_AT_ONCE), THREADS, 0, device_stream(d)>>>(out, mean, rstd, x, w, b, N, C);
    device_launched(d, "layernorm");
}

static __global__ void rmsnorm_kernel(float *out, float *rstds, const float *x, const float *w, size_t N,
                                      size_t C)
{
    size_t row = own_row(), lane = threadIdx.x % WARP;
    if (row >= N)
        return;
    x += row * C;
    out += row * C;
    float squares = 0;
    for (size_t i = lane; i < C; i += WARP)
        squares += x[i] * x[i];
    float rstd = 1.0f / sqrtf(warp_sum(squares) / (float)C + NORM_EPSILON);
    for (size_t i = lane; i < C; i += WARP)
        out[i] = x[i] * rstd * w[i];
    if (lane == 0)
        rstds[row] = rstd;
}

void cuda_rmsnorm(struct device *d, float *out, float *rstd, const float *x, const float *w, size_t N,
                  size_t C)
{
    if (N == 0)
        return;
    rmsnorm_kernel<<<BLOCKS(N, ROWS_AT_ONCE), THREADS, 0, device_stream(d)>>>(out, rstd, x, w, N, C);
    device_launched(d, "rmsnorm");
}

/* means NULL: RMSNorm, where neither the mean of x nor that of the gradient is taken off. */
static __global__ void norm_backward_kernel(float *dx, const float *dout, const float *x, const float *w,
                                            const float *means, const float *rstds, size_t N, size_t C)
{
    size_t row = own_row(), lane = threadIdx.x % WARP;
    if (row >= N)
        return;
    float mean = means ? means[row] : 0, rstd = rstds[row], one = 0, two = 0;
    x += row * C;
    dout += row * C;
    dx += row * C;
    for (size_t i = lane; i < C; i += WARP) {
        float g = w[i] * dout[i];
        one += g;
        two += g * ((x[i] - mean) * rstd);
    }
    float mean_one = means ? warp_sum(one) / (float)C : 0, mean_two = warp_sum(two) / (float)C;
    for (size_t i = lane; i < C; i += WARP)
        dx[i] = dx[i] + (w[i] * dout[i] - mean_one - (x[i] - mean) * rstd * mean_two) * rstd;
}

/* Sums of a strip of rows, as in sums.cu; db NULL: RMSNorm. */
static __global__ void norm_strips_kernel(float *dw, float *db, const float *dout, const float *x,
                                          const float *means, const float *rstds, size_t N, size_t C,
                                          size_t rows)
{
    __shared__ float of_w[ROWS][COLUMNS], of_b[ROWS][COLUMNS];
    size_t c = (size_t)blockIdx.x * COLUMNS + threadIdx.x, first = blockIdx.y * rows;
    size_t end = N - first < rows ? N : first + rows;
    float w = 0, b = 0;

    for (size_t n = first + threadIdx.y; c < C && n < end; n += ROWS) {
        float g = dout[n * C + c];
        w += g * ((x[n * C + c] - (means ? means[n] : 0)) * rstds[n]);
        b += g;
    }
    of_w[threadIdx.y][threadIdx.x] = w;
    of_b[threadIdx.y][threadIdx.x] = b;
    __syncthreads();
    if (threadIdx.y > 0 || c >= C)
        return;
    for (int i = 1; i < ROWS; i++) {
        w += of_w[i][threadIdx.x];
        b += of_b[i][threadIdx.x];
    }
    dw[blockIdx.y * C + c] = w;
    if (db)
        db[blockIdx.y * C + c] = b;
}

static void norm_backward(struct device *d, const char *name, float *dx, float *dw, float *db,
                          const float *dout, const float *x, const float *w, const float *mean,
                          const float *rstd, size_t N, size_t C)
{
    size_t rows = strip_rows(N), strips = (N + rows - 1) / rows;
    float *partial = (float *)device_scratch(d, 2 * strips * C * sizeof(float), name);

    if (!partial || C == 0)
        return;
    if (N > 0) {
        const dim3 blocks(BLOCKS(C, COLUMNS), (unsigned)strips), threads(COLUMNS, ROWS);
        norm_backward_kernel<<<BLOCKS(N, ROWS_AT_ONCE), THREADS, 0, device_stream(d)>>>(dx, dout, x, w, mean,
                                                                                       rstd, N, C);
        device_launched(d, name);
        norm_strips_kernel<<<blocks, threads, 0, device_stream(d)>>>(
            partial, db ? partial + strips * C : NULL, dout, x, mean, rstd, N, C, rows);
        device_launched(d, name);
    }
    cuda_sum_strips(d, dw, partial, strips, C);
    if (db)
        cuda_sum_strips(d, db, partial + strips * C, strips, C);
}

void cuda_layernorm_backward(struct device *d, float *dx, float *dw, float *db, const float *dout,
                             const float *x, const float *w, const float *mean, const float *rstd, size_t N,
                             size_t C)
{
    norm_backward(d, "layernorm_backward", dx, dw, db, dout, x, w, mean, rstd, N, C);
}

void cuda_rmsnorm_backward(struct device *d, float *dx, float *dw, const float *dout, const float *x,
                           const float *w, const float *rstd, size_t N, size_t C)
{
    norm_backward(d, "rmsnorm_backward", dx, dw, NULL, dout, x, w, NULL, rstd, N, C);
}
