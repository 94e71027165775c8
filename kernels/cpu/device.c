#include "base/mem.h"
#include "kernels/cpu/cpu.h"

#include <string.h>

struct cpu_device {
    struct device base;
    struct cpu_pool *pool;
};

static void *alloc_memory(struct device *d, size_t bytes)
{
    (void)d;
    return mem_try(bytes);
}

static void free_memory(struct device *d, void *memory)
{
    (void)d;
    free(memory);
}

static void put(struct device *d, void *to, const void *from_host, size_t bytes)
{
    (void)d;
    if (bytes > 0)
        memcpy(to, from_host, bytes);
}

static void get(struct device *d, void *to_host, const void *from, size_t bytes)
{
    (void)d;
    if (bytes > 0)
        memcpy(to_host, from, bytes);
}

static void *host_view(struct device *d, void *memory)
{
    (void)d;
    return memory;
}

static size_t room(struct device *d)
{
    (void)d;
    return SIZE_MAX;
}

static enum err_code sync_nothing(struct device *d, struct err *e)
{
    (void)d;
    (void)e;
    return OK;
}

static void use_threads(struct device *d, size_t threads)
{
    struct cpu_device *cpu = (struct cpu_device *)d;
    cpu_pool_free(cpu->pool);
    cpu->pool = cpu_pool_new(MIN(threads, (size_t)CPU_POOL_THREADS_MAX));
}

static bool use_precision(struct device *d, enum device_precision p)
{
    (void)d;
    return p == DEVICE_FP32;
}

static void call(struct device *d, const void *what, size_t bytes, void (*calls)(void *context),
                 void *context)
{
    (void)d;
    (void)what;
    (void)bytes;
    calls(context);
}

static void close_device(struct device *d)
{
    cpu_pool_free(((struct cpu_device *)d)->pool);
    free(d);
}

void cpu_run(struct device *d, size_t count, cpu_task_fn *task, void *context)
{
    cpu_pool_run(((struct cpu_device *)d)->pool, count, task, context);
}

size_t cpu_threads(struct device *d)
{
    return cpu_pool_threads(((struct cpu_device *)d)->pool);
}

static const struct device_ops cpu_device_ops = {
    .name = "cpu",
    .alloc = alloc_memory,
    .alloc_shared = alloc_memory,
    .free = free_memory,
    .alloc_pinned = alloc_memory,
    .free_pinned = free_memory,
    .put = put,
    .get = get,
    .host_view = host_view,
    .room = room,
    .use_threads = use_threads,
    .use_precision = use_precision,
    .repeat = call,
    .sync = sync_nothing,
    .close = close_device,
};

enum err_code cpu_open(struct device **out, struct err *e)
{
    (void)e;
    struct cpu_device *d = mem_new(sizeof(*d));
    d->base.ops = &cpu_device_ops;
    d->base.real_bytes = sizeof(float);
    d->pool = cpu_pool_new(1);
    *out = &d->base;
    return OK;
}

enum { PIECE = 16384 };

struct pieces {
    cpu_some_fn *some;
    void *context;
    size_t n;
};

static void one_piece(void *context, size_t i, void *scratch)
{
    const struct pieces *p = context;
    size_t first = i * PIECE;
    (void)scratch;
    p->some(p->context, first, MIN((size_t)PIECE, p->n - first));
}

void cpu_for(struct device *d, size_t n, cpu_some_fn *some, void *context)
{
    struct pieces p = { some, context, n };
    cpu_run(d, (n + PIECE - 1) / PIECE, one_piece, &p);
}

const struct kernels cpu_kernels = {
    .device = "cpu",
    .linear = cpu_linear,
    .linear_backward_input = cpu_linear_backward_input,
    .linear_backward_weight = cpu_linear_backward_weight,
    .relu = cpu_relu,
    .relu_backward = cpu_relu_backward,
    .dropout = cpu_dropout,
    .softmax = cpu_softmax,
    .cross_entropy = cpu_cross_entropy,
    .cross_entropy_backward = cpu_cross_entropy_backward,
    .adamw = cpu_adamw,
    .sum_squares = cpu_sum_squares,
    .add = cpu_add,
    .scale = cpu_scale,
    .zero = cpu_zero,
    .to_real = cpu_to_real,
    .from_real = cpu_from_real,
    .draw_real = cpu_draw_real,
    .clear = cpu_clear,
    .drop = cpu_drop,
    .residual = cpu_residual,
    .dense = cpu_dense,
    .dense_backward_input = cpu_dense_backward_input,
    .dense_backward_weight = cpu_dense_backward_weight,
    .dense_gelu = cpu_dense_gelu,
    .dense_backward_gelu = cpu_dense_backward_gelu,
    .embed = cpu_embed,
    .embed_backward = cpu_embed_backward,
    .layernorm = cpu_layernorm,
    .residual_layernorm = cpu_residual_layernorm,
    .residual_rmsnorm = cpu_residual_rmsnorm,
    .layernorm_backward = cpu_layernorm_backward,
    .gelu = cpu_gelu,
    .gelu_backward = cpu_gelu_backward,
    .rmsnorm = cpu_rmsnorm,
    .rmsnorm_backward = cpu_rmsnorm_backward,
    .swiglu = cpu_swiglu,
    .swiglu_backward = cpu_swiglu_backward,
    .rotary = cpu_rotary,
    .attention = cpu_attention,
    .attention_backward = cpu_attention_backward,
    .classify = cpu_classify,
    .classify_work = cpu_classify_work,
    .logits = cpu_logits,
};
