/*
 * Rotary positions: a block is a token, a thread a pair at a time of its queries and keys.
 *
 * Floor: bytes. Two thirds of qkv read and written, 16/3 (B T 3 heads size); the table of turns is small.
 */
#include "kernels/cuda/cuda.h"
#include "kernels/cuda/elements.h"

enum { THREADS = 128 };

static __global__ void rotary_kernel(float *qkv, const float *turns, const int32_t *position, float sign,
                                     unsigned heads, unsigned size)
{
    unsigned half = size / 2;
    float *x = qkv + (size_t)blockIdx.x * 3 * heads * size;
    const float *turn = turns + (size_t)position[blockIdx.x] * size;

    for (unsigned pair = threadIdx.x; pair < 2 * heads * half; pair += THREADS) {
        unsigned i = pair % half;
        float *low = x + (size_t)(pair / half) * size + i;
        rotary_turn(low, low + half, turn[i], sign * turn[i + half]);
    }
}

void cuda_rotary(struct device *d, float *qkv, const float *turns, const int32_t *position, bool back,
                 const struct attention_shape *s)
{
    if (s->B * s->T == 0)
        return;
    rotary_kernel<<<(unsigned)(s->B * s->T), THREADS, 0, device_stream(d)>>>(
        qkv, turns, position, back ? -1.0f : 1.0f, (unsigned)s->heads, (unsigned)s->size);
    device_launched(d, "rotary");
}
