/*
 * A stand-in for cuBLASLt under the emulated device: the functions that kernels/cuda/gemm.c asks for, in
 * plain loops over column-major matrices, as the library's manual describes them. It refuses shapes that do
 * not fit one another and algorithms that it did not give; so it tests what gemm.c asks for, and nothing of
 * cuBLASLt itself.
 */
#include "kernels/cuda/elements.h"
#include "tests/emulate/bf16.h"
#include "tests/emulate/streams.h"

#include <cublasLt.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

struct layout {
    uint64_t rows, columns;
    int64_t leading;
    cudaDataType type;
};
struct desc {
    cublasOperation_t of_a, of_b;
    cublasLtEpilogue_t epilogue;
    const void *bias;
    void *aux;
    int64_t aux_leading;
};
struct wish {
    uint64_t workspace;
};
enum { ALGORITHM = 77 };

cublasStatus_t cublasLtCreate(cublasLtHandle_t *out)
{
    *out = calloc(1, 1);
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtDestroy(cublasLtHandle_t handle)
{
    free(handle);
    return CUBLAS_STATUS_SUCCESS;
}

const char *cublasLtGetStatusString(cublasStatus_t status)
{
    return status == CUBLAS_STATUS_SUCCESS ? "success" : "the stand-in for cuBLASLt refuses this";
}

cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t *out, cudaDataType type, uint64_t rows,
                                          uint64_t columns, int64_t leading)
{
    struct layout *l = calloc(1, sizeof(*l));
    *l = (struct layout){ rows, columns, leading, type };
    *out = (cublasLtMatrixLayout_t)(void *)l;
    return (type == CUDA_R_32F || type == CUDA_R_16BF) && leading >= (int64_t)rows
               ? CUBLAS_STATUS_SUCCESS
               : CUBLAS_STATUS_INVALID_VALUE;
}

cublasStatus_t cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t layout)
{
    free(layout);
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t *out, cublasComputeType_t compute,
                                        cudaDataType_t scale)
{
    bool known = compute == CUBLAS_COMPUTE_32F || compute == CUBLAS_COMPUTE_32F_FAST_TF32;
    *out = calloc(1, sizeof(struct desc));
    return known && scale == CUDA_R_32F ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_NOT_SUPPORTED;
}

cublasStatus_t cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t desc)
{
    free(desc);
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t desc, cublasLtMatmulDescAttributes_t name,
                                              const void *value, size_t bytes)
{
    struct desc *d = (void *)desc;
    const struct {
        cublasLtMatmulDescAttributes_t name;
        void *to;
        size_t bytes;
    } known[] = { { CUBLASLT_MATMUL_DESC_TRANSA, &d->of_a, sizeof(d->of_a) },
                  { CUBLASLT_MATMUL_DESC_TRANSB, &d->of_b, sizeof(d->of_b) },
                  { CUBLASLT_MATMUL_DESC_EPILOGUE, &d->epilogue, sizeof(d->epilogue) },
                  { CUBLASLT_MATMUL_DESC_BIAS_POINTER, (void *)&d->bias, sizeof(d->bias) },
                  { CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER, (void *)&d->aux, sizeof(d->aux) },
                  { CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD, &d->aux_leading, sizeof(d->aux_leading) } };
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
        if (known[i].name == name && known[i].bytes == bytes) {
            memcpy(known[i].to, value, bytes);
            return CUBLAS_STATUS_SUCCESS;
        }
    return CUBLAS_STATUS_INVALID_VALUE;
}

cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t *out)
{
    *out = calloc(1, sizeof(struct wish));
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t wish)
{
    free(wish);
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t wish,
                                                    cublasLtMatmulPreferenceAttributes_t name,
                                                    const void *value, size_t bytes)
{
    if (name == CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES && bytes == sizeof(uint64_t))
        memcpy(&((struct wish *)(void *)wish)->workspace, value, bytes);
    else if (bytes != sizeof(uint32_t))
        return CUBLAS_STATUS_INVALID_VALUE;
    return CUBLAS_STATUS_SUCCESS;
}

static bool with_bias(const struct desc *d)
{
    return d->epilogue == CUBLASLT_EPILOGUE_BIAS || d->epilogue == CUBLASLT_EPILOGUE_GELU_AUX_BIAS;
}

static bool with_aux(const struct desc *d)
{
    return d->epilogue == CUBLASLT_EPILOGUE_GELU_AUX_BIAS || d->epilogue == CUBLASLT_EPILOGUE_GELU_AUX ||
           d->epilogue == CUBLASLT_EPILOGUE_DGELU;
}

/* Do op(a) (m,k), op(b) (k,n) and c (m,n) fit? */
static bool fits(const struct desc *d, const struct layout *a, const struct layout *b, const struct layout *c,
                 uint64_t *out_k)
{
    uint64_t m = d->of_a == CUBLAS_OP_N ? a->rows : a->columns,
             k = d->of_a == CUBLAS_OP_N ? a->columns : a->rows;
    uint64_t b_k = d->of_b == CUBLAS_OP_N ? b->rows : b->columns,
             n = d->of_b == CUBLAS_OP_N ? b->columns : b->rows;
    *out_k = k;
    if (k == 1 || n == 1)
        return false; /* made up: so that what a library may refuse is asked of us */
    if (with_aux(d) && (d->aux_leading % 8 != 0 || d->aux_leading < (int64_t)c->rows))
        return false; /* as the library's manual has it */
    bool types = a->type == b->type && (c->type == a->type || c->type == CUDA_R_32F);
    return types && k == b_k && m == c->rows && n == c->columns && m > 0 && n > 0 && k > 0;
}

cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t handle, cublasLtMatmulDesc_t desc,
                                              cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b,
                                              cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t d,
                                              cublasLtMatmulPreference_t wish, int asked,
                                              cublasLtMatmulHeuristicResult_t results[], int *out_count)
{
    uint64_t k;
    (void)handle;
    if (asked < 1 || c != d || ((struct wish *)(void *)wish)->workspace == 0 ||
        !fits((void *)desc, (void *)a, (void *)b, (void *)c, &k))
        return CUBLAS_STATUS_INVALID_VALUE;
    memset(results, 0, sizeof(results[0]));
    results[0].algo.data[0] = ALGORITHM;
    *out_count = 1;
    return CUBLAS_STATUS_SUCCESS;
}

/* Of element (i, j) of op(x). */
static uint64_t place(const struct layout *l, bool as_it_is, uint64_t i, uint64_t j)
{
    return as_it_is ? i + j * (uint64_t)l->leading : j + i * (uint64_t)l->leading;
}

static float number(const void *data, uint64_t i, cudaDataType type)
{
    return type == CUDA_R_32F ? ((const float *)data)[i] : of_bf16(((const uint16_t *)data)[i]);
}

static void store(void *data, uint64_t i, cudaDataType type, float f)
{
    if (type == CUDA_R_32F)
        ((float *)data)[i] = f;
    else
        ((uint16_t *)data)[i] = bf16_of(f);
}

/* Forward, what GELU is given is left in aux; backward it is read there. */
static float through_gelu(const struct desc *d, uint64_t i, cudaDataType type, float x)
{
    if (d->epilogue == CUBLASLT_EPILOGUE_DGELU)
        return gelu_gradient(x, number(d->aux, i, type));
    store(d->aux, i, type, x);
    return gelu_of(x);
}

/* A call's arguments, until the stream has come to it. */
struct product {
    struct desc is;
    struct layout a_layout, b_layout, c_layout;
    const void *a, *b, *c;
    void *out;
    uint64_t k_count;
    float old;
};

static bool multiply(void *context)
{
    const struct product *p = context;
    const struct layout *c = &p->c_layout;
    const cudaDataType type = c->type;

    for (uint64_t j = 0; j < c->columns; j++)
        for (uint64_t i = 0; i < c->rows; i++) {
            float sum = 0;
            for (uint64_t k = 0; k < p->k_count; k++)
                sum += number(p->a, place(&p->a_layout, p->is.of_a == CUBLAS_OP_N, i, k), p->a_layout.type) *
                       number(p->b, place(&p->b_layout, p->is.of_b == CUBLAS_OP_N, k, j), p->b_layout.type);
            if (p->old != 0) /* not read otherwise: it may be not-a-number */
                sum += p->old * number(p->c, place(c, true, i, j), type);
            if (with_bias(&p->is))
                sum += number(p->is.bias, i, type);
            if (with_aux(&p->is))
                sum = through_gelu(&p->is, i + j * (uint64_t)p->is.aux_leading, type, sum);
            store(p->out, place(c, true, i, j), type, sum);
        }
    return true;
}

cublasStatus_t cublasLtMatmul(cublasLtHandle_t handle, cublasLtMatmulDesc_t desc, const void *alpha,
                              const void *A, cublasLtMatrixLayout_t a_layout, const void *B,
                              cublasLtMatrixLayout_t b_layout, const void *beta, const void *C,
                              cublasLtMatrixLayout_t c_layout, void *D, cublasLtMatrixLayout_t d_layout,
                              const cublasLtMatmulAlgo_t *algo, void *workspace, size_t workspace_bytes,
                              cudaStream_t stream)
{
    const struct product p = { *(struct desc *)(void *)desc,
                               *(struct layout *)(void *)a_layout,
                               *(struct layout *)(void *)b_layout,
                               *(struct layout *)(void *)c_layout,
                               A,
                               B,
                               C,
                               D,
                               0,
                               *(const float *)beta };
    struct product *own = malloc(sizeof(*own));

    (void)handle;
    *own = p;
    if (algo->data[0] != ALGORITHM || !workspace || workspace_bytes == 0 || c_layout != d_layout ||
        !fits(&p.is, &p.a_layout, &p.b_layout, &p.c_layout, &own->k_count) || *(const float *)alpha != 1) {
        free(own);
        return CUBLAS_STATUS_INVALID_VALUE;
    }
    emulated_give(stream, (struct emulated_task){ multiply, free, own });
    return CUBLAS_STATUS_SUCCESS;
}
