#include "kernels/kernels.h"

#include "base/fixed.h"
#include "kernels/cpu/cpu.h"
#ifdef SOVRUN_CUDA
#include "kernels/cuda/cuda.h"
#endif

#include <stdio.h>
#include <string.h>

const char *const device_precision_names[DEVICE_PRECISIONS] = {
    [DEVICE_FP32] = "fp32", [DEVICE_TF32] = "tf32", [DEVICE_BF16] = "bf16"
};

/* Fastest first: "auto" takes the first that opens. */
static const struct {
    const char *name;
    enum err_code (*open)(struct device **out, struct err *e);
    const struct kernels *kernels;
} devices[] = {
#ifdef SOVRUN_CUDA
    { "cuda", cuda_open, &cuda_kernels },
#endif
    { "cpu", cpu_open, &cpu_kernels },
};

/* Why none of those before it was taken, in front of what the device says of itself. */
static void note_passed_over(struct device *d, const struct err *passed)
{
    char own[DEVICE_NOTE_BYTES];

    if (passed->code == OK)
        return;
    snprintf(own, sizeof(own), "%s", d->note);
    snprintf(d->note, sizeof(d->note), "%.120s%s%.100s", passed->text, *own ? "; " : "", own);
}

enum err_code device_open(const char *name, struct device **out, struct err *e)
{
    bool any = strcmp(name, "auto") == 0;
    struct err passed = ERR_INIT;

    for (size_t i = 0; i < ARRAY_LEN(devices); i++) {
        if (!any && strcmp(name, devices[i].name) != 0)
            continue;
        err_clear(e);
        if (!devices[i].open(out, e)) {
            note_passed_over(*out, &passed);
            return OK;
        }
        if (!any)
            return err_wrap(e, "open device '%s'", name);
        passed = *e;
        IGNORE(err_wrap(&passed, "no %s", devices[i].name));
    }
    if (any)
        return err_wrap(e, "open any device");
    return err_set(e, ERR_USAGE, "this build has no device '%s'", name);
}

void device_close(struct device *d)
{
    if (d)
        d->ops->close(d);
}

const char *device_name(const struct device *d)
{
    return d->ops->name;
}

const char *device_card(const struct device *d)
{
    return d->card;
}

size_t device_real_bytes(const struct device *d)
{
    return d->real_bytes;
}

const char *device_note(const struct device *d)
{
    return d->note;
}

void device_use_threads(struct device *d, size_t threads)
{
    d->ops->use_threads(d, MAX(threads, (size_t)1));
}

enum err_code device_use_precision(struct device *d, enum device_precision p, struct err *e)
{
    if (d->ops->use_precision(d, p))
        return OK;
    return err_set(e, ERR_USAGE, "device '%s' does not multiply in %s%s%s", device_name(d),
                   device_precision_names[p], *d->note ? "; " : "", d->note);
}

static enum err_code take(struct device *d, void *(*alloc)(struct device *d, size_t bytes), size_t count,
                          size_t bytes_each, void **out, struct err *e)
{
    size_t bytes;
    void *memory = NULL;

    if (!__builtin_mul_overflow(count, bytes_each, &bytes) && bytes <= DEVICE_BYTES_MAX)
        memory = alloc(d, MAX(bytes, (size_t)1)); // nothing is memory too, and not NULL
    if (!memory) {
        size_t room = device_room(d);
        char left[64] = "";
        if (room < SIZE_MAX)
            snprintf(left, sizeof(left), "; %zu bytes are left", room);
        return err_set(e, ERR_LIMIT, "no memory on device '%s' for %zu times %zu bytes%s", device_name(d),
                       count, bytes_each, left);
    }
    *out = memory;
    return OK;
}

enum err_code device_alloc(struct device *d, size_t count, size_t bytes_each, void **out, struct err *e)
{
    return take(d, d->ops->alloc, count, bytes_each, out, e);
}

enum err_code device_alloc_shared(struct device *d, size_t count, size_t bytes_each, void **out,
                                  struct err *e)
{
    return take(d, d->ops->alloc_shared, count, bytes_each, out, e);
}

enum err_code device_alloc_pinned(struct device *d, size_t count, size_t bytes_each, void **out,
                                  struct err *e)
{
    return take(d, d->ops->alloc_pinned, count, bytes_each, out, e) ? err_wrap(e, "pinned memory of the host")
                                                                    : OK;
}

void device_free_pinned(struct device *d, void *memory)
{
    if (memory)
        d->ops->free_pinned(d, memory);
}

size_t device_room(struct device *d)
{
    return d->ops->room(d);
}

void device_free(struct device *d, void *memory)
{
    if (memory)
        d->ops->free(d, memory);
}

void device_put(struct device *d, void *to, const void *from_host, size_t bytes)
{
    d->ops->put(d, to, from_host, bytes);
}

void device_get(struct device *d, void *to_host, const void *from, size_t bytes)
{
    d->ops->get(d, to_host, from, bytes);
}

void device_repeat(struct device *d, const void *what, size_t bytes, void (*calls)(void *context),
                   void *context)
{
    invariant(bytes <= DEVICE_WHAT_MAX);
    d->ops->repeat(d, what, bytes, calls, context);
}

void *device_host_view(struct device *d, void *memory)
{
    return d->ops->host_view(d, memory);
}

enum err_code device_sync(struct device *d, struct err *e)
{
    return d->ops->sync(d, e);
}

const struct kernels *kernels_for(const struct device *d)
{
    for (size_t i = 0; i < ARRAY_LEN(devices); i++)
        if (strcmp(devices[i].name, device_name(d)) == 0)
            return devices[i].kernels;
    invariant(!"a device without kernels");
    return NULL;
}

void rotary_prepare(float *turns, size_t positions, size_t size)
{
    size_t half = size / 2;
    const double step = fixed_log(ROTARY_BASE) * 2 / (double)size;
    for (size_t i = 0; i < half; i++) {
        double angle = fixed_exp(-step * (double)i), s, c;
        for (size_t p = 0; p < positions; p++) {
            fixed_sin_cos((double)p * angle, &s, &c);
            turns[p * size + i] = (float)c;
            turns[p * size + half + i] = (float)s;
        }
    }
}

void adamw_prepare(struct adamw *a, int64_t t)
{
    invariant(t >= 1);
    a->correct1 = (float)(1 / (1 - fixed_power(a->beta1, t)));
    a->correct2 = (float)(1 / (1 - fixed_power(a->beta2, t)));
}
