#include "base/mem.h"
#include "kernels/cpu/cpu.h"

#include <string.h>

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

static enum err_code sync_nothing(struct device *d, struct err *e)
{
    (void)d;
    (void)e;
    return OK;
}

static void close_device(struct device *d)
{
    free(d);
}

static const struct device_ops cpu_device_ops = {
    .name = "cpu",
    .alloc = alloc_memory,
    .free = free_memory,
    .put = put,
    .get = get,
    .host_view = host_view,
    .sync = sync_nothing,
    .close = close_device,
};

enum err_code cpu_open(struct device **out, struct err *e)
{
    (void)e;
    struct device *d = mem_new(sizeof(*d));
    d->ops = &cpu_device_ops;
    *out = d;
    return OK;
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
};
