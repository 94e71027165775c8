#include "trainer/budget.h"

#include "base/buf.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/num.h"
#include "trainer/tree.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum {
    COPIES_OF_FILE = 2 /* plain and sealed */,
    COPIES_OF_ORIGIN = 3 /* parts, vector, file */,
    STATE_VECTORS = 3,
    HEADER_BYTES = 1 << 20
};
enum { BATCHES = 2 /* of the step at hand and of the next */ };

static enum err_code check_objects(const struct params *p, struct err *e)
{
    char size[NUM_TEXT_BYTES], most[NUM_TEXT_BYTES];
    uint64_t file = p->count * sizeof(float) + HEADER_BYTES;
    uint64_t part = STATE_VECTORS * p->slice_count * sizeof(float) + HEADER_BYTES;

    format_size(STORE_OBJECT_BYTES_MAX, most);
    if (file > STORE_OBJECT_BYTES_MAX)
        return err_set(
            e, ERR_LIMIT,
            "a model file of %zu parameters has %s, and an object at most %s: a smaller model.width "
            "or fewer model.layers",
            p->count, format_size(file, size), most);
    if (part > STORE_OBJECT_BYTES_MAX)
        return err_set(
            e, ERR_LIMIT,
            "a part of a checkpoint has %s, and an object at most %s: more train.leaves make smaller parts",
            format_size(part, size), most);
    return OK;
}

enum err_code budget_make(const struct budget_question *q, struct budget *out, struct err *e)
{
    CLEANUP(freep) struct params *p = mem_new(sizeof(*p));
    struct model_memory m;
    size_t leaves = q->config->slices, own = leaves / q->ranks, context = q->config->context;

    if (model_plan(q->kind, q->config, q->device, p, &m, e) || check_objects(p, e))
        return e->code;
    uint64_t vector = p->padded * sizeof(float), slices = own * p->slice_count * sizeof(float);
    uint64_t part = STATE_VECTORS * p->slice_count * sizeof(float);
    bool exact = q->spec->train.reduce == REDUCE_EXACT;
    uint64_t record =
        context > 0 ? context * 3 * sizeof(int32_t) : q->config->width * sizeof(float) + sizeof(int32_t);
    struct budget b = {
        .parameters = vector,
        .moments = 2 * slices,
        .gradients = (exact ? log2_of(own) + 1 : 2) * vector,
        .activations = m.activations,
        .workspace = m.workspace,
        .checkpoint = STATE_VECTORS * slices + COPIES_OF_FILE * MAX(part, vector),
        .data = q->data_bytes + BATCHES * ((uint64_t)q->spec->train.batch / q->ranks) * record,
    };
    if (q->spec->task == TASK_EVALUATE) { /* the file is read, and nothing changes */
        b.moments = b.gradients = 0;
        b.checkpoint = COPIES_OF_ORIGIN * vector;
    }
    if (q->spec->model.from[0])
        b.checkpoint = MAX(b.checkpoint, COPIES_OF_ORIGIN * vector);
    uint64_t by_device = b.parameters + b.moments + b.gradients + b.activations + b.workspace;
    b.total = by_device + b.checkpoint + b.data;
    b.card = device_room(q->device) < SIZE_MAX ? by_device : 0;
    *out = b;
    return OK;
}

/* The number behind "NAME:" in a file of such lines, or the file's only one; 0: there is none. */
static uint64_t read_number(const char *path, const char *name)
{
    CLEANUP(buf_done) struct buf text = BUF_INIT(64 << 10);
    struct err ignored = ERR_INIT;
    unsigned long long n = 0;
    const char *at;

    if (file_read(path, &text, &ignored))
        return 0;
    at = name ? strstr(buf_text(&text), name) : buf_text(&text);
    if (!at || sscanf(at + (name ? strlen(name) : 0), "%llu", &n) != 1)
        return 0;
    return n;
}

uint64_t budget_available(void)
{
    uint64_t machine = read_number("/proc/meminfo", "MemAvailable:") * 1024;
    uint64_t most = read_number("/sys/fs/cgroup/memory.max", NULL);
    uint64_t used = read_number("/sys/fs/cgroup/memory.current", NULL);
    uint64_t files = read_number("/sys/fs/cgroup/memory.stat", "\ninactive_file ") +
                     read_number("/sys/fs/cgroup/memory.stat", "\nactive_file ");

    used -= MIN(used, files); /* of files, which the kernel lets go of */

    if (most > 0 && most > used)
        return machine > 0 ? MIN(machine, most - used) : most - used;
    return machine;
}

void budget_text(const struct budget *b, char *out, size_t out_bytes)
{
    const struct {
        const char *name;
        uint64_t bytes;
    } rows[] = { { "parameters", b->parameters },
                 { "moments", b->moments },
                 { "gradients", b->gradients },
                 { "activations", b->activations },
                 { "workspace", b->workspace },
                 { "checkpoint", b->checkpoint },
                 { "data", b->data } };
    char size[NUM_TEXT_BYTES];
    size_t at = 0;

    out[0] = '\0';
    for (size_t i = 0; i < ARRAY_LEN(rows) && at < out_bytes; i++)
        at += (size_t)snprintf(out + at, out_bytes - at, "%s%s %s", i ? ", " : "", rows[i].name,
                               format_size(rows[i].bytes, size));
}

/* What makes the largest of what a user can change smaller. */
static const char *advice(const struct budget *b)
{
    uint64_t per_batch = b->activations + b->workspace;
    uint64_t state = b->parameters + b->moments + b->gradients + b->checkpoint;

    if (b->data >= per_batch && b->data >= state)
        return "stage smaller shards";
    return per_batch >= state ? "a smaller train.batch, more train.leaves, or model.recompute: true"
                              : "a smaller model, or more ranks on more machines";
}

enum err_code budget_check(const struct budget *b, size_t ranks, uint64_t available, struct err *e)
{
    char need[NUM_TEXT_BYTES], there[NUM_TEXT_BYTES], rows[256];
    uint64_t sum;

    if (available == 0)
        return OK;
    if (__builtin_mul_overflow(b->total - b->card, ranks, &sum))
        sum = UINT64_MAX;
    if (sum <= available)
        return OK;
    budget_text(b, rows, sizeof(rows));
    return err_set(e, ERR_LIMIT,
                   "%zu rank%s would need %s of memory where %s can be had; each: %s. To reduce: %s", ranks,
                   ranks == 1 ? "" : "s", format_size(sum, need), format_size(available, there), rows,
                   advice(b));
}

enum err_code budget_check_card(const struct budget *b, uint64_t room, struct err *e)
{
    char need[NUM_TEXT_BYTES], there[NUM_TEXT_BYTES], rows[256];

    if (b->card <= room)
        return OK;
    budget_text(b, rows, sizeof(rows));
    return err_set(e, ERR_LIMIT,
                   "a rank would need %s of its card's memory where %s can be had: %s. To reduce: %s",
                   format_size(b->card, need), format_size(room, there), rows, advice(b));
}
