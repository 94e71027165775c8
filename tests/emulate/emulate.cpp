/* Fibres for emulate.h, and a device "cuda" of host memory under the kernels. */
#include "tests/emulate/emulate.h"

#include "kernels/cuda/cuda.h"
#include "kernels/cuda/repeat.h"

#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <ucontext.h>

enum { COPIES_MAX = 512, COPY_BYTES = 16 };
enum { LANES = 32, THREADS_MAX = 1024, STACK_BYTES = 64 << 10, SHARED_FLOATS = 64 << 10, EXCHANGE_BYTES = 32 };

struct copy {
    void *to;
    const void *from;
    uint32_t bytes;
    unsigned group;
};
struct fibre {
    ucontext_t begin;
    jmp_buf here;
    struct emulated_thread at;
    bool begun, ended;
    struct copy copies[COPIES_MAX]; // asked for, not done yet: in the order of their groups
    unsigned copy_count, groups;
    char given[EXCHANGE_BYTES];
};
/* A place where `live` fibres meet: who comes last opens it for all. */
struct gate {
    unsigned live, arrived, opened;
};

struct emulated_thread *emulated_now;
alignas(1024) float4 emulated_shared[SHARED_FLOATS / 4];
static struct fibre fibres[THREADS_MAX];
static char stacks[THREADS_MAX][STACK_BYTES];
static struct gate block_gate, warp_gates[THREADS_MAX / LANES];
static unsigned current, stuck, progress;
static jmp_buf scheduler;
static emulated_body *body_now;
static void *context_now;

void emulated_yield(void)
{
    if (++stuck > 64 * THREADS_MAX) {
        fprintf(stderr, "emulate: threads wait for each other forever\n");
        abort();
    }
    if (_setjmp(fibres[current].here) == 0)
        _longjmp(scheduler, 1);
}

void emulated_progress(void)
{
    stuck = 0;
    progress++;
}

unsigned emulated_thread_index(void)
{
    return current;
}

static void open_gate(struct gate *g)
{
    g->arrived = 0;
    g->opened++;
    emulated_progress();
}

static void wait_at(struct gate *g)
{
    unsigned before = g->opened;
    if (++g->arrived == g->live)
        open_gate(g);
    else
        while (g->opened == before)
            emulated_yield();
}

static void leave(struct gate *g)
{
    g->live--;
    if (g->live > 0 && g->arrived == g->live)
        open_gate(g);
}

static void run_fibre(void)
{
    body_now(context_now);
    leave(&block_gate);
    leave(&warp_gates[current / LANES]);
    fibres[current].ended = true;
    emulated_progress();
    _longjmp(scheduler, 1);
}

/* Until it waits or ends. By jumps, as a swap of contexts asks the kernel each time; a context is how a fibre begins on
 * a stack of its own. */
static void run_on(struct fibre *f)
{
    if (_setjmp(scheduler) != 0)
        return;
    if (f->begun)
        _longjmp(f->here, 1);
    f->begun = true;
    setcontext(&f->begin);
}

static void begin_block(dim3 grid, dim3 threads, uint3 block, unsigned count)
{
    memset(emulated_shared, 0xff, sizeof(emulated_shared));
    emulated_wgmma_block();
    block_gate = gate{ count, 0, 0 };
    for (unsigned i = 0; i < count; i++) {
        struct fibre *f = &fibres[i];
        if (i % LANES == 0)
            warp_gates[i / LANES] = gate{ MIN(count - i, (unsigned)LANES), 0, 0 };
        f->at.thread = uint3{ i % threads.x, i / threads.x % threads.y, i / threads.x / threads.y };
        f->at.block = block;
        f->at.grid = grid;
        f->at.threads = threads;
        f->begun = f->ended = false;
        f->copy_count = f->groups = 0;
        getcontext(&f->begin);
        f->begin.uc_stack.ss_sp = stacks[i];
        f->begin.uc_stack.ss_size = STACK_BYTES;
        f->begin.uc_link = NULL;
        makecontext(&f->begin, run_fibre, 0);
    }
}

/* As far as it comes by itself: a warp that nothing holds is as far ahead of the others as it may be. Returns how many
 * threads are left. */
static unsigned run_warp(unsigned first, unsigned end)
{
    unsigned before, left;

    do {
        before = progress;
        left = 0;
        for (current = first; current < end; current++)
            if (!fibres[current].ended) {
                emulated_now = &fibres[current].at;
                run_on(&fibres[current]);
                left += !fibres[current].ended;
            }
    } while (left > 0 && progress != before);
    return left;
}

/* The warps of every other block from the last one on. */
static void run_block(dim3 grid, dim3 threads, uint3 block)
{
    unsigned count = threads.x * threads.y * threads.z, warps = (count + LANES - 1) / LANES, left;

    begin_block(grid, threads, block, count);
    do {
        left = 0;
        for (unsigned i = 0; i < warps; i++) {
            unsigned warp = block.x % 2 ? warps - 1 - i : i;
            left += run_warp(warp * LANES, MIN((warp + 1) * LANES, count));
        }
    } while (left > 0);
}

void emulate(dim3 grid, dim3 threads, size_t shared_bytes, emulated_body *body, void *context)
{
    invariant(shared_bytes <= sizeof(emulated_shared) && shared_bytes <= 166912); // a block's on A100
    invariant(threads.x * threads.y * threads.z <= THREADS_MAX && grid.x > 0 && grid.y > 0 && grid.z > 0);
    invariant(grid.y <= 65535 && grid.z <= 65535);
    body_now = body;
    context_now = context;
    for (unsigned z = 0; z < grid.z; z++)
        for (unsigned y = 0; y < grid.y; y++)
            for (unsigned x = 0; x < grid.x; x++)
                run_block(grid, threads, uint3{ x, y, z });
}

void emulated_block_wait(void)
{
    wait_at(&block_gate);
}

void emulated_warp_wait(void)
{
    wait_at(&warp_gates[current / LANES]);
}

unsigned emulated_lane(void)
{
    return current % LANES;
}

void emulated_exchange(const void *own, void *out, size_t bytes, unsigned from)
{
    memcpy(fibres[current].given, own, bytes);
    emulated_warp_wait();
    memcpy(out, fibres[current / LANES * LANES + from % LANES].given, bytes);
    emulated_warp_wait();
}

unsigned emulated_ballot(bool is)
{
    unsigned bits = 0;
    fibres[current].given[0] = is;
    emulated_warp_wait();
    for (unsigned i = 0; i < LANES; i++)
        bits |= (unsigned)(fibres[current / LANES * LANES + i].given[0] != 0) << i;
    emulated_warp_wait();
    return bits;
}

static float half_of(uint32_t pair, unsigned which)
{
    uint32_t bits = which ? pair & 0xffff0000u : pair << 16;
    float f;
    memcpy(&f, &bits, sizeof(f));
    return f;
}

/* The fragments' places as the PTX ISA draws them: a by rows, b by columns, two numbers a register. */
void emulated_mma(float c[4], const uint32_t a[4], uint32_t b0, uint32_t b1)
{
    struct given {
        uint32_t a[4], b[2];
    } own = { { a[0], a[1], a[2], a[3] }, { b0, b1 } }, all[LANES];
    memcpy(fibres[current].given, &own, sizeof(own));
    emulated_warp_wait();
    for (unsigned i = 0; i < LANES; i++)
        memcpy(&all[i], fibres[current / LANES * LANES + i].given, sizeof(own));
    emulated_warp_wait();
    for (unsigned i = 0; i < 4; i++) {
        unsigned row = current % LANES / 4 + i / 2 * 8, column = current % 4 * 2 + i % 2;
        for (unsigned k = 0; k < 16; k++) {
            float x = half_of(all[row % 8 * 4 + k % 8 / 2].a[row / 8 + k / 8 * 2], k % 2);
            float y = half_of(all[column * 4 + k % 8 / 2].b[k / 8], k % 2);
            c[i] += x * y;
        }
    }
}

/* As the PTX ISA's picture of ldmatrix has it: each lane names a row of 8 numbers. */
void emulated_ldmatrix(uint32_t r[4], const void *row, bool turned)
{
    const char *rows[LANES];

    invariant((uintptr_t)row % 16 == 0);
    memcpy(fibres[current].given, &row, sizeof(row));
    emulated_warp_wait();
    for (unsigned i = 0; i < LANES; i++)
        memcpy(&rows[i], fibres[current / LANES * LANES + i].given, sizeof(rows[i]));
    emulated_warp_wait();
    unsigned across = current % LANES / 4, along = current % 4 * 2;
    for (unsigned i = 0; i < 4; i++)
        for (unsigned half = 0; half < 2; half++) {
            uint16_t number;
            const char *from = turned ? rows[8 * i + along + half] + 2 * across
                                      : rows[8 * i + across] + 2 * (along + half);
            memcpy(&number, from, sizeof(number));
            memcpy((char *)&r[i] + 2 * half, &number, sizeof(number));
        }
}

void emulated_copy(void *to, const void *from, uint32_t bytes)
{
    struct fibre *f = &fibres[current];
    invariant(f->copy_count < COPIES_MAX && (uintptr_t)to % COPY_BYTES == 0 && (uintptr_t)from % COPY_BYTES == 0);
    f->copies[f->copy_count++] = copy{ to, from, bytes, f->groups };
}

void emulated_copies_group(void)
{
    fibres[current].groups++;
}

void emulated_copies_wait(unsigned left)
{
    struct fibre *f = &fibres[current];
    unsigned done = 0;
    for (; done < f->copy_count && f->copies[done].group + left < f->groups; done++) {
        char all[COPY_BYTES] = {};
        memcpy(all, f->copies[done].from, f->copies[done].bytes);
        memcpy(f->copies[done].to, all, COPY_BYTES);
    }
    memmove(f->copies, f->copies + done, (f->copy_count - done) * sizeof(f->copies[0]));
    f->copy_count -= done;
}

/* ---- the device ---- */

struct emulated_device {
    struct device base;
    struct err failure;
    enum device_precision precision;
    struct cuda_blas *blas;
    struct repeats *repeats;
    alignas(16) double scratch[CUDA_SCRATCH_BYTES / 8];
};

/* In front of each piece of memory: whether the host may look at it. */
union head {
    bool shared;
    char aligned[64];
};
static void *take_memory(size_t bytes, bool shared)
{
    union head *h = (union head *)aligned_alloc(sizeof(*h), sizeof(*h) + (bytes + 63) / 64 * 64);
    if (!h)
        return NULL;
    memset(h, 0, sizeof(*h) + bytes);
    h->shared = shared;
    return h + 1;
}
static void *alloc_memory(struct device *d, size_t bytes)
{
    (void)d;
    return take_memory(bytes, false);
}
static void *alloc_pinned(struct device *d, size_t bytes)
{
    (void)d;
    return calloc(1, bytes);
}
static void free_pinned(struct device *d, void *memory)
{
    (void)d;
    free(memory);
}
static void *alloc_shared_memory(struct device *d, size_t bytes)
{
    (void)d;
    return take_memory(bytes, true);
}
static void free_memory(struct device *d, void *memory)
{
    repeats_forget(((struct emulated_device *)d)->repeats);
    free((union head *)memory - 1);
}
static void put(struct device *d, void *to, const void *from, size_t bytes)
{
    (void)d;
    if (bytes > 0)
        memcpy(to, from, bytes);
}
static void *host_view(struct device *d, void *memory)
{
    (void)d;
    return ((union head *)memory - 1)->shared ? memory : NULL;
}
static size_t room(struct device *d)
{
    (void)d;
    return SIZE_MAX;
}
static void use_threads(struct device *d, size_t threads)
{
    (void)d;
    (void)threads;
}
static bool use_precision(struct device *d, enum device_precision p)
{
    ((struct emulated_device *)d)->precision = p;
    d->real_bytes = p == DEVICE_BF16 ? 2 : 4;
    return true;
}
static void repeat(struct device *d, const void *what, size_t bytes, void (*calls)(void *context), void *context)
{
    struct emulated_device *own = (struct emulated_device *)d;
    repeats_run(own->repeats, NULL, &own->failure, what, bytes, calls, context);
}
static enum err_code sync_failures(struct device *d, struct err *e)
{
    struct emulated_device *own = (struct emulated_device *)d;
    if (own->failure.code == OK)
        return OK;
    *e = own->failure;
    err_clear(&own->failure);
    return e->code;
}
static void close_device(struct device *d)
{
    repeats_free(((struct emulated_device *)d)->repeats);
    cuda_blas_close(((struct emulated_device *)d)->blas);
    free(d);
}

static const struct device_ops emulated_ops = {
    "cuda",      alloc_memory, alloc_shared_memory, free_memory, alloc_pinned,  free_pinned,   put,
    put,         host_view,    room,                use_threads, use_precision, repeat,      sync_failures, close_device
};

enum err_code cuda_open(struct device **out, struct err *e)
{
    struct emulated_device *d = (struct emulated_device *)calloc(1, sizeof(*d));
    d->base.ops = &emulated_ops;
    d->base.real_bytes = sizeof(float);
    d->repeats = repeats_new();
    if (cuda_blas_open(&d->blas, e)) {
        repeats_free(d->repeats);
        free(d);
        return e->code;
    }
    /* A card for each rank; or, for a test, the one that is named. */
    const char *card = getenv("EMULATED_CARD"), *rank = getenv("OMPI_COMM_WORLD_RANK");
    snprintf(d->base.card, sizeof(d->base.card), "emulated:%.16s", card ? card : rank ? rank : "0");
    snprintf(d->base.note, sizeof(d->base.note), "EMULATED on the host, one thread after the other: no card");
    *out = &d->base;
    return OK;
}

/* As a card of compute capability 9.0 has it; SOVRUN_ATTENTION=mma: as one before. */
void *device_tensor_encoder(struct device *d)
{
    static char there;
    const char *attention = getenv("SOVRUN_ATTENTION");
    (void)d;
    return attention && strcmp(attention, "mma") == 0 ? NULL : &there;
}

cudaStream_t device_stream(struct device *d)
{
    (void)d;
    return NULL;
}
enum device_precision cuda_precision(struct device *d)
{
    return ((struct emulated_device *)d)->precision;
}
void device_launched(struct device *d, const char *kernel)
{
    (void)d;
    (void)kernel;
}
void device_keep(struct device *d, enum err_code code, const char *fmt, ...)
{
    IGNORE(err_set(&((struct emulated_device *)d)->failure, code, "%s", fmt));
}
void *device_scratch(struct device *d, size_t bytes, const char *kernel)
{
    (void)kernel;
    invariant(bytes <= CUDA_SCRATCH_BYTES);
    return ((struct emulated_device *)d)->scratch;
}

/* gemm.c itself runs, over blas.c: of the runtime it takes this much. */
extern "C" cudaError_t cudaMalloc(void **out, size_t bytes)
{
    *out = malloc(bytes);
    return cudaSuccess;
}
extern "C" cudaError_t cudaFree(void *memory)
{
    free(memory);
    return cudaSuccess;
}
struct cuda_blas *device_blas(struct device *d)
{
    return ((struct emulated_device *)d)->blas;
}
