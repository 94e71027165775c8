/*
 * Element by element: relu, dropout, add, scale, zero, gelu, swiglu.
 *
 * Floor: bytes. relu, dropout, gelu, scale 8 n; relu_backward, add, gelu_backward, swiglu 12 n; zero 4 n;
 * swiglu_backward 20 n.
 */
#include "kernels/cuda/cuda.h"
#include "kernels/cuda/elements.h"

enum { THREADS = 256 };

/* The element of this thread; the last block may be partly empty. */
static __device__ size_t own_element(void)
{
    return (size_t)blockIdx.x * THREADS + threadIdx.x;
}

static __global__ void relu_kernel(float *out, const float *x, size_t n)
{
    size_t i = own_element();
    if (i < n)
        out[i] = relu_of(x[i]);
}

void cuda_relu(struct device *d, float *out, const float *x, size_t n)
{
    if (n == 0)
        return;
    relu_kernel<<<BLOCKS(n, THREADS), THREADS, 0, device_stream(d)>>>(out, x, n);
    device_launched(d, "relu");
}

static __global__ void relu_backward_kernel(float *dx, const float *dout, const float *out, size_t n)
{
    size_t i = own_element();
    if (i < n)
        dx[i] = relu_gradient(dout[i], out[i]);
}

void cuda_relu_backward(struct device *d, float *dx, const float *dout, const float *out, size_t n)
{
    if (n == 0)
        return;
    relu_backward_kernel<<<BLOCKS(n, THREADS), THREADS, 0, device_stream(d)>>>(dx, dout, out, n);
    device_launched(d, "relu_backward");
}

static __global__ void dropout_kernel(float *out, const float *x, size_t n, float rate, float kept,
                                      uint64_t key)
{
    size_t i = own_element();
    if (i < n)
        out[i] = dropout_of(x[i], key, i, rate, kept);
}

void cuda_dropout(struct device *d, float *out, const float *x, size_t n, float rate, uint64_t key)
{
    if (n == 0)
        return;
    dropout_kernel<<<BLOCKS(n, THREADS), THREADS, 0, device_stream(d)>>>(out, x, n, rate, 1 / (1 - rate), key);
    device_launched(d, "dropout");
}

static __global__ void add_kernel(float *sum, const float *x, size_t n)
{
    size_t i = own_element();
    if (i < n)
        sum[i] = sum[i] + x[i];
}

void cuda_add(struct device *d, float *sum, const float *x, size_t n)
{
    if (n == 0)
        return;
    add_kernel<<<BLOCKS(n, THREADS), THREADS, 0, device_stream(d)>>>(sum, x, n);
    device_launched(d, "add");
}

static __global__ void scale_kernel(float *x, size_t n, float factor)
{
    size_t i = own_element();
    if (i < n)
        x[i] = x[i] * factor;
}

void cuda_scale(struct device *d, float *x, size_t n, float factor)
{
    if (n == 0)
        return;
    scale_kernel<<<BLOCKS(n, THREADS), THREADS, 0, device_stream(d)>>>(x, n, factor);
    device_launched(d, "scale");
}

static __global__ void zero_kernel(float *x, size_t n)
{
    size_t i = own_element();
    if (i < n)
        x[i] = 0;
}

void cuda_zero(struct device *d, float *x, size_t n)
{
    if (n == 0)
        return;
    zero_kernel<<<BLOCKS(n, THREADS), THREADS, 0, device_stream(d)>>>(x, n);
    device_launched(d, "zero");
}

static __global__ void gelu_kernel(float *out, const float *x, size_t n)
{
    size_t i = own_element();
    if (i < n)
        out[i] = gelu_of(x[i]);
}

void cuda_gelu(struct device *d, float *out, const float *x, size_t n)
{
    if (n == 0)
        return;
    gelu_kernel<<<BLOCKS(n, THREADS), THREADS, 0, device_stream(d)>>>(out, x, n);
    device_launched(d, "gelu");
}

static __global__ void gelu_backward_kernel(float *dx, const float *dout, const float *x, size_t n)
{
    size_t i = own_element();
    if (i < n)
        dx[i] = gelu_gradient(dout[i], x[i]);
}

void cuda_gelu_backward(struct device *d, float *dx, const float *dout, const float *x, size_t n)
{
    if (n == 0)
        return;
    gelu_backward_kernel<<<BLOCKS(n, THREADS), THREADS, 0, device_stream(d)>>>(dx, dout, x, n);
    device_launched(d, "gelu_backward");
}

static __global__ void swiglu_kernel(float *out, const float *gate, const float *up, size_t n)
{
    size_t i = own_element();
    if (i < n)
        out[i] = swiglu_of(gate[i], up[i]);
}

void cuda_swiglu(struct device *d, float *out, const float *gate, const float *up, size_t n)
{
    if (n == 0)
        return;
    swiglu_kernel<<<BLOCKS(n, THREADS), THREADS, 0, device_stream(d)>>>(out, gate, up, n);
    device_launched(d, "swiglu");
}

static __global__ void swiglu_backward_kernel(float *dgate, float *dup, const float *dout, const float *gate,
                                              const float *up, size_t n)
{
    size_t i = own_element();
    if (i < n) {
        float of_gate, of_up; // either output may be dout
        swiglu_gradient(&of_gate, &of_up, dout[i], gate[i], up[i]);
        dgate[i] = of_gate;
        dup[i] = of_up;
    }
}

void cuda_swiglu_backward(struct device *d, float *dgate, float *dup, const float *dout, const float *gate,
                          const float *up, size_t n)
{
    if (n == 0)
        return;
    swiglu_backward_kernel<<<BLOCKS(n, THREADS), THREADS, 0, device_stream(d)>>>(dgate, dup, dout, gate, up, n);
    device_launched(d, "swiglu_backward");
}
