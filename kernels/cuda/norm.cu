/*
 * LayerNorm and RMSNorm: a warp is a row, a lane takes every 32nd chunk of it. A residual is added on the way: the
 * lane that writes a sum is the one that reads it again. The weights' gradients are sums over rows, by strips: they are
 * made where dx is, from the same dout and x.
 *
 * Floor: bytes, with reals of r bytes. Forward 2 r N C, behind a residual 4 r N C. Backward 4 r N C (dout, x, dx read,
 * dx written), and 16 C for the sums of each strip, of which there are 1024 at most.
 */
#include "kernels/cuda/cuda.h"
#include "kernels/cuda/elements.h"
#include "kernels/cuda/real.h"
#include "kernels/cuda/reduce.h"

enum {
    THREADS = 256,
    ROWS_AT_ONCE = THREADS / WARP,
    STRIPS_MAX = 1024, /* a strip is a block */
    STRIP_ROWS_LEAST = 16,
    SHARED_BYTES = 47 << 10, /* what a block has without asking is 48 KiB */
};

/* The row of this warp. */
static __device__ size_t own_row(void)
{
    return (size_t)blockIdx.x * ROWS_AT_ONCE + threadIdx.x / WARP;
}

/* f(x) for each number that this lane has of a row of C. */
template <typename T, typename F>
static __device__ inline void along_row(const T *x, size_t C, F f)
{
    const bool chunks = C % CHUNK(T) == 0 && in_chunks(x);

    for (size_t first = threadIdx.x % WARP * CHUNK(T); first < C; first += WARP * CHUNK(T)) {
        float v[CHUNK(T)];
        load_chunk(v, x + first, C - first, chunks);
#pragma unroll
        for (int i = 0; i < CHUNK(T); i++)
            if (chunks || first + i < C)
                f(v[i]);
    }
}

/* out = f(x, w, b) by numbers; b NULL: 0. */
template <typename T, typename F>
static __device__ inline void write_row(T *out, const T *x, const T *w, const T *b, size_t C, F f)
{
    const bool chunks = C % CHUNK(T) == 0 && in_chunks(x) && in_chunks(out) && in_chunks(w) && in_chunks(b);

    for (size_t first = threadIdx.x % WARP * CHUNK(T); first < C; first += WARP * CHUNK(T)) {
        float v[CHUNK(T)], of_w[CHUNK(T)], of_b[CHUNK(T)] = {};
        load_chunk(v, x + first, C - first, chunks);
        load_chunk(of_w, w + first, C - first, chunks);
        if (b)
            load_chunk(of_b, b + first, C - first, chunks);
#pragma unroll
        for (int i = 0; i < CHUNK(T); i++)
            v[i] = f(v[i], of_w[i], of_b[i]);
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
        if (chunks) { // both on their way before the first is looked at
            const uint4 of_x = *(const uint4 *)(in.x + at + first);
            const uint4 of_branch = *(const uint4 *)(in.branch + at + first);
            floats_of<T>(x, of_x);
            floats_of<T>(branch, of_branch);
        } else {
            load_chunk(x, in.x + at + first, C - first, false);
            load_chunk(branch, in.branch + at + first, C - first, false);
        }
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
    along_row(x, C, [&](float v) { sum += v; });
    float mean = warp_sum(sum) / (float)C;
    along_row(x, C, [&](float v) { squares += (v - mean) * (v - mean); });
    float rstd = 1.0f / sqrtf(warp_sum(squares) / (float)C + NORM_EPSILON);
    write_row(out + row * C, x, w, b, C,
              [&](float v, float of_w, float of_b) { return (v - mean) * rstd * of_w + of_b; });
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
    along_row(x, C, [&](float v) { squares += v * v; });
    float rstd = 1.0f / sqrtf(warp_sum(squares) / (float)C + NORM_EPSILON);
    write_row(out + row * C, x, w, (const T *)NULL, C, [&](float v, float of_w, float) { return v * rstd * of_w; });
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

/* What the backward pass is given. means NULL: RMSNorm, where neither the mean of x nor that of the gradient is taken
 * off, and there is no db. */
template <typename T> struct norm_back {
    T *dx;
    const T *dout, *x, *w;
    const float *means, *rstds;
    float *dw, *db; // of each strip (C)
    size_t N, C, rows; // of a strip
};

/* Of a row what each of its elements takes; one and two: the means of the gradient, and of the gradient times x. */
struct row_back {
    float mean, rstd, one, two;
};

/* A row, by its warp. */
template <typename T> static __device__ inline row_back look_at(const norm_back<T> &p, size_t row, bool whole)
{
    const T *x = p.x + row * p.C, *dout = p.dout + row * p.C;
    const float mean = p.means ? p.means[row] : 0, rstd = p.rstds[row];
    float one = 0, two = 0;

#pragma unroll 2
    for (size_t c = threadIdx.x % WARP * CHUNK(T); c < p.C; c += WARP * CHUNK(T)) {
        float of_x[CHUNK(T)], of_dout[CHUNK(T)], of_w[CHUNK(T)];
        load_chunk(of_x, x + c, p.C - c, whole);
        load_chunk(of_dout, dout + c, p.C - c, whole);
        load_chunk(of_w, p.w + c, p.C - c, whole);
#pragma unroll
        for (int i = 0; i < CHUNK(T); i++) { // beyond the end all of them are 0
            float g = of_w[i] * of_dout[i];
            one += g;
            two += g * ((of_x[i] - mean) * rstd);
        }
    }
    return row_back{ mean, rstd, p.means ? warp_sum(one) / (float)p.C : 0, warp_sum(two) / (float)p.C };
}

/* A thread's columns of a row: dx, and what they add to dw and db. */
template <typename T>
static __device__ inline void take_row(const norm_back<T> &p, float dw[], float db[], const float w[],
                                       const row_back &r, size_t at, size_t left, bool whole)
{
    float x[CHUNK(T)], dout[CHUNK(T)], dx[CHUNK(T)];

    load_chunk(dx, p.dx + at, left, whole);
    load_chunk(x, p.x + at, left, whole);
    load_chunk(dout, p.dout + at, left, whole);
#pragma unroll
    for (int i = 0; i < CHUNK(T); i++) {
        float norm = (x[i] - r.mean) * r.rstd;
        dx[i] = dx[i] + (w[i] * dout[i] - r.one - norm * r.two) * r.rstd;
        dw[i] += dout[i] * norm;
        db[i] += dout[i];
    }
    store_chunk(p.dx + at, dx, left, whole);
}

/* A block is a strip of rows, some of them at a time: first a warp looks at each, then a thread takes its columns of
 * all of them, which the cache still has. In between the sums of the columns lie in shared memory, or where there are
 * too many of them, where they are to be in the end. */
template <typename T>
static __global__ void __launch_bounds__(THREADS, 3)
    norm_backward_kernel(const norm_back<T> p, size_t at_once, bool share)
{
    extern __shared__ float4 shared[];
    __shared__ row_back seen[2][ROWS_AT_ONCE]; // two, so that one barrier will do
    const bool whole = p.C % CHUNK(T) == 0 && in_chunks(p.dx) && in_chunks(p.dout) && in_chunks(p.x) && in_chunks(p.w);
    const size_t strip = blockIdx.x, begin = strip * p.rows, end = p.N - begin < p.rows ? p.N : begin + p.rows;
    float *dw = p.dw + strip * p.C, *db = p.db ? p.db + strip * p.C : NULL;
    float *sum_w = share ? (float *)shared : dw, *sum_b = share ? sum_w + p.C : db;
    unsigned turn = 0;

    for (size_t first = begin; first < end; first += at_once, turn ^= 1) {
        const size_t count = end - first < at_once ? end - first : at_once;
        const bool last = first + count == end;
        row_back *of = seen[turn];
        for (size_t j = threadIdx.x / WARP; j < count; j += blockDim.x / WARP) {
            const row_back r = look_at(p, first + j, whole);
            if (threadIdx.x % WARP == 0)
                of[j] = r;
        }
        __syncthreads();
        for (size_t c = threadIdx.x * CHUNK(T); c < p.C; c += blockDim.x * CHUNK(T)) {
            float w[CHUNK(T)], more_w[CHUNK(T)] = {}, more_b[CHUNK(T)] = {};
            load_chunk(w, p.w + c, p.C - c, whole);
            if (first > begin) {
                load_floats<CHUNK(T)>(more_w, sum_w + c, p.C - c, whole);
                if (db)
                    load_floats<CHUNK(T)>(more_b, sum_b + c, p.C - c, whole);
            }
            for (size_t j = 0; j < count; j++)
                take_row(p, more_w, more_b, w, of[j], (first + j) * p.C + c, p.C - c, whole);
            store_floats<CHUNK(T)>((last ? dw : sum_w) + c, more_w, p.C - c, whole);
            if (db)
                store_floats<CHUNK(T)>((last ? db : sum_b) + c, more_b, p.C - c, whole);
        }
    }
}

/* How rows are cut, by the shape alone: not so short that the strips' sums are many bytes beside the rows. */
static size_t rows_of_a_strip(size_t N, size_t C)
{
    const size_t room = MAX((size_t)1, CUDA_SCRATCH_BYTES / (2 * C * sizeof(float)));
    const size_t strips = MIN((size_t)STRIPS_MAX, room);
    return MAX((N + strips - 1) / strips, (size_t)STRIP_ROWS_LEAST);
}

template <typename T>
static void launch_backward(struct device *d, const char *name, const norm_back<T> &p)
{
    /* As many threads as a row has chunks, and about eight rows at a time: a whole number for each warp. */
    const unsigned warps = (unsigned)MIN((size_t)ROWS_AT_ONCE, (p.C + WARP * CHUNK(T) - 1) / (WARP * CHUNK(T)));
    const size_t at_once = ROWS_AT_ONCE / warps * warps, bytes = (p.db ? 2 : 1) * p.C * sizeof(float);
    const bool share = bytes <= SHARED_BYTES;
    auto kernel = norm_backward_kernel<T>;

    kernel<<<BLOCKS(p.N, p.rows), warps * WARP, share ? bytes : 0, device_stream(d)>>>(p, at_once, share);
    device_launched(d, name);
}

static void norm_backward(struct device *d, const char *name, real *dx, float *dw, float *db, const real *dout,
                          const real *x, const real *w, const float *mean, const float *rstd, size_t N, size_t C)
{
    if (C == 0)
        return;
    const size_t rows = rows_of_a_strip(N, C), strips = (N + rows - 1) / rows;
    float *of_w = (float *)device_scratch(d, 2 * strips * C * sizeof(float), name);

    if (!of_w)
        return;
    float *of_b = db ? of_w + strips * C : NULL;
    if (N > 0)
        WITH_REAL(d, launch_backward(d, name,
                                     norm_back<T>{ (T *)dx, (const T *)dout, (const T *)x, (const T *)w, mean, rstd,
                                                   of_w, of_b, N, C, rows }));
    cuda_sum_strips(d, dw, of_w, strips, C, STRIP_SUMS);
    if (db)
        cuda_sum_strips(d, db, of_b, strips, C, STRIP_SUMS);
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
