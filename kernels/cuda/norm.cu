/*
 * LayerNorm and RMSNorm: a warp is a row, a lane takes every 32nd chunk of it. The weights' gradients are sums over
 * rows, by strips. A residual is added on the way: the lane that writes a sum is the one that reads it again.
 *
 * Floor: bytes, with reals of r bytes. Forward 2 r N C, behind a residual 4 r N C. Backward 4 r N C for dx (dout, x, dx
 * read, dx written), and 2 r N C to read dout and x again for the weights.
 */
#include "kernels/cuda/cuda.h"
#include "kernels/cuda/elements.h"
#include "kernels/cuda/real.h"
#include "kernels/cuda/reduce.h"

enum { THREADS = 256, ROWS_AT_ONCE = THREADS / WARP, COLUMNS = 32, ROWS = 8 };

/* The row of this warp. */
static __device__ size_t own_row(void)
{
    return (size_t)blockIdx.x * ROWS_AT_ONCE + threadIdx.x / WARP;
}

/* f(i, x[i]) for what this lane has of a row of C. */
template <typename T, typename F>
static __device__ inline void along_row(const T *x, size_t C, F f)
{
    const bool chunks = C % CHUNK(T) == 0 && in_chunks(x);

    for (size_t first = threadIdx.x % WARP * CHUNK(T); first < C; first += WARP * CHUNK(T)) {
        float v[CHUNK(T)];
        load_chunk(v, x + first, C - first, chunks);
#pragma unroll
        for (int i = 0; i < CHUNK(T); i++)
            if (first + i < C)
                f(first + i, v[i]);
    }
}

/* out[i] = f(i, x[i]) */
template <typename T, typename F>
static __device__ inline void write_row(T *out, const T *x, size_t C, F f)
{
    const bool chunks = C % CHUNK(T) == 0 && in_chunks(x) && in_chunks(out);

    for (size_t first = threadIdx.x % WARP * CHUNK(T); first < C; first += WARP * CHUNK(T)) {
        float v[CHUNK(T)];
        load_chunk(v, x + first, C - first, chunks);
#pragma unroll
        for (int i = 0; i < CHUNK(T); i++)
            v[i] = first + i < C ? f(first + i, v[i]) : 0;
        store_chunk(out + first, v, C - first, chunks);
    }
}

/* What a row is before it is normalised: x, or with a branch sum = dropout(branch) + x. */
template <typename T> struct rows_in {
    const T *x, *branch; // branch NULL: none
    T *sum;
    float rate, kept; // 1 / (1 - rate)
    uint64_t key;
};

/* This warp's row, added up where it is to be. */
template <typename T>
static __device__ inline const T *row_of(const rows_in<T> &in, size_t row, size_t C)
{
    const size_t at = row * C;
    if (!in.branch)
        return in.x + at;
    const bool chunks = C % CHUNK(T) == 0 && in_chunks(in.x) && in_chunks(in.branch) && in_chunks(in.sum);
    for (size_t first = threadIdx.x % WARP * CHUNK(T); first < C; first += WARP * CHUNK(T)) {
        float x[CHUNK(T)], branch[CHUNK(T)];
        load_chunk(x, in.x + at + first, C - first, chunks);
        load_chunk(branch, in.branch + at + first, C - first, chunks);
#pragma unroll
        for (int i = 0; i < CHUNK(T); i++)
            x[i] = residual_of(branch[i], x[i], in.key, at + first + i, in.rate, in.kept);
        store_chunk(in.sum + at + first, x, C - first, chunks);
    }
    return in.sum + at;
}

template <typename T>
static __global__ void layernorm_kernel(T *out, float *means, float *rstds, const rows_in<T> in, const T *w,
                                        const T *b, size_t N, size_t C)
{
    size_t row = own_row();
    if (row >= N)
        return;
    const T *x = row_of(in, row, C);
    float sum = 0, squares = 0;
    along_row(x, C, [&](size_t, float v) { sum += v; });
    float mean = warp_sum(sum) / (float)C;
    along_row(x, C, [&](size_t, float v) { squares += (v - mean) * (v - mean); });
    float rstd = 1.0f / sqrtf(warp_sum(squares) / (float)C + NORM_EPSILON);
    write_row(out + row * C, x, C,
              [&](size_t i, float v) { return (v - mean) * rstd * float_of(w[i]) + float_of(b[i]); });
    if (threadIdx.x % WARP == 0) {
        means[row] = mean;
        rstds[row] = rstd;
    }
}

template <typename T> static rows_in<T> as_they_are(const real *x)
{
    return rows_in<T>{ (const T *)x, NULL, NULL, 0, 0, 0 };
}

template <typename T> static rows_in<T> with_residual(real *sum, const struct residual *r)
{
    return rows_in<T>{ (const T *)r->x, (const T *)r->branch, (T *)sum, r->rate, 1 / (1 - r->rate), r->key };
}

template <typename T>
static void layernorm(struct device *d, T *out, float *mean, float *rstd, const rows_in<T> &in, const T *w,
                      const T *b, size_t N, size_t C)
{
    auto kernel = layernorm_kernel<T>;
    kernel<<<BLOCKS(N, ROWS_AT_ONCE), THREADS, 0, device_stream(d)>>>(out, mean, rstd, in, w, b, N, C);
    device_launched(d, "layernorm");
}

void cuda_layernorm(struct device *d, real *out, float *mean, float *rstd, const real *x, const real *w,
                    const real *b, size_t N, size_t C)
{
    if (N == 0)
        return;
    WITH_REAL(d, layernorm(d, (T *)out, mean, rstd, as_they_are<T>(x), (const T *)w, (const T *)b, N, C));
}

void cuda_residual_layernorm(struct device *d, real *sum, real *out, float *mean, float *rstd,
                             const struct residual *r, const real *w, const real *b, size_t N, size_t C)
{
    if (N == 0)
        return;
    WITH_REAL(d, layernorm(d, (T *)out, mean, rstd, with_residual<T>(sum, r), (const T *)w, (const T *)b, N, C));
}

template <typename T>
static __global__ void rmsnorm_kernel(T *out, float *rstds, const rows_in<T> in, const T *w, size_t N, size_t C)
{
    size_t row = own_row();
    if (row >= N)
        return;
    const T *x = row_of(in, row, C);
    float squares = 0;
    along_row(x, C, [&](size_t, float v) { squares += v * v; });
    float rstd = 1.0f / sqrtf(warp_sum(squares) / (float)C + NORM_EPSILON);
    write_row(out + row * C, x, C, [&](size_t i, float v) { return v * rstd * float_of(w[i]); });
    if (threadIdx.x % WARP == 0)
        rstds[row] = rstd;
}

template <typename T>
static void rmsnorm(struct device *d, T *out, float *rstd, const rows_in<T> &in, const T *w, size_t N, size_t C)
{
    auto kernel = rmsnorm_kernel<T>;
    kernel<<<BLOCKS(N, ROWS_AT_ONCE), THREADS, 0, device_stream(d)>>>(out, rstd, in, w, N, C);
    device_launched(d, "rmsnorm");
}

void cuda_rmsnorm(struct device *d, real *out, float *rstd, const real *x, const real *w, size_t N, size_t C)
{
    if (N == 0)
        return;
    WITH_REAL(d, rmsnorm(d, (T *)out, rstd, as_they_are<T>(x), (const T *)w, N, C));
}

void cuda_residual_rmsnorm(struct device *d, real *sum, real *out, float *rstd, const struct residual *r,
                           const real *w, size_t N, size_t C)
{
    if (N == 0)
        return;
    WITH_REAL(d, rmsnorm(d, (T *)out, rstd, with_residual<T>(sum, r), (const T *)w, N, C));
}

/* means NULL: RMSNorm, where neither the mean of x nor that of the gradient is taken off. */
template <typename T>
static __global__ void norm_backward_kernel(T *dx, const T *dout, const T *x, const T *w, const float *means,
                                            const float *rstds, size_t N, size_t C)
{
    size_t row = own_row();
    if (row >= N)
        return;
    float mean = means ? means[row] : 0, rstd = rstds[row], one = 0, two = 0;
    x += row * C;
    dout += row * C;
    dx += row * C;
    along_row(dout, C, [&](size_t i, float v) {
        float g = float_of(w[i]) * v;
        one += g;
        two += g * ((float_of(x[i]) - mean) * rstd);
    });
    float mean_one = means ? warp_sum(one) / (float)C : 0, mean_two = warp_sum(two) / (float)C;
    write_row(dx, dx, C, [&](size_t i, float v) {
        return v + (float_of(w[i]) * float_of(dout[i]) - mean_one - (float_of(x[i]) - mean) * rstd * mean_two) * rstd;
    });
}

/* Sums of a strip of rows, as in sums.cu; db NULL: RMSNorm. */
template <typename T>
static __global__ void norm_strips_kernel(float *dw, float *db, const T *dout, const T *x, const float *means,
                                          const float *rstds, size_t N, size_t C, size_t rows)
{
    __shared__ float of_w[ROWS][COLUMNS], of_b[ROWS][COLUMNS];
    size_t c = (size_t)blockIdx.x * COLUMNS + threadIdx.x, first = blockIdx.y * rows;
    size_t end = N - first < rows ? N : first + rows;
    float w = 0, b = 0;

    for (size_t n = first + threadIdx.y; c < C && n < end; n += ROWS) {
        float g = float_of(dout[n * C + c]);
        w += g * ((float_of(x[n * C + c]) - (means ? means[n] : 0)) * rstds[n]);
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

template <typename T>
static void launch_backward(struct device *d, const char *name, T *dx, float *dw, float *db, const T *dout,
                            const T *x, const T *w, const float *mean, const float *rstd, size_t N, size_t C)
{
    const size_t rows = strip_rows(N);
    const dim3 blocks(BLOCKS(C, COLUMNS), BLOCKS(N, rows)), threads(COLUMNS, ROWS);
    auto of_x = norm_backward_kernel<T>;
    auto of_w = norm_strips_kernel<T>;

    of_x<<<BLOCKS(N, ROWS_AT_ONCE), THREADS, 0, device_stream(d)>>>(dx, dout, x, w, mean, rstd, N, C);
    device_launched(d, name);
    of_w<<<blocks, threads, 0, device_stream(d)>>>(dw, db, dout, x, mean, rstd, N, C, rows);
    device_launched(d, name);
}

static void norm_backward(struct device *d, const char *name, real *dx, float *dw, float *db, const real *dout,
                          const real *x, const real *w, const float *mean, const float *rstd, size_t N, size_t C)
{
    size_t rows = strip_rows(N), strips = (N + rows - 1) / rows;
    float *partial = (float *)device_scratch(d, 2 * strips * C * sizeof(float), name);

    if (!partial || C == 0)
        return;
    if (N > 0)
        WITH_REAL(d, launch_backward(d, name, (T *)dx, partial, db ? partial + strips * C : NULL, (const T *)dout,
                                     (const T *)x, (const T *)w, mean, rstd, N, C));
    cuda_sum_strips(d, dw, partial, strips, C);
    if (db)
        cuda_sum_strips(d, db, partial + strips * C, strips, C);
}

void cuda_layernorm_backward(struct device *d, real *dx, float *dw, float *db, const real *dout,
                             const real *x, const real *w, const float *mean, const float *rstd, size_t N,
                             size_t C)
{
    norm_backward(d, "layernorm_backward", dx, dw, db, dout, x, w, mean, rstd, N, C);
}

void cuda_rmsnorm_backward(struct device *d, real *dx, float *dw, const real *dout, const real *x,
                           const real *w, const float *rstd, size_t N, size_t C)
{
    norm_backward(d, "rmsnorm_backward", dx, dw, NULL, dout, x, w, NULL, rstd, N, C);
}
