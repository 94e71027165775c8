/*
 * AdamW over all tensors in one launch: parameters, moments and gradient lie side by side in one array each.
 *
 * Floor: 28 n bytes (w, m, v read and written, g read).
 */
#include "kernels/cuda/cuda.h"
#include "kernels/cuda/elements.h"
#include "kernels/cuda/real.h"

static __global__ void adamw_kernel(float *w, float *m, float *v, const float *g, size_t n, struct adamw a)
{
    by_element<float>({ w, m, v }, { w, m, v, g }, n, [=](size_t, const float *in, float *to) {
        to[0] = in[0];
        to[1] = in[1];
        to[2] = in[2];
        adamw_update(&to[0], &to[1], &to[2], in[3], &a);
    });
}

void cuda_adamw(struct device *d, float *w, float *m, float *v, const float *g, size_t n,
                const struct adamw *a)
{
    if (n == 0)
        return;
    adamw_kernel<<<ELEMENT_BLOCKS(float, n), ELEMENT_THREADS, 0, device_stream(d)>>>(w, m, v, g, n, *a);
    device_launched(d, "adamw");
}
