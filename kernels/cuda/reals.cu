/*
 * Element by element on reals: conversions, residuals, dropout, GELU, SwiGLU; and zeros and dropout of floats.
 *
 * Floor: bytes, with r of a real. to_real, from_real (4 + r) n; zero 4 n; drop, gelu 2 r n; residual, gelu_backward,
 * swiglu 3 r n; swiglu_backward 5 r n.
 */
#include "kernels/cuda/cuda.h"
#include "kernels/cuda/elements.h"
#include "kernels/cuda/real.h"

/* ---- conversions, EACH numbers a thread: a chunk of bf16, two of floats ---- */

enum { EACH = CHUNK_BYTES / sizeof(bf16), NUMBERS = ELEMENT_THREADS * EACH /* of a block */ };

static __device__ inline void load_each(float v[EACH], const float *x, size_t left, bool whole)
{
    load_floats<EACH>(v, x, left, whole);
}

static __device__ inline void load_each(float v[EACH], const bf16 *x, size_t left, bool whole)
{
    load_chunk(v, x, left, whole);
}

static __device__ inline void store_each(float *to, const float v[EACH], size_t left, bool whole)
{
    store_floats<EACH>(to, v, left, whole);
}

static __device__ inline void store_each(bf16 *to, const float v[EACH], size_t left, bool whole)
{
    store_chunk(to, v, left, whole);
}

/* f(i, x): what becomes of number i before it is rounded to the nearest. */
template <typename TO, typename FROM, typename F>
static __device__ inline void convert_each(TO *out, const FROM *x, size_t n, F f)
{
    const size_t first = ((size_t)blockIdx.x * ELEMENT_THREADS + threadIdx.x) * EACH;
    const bool whole = first + EACH <= n && in_chunks(out) && in_chunks(x);
    float v[EACH];

    if (first >= n)
        return;
    load_each(v, x + first, n - first, whole);
#pragma unroll
    for (int i = 0; i < EACH; i++)
        v[i] = f(first + i, v[i]);
    store_each(out + first, v, n - first, whole);
}

template <typename TO, typename FROM> static __global__ void convert_kernel(TO *out, const FROM *x, size_t n)
{
    convert_each(out, x, n, [](size_t, float number) { return number; });
}

static __global__ void draw_kernel(bf16 *out, const float *x, size_t n, uint64_t key)
{
    convert_each(out, x, n, [=](size_t i, float number) { return of_bf16_bits(drawn_bf16(number, rng_u64(key, i))); });
}

template <typename TO, typename FROM> static void convert(struct device *d, TO *out, const FROM *x, size_t n)
{
    auto kernel = convert_kernel<TO, FROM>;
    if (n == 0)
        return;
    kernel<<<BLOCKS(n, NUMBERS), ELEMENT_THREADS, 0, device_stream(d)>>>(out, x, n);
    device_launched(d, "convert");
}

void cuda_to_real(struct device *d, real *out, const float *x, size_t n)
{
    WITH_REAL(d, convert(d, (T *)out, x, n));
}

void cuda_draw_real(struct device *d, real *out, const float *x, size_t n, uint64_t key)
{
    if (cuda_precision(d) != DEVICE_BF16) {
        cuda_to_real(d, out, x, n);
        return;
    }
    if (n == 0)
        return;
    draw_kernel<<<BLOCKS(n, NUMBERS), ELEMENT_THREADS, 0, device_stream(d)>>>((bf16 *)out, x, n, key);
    device_launched(d, "draw_real");
}

void cuda_from_real(struct device *d, float *out, const real *x, size_t n)
{
    WITH_REAL(d, convert(d, out, (const T *)x, n));
}

/* ---- zeros ---- */

static void zero_bytes(struct device *d, void *x, size_t bytes)
{
    if (bytes > 0 && cudaMemsetAsync(x, 0, bytes, device_stream(d)) != cudaSuccess)
        device_launched(d, "zero");
}

void cuda_zero(struct device *d, float *x, size_t n)
{
    zero_bytes(d, x, n * sizeof(float));
}

void cuda_clear(struct device *d, real *x, size_t n)
{
    zero_bytes(d, x, n * device_real_bytes(d));
}

/* ---- dropout and residuals ---- */

template <typename T>
static __global__ void drop_kernel(T *out, const T *x, size_t n, float rate, float kept, uint64_t key)
{
    by_element<T>({ out }, { x }, n, [=](size_t i, const float *in, float *to) {
        to[0] = dropout_of(in[0], key, i, rate, kept);
    });
}

template <typename T>
static void drop(struct device *d, T *out, const T *x, size_t n, float rate, uint64_t key)
{
    auto kernel = drop_kernel<T>;
    kernel<<<ELEMENT_BLOCKS(T, n), ELEMENT_THREADS, 0, device_stream(d)>>>(out, x, n, rate, 1 / (1 - rate), key);
}

void cuda_drop(struct device *d, real *out, const real *x, size_t n, float rate, uint64_t key)
{
    if (n == 0)
        return;
    WITH_REAL(d, drop(d, (T *)out, (const T *)x, n, rate, key));
    device_launched(d, "drop");
}

void cuda_dropout(struct device *d, float *out, const float *x, size_t n, float rate, uint64_t key)
{
    if (n == 0)
        return;
    drop(d, out, x, n, rate, key);
    device_launched(d, "dropout");
}

template <typename T>
static __global__ void residual_kernel(T *out, const T *branch, const T *x, size_t n, float rate, float kept,
                                       uint64_t key)
{
    by_element<T>({ out }, { branch, x }, n, [=](size_t i, const float *in, float *to) {
        to[0] = residual_of(in[0], in[1], key, i, rate, kept);
    });
}

template <typename T>
static void residual(struct device *d, T *out, const T *branch, const T *x, size_t n, float rate, uint64_t key)
{
    auto kernel = residual_kernel<T>;
    kernel<<<ELEMENT_BLOCKS(T, n), ELEMENT_THREADS, 0, device_stream(d)>>>(out, branch, x, n, rate, 1 / (1 - rate),
                                                                          key);
}

void cuda_residual(struct device *d, real *out, const real *branch, const real *x, size_t n, float rate,
                   uint64_t key)
{
    if (n == 0)
        return;
    WITH_REAL(d, residual(d, (T *)out, (const T *)branch, (const T *)x, n, rate, key));
    device_launched(d, "residual");
}

/* ---- GELU ---- */

template <typename T> static __global__ void gelu_kernel(T *out, const T *x, size_t n)
{
    by_element<T>({ out }, { x }, n, [](size_t, const float *in, float *to) { to[0] = gelu_of(in[0]); });
}

template <typename T> static void gelu(struct device *d, T *out, const T *x, size_t n)
{
    auto kernel = gelu_kernel<T>;
    kernel<<<ELEMENT_BLOCKS(T, n), ELEMENT_THREADS, 0, device_stream(d)>>>(out, x, n);
}

void cuda_gelu(struct device *d, real *out, const real *x, size_t n)
{
    if (n == 0)
        return;
    WITH_REAL(d, gelu(d, (T *)out, (const T *)x, n));
    device_launched(d, "gelu");
}

template <typename T> static __global__ void gelu_backward_kernel(T *dx, const T *dout, const T *x, size_t n)
{
    by_element<T>({ dx }, { dout, x }, n,
                  [](size_t, const float *in, float *to) { to[0] = gelu_gradient(in[0], in[1]); });
}

template <typename T> static void gelu_backward(struct device *d, T *dx, const T *dout, const T *x, size_t n)
{
    auto kernel = gelu_backward_kernel<T>;
    kernel<<<ELEMENT_BLOCKS(T, n), ELEMENT_THREADS, 0, device_stream(d)>>>(dx, dout, x, n);
}

void cuda_gelu_backward(struct device *d, real *dx, const real *dout, const real *x, size_t n)
{
    if (n == 0)
        return;
    WITH_REAL(d, gelu_backward(d, (T *)dx, (const T *)dout, (const T *)x, n));
    device_launched(d, "gelu_backward");
}

/* ---- SwiGLU ---- */

template <typename T> static __global__ void swiglu_kernel(T *out, const T *gate, const T *up, size_t n)
{
    by_element<T>({ out }, { gate, up }, n,
                  [](size_t, const float *in, float *to) { to[0] = swiglu_of(in[0], in[1]); });
}

template <typename T> static void swiglu(struct device *d, T *out, const T *gate, const T *up, size_t n)
{
    auto kernel = swiglu_kernel<T>;
    kernel<<<ELEMENT_BLOCKS(T, n), ELEMENT_THREADS, 0, device_stream(d)>>>(out, gate, up, n);
}

void cuda_swiglu(struct device *d, real *out, const real *gate, const real *up, size_t n)
{
    if (n == 0)
        return;
    WITH_REAL(d, swiglu(d, (T *)out, (const T *)gate, (const T *)up, n));
    device_launched(d, "swiglu");
}

template <typename T>
static __global__ void swiglu_backward_kernel(T *dgate, T *dup, const T *dout, const T *gate, const T *up, size_t n)
{
    by_element<T>({ dgate, dup }, { dout, gate, up }, n, [](size_t, const float *in, float *to) {
        swiglu_gradient(&to[0], &to[1], in[0], in[1], in[2]);
    });
}

template <typename T>
static void swiglu_backward(struct device *d, T *dgate, T *dup, const T *dout, const T *gate, const T *up, size_t n)
{
    auto kernel = swiglu_backward_kernel<T>;
    kernel<<<ELEMENT_BLOCKS(T, n), ELEMENT_THREADS, 0, device_stream(d)>>>(dgate, dup, dout, gate, up, n);
}

void cuda_swiglu_backward(struct device *d, real *dgate, real *dup, const real *dout, const real *gate,
                          const real *up, size_t n)
{
    if (n == 0)
        return;
    WITH_REAL(d, swiglu_backward(d, (T *)dgate, (T *)dup, (const T *)dout, (const T *)gate, (const T *)up, n));
    device_launched(d, "swiglu_backward");
}
