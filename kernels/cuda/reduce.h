/*
 * reduce.h - sums and maxima over a warp or a block, each in one fixed tree.
 */
#ifndef KERNELS_CUDA_REDUCE_H
#define KERNELS_CUDA_REDUCE_H

enum { EVERY_LANE = -1 };

/* Every lane gets the sum; xor makes all of them add the same pairs. */
static __device__ inline float warp_sum(float x)
{
    for (int other = 16; other > 0; other /= 2)
        x += __shfl_xor_sync((unsigned)EVERY_LANE, x, other);
    return x;
}

static __device__ inline double warp_sum_f64(double x)
{
    for (int other = 16; other > 0; other /= 2)
        x += __shfl_xor_sync((unsigned)EVERY_LANE, x, other);
    return x;
}

static __device__ inline double warp_max_f64(double x)
{
    for (int other = 16; other > 0; other /= 2)
        x = fmax(x, __shfl_xor_sync((unsigned)EVERY_LANE, x, other));
    return x;
}

/* Of a block of THREADS threads, 256 or more, to all of them. First what is THREADS / 2, ..., 16 and 8 apart, then the
 * eight that are left as ((0+1)+(2+3))+((4+5)+(6+7)): of up to 16 numbers the sum is kernels.h's sum_squares to the
 * bit. */
template <unsigned THREADS> static __device__ inline double block_sum(double x)
{
    __shared__ double s[THREADS];

    __syncthreads();
    s[threadIdx.x] = x;
    __syncthreads();
    for (unsigned apart = THREADS / 2; apart >= 8; apart /= 2) {
        if (threadIdx.x < apart)
            s[threadIdx.x] += s[threadIdx.x + apart];
        __syncthreads();
    }
    return ((s[0] + s[1]) + (s[2] + s[3])) + ((s[4] + s[5]) + (s[6] + s[7]));
}

template <unsigned THREADS> static __device__ inline float block_max(float x)
{
    __shared__ float s[THREADS];

    __syncthreads();
    s[threadIdx.x] = x;
    __syncthreads();
    for (unsigned apart = THREADS / 2; apart > 0; apart /= 2) {
        if (threadIdx.x < apart)
            s[threadIdx.x] = fmaxf(s[threadIdx.x], s[threadIdx.x + apart]);
        __syncthreads();
    }
    return s[0];
}

#endif
