/*
 * Matrix products by cuBLASLt.
 *
 * The library is loaded at run time: the program starts where there is none. Its matrices are column-major; a
 * row-major matrix is the same memory transposed, so c = a b is asked for as c' = b' a'.
 *
 * For each shape the algorithm is asked for once, with a fixed workspace and without reductions whose order
 * may change, and kept: the same card and library repeat the same bits. What the alignment of the pointers
 * allows is part of the shape.
 *
 * Floor: 2 M N K operations, or the bytes of the three matrices, whichever takes longer.
 */
#include "base/mem.h"
#include "kernels/cuda/cuda.h"

#include <cublasLt.h>
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

enum { PLANS_MAX = 512, ALIGNMENT_MAX = 256 };

/* Every function of the library that is used: named once. */
#define FUNCTIONS(X)                                                                                         \
    X(cublasLtCreate)                                                                                        \
    X(cublasLtDestroy)                                                                                       \
    X(cublasLtGetStatusString)                                                                               \
    X(cublasLtMatmul)                                                                                        \
    X(cublasLtMatmulAlgoGetHeuristic)                                                                        \
    X(cublasLtMatmulDescCreate)                                                                              \
    X(cublasLtMatmulDescDestroy)                                                                             \
    X(cublasLtMatmulDescSetAttribute)                                                                        \
    X(cublasLtMatmulPreferenceCreate)                                                                        \
    X(cublasLtMatmulPreferenceDestroy)                                                                       \
    X(cublasLtMatmulPreferenceSetAttribute)                                                                  \
    X(cublasLtMatrixLayoutCreate)                                                                            \
    X(cublasLtMatrixLayoutDestroy)
#define AS_POINTER(name) __typeof__(&(name)) name##_;
struct functions {
    FUNCTIONS(AS_POINTER)
};

/* In the library's own words: its a is our b. */
struct shape {
    uint64_t m, n, k, a_leading, b_leading, c_leading;
    uint32_t a_alignment, b_alignment, c_alignment, bias_alignment, before_alignment;
    uint32_t a_transposed, b_transposed, c_is_float, with_bias, adds, precision; // words: no byte is padding
    uint32_t gelu;
};
struct plan {
    struct shape shape;
    bool impossible; // in this library
    cublasLtMatmulDesc_t desc;
    cublasLtMatrixLayout_t a, b, c;
    cublasLtMatmulAlgo_t algo;
};

struct cuda_blas {
    void *library;
    struct functions f;
    cublasLtHandle_t handle;
    void *workspace;
    struct plan plans[PLANS_MAX];
    size_t plan_count;
};

/* ---- opening and closing ---- */

#define TEXT_OF(x) #x
#define VERSION_TEXT(x) TEXT_OF(x)

static enum err_code load(struct cuda_blas *b, struct err *e)
{
    static const char *const places[] = {
        "libcublasLt.so." VERSION_TEXT(CUBLAS_VER_MAJOR),
        "/usr/local/cuda/lib64/libcublasLt.so." VERSION_TEXT(CUBLAS_VER_MAJOR),
    };

    for (size_t i = 0; i < ARRAY_LEN(places) && !b->library; i++)
        b->library = dlopen(places[i], RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE); // it has handlers for the end
    if (!b->library)
        return err_set(e, ERR_NOT_FOUND, "load %s: %s", places[0], dlerror());
#define LOAD(name)                                                                                           \
    {                                                                                                        \
        void *found = dlsym(b->library, #name);                                                              \
        if (!found)                                                                                          \
            return err_set(e, ERR_NOT_FOUND, "%s has no " #name, places[0]);                                 \
        memcpy(&b->f.name##_, &found, sizeof(found));                                                        \
    }
    FUNCTIONS(LOAD)
    return OK;
}

static void drop_plan(struct cuda_blas *b, struct plan *p)
{
    if (p->desc)
        b->f.cublasLtMatmulDescDestroy_(p->desc);
    if (p->a)
        b->f.cublasLtMatrixLayoutDestroy_(p->a);
    if (p->b)
        b->f.cublasLtMatrixLayoutDestroy_(p->b);
    if (p->c)
        b->f.cublasLtMatrixLayoutDestroy_(p->c);
    *p = (struct plan){ 0 };
}

void cuda_blas_close(struct cuda_blas *b)
{
    if (!b)
        return;
    for (size_t i = 0; i < b->plan_count; i++)
        drop_plan(b, &b->plans[i]);
    if (b->handle)
        b->f.cublasLtDestroy_(b->handle);
    if (b->workspace)
        cudaFree(b->workspace);
    if (b->library)
        dlclose(b->library);
    free(b);
}
DEFINE_CLEANUP_PTR(struct cuda_blas, cuda_blas_close)

enum err_code cuda_blas_open(struct cuda_blas **out, struct err *e)
{
    CLEANUP(cuda_blas_closep) struct cuda_blas *b = mem_new(sizeof(*b));
    cublasStatus_t status;

    if (load(b, e))
        return e->code;
    status = b->f.cublasLtCreate_(&b->handle);
    if (status != CUBLAS_STATUS_SUCCESS)
        return err_set(e, ERR_DEVICE, "open cuBLASLt: %s", b->f.cublasLtGetStatusString_(status));
    if (cudaMalloc(&b->workspace, CUDA_WORKSPACE_BYTES) != cudaSuccess)
        return err_set(e, ERR_LIMIT, "no memory for cuBLASLt's %d bytes", CUDA_WORKSPACE_BYTES);
    *out = TAKE(b);
    return OK;
}

/* ---- plans ---- */

static uint32_t alignment(const void *p)
{
    uint32_t a = ALIGNMENT_MAX;
    while ((uintptr_t)p % a != 0)
        a /= 2;
    return a;
}

/* As it lies in memory, in columns: `rows` of them are contiguous. */
static cublasStatus_t make_layout(struct cuda_blas *b, cublasLtMatrixLayout_t *out, cudaDataType_t type,
                                  uint64_t rows, uint64_t columns, uint64_t leading)
{
    return b->f.cublasLtMatrixLayoutCreate_(out, type, rows, columns, (int64_t)leading);
}

_Static_assert(sizeof(struct shape) == 6 * sizeof(uint64_t) + 12 * sizeof(uint32_t),
               "memcmp() compares shapes");

static cublasLtEpilogue_t epilogue_of(const struct shape *s)
{
    if (s->gelu == CUDA_GEMM_GELU_SLOPE)
        return CUBLASLT_EPILOGUE_DGELU;
    if (s->gelu == CUDA_GEMM_GELU)
        return s->with_bias ? CUBLASLT_EPILOGUE_GELU_AUX_BIAS : CUBLASLT_EPILOGUE_GELU_AUX;
    return s->with_bias ? CUBLASLT_EPILOGUE_BIAS : CUBLASLT_EPILOGUE_DEFAULT;
}

static cublasStatus_t make_desc(struct cuda_blas *b, struct plan *p)
{
    /* Sums in fp32. tf32: the library rounds the operands on the way to the tensor cores; bf16 lie in memory
     * so. */
    static const cublasComputeType_t compute[] = { [DEVICE_FP32] = CUBLAS_COMPUTE_32F,
                                                   [DEVICE_TF32] = CUBLAS_COMPUTE_32F_FAST_TF32,
                                                   [DEVICE_BF16] = CUBLAS_COMPUTE_32F };
    const struct shape *s = &p->shape;
    cublasOperation_t of_a = s->a_transposed ? CUBLAS_OP_T : CUBLAS_OP_N;
    cublasOperation_t of_b = s->b_transposed ? CUBLAS_OP_T : CUBLAS_OP_N;
    const cublasLtEpilogue_t epilogue = epilogue_of(s);
    const int64_t before_leading = (int64_t)s->m;
    const struct {
        cublasLtMatmulDescAttributes_t name;
        const void *value;
        size_t bytes;
    } settings[] = { { CUBLASLT_MATMUL_DESC_TRANSA, &of_a, sizeof(of_a) },
                     { CUBLASLT_MATMUL_DESC_TRANSB, &of_b, sizeof(of_b) },
                     { CUBLASLT_MATMUL_DESC_EPILOGUE, &epilogue, sizeof(epilogue) },
                     { CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD, &before_leading, sizeof(before_leading) } };
    const size_t count = ARRAY_LEN(settings) - (s->gelu == CUDA_GEMM_PLAIN);
    cublasStatus_t status = b->f.cublasLtMatmulDescCreate_(&p->desc, compute[s->precision], CUDA_R_32F);

    for (size_t i = 0; i < count && status == CUBLAS_STATUS_SUCCESS; i++)
        status = b->f.cublasLtMatmulDescSetAttribute_(p->desc, settings[i].name, settings[i].value,
                                                      settings[i].bytes);
    return status;
}

/* What is not the same each time: where the bias is, and what GELU is to leave or to look at. */
static cublasStatus_t point(struct cuda_blas *b, struct plan *p, const struct cuda_gemm *g)
{
    cublasStatus_t status = CUBLAS_STATUS_SUCCESS;

    if (g->bias)
        status = b->f.cublasLtMatmulDescSetAttribute_(p->desc, CUBLASLT_MATMUL_DESC_BIAS_POINTER, &g->bias,
                                                      sizeof(g->bias));
    if (g->gelu != CUDA_GEMM_PLAIN && status == CUBLAS_STATUS_SUCCESS)
        status = b->f.cublasLtMatmulDescSetAttribute_(p->desc, CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER,
                                                      &g->before, sizeof(g->before));
    return status;
}

static cublasStatus_t choose_algorithm(struct cuda_blas *b, struct plan *p)
{
    const struct shape *s = &p->shape;
    const uint64_t workspace = CUDA_WORKSPACE_BYTES;
    const uint32_t reductions = CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE; // and none at all; never in place
    const struct {
        cublasLtMatmulPreferenceAttributes_t name;
        const void *value;
        size_t bytes;
    } settings[] = { { CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &workspace, sizeof(workspace) },
                     { CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, &reductions, sizeof(reductions) },
                     { CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, &s->a_alignment, sizeof(uint32_t) },
                     { CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, &s->b_alignment, sizeof(uint32_t) },
                     { CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, &s->c_alignment, sizeof(uint32_t) },
                     { CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, &s->c_alignment, sizeof(uint32_t) } };
    cublasLtMatmulPreference_t wish = NULL;
    cublasLtMatmulHeuristicResult_t found = { 0 };
    int count = 0;
    cublasStatus_t status = b->f.cublasLtMatmulPreferenceCreate_(&wish);

    for (size_t i = 0; i < ARRAY_LEN(settings) && status == CUBLAS_STATUS_SUCCESS; i++)
        status = b->f.cublasLtMatmulPreferenceSetAttribute_(wish, settings[i].name, settings[i].value,
                                                            settings[i].bytes);
    if (status == CUBLAS_STATUS_SUCCESS)
        status = b->f.cublasLtMatmulAlgoGetHeuristic_(b->handle, p->desc, p->a, p->b, p->c, p->c, wish, 1,
                                                      &found, &count);
    if (wish)
        b->f.cublasLtMatmulPreferenceDestroy_(wish);
    if (status == CUBLAS_STATUS_SUCCESS && (count < 1 || found.state != CUBLAS_STATUS_SUCCESS))
        status = CUBLAS_STATUS_NOT_SUPPORTED;
    p->algo = found.algo;
    return status;
}

static cublasStatus_t make_plan(struct cuda_blas *b, struct plan *p, const struct cuda_gemm *g)
{
    const struct shape *s = &p->shape;
    const cudaDataType_t of_reals = s->precision == DEVICE_BF16 ? CUDA_R_16BF : CUDA_R_32F;
    cublasStatus_t status = make_desc(b, p);

    if (status == CUBLAS_STATUS_SUCCESS)
        status = point(b, p, g); // the library may look at how they are aligned
    if (status == CUBLAS_STATUS_SUCCESS)
        status = make_layout(b, &p->a, of_reals, s->a_transposed ? s->k : s->m, s->a_transposed ? s->m : s->k,
                             s->a_leading);
    if (status == CUBLAS_STATUS_SUCCESS)
        status = make_layout(b, &p->b, of_reals, s->b_transposed ? s->n : s->k, s->b_transposed ? s->k : s->n,
                             s->b_leading);
    if (status == CUBLAS_STATUS_SUCCESS)
        status = make_layout(b, &p->c, s->c_is_float ? CUDA_R_32F : of_reals, s->m, s->n, s->c_leading);
    return status == CUBLAS_STATUS_SUCCESS ? choose_algorithm(b, p) : status;
}

/* The library's word that it does not do this, and not that something went wrong. */
static bool is_refusal(cublasStatus_t status)
{
    return status == CUBLAS_STATUS_NOT_SUPPORTED || status == CUBLAS_STATUS_INVALID_VALUE;
}

/* The plan of this shape, made when it is first asked for. More shapes than there are places: the oldest
 * goes, and would be made again the same. */
static struct plan *plan_for(struct cuda_blas *b, const struct shape *s, const struct cuda_gemm *g,
                             cublasStatus_t *out_status)
{
    struct plan p = { 0 };

    for (size_t i = 0; i < b->plan_count; i++)
        if (memcmp(&b->plans[i].shape, s, sizeof(*s)) == 0)
            return &b->plans[i];
    p.shape = *s;
    *out_status = make_plan(b, &p, g);
    if (*out_status != CUBLAS_STATUS_SUCCESS) {
        drop_plan(b, &p);
        if (!is_refusal(*out_status))
            return NULL;
        p.shape = *s;
        p.impossible = true;
    }
    if (b->plan_count == PLANS_MAX) {
        drop_plan(b, &b->plans[0]);
        memmove(b->plans, b->plans + 1, (PLANS_MAX - 1) * sizeof(b->plans[0]));
        b->plan_count--;
    }
    memcpy(&b->plans[b->plan_count], &p, sizeof(p));
    return &b->plans[b->plan_count++];
}

static struct shape shape_of(struct device *d, const struct cuda_gemm *g)
{
    struct shape s;

    memset(&s, 0, sizeof(s));
    s.m = g->N;
    s.n = g->M;
    s.k = g->K;
    s.a_transposed = g->b_transposed;
    s.b_transposed = g->a_transposed;
    s.a_leading = g->b_row ? g->b_row : g->b_transposed ? g->K : g->N;
    s.b_leading = g->a_row ? g->a_row : g->a_transposed ? g->M : g->K;
    s.c_leading = g->c_row ? g->c_row : g->N;
    s.a_alignment = alignment(g->b);
    s.b_alignment = alignment(g->a);
    s.c_alignment = alignment(g->c);
    s.bias_alignment = alignment(g->bias);
    s.before_alignment = alignment(g->before);
    s.c_is_float = g->c_is_float;
    s.with_bias = g->bias != NULL;
    s.adds = g->beta != 0;
    s.precision = cuda_precision(d);
    s.gelu = g->gelu;
    return s;
}

/* The sum of nothing: a layer without inputs has no bias either, and no gaps. */
static void no_products(struct device *d, const struct cuda_gemm *g)
{
    if (g->beta == 0 && g->c_is_float)
        cuda_zero(d, g->c, g->M * g->N);
    else if (g->beta == 0)
        cuda_clear(d, g->c, g->M * g->N);
}

static bool is_recorded(struct device *d)
{
    enum cudaStreamCaptureStatus is = cudaStreamCaptureStatusNone;
    return cudaStreamIsCapturing(device_stream(d), &is) != cudaSuccess || is != cudaStreamCaptureStatusNone;
}

/* false: the library refuses it, and nothing was done. */
static bool multiply(struct device *d, const struct cuda_gemm *g)
{
    struct cuda_blas *b = device_blas(d);
    const float one = 1;
    cublasStatus_t status = CUBLAS_STATUS_SUCCESS;
    const struct shape s = shape_of(d, g);
    struct plan *p = plan_for(b, &s, g, &status);

    if (p && p->impossible)
        return false;
    if (p)
        status = point(b, p, g);
    if (p && status == CUBLAS_STATUS_SUCCESS)
        status =
            b->f.cublasLtMatmul_(b->handle, p->desc, &one, g->b, p->a, g->a, p->b, &g->beta, g->c, p->c, g->c,
                                 p->c, &p->algo, b->workspace, CUDA_WORKSPACE_BYTES, device_stream(d));
    if (p && is_refusal(status)) {
        p->impossible = !is_recorded(d); // what a recording spoils is no answer for good
        return false;
    }
    if (status != CUBLAS_STATUS_SUCCESS)
        device_keep(d, ERR_DEVICE, "cuBLASLt, %zu x %zu x %zu: %s", g->M, g->N, g->K,
                    b->f.cublasLtGetStatusString_(status));
    return true;
}

void cuda_gemm(struct device *d, const struct cuda_gemm *g)
{
    invariant(g->gelu == CUDA_GEMM_PLAIN);
    if (g->M == 0 || g->N == 0)
        return;
    if (g->K == 0)
        no_products(d, g);
    else if (!multiply(d, g))
        cuda_gemm_plain(d, g);
}

/* The library asks for rows of before that are multiples of 8. Its tanh may be the card's approximate one:
 * good enough for the rounding of bf16 and tf32. */
bool cuda_gemm_gelu(struct device *d, const struct cuda_gemm *g)
{
    if (g->M == 0 || g->N == 0 || g->K == 0 || g->N % 8 != 0 || cuda_precision(d) == DEVICE_FP32)
        return false;
    return multiply(d, g);
}
