/*
 * The end of a language model, some rows at a time: logits, then loss and their gradient in place, then both
 * products of the gradient. The logits of the whole batch are never there.
 *
 * A block is a row. It goes through the row once for the largest logit and the sum, with the running maximum of
 * Milakov and Gimelshein 2018, and once more to write the gradient.
 *
 * A vocabulary is rarely a multiple of 8 (50257), and tensor cores are slow with rows that are not. So rows of logits
 * are padded, and each product is cut in two: the columns up to the last multiple of 8, and the few that are left.
 *
 * Floor: 6 N C V operations of the three products; the block's own part is bytes, 2 r N V of the gradient read and
 * written once with reals of r bytes, r N V more where the row has left the cache.
 */
#include "kernels/cuda/cuda.h"
#include "kernels/cuda/real.h"
#include "kernels/cuda/reduce.h"

/* A row of a large vocabulary is gone through by many threads, so that few rows are at hand at a time and the cache
 * still has them when their gradient is written. */
enum { NARROW_THREADS = 256, WIDE_THREADS = 1024, WIDE = 8192, ALIGN = CUDA_REALS_ALIGN };

/* Numbers from one row of logits to the next. */
static size_t padded(size_t V)
{
    return (V + ALIGN - 1) / ALIGN * ALIGN;
}

/* Of reals that are bf16 the hardware's is near enough. */
template <typename T> static __device__ inline float exponential(float x)
{
    return sizeof(T) < sizeof(float) ? __expf(x) : expf(x);
}

/* The running maximum and sum of this thread's part of a row, a chunk at a time. */
template <typename T, unsigned THREADS>
static __device__ inline void sum_up(const T *x, unsigned V, float *most, float *sum)
{
    for (unsigned first = threadIdx.x * CHUNK(T); first < V; first += THREADS * CHUNK(T)) {
        const bool whole = first + CHUNK(T) <= V && in_chunks(x);
        float v[CHUNK(T)], largest;
        load_chunk(v, x + first, V - first, whole);
#pragma unroll
        for (unsigned i = 1; i < CHUNK(T); i++)
            if (!whole && first + i >= V)
                v[i] = -INFINITY;
        largest = v[0];
#pragma unroll
        for (int i = 1; i < CHUNK(T); i++)
            largest = fmaxf(largest, v[i]);
        if (largest > *most) {
            *sum *= exponential<T>(*most - largest);
            *most = largest;
        }
#pragma unroll
        for (int i = 0; i < CHUNK(T); i++)
            *sum += exponential<T>(v[i] - *most);
    }
}

/* x = softmax(x) - (v == label), with what the row's largest and 1 / its sum are. */
template <typename T, unsigned THREADS>
static __device__ inline void write_gradient(T *x, unsigned V, float largest, float factor, unsigned label)
{
    for (unsigned first = threadIdx.x * CHUNK(T); first < V; first += THREADS * CHUNK(T)) {
        const bool whole = first + CHUNK(T) <= V && in_chunks(x);
        float v[CHUNK(T)];
        load_chunk(v, x + first, V - first, whole);
#pragma unroll
        for (int i = 0; i < CHUNK(T); i++)
            v[i] = exponential<T>(v[i] - largest) * factor;
        if (label - first < CHUNK(T)) // and not before it, as that wraps around
#pragma unroll
            for (unsigned i = 0; i < CHUNK(T); i++)
                v[i] -= i == label - first ? 1.0f : 0.0f;
        store_chunk(x + first, v, V - first, whole);
    }
}

template <typename T, unsigned THREADS>
static __global__ void __launch_bounds__(THREADS, 2048 / THREADS)
    classify_kernel(T *logits, double *losses, const int32_t *labels, unsigned V, size_t row, bool gradient)
{
    T *x = logits + blockIdx.x * row;
    int32_t label = labels[blockIdx.x];
    float most = -INFINITY, sum = 0;

    if (label < 0) { // nothing is to be predicted here
        if (threadIdx.x == 0)
            losses[blockIdx.x] = 0;
        for (unsigned v = threadIdx.x; gradient && v < V; v += THREADS)
            set_real(&x[v], 0);
        return;
    }
    double of_label = float_of(x[label]); // before it is overwritten: the sums below wait for all threads
    sum_up<T, THREADS>(x, V, &most, &sum);
    float largest = block_max<THREADS>(most);
    double total = block_sum<THREADS>(sum > 0 || isnan(sum) ? (double)(sum * expf(most - largest)) : 0);
    if (threadIdx.x == 0)
        losses[blockIdx.x] = (double)largest + log(total) - of_label;
    if (gradient)
        write_gradient<T, THREADS>(x, V, largest, (float)(1 / total), (unsigned)label);
}

template <typename T>
static void launch(struct device *d, T *logits, double *losses, const int32_t *labels, size_t rows, size_t V,
                   bool gradient)
{
    const unsigned threads = V < WIDE ? NARROW_THREADS : WIDE_THREADS;
    auto kernel = V < WIDE ? classify_kernel<T, NARROW_THREADS> : classify_kernel<T, WIDE_THREADS>;
    kernel<<<(unsigned)rows, threads, 0, device_stream(d)>>>(logits, losses, labels, (unsigned)V, padded(V), gradient);
    device_launched(d, "classify");
}

/* At least V floats: gpt.c has one row's logits there. */
size_t cuda_classify_work(size_t N, size_t V)
{
    return MAX(MIN(N, (size_t)CUDA_CLASSIFY_ROWS), (size_t)2) * padded(V);
}

static const real *at(struct device *d, const real *x, size_t count)
{
    return (const char *)x + count * device_real_bytes(d);
}

/* Columns first .. first + count - 1 of some rows' products. */
struct part {
    const real *x, *w; // x: the rows'
    real *logits, *dx;
    float *dw;
    size_t first, count, rows, C, row;
    bool adds_dw;
};

static void multiply_out(struct device *d, const struct part *p)
{
    struct cuda_gemm g = {}; // logits = x w'
    g.b_transposed = true;
    g.M = p->rows;
    g.N = p->count;
    g.K = p->C;
    g.a = p->x;
    g.b = at(d, p->w, p->first * p->C);
    g.c = (real *)at(d, p->logits, p->first);
    g.c_row = p->row;
    cuda_gemm(d, &g);
}

static void multiply_back(struct device *d, const struct part *p)
{
    struct cuda_gemm down = {}, weight = {};
    down.M = p->rows; // dx = dlogits w
    down.N = p->C;
    down.K = p->count;
    down.a = at(d, p->logits, p->first);
    down.a_row = p->row;
    down.b = at(d, p->w, p->first * p->C);
    down.c = p->dx;
    down.beta = p->first > 0 ? 1.0f : 0.0f;
    cuda_gemm(d, &down);
    weight.a_transposed = true; // dw = dlogits' x, over all rows
    weight.c_is_float = true;
    weight.M = p->count;
    weight.N = p->C;
    weight.K = p->rows;
    weight.a = at(d, p->logits, p->first);
    weight.a_row = p->row;
    weight.b = p->x;
    weight.c = p->dw + p->first * p->C;
    weight.beta = p->adds_dw ? 1.0f : 0.0f;
    cuda_gemm(d, &weight);
}

void cuda_classify(struct device *d, double *loss, real *dx, float *dw, const real *x, const real *w,
                   const int32_t *labels, real *work, size_t N, size_t C, size_t V)
{
    const size_t whole = cuda_precision(d) == DEVICE_BF16 ? V / ALIGN * ALIGN : V;

    for (size_t n = 0; n < N; n += CUDA_CLASSIFY_ROWS) {
        size_t rows = MIN((size_t)CUDA_CLASSIFY_ROWS, N - n);
        struct part p = {}, left;
        p.x = at(d, x, n * C);
        p.w = w;
        p.logits = work;
        p.dx = dx ? (real *)at(d, dx, n * C) : NULL;
        p.dw = dw;
        p.count = whole;
        p.rows = rows;
        p.C = C;
        p.row = padded(V);
        p.adds_dw = n > 0;
        left = p;
        left.first = whole;
        left.count = V - whole;
        multiply_out(d, &p);
        multiply_out(d, &left);
        WITH_REAL(d, launch(d, (T *)work, loss + n, labels + n, rows, V, dx != NULL));
        if (!dx)
            continue;
        multiply_back(d, &p);
        multiply_back(d, &left);
    }
}
