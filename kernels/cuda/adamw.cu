/*
 * AdamW over all tensors in one launch: parameters, moments and gradient lie side by side in one array each.
 *
 * Floor: 28 n bytes (w, m, v read and written, g read).
 */
#include "kernels/cuda/cuda.h"
#include "kernels/cuda/elements.h"

enum { THREADS = 256 };

static __global__ void adamw_kernel(float *w, float *m, float *v, const float *g, size_t n, struct adamw a)
{
    size_t i = (size_t)blockIdx.x * THREADS + threadIdx.x;
    if (i < n)
        adamw_update(&w[i], &m[i], &v[i], g[i], &a);
}

void cuda_adamw(struct device *d, float *w, float *m, float *v, const float *g, size_t n,
                const struct adamw *a)
{
    if (n == 0)
        return;
    adamw_kernel<<<BLOCKS(n, THREADS), THREADS, 0, device_stream(d)>>>(w, m, v, g, n, *a);
    device_launched(d, "adamw");
}
