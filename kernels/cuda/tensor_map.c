/* The driver's encoder of tensor maps is asked for by name: nothing is linked to the driver. */
#include "kernels/cuda/tensor_map.h"

#include <string.h>

enum { RANK = 4, BOX = 64 };

typedef CUresult encode_tiled(CUtensorMap *map, CUtensorMapDataType type, cuuint32_t rank, void *memory,
                              const cuuint64_t *sizes, const cuuint64_t *stride_bytes, const cuuint32_t *box,
                              const cuuint32_t *steps, CUtensorMapInterleave interleave,
                              CUtensorMapSwizzle swizzle, CUtensorMapL2promotion promotion,
                              CUtensorMapFloatOOBfill fill);

void *cuda_tensor_encoder(void)
{
    enum cudaDriverEntryPointQueryResult found = cudaDriverEntryPointSymbolNotFound;
    void *encoder = NULL;

    if (cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &encoder, 12000, cudaEnableDefault,
                                         &found) != cudaSuccess ||
        found != cudaDriverEntryPointSuccess) {
        cudaGetLastError(); // an older driver: it is done without
        return NULL;
    }
    return encoder;
}

bool cuda_tensor_map(struct device *d, CUtensorMap *out, const void *memory, size_t B, size_t T, size_t heads,
                     size_t size)
{
    void *found = device_tensor_encoder(d);
    encode_tiled *encode;

    if (!found)
        return false;
    memcpy(&encode, &found, sizeof(encode)); // ISO C has no cast from an object's pointer to a function's
    const cuuint64_t sizes[RANK] = { size, heads, T, B };
    const cuuint64_t stride_bytes[RANK - 1] = { size * 2, heads * size * 2, T * heads * size * 2 };
    const cuuint32_t box[RANK] = { BOX, 1, BOX, 1 }, steps[RANK] = { 1, 1, 1, 1 };
    /* It does not write there; its argument has no const. */
    return encode(out, CU_TENSOR_MAP_DATA_TYPE_BFLOAT16, RANK, (void *)(uintptr_t)memory, sizes, stride_bytes,
                  box, steps, CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B,
                  CU_TENSOR_MAP_L2_PROMOTION_L2_128B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE) == CUDA_SUCCESS;
}
