/*
 * Rotary positions: a block is a token, a thread a pair at a time of its queries and keys.
 *
 * Floor: bytes. Two thirds of qkv read and written, 4 r B T heads size with reals of r bytes; the table of turns is
 * small.
 */
#include "kernels/cuda/cuda.h"
#include "kernels/cuda/elements.h"
#include "kernels/cuda/real.h"

enum { THREADS = 128 };

template <typename T>
static __global__ void rotary_kernel(T *qkv, const float *turns, const int32_t *position, float sign,
                                     unsigned heads, unsigned size)
{
    unsigned half = size / 2;
    T *x = qkv + (size_t)blockIdx.x * 3 * heads * size;
    const float *turn = turns + (size_t)position[blockIdx.x] * size;

    for (unsigned pair = threadIdx.x; pair < 2 * heads * half; pair += THREADS) {
        unsigned i = pair % half;
        T *at = x + (size_t)(pair / half) * size + i;
        float low = float_of(at[0]), high = float_of(at[half]);
        rotary_turn(&low, &high, turn[i], sign * turn[i + half]);
        set_real(&at[0], low);
        set_real(&at[half], high);
    }
}

template <typename T>
static void rotary(struct device *d, T *qkv, const float *turns, const int32_t *position, bool back,
                   const struct attention_shape *s)
{
    auto kernel = rotary_kernel<T>;
    kernel<<<(unsigned)(s->B * s->T), THREADS, 0, device_stream(d)>>>(qkv, turns, position, back ? -1.0f : 1.0f,
                                                                     (unsigned)s->heads, (unsigned)s->size);
}

void cuda_rotary(struct device *d, real *qkv, const float *turns, const int32_t *position, bool back,
                 const struct attention_shape *s)
{
    if (s->B * s->T == 0)
        return;
    WITH_REAL(d, rotary(d, (T *)qkv, turns, position, back, s));
    device_launched(d, "rotary");
}
