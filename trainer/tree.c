#include "trainer/tree.h"

#include "base/mem.h"

bool is_power_of_two(uint64_t n)
{
    return n != 0 && (n & (n - 1)) == 0;
}

unsigned log2_of(uint64_t power_of_two)
{
    invariant(is_power_of_two(power_of_two));
    return (unsigned)__builtin_ctzll(power_of_two);
}

static size_t bit_reverse(size_t value, unsigned bits)
{
    size_t reversed = 0;
    for (unsigned i = 0; i < bits; i++)
        reversed |= (value >> i & 1) << (bits - 1 - i);
    return reversed;
}

struct slice_range leaves_of_rank(int rank, int size, size_t leaves)
{
    size_t each = leaves / (size_t)size;
    invariant(is_power_of_two((size_t)size) && each * (size_t)size == leaves);
    return (struct slice_range){ (size_t)rank * each, each };
}

struct slice_range slices_of_rank(int rank, int size, size_t slices)
{
    size_t each = slices / (size_t)size;
    invariant(is_power_of_two((size_t)size) && each * (size_t)size == slices);
    return (struct slice_range){ bit_reverse((size_t)rank, log2_of((size_t)size)) * each, each };
}

/* Reversing the bits twice gives them back. */
int rank_of_slice(size_t slice, int size, size_t slices)
{
    size_t each = slices / (size_t)size;
    invariant(is_power_of_two((size_t)size) && each * (size_t)size == slices && slice < slices);
    return (int)bit_reverse(slice / each, log2_of((size_t)size));
}

double tree_sum_f64(const double *values, size_t n)
{
    invariant(is_power_of_two(n));
    if (n == 1)
        return values[0];
    return tree_sum_f64(values, n / 2) + tree_sum_f64(values + n / 2, n / 2);
}

/*
 * After k pushes the slots hold one sum for each bit that is set in k, the largest lowest, and above them the
 * slot where the next leaf goes. A push adds as often as k has trailing ones: it is the counting on of a
 * binary number.
 */
struct tree {
    struct device *device;
    const struct kernels *k;
    size_t leaves, count;
    size_t parts;         /* floats of the last leaf that tree_push_part() was told of */
    size_t pushed, depth; /* depth: slots with sums in them */
    size_t slot_count;
    float *slots[TREE_LEVELS_MAX];
};

void tree_close(struct tree *t)
{
    if (!t)
        return;
    for (size_t i = 0; i < t->slot_count; i++)
        device_free(t->device, t->slots[i]);
    free(t);
}

enum err_code tree_open(struct device *d, size_t leaves, size_t count, bool shared, struct tree **out,
                        struct err *e)
{
    CLEANUP(tree_closep) struct tree *t = mem_new(sizeof(*t));

    invariant(is_power_of_two(leaves) && leaves <= TREE_LEAVES_MAX);
    *t = (struct tree){ .device = d, .k = kernels_for(d), .leaves = leaves, .count = count };
    for (size_t need = log2_of(leaves) + 1; t->slot_count < need; t->slot_count++) {
        void **slot = (void **)&t->slots[t->slot_count];
        if (shared && t->slot_count == 0 ? device_alloc_shared(d, count, sizeof(float), slot, e)
                                         : device_alloc(d, count, sizeof(float), slot, e))
            return e->code;
    }
    *out = TAKE(t);
    return OK;
}

void tree_start(struct tree *t)
{
    t->pushed = 0;
    t->parts = 0;
    t->depth = 0;
}

float *tree_next(struct tree *t)
{
    invariant(t->pushed < t->leaves);
    return t->slots[t->depth];
}

void tree_push(struct tree *t)
{
    invariant(t->pushed < t->leaves);
    t->depth++;
    for (size_t ones = t->pushed; ones & 1; ones >>= 1) {
        t->k->add(t->device, t->slots[t->depth - 2], t->slots[t->depth - 1], t->count);
        t->depth--;
    }
    t->pushed++;
}

void tree_push_part(struct tree *t, size_t first, size_t count)
{
    invariant(t->pushed + 1 == t->leaves && first + count <= t->count);
    for (size_t d = t->depth; d > 0; d--)
        t->k->add(t->device, t->slots[d - 1] + first, t->slots[d] + first, count);
    t->parts += count;
    if (t->parts < t->count)
        return;
    t->pushed++;
    t->depth = 1;
}

float *tree_result_place(struct tree *t)
{
    return t->slots[0];
}

float *tree_result(struct tree *t)
{
    invariant(t->pushed == t->leaves && t->depth == 1);
    return t->slots[0];
}
