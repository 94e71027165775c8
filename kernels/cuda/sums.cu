/*
 * Sums over a whole array and over the rows of a matrix, each in one fixed tree.
 *
 * An array is cut into pieces of 64 Ki elements, whatever the card; the pieces' sums are added by one block. A
 * matrix is cut into strips of rows (cuda.h).
 *
 * Floor: bytes. sum_squares 4 n; columns r N C with reals of r bytes.
 */
#include "kernels/cuda/cuda.h"
#include "kernels/cuda/real.h"
#include "kernels/cuda/reduce.h"

enum { THREADS = 256, PIECE = 65536, COLUMNS = 32, ROWS = 8, ON_THEIR_WAY = 4, STRIPS_ON_THEIR_WAY = 8 };

static __global__ void sum_squares_kernel(double *partial, const float *x, size_t n)
{
    size_t first = (size_t)blockIdx.x * PIECE, end = n - first < PIECE ? n : first + PIECE;
    double sum = 0;

    for (size_t i = first + threadIdx.x; i < end; i += THREADS)
        sum += (double)x[i] * (double)x[i];
    sum = block_sum<256>(sum);
    if (threadIdx.x == 0)
        partial[blockIdx.x] = sum;
}

static __global__ void sum_f64_kernel(double *out, const double *x, size_t n)
{
    double sum = 0;

    for (size_t i = threadIdx.x; i < n; i += THREADS)
        sum += x[i];
    sum = block_sum<256>(sum);
    if (threadIdx.x == 0)
        *out = sum;
}

void cuda_sum_f64(struct device *d, double *out, const double *x, size_t n)
{
    sum_f64_kernel<<<1, THREADS, 0, device_stream(d)>>>(out, x, n);
    device_launched(d, "sum_f64");
}

void cuda_sum_squares(struct device *d, double *out, const float *x, size_t n)
{
    size_t pieces = (n + PIECE - 1) / PIECE;
    double *partial = (double *)device_scratch(d, pieces * sizeof(double), "sum_squares");

    if (!partial)
        return;
    if (pieces > 0) {
        sum_squares_kernel<<<(unsigned)pieces, THREADS, 0, device_stream(d)>>>(partial, x, n);
        device_launched(d, "sum_squares");
    }
    cuda_sum_f64(d, out, partial, pieces);
}

/* A thread of (COLUMNS, ROWS) takes a chunk of columns of every ROWS-th row of its strip; the eight sums are added in
 * their order. */
template <typename T>
static __global__ void column_strips_kernel(float *partial, const T *x, size_t N, size_t C, size_t rows)
{
    constexpr int EACH = CHUNK(T), ACROSS = COLUMNS * EACH;
    __shared__ float s[ROWS][ACROSS];
    const size_t left_column = (size_t)blockIdx.x * ACROSS, c = left_column + threadIdx.x * EACH;
    const size_t first = blockIdx.y * rows, end = N - first < rows ? N : first + rows;
    const bool whole = C % EACH == 0 && in_chunks(x);
    float sum[EACH] = {};
    size_t n = first + threadIdx.y;

    for (; whole && c < C && n + (ON_THEIR_WAY - 1) * ROWS < end; n += ON_THEIR_WAY * ROWS) {
        uint4 bits[ON_THEIR_WAY];
#pragma unroll
        for (int k = 0; k < ON_THEIR_WAY; k++)
            bits[k] = *(const uint4 *)(x + (n + k * ROWS) * C + c);
#pragma unroll
        for (int k = 0; k < ON_THEIR_WAY; k++) {
            float v[EACH];
            floats_of<T>(v, bits[k]);
#pragma unroll
            for (int i = 0; i < EACH; i++)
                sum[i] += v[i];
        }
    }
    for (; c < C && n < end; n += ROWS) {
        float v[EACH];
        load_chunk(v, x + n * C + c, C - c, whole);
#pragma unroll
        for (int i = 0; i < EACH; i++)
            sum[i] += v[i];
    }
#pragma unroll
    for (int i = 0; i < EACH; i++)
        s[threadIdx.y][i * COLUMNS + threadIdx.x] = sum[i]; // lanes side by side: no bank twice
    __syncthreads();
    for (size_t i = threadIdx.y * COLUMNS + threadIdx.x; i < ACROSS && left_column + i < C; i += COLUMNS * ROWS) {
        const size_t place = i % EACH * COLUMNS + i / EACH;
        float all = s[0][place];
        for (int j = 1; j < ROWS; j++)
            all += s[j][place];
        partial[blockIdx.y * C + left_column + i] = all;
    }
}

/* Each of blockDim.y threads adds every blockDim.y-th strip, and these sums are added in their order. */
static __global__ void sum_strips_kernel(float *out, const float *partial, size_t strips, size_t C)
{
    __shared__ float s[STRIP_SUMS][COLUMNS];
    const size_t c = (size_t)blockIdx.x * COLUMNS + threadIdx.x;
    float sum = 0;

    for (size_t i = threadIdx.y; c < C && i < strips; i += (size_t)STRIPS_ON_THEIR_WAY * blockDim.y) {
        float v[STRIPS_ON_THEIR_WAY];
#pragma unroll
        for (int k = 0; k < STRIPS_ON_THEIR_WAY; k++) {
            const size_t at = i + (size_t)k * blockDim.y;
            v[k] = at < strips ? partial[at * C + c] : 0;
        }
#pragma unroll
        for (int k = 0; k < STRIPS_ON_THEIR_WAY; k++)
            if (i + (size_t)k * blockDim.y < strips)
                sum += v[k];
    }
    s[threadIdx.y][threadIdx.x] = sum;
    __syncthreads();
    if (threadIdx.y > 0 || c >= C)
        return;
    for (unsigned i = 1; i < blockDim.y; i++)
        sum += s[i][threadIdx.x];
    out[c] = sum;
}

void cuda_sum_strips(struct device *d, float *out, const float *partial, size_t strips, size_t C, unsigned sums)
{
    const dim3 threads(COLUMNS, sums);

    if (C == 0)
        return;
    sum_strips_kernel<<<BLOCKS(C, COLUMNS), threads, 0, device_stream(d)>>>(out, partial, strips, C);
    device_launched(d, "sum_strips");
}

template <typename T>
static void column_strips(struct device *d, float *partial, const T *x, size_t N, size_t C, size_t rows)
{
    const dim3 blocks(BLOCKS(C, COLUMNS * CHUNK(T)), BLOCKS(N, rows)), threads(COLUMNS, ROWS);
    auto kernel = column_strips_kernel<T>;
    kernel<<<blocks, threads, 0, device_stream(d)>>>(partial, x, N, C, rows);
}

void cuda_sum_columns(struct device *d, float *out, const real *x, size_t N, size_t C)
{
    size_t rows = strip_rows(N), strips = (N + rows - 1) / rows;
    float *partial = (float *)device_scratch(d, strips * C * sizeof(float), "sum_columns");

    if (!partial)
        return;
    if (strips > 0 && C > 0) {
        WITH_REAL(d, column_strips(d, partial, (const T *)x, N, C, rows));
        device_launched(d, "sum_columns");
    }
    cuda_sum_strips(d, out, partial, strips, C, STRIP_SUMS);
}
