/*
 * Element by element on floats: what small models and the optimizer's sums take. reals.cu has the large models'.
 *
 * Floor: bytes. relu, scale 8 n; relu_backward, add 12 n.
 */
#include "kernels/cuda/elements.h"
#include "kernels/cuda/cuda.h"
#include "kernels/cuda/real.h"

static __global__ void relu_kernel(float *out, const float *x, size_t n)
{
    by_element<float>({ out }, { x }, n, [](size_t, const float *in, float *to) { to[0] = relu_of(in[0]); });
}

void cuda_relu(struct device *d, float *out, const float *x, size_t n)
{
    if (n == 0)
        return;
    relu_kernel<<<ELEMENT_BLOCKS(float, n), ELEMENT_THREADS, 0, device_stream(d)>>>(out, x, n);
    device_launched(d, "relu");
}

static __global__ void relu_backward_kernel(float *dx, const float *dout, const float *out, size_t n)
{
    by_element<float>({ dx }, { dout, out }, n,
                      [](size_t, const float *in, float *to) { to[0] = relu_gradient(in[0], in[1]); });
}

void cuda_relu_backward(struct device *d, float *dx, const float *dout, const float *out, size_t n)
{
    if (n == 0)
        return;
    relu_backward_kernel<<<ELEMENT_BLOCKS(float, n), ELEMENT_THREADS, 0, device_stream(d)>>>(dx, dout, out, n);
    device_launched(d, "relu_backward");
}

static __global__ void add_kernel(float *sum, const float *x, size_t n)
{
    by_element<float>({ sum }, { sum, x }, n, [](size_t, const float *in, float *to) { to[0] = in[0] + in[1]; });
}

void cuda_add_on(struct device *d, cudaStream_t stream, float *sum, const float *x, size_t n)
{
    if (n == 0)
        return;
    add_kernel<<<ELEMENT_BLOCKS(float, n), ELEMENT_THREADS, 0, stream>>>(sum, x, n);
    device_launched(d, "add");
}

void cuda_add(struct device *d, float *sum, const float *x, size_t n)
{
    cuda_add_on(d, device_stream(d), sum, x, n);
}

static __global__ void scale_kernel(float *x, size_t n, float factor)
{
    by_element<float>({ x }, { x }, n, [=](size_t, const float *in, float *to) { to[0] = in[0] * factor; });
}

void cuda_scale(struct device *d, float *x, size_t n, float factor)
{
    if (n == 0)
        return;
    scale_kernel<<<ELEMENT_BLOCKS(float, n), ELEMENT_THREADS, 0, device_stream(d)>>>(x, n, factor);
    device_launched(d, "scale");
}
