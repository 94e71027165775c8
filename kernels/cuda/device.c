/*
 * One card behind device.h: its memory, one stream, a little pinned memory to pass copies through.
 *
 * Shared memory is managed: it lives on the card, and its pages move when the host looks. It would swap
 * silently where the card is full, so what is taken, of both kinds, is counted here and refused beyond the
 * card's own.
 */
#include "base/mem.h"
#include "kernels/cuda/cuda.h"
#include "kernels/cuda/repeat.h"
#include "kernels/cuda/tensor_map.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { STAGES = 2, STAGE_BYTES = 1 << 20, BLOCKS_MAX = 65536, MAJOR_MIN = 8 };
enum { SHARED_MIN = 160 << 10 }; // of a block: A100 has 163 KiB, and cards for workstations 99
static const size_t reserve_bytes = (size_t)768 << 20; // of a card, for its context and the libraries' code

struct block {
    void *memory;
    size_t bytes;
    bool shared;
};

/* Pinned memory that a copy to the device passes through, so that the caller's is free again at once. */
struct stage {
    void *host;
    cudaEvent_t copied;
};

struct cuda_device {
    struct device base;
    int card; // by the runtime's count
    cudaStream_t stream;
    struct err failure; // the first since the last sync
    struct block *blocks;
    size_t block_count, bytes_taken, bytes_total;
    struct stage stages[STAGES];
    size_t next_stage;
    void *scratch, *tensor_encoder;
    struct cuda_blas *blas;
    struct repeats *repeats;
    enum device_precision precision;
};

static struct cuda_device *of(struct device *d)
{
    return (struct cuda_device *)d;
}

/* ---- failures ---- */

void device_keep(struct device *d, enum err_code code, const char *fmt, ...)
{
    struct cuda_device *c = of(d);
    char text[ERR_TEXT_BYTES];
    va_list ap;

    if (c->failure.code != OK)
        return;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    IGNORE(err_set(&c->failure, code, "%s", text));
}

static bool kept(struct device *d, cudaError_t code, const char *what)
{
    if (code == cudaSuccess)
        return true;
    cudaGetLastError(); // it is told here: not the next kernel's failure
    device_keep(d, code == cudaErrorMemoryAllocation ? ERR_LIMIT : ERR_DEVICE, "%s: %s", what,
                cudaGetErrorString(code));
    return false;
}

void device_launched(struct device *d, const char *kernel)
{
    kept(d, cudaGetLastError(), kernel);
}

cudaStream_t device_stream(struct device *d)
{
    return of(d)->stream;
}

struct cuda_blas *device_blas(struct device *d)
{
    return of(d)->blas;
}

void *device_tensor_encoder(struct device *d)
{
    return of(d)->tensor_encoder;
}

void *device_scratch(struct device *d, size_t bytes, const char *kernel)
{
    if (bytes <= CUDA_SCRATCH_BYTES)
        return of(d)->scratch;
    device_keep(d, ERR_LIMIT, "%s needs %zu bytes of scratch memory; there are %d", kernel, bytes,
                CUDA_SCRATCH_BYTES);
    return NULL;
}

/* ---- memory ---- */

static size_t room(struct device *d)
{
    const struct cuda_device *c = of(d);
    return c->bytes_total - c->bytes_taken;
}

/* To live on the card, and to be there before the first kernel wants it. */
static void settle_on_card(struct device *d, void *memory, size_t bytes)
{
    struct cuda_device *c = of(d);
#if CUDART_VERSION >= 13000
    const struct cudaMemLocation card = { .type = cudaMemLocationTypeDevice, .id = c->card };
    kept(d, cudaMemAdvise(memory, bytes, cudaMemAdviseSetPreferredLocation, card), "place shared memory");
    kept(d, cudaMemPrefetchAsync(memory, bytes, card, 0, c->stream), "place shared memory");
#else
    kept(d, cudaMemAdvise(memory, bytes, cudaMemAdviseSetPreferredLocation, c->card), "place shared memory");
    kept(d, cudaMemPrefetchAsync(memory, bytes, c->card, c->stream), "place shared memory");
#endif
}

/* Managed memory beyond the card's own is never refused, but swapped; others take some of it, too. */
static bool really_free(size_t bytes)
{
    size_t free_bytes = 0, total_bytes = 0;

    if (cudaMemGetInfo(&free_bytes, &total_bytes) == cudaSuccess)
        return bytes <= free_bytes;
    cudaGetLastError();
    return false;
}

static void *take_memory(struct device *d, size_t bytes, bool shared)
{
    struct cuda_device *c = of(d);
    void *memory = NULL;

    if (bytes > room(d) || c->block_count == BLOCKS_MAX || (shared && !really_free(bytes)))
        return NULL;
    if ((shared ? cudaMallocManaged(&memory, bytes, cudaMemAttachGlobal) : cudaMalloc(&memory, bytes)) !=
        cudaSuccess) {
        cudaGetLastError(); // it is told by the NULL: not the next kernel's failure
        return NULL;
    }
    if (shared)
        settle_on_card(d, memory, bytes);
    kept(d, cudaMemsetAsync(memory, 0, bytes, c->stream), "zero new memory");
    c->blocks = mem_grow(c->blocks, c->block_count + 1, sizeof(*c->blocks));
    c->blocks[c->block_count++] = (struct block){ memory, bytes, shared };
    c->bytes_taken += bytes;
    return memory;
}

static void *alloc_memory(struct device *d, size_t bytes)
{
    return take_memory(d, bytes, false);
}

static void *alloc_shared_memory(struct device *d, size_t bytes)
{
    return take_memory(d, bytes, true);
}

static void free_memory(struct device *d, void *memory)
{
    struct cuda_device *c = of(d);

    for (size_t i = c->block_count; i > 0; i--)
        if (c->blocks[i - 1].memory == memory) {
            c->bytes_taken -= c->blocks[i - 1].bytes;
            c->blocks[i - 1] = c->blocks[--c->block_count];
            kept(d, cudaStreamSynchronize(c->stream), "wait to free memory");
            repeats_forget(c->repeats);
            kept(d, cudaFree(memory), "free memory");
            return;
        }
    invariant(!"memory of another device");
}

/* Where the system does not let so much be pinned it is ordinary memory, and copies take longer. */
static void *alloc_pinned(struct device *d, size_t bytes)
{
    void *memory = NULL;

    (void)d;
    if (cudaHostAlloc(&memory, bytes, cudaHostAllocDefault) == cudaSuccess)
        return memory;
    cudaGetLastError();
    return mem_try(bytes);
}

static void free_pinned(struct device *d, void *memory)
{
    struct cudaPointerAttributes a;

    if (kept(d, cudaPointerGetAttributes(&a, memory), "look at pinned memory") &&
        a.type == cudaMemoryTypeHost)
        kept(d, cudaFreeHost(memory), "free pinned memory");
    else
        free(memory);
}

static void put(struct device *d, void *to, const void *from_host, size_t bytes)
{
    struct cuda_device *c = of(d);

    for (size_t done = 0; done < bytes;) {
        struct stage *s = &c->stages[c->next_stage];
        size_t n = MIN(bytes - done, (size_t)STAGE_BYTES);
        if (!kept(d, cudaEventSynchronize(s->copied), "wait for a copy to the card"))
            return;
        memcpy(s->host, (const char *)from_host + done, n);
        if (!kept(d, cudaMemcpyAsync((char *)to + done, s->host, n, cudaMemcpyHostToDevice, c->stream),
                  "copy to the card") ||
            !kept(d, cudaEventRecord(s->copied, c->stream), "copy to the card"))
            return;
        c->next_stage = (c->next_stage + 1) % STAGES;
        done += n;
    }
}

/* What cannot be read is not-a-number, so that nobody takes what was there before for an answer. */
static void get(struct device *d, void *to_host, const void *from, size_t bytes)
{
    struct cuda_device *c = of(d);

    if (bytes == 0)
        return;
    if (!kept(d, cudaMemcpyAsync(to_host, from, bytes, cudaMemcpyDeviceToHost, c->stream),
              "copy from the card") ||
        !kept(d, cudaStreamSynchronize(c->stream), "copy from the card") || c->failure.code != OK)
        memset(to_host, 0xff, bytes);
}

static void *host_view(struct device *d, void *memory)
{
    const struct cuda_device *c = of(d);

    for (size_t i = 0; i < c->block_count; i++)
        if (c->blocks[i].memory == memory && c->blocks[i].shared) {
            kept(d, cudaStreamSynchronize(c->stream), "wait before the host looks");
            return memory;
        }
    return NULL;
}

static void use_threads(struct device *d, size_t threads)
{
    (void)d;
    (void)threads;
}

static bool use_precision(struct device *d, enum device_precision p)
{
    of(d)->precision = p; // before any model: nothing has been recorded
    d->real_bytes = p == DEVICE_BF16 ? 2 : sizeof(float);
    return true;
}

enum device_precision cuda_precision(struct device *d)
{
    return of(d)->precision;
}

static void repeat(struct device *d, const void *what, size_t bytes, void (*calls)(void *context),
                   void *context)
{
    struct cuda_device *c = of(d);
    repeats_run(c->repeats, c->stream, &c->failure, what, bytes, calls, context);
}

static enum err_code sync_stream(struct device *d, struct err *e)
{
    struct cuda_device *c = of(d);

    kept(d, cudaStreamSynchronize(c->stream), "wait for the card");
    if (c->failure.code == OK)
        return OK;
    *e = c->failure;
    err_clear(&c->failure);
    return e->code;
}

/* ---- opening and closing ---- */

/* Copes with a device that is half open. What fails here failed before, and was told. */
static void close_device(struct device *d)
{
    struct cuda_device *c = of(d);

    if (c->stream)
        cudaStreamSynchronize(c->stream);
    repeats_free(c->repeats);
    cuda_blas_close(c->blas);
    for (size_t i = 0; i < STAGES; i++) {
        if (c->stages[i].copied)
            cudaEventDestroy(c->stages[i].copied);
        if (c->stages[i].host)
            cudaFreeHost(c->stages[i].host);
    }
    for (size_t i = 0; i < c->block_count; i++)
        cudaFree(c->blocks[i].memory);
    cudaFree(c->scratch);
    if (c->stream)
        cudaStreamDestroy(c->stream);
    cudaGetLastError();
    free(c->blocks);
    free(c);
}

static const struct device_ops cuda_device_ops = {
    .name = "cuda",
    .alloc = alloc_memory,
    .alloc_shared = alloc_shared_memory,
    .free = free_memory,
    .alloc_pinned = alloc_pinned,
    .free_pinned = free_pinned,
    .put = put,
    .get = get,
    .host_view = host_view,
    .room = room,
    .use_threads = use_threads,
    .use_precision = use_precision,
    .repeat = repeat,
    .sync = sync_stream,
    .close = close_device,
};

/* A rank's number on its host, as its launcher gives it; 0 where there is none. */
static int local_rank(void)
{
    static const char *const names[] = { "OMPI_COMM_WORLD_LOCAL_RANK", "SLURM_LOCALID" };

    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        const char *text = getenv(names[i]);
        if (text && *text >= '0' && *text <= '9')
            return (int)strtol(text, NULL, 10);
    }
    return 0;
}

static bool means_none(cudaError_t code)
{
    return code == cudaErrorNoDevice || code == cudaErrorInsufficientDriver || code == cudaErrorStubLibrary ||
           code == cudaErrorSystemDriverMismatch;
}

static enum err_code refused(cudaError_t code, const char *what, struct err *e)
{
    cudaGetLastError();
    return err_set(e, means_none(code) ? ERR_NOT_FOUND : ERR_DEVICE, "%s: %s", what,
                   cudaGetErrorString(code));
}

static enum err_code choose_card(int *out_card, struct err *e)
{
    int cards = 0, card, major = 0, minor = 0, shared = 0, of_block = 0;
    cudaError_t code = cudaGetDeviceCount(&cards);

    if (code != cudaSuccess)
        return refused(code, "look for a card", e);
    if (cards < 1)
        return err_set(e, ERR_NOT_FOUND, "there is a driver, but no card");
    card = local_rank() % cards;
    if ((code = cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, card)) != cudaSuccess ||
        (code = cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, card)) != cudaSuccess ||
        (code = cudaDeviceGetAttribute(&of_block, cudaDevAttrMaxSharedMemoryPerBlockOptin, card)) !=
            cudaSuccess ||
        (code = cudaDeviceGetAttribute(&shared, cudaDevAttrConcurrentManagedAccess, card)) != cudaSuccess)
        return refused(code, "ask the card what it is", e);
    if (major < MAJOR_MIN)
        return err_set(e, ERR_NOT_FOUND, "card %d is of compute capability %d.%d; this build needs %d.0",
                       card, major, minor, MAJOR_MIN);
    if (of_block < SHARED_MIN)
        return err_set(e, ERR_NOT_FOUND,
                       "card %d has %d KiB of shared memory for a block; this build needs %d", card,
                       of_block >> 10, SHARED_MIN >> 10);
    if (!shared)
        return err_set(e, ERR_NOT_FOUND, "card %d cannot share managed memory with the host", card);
    *out_card = card;
    return OK;
}

/* wgmma is of compute capability 9.0 alone: what comes after has another. SOVRUN_ATTENTION=mma does without
 * it, to compare. */
static void find_wgmma(struct cuda_device *c, const struct cudaDeviceProp *p)
{
    const char *attention = getenv("SOVRUN_ATTENTION");

    if (p->major == 9 && p->minor == 0 && !(attention && strcmp(attention, "mma") == 0))
        c->tensor_encoder = cuda_tensor_encoder();
}

static enum err_code prepare(struct cuda_device *c, int card, struct err *e)
{
    struct cudaDeviceProp p;
    size_t free_bytes = 0, total_bytes = 0;
    cudaError_t code = cudaSetDevice(card);

    c->card = card;
    if (code != cudaSuccess || (code = cudaGetDeviceProperties(&p, card)) != cudaSuccess ||
        (code = cudaDeviceGetPCIBusId(c->base.card, sizeof(c->base.card), card)) != cudaSuccess ||
        (code = cudaStreamCreateWithFlags(&c->stream, cudaStreamNonBlocking)) != cudaSuccess)
        return refused(code, "open the card", e);
    for (size_t i = 0; i < STAGES; i++)
        if ((code = cudaHostAlloc(&c->stages[i].host, STAGE_BYTES, cudaHostAllocDefault)) != cudaSuccess ||
            (code = cudaEventCreateWithFlags(&c->stages[i].copied, cudaEventDisableTiming)) != cudaSuccess)
            return refused(code, "take pinned memory", e);
    if ((code = cudaMalloc(&c->scratch, CUDA_SCRATCH_BYTES)) != cudaSuccess)
        return refused(code, "take scratch memory", e);
    if (cuda_blas_open(&c->blas, e))
        return e->code;
    if ((code = cudaMemGetInfo(&free_bytes, &total_bytes)) != cudaSuccess)
        return refused(code, "ask for the card's memory", e);
    c->bytes_total = free_bytes > reserve_bytes ? free_bytes - reserve_bytes : 0;
    find_wgmma(c, &p);
    snprintf(c->base.note, sizeof(c->base.note),
             "card %d, %.60s, compute capability %d.%d, %zu MiB free, bf16 attention by %s", card, p.name,
             p.major, p.minor, free_bytes >> 20, c->tensor_encoder ? "wgmma" : "mma.sync");
    return OK;
}

enum err_code cuda_open(struct device **out, struct err *e)
{
    int card = 0;
    if (choose_card(&card, e))
        return e->code;
    struct cuda_device *c = mem_new(sizeof(*c));
    CLEANUP(device_closep) struct device *d = &c->base;
    d->ops = &cuda_device_ops;
    d->real_bytes = sizeof(float);
    c->repeats = repeats_new();
    if (prepare(c, card, e))
        return e->code;
    *out = TAKE(d);
    return OK;
}
