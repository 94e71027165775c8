/* What sm_90a adds, for emulate.h: barriers in shared memory, TMA's copies of boxes, and a warpgroup's products. */
#include "tests/emulate/bf16.h"
#include "tests/emulate/emulate.h"

#include "kernels/cuda/tensor_map.h"

#include <stdlib.h>

enum { LANES = 32, THREADS_MAX = 1024, BOX = 64, BOX_BYTES = BOX * BOX * 2, COPIES_MAX = 64, MADE = 0x5a };
enum { OPS_MAX = 32, SUMS_MAX = 4, COLUMNS = 64, DEPTH = 16, OWN = COLUMNS / 4 /* of one of a lane's two rows */ };

/* ---- barriers ---- */

/* In the place of the hardware's 64 bits. */
struct barrier {
    int32_t bytes_left;
    uint8_t arrivals, left, opened, made;
};
static_assert(sizeof(struct barrier) == sizeof(uint64_t), "it lies in the same place");

struct box {
    char *to;
    const uint16_t *memory;
    size_t B, T, heads, size;
    int column, head, token, b;
    struct barrier *barrier;
};
static struct box boxes[COPIES_MAX]; // asked for, not there yet
static unsigned box_count;
static bool told;

static void open_if_all(struct barrier *b)
{
    if (b->left > 0 || b->bytes_left > 0)
        return;
    b->left = b->arrivals;
    b->opened++;
    emulated_progress();
}

static struct barrier *made(uint64_t *at)
{
    struct barrier *b = (struct barrier *)at;
    invariant(b->made == MADE && told);
    return b;
}

void emulated_barrier_init(uint64_t *barrier, uint32_t arrivals)
{
    invariant(arrivals > 0 && arrivals < 256);
    *(struct barrier *)barrier = (struct barrier){ 0, (uint8_t)arrivals, (uint8_t)arrivals, 0, MADE };
    told = false;
}

void emulated_barriers_told(void)
{
    told = true;
}

void emulated_barrier_arrive(uint64_t *barrier, uint32_t announced_bytes)
{
    struct barrier *b = made(barrier);
    invariant(b->left > 0);
    b->left--;
    b->bytes_left += (int32_t)announced_bytes;
    open_if_all(b);
}

/* ---- TMA ---- */

/* In a map's opaque bytes. */
struct emulated_map {
    const uint16_t *memory;
    size_t B, T, heads, size;
};

bool cuda_tensor_map(struct device *d, CUtensorMap *out, const void *memory, size_t B, size_t T, size_t heads,
                     size_t size)
{
    if (!device_tensor_encoder(d))
        return false;
    /* The driver's rules. */
    invariant((uintptr_t)memory % 16 == 0 && size * 2 % 16 == 0);
    invariant(B > 0 && T > 0 && heads > 0 && T * heads * size * 2 < (size_t)1 << 40);
    const struct emulated_map map = { (const uint16_t *)memory, B, T, heads, size };
    static_assert(sizeof(map) <= sizeof(*out), "there is room");
    memcpy((void *)out, &map, sizeof(map));
    return true;
}

void emulated_bulk_copy(void *to, const void *map, int column, int head, int token, int b, uint64_t *barrier)
{
    struct emulated_map m;
    uintptr_t at = (uintptr_t)((char *)to - (char *)emulated_shared + EMULATED_SHARED_AT);

    memcpy(&m, map, sizeof(m));
    invariant(box_count < COPIES_MAX && at % 1024 == 0);
    memset(to, 0xff, BOX_BYTES);
    boxes[box_count++] =
        (struct box){ (char *)to, m.memory, m.B, m.T, m.heads, m.size, column, head, token, b, made(barrier) };
}

static void fill_box(const struct box *x)
{
    for (int row = 0; row < BOX; row++)
        for (int c = 0; c < BOX; c++) {
            size_t t = (size_t)(x->token + row), column = (size_t)(x->column + c);
            bool there = t < x->T && column < x->size && (size_t)x->head < x->heads && (size_t)x->b < x->B;
            uint16_t number = 0;
            if (there)
                number = x->memory[(((size_t)x->b * x->T + t) * x->heads + (size_t)x->head) * x->size + column];
            memcpy(x->to + row * 128 + (c / 8 ^ row % 8) * 16 + c % 8 * 2, &number, sizeof(number));
        }
    x->barrier->bytes_left -= BOX_BYTES;
}

bool emulated_barrier_passed(uint64_t *barrier, uint32_t parity)
{
    struct barrier *b = made(barrier);
    unsigned kept = 0;

    for (unsigned i = 0; i < box_count; i++)
        if (boxes[i].barrier == b)
            fill_box(&boxes[i]);
        else
            boxes[kept++] = boxes[i];
    if (kept < box_count) {
        box_count = kept;
        open_if_all(b);
    }
    if (b->opened % 2 != parity)
        return true;
    emulated_yield();
    return false;
}

/* ---- products ---- */

struct product {
    float *sum;
    float left[2][DEPTH]; // of this lane's two rows
    uint64_t right;
    bool add, turned;
    unsigned group;
};
/* A sum that products are asked of: it is here, and not-a-number where the kernel has it. */
struct hidden {
    float *sum, value[2 * OWN];
    unsigned pending;
};
struct lane_products {
    struct product asked[OPS_MAX];
    struct hidden sums[SUMS_MAX];
    unsigned count, groups;
    bool begun;
};
static struct lane_products all_products[THREADS_MAX];

void emulated_wgmma_block(void)
{
    memset((void *)all_products, 0, sizeof(all_products));
    box_count = 0;
    told = false;
}

static struct hidden *hide(struct lane_products *p, float *sum)
{
    struct hidden *free_one = NULL;

    for (unsigned i = 0; i < SUMS_MAX; i++) {
        if (p->sums[i].pending > 0 && p->sums[i].sum == sum)
            return &p->sums[i];
        if (p->sums[i].pending == 0)
            free_one = &p->sums[i];
    }
    invariant(free_one);
    free_one->sum = sum;
    memcpy(free_one->value, sum, sizeof(free_one->value));
    memset(sum, 0xff, sizeof(free_one->value));
    return free_one;
}

void emulated_wgmma_begin(void)
{
    all_products[emulated_thread_index()].begun = true;
}

void emulated_wgmma(float sum[8][4], const uint32_t left[4], uint64_t right, bool add, bool turned)
{
    struct lane_products *p = &all_products[emulated_thread_index()];
    uint32_t theirs[4];
    uint64_t first;

    invariant(p->begun && p->count < OPS_MAX);
    emulated_exchange(&right, &first, sizeof(right), 0);
    invariant(first == right); // one operand for all
    struct product *o = &p->asked[p->count++];
    *o = (struct product){ &sum[0][0], {}, right, add, turned, p->groups };
    for (unsigned j = 0; j < 4; j++) {
        emulated_exchange(left, theirs, sizeof(theirs), emulated_lane() / 4 * 4 + j);
        for (unsigned i = 0; i < 4; i++)
            for (unsigned half = 0; half < 2; half++)
                o->left[i % 2][i / 2 * 8 + 2 * j + half] = of_bf16((uint16_t)(theirs[i] >> 16 * half));
    }
    hide(p, o->sum)->pending++;
}

/* Number (k, n) of a right operand, as the PTX ISA lays out what a descriptor names: swizzled by 128 bytes, by k or,
 * turned, by n. */
static float right_number(const struct product *o, unsigned k, unsigned n)
{
    uint32_t start = (uint32_t)(o->right & 0x3fff) << 4, stride = (uint32_t)(o->right >> 32 & 0x3fff) << 4, at;
    uint16_t number;

    at = o->turned ? start + k / 8 * stride + k % 8 * 128 + n * 2 : start + n / 8 * stride + n % 8 * 128 + k * 2;
    at ^= (at >> 7 & 7) << 4;
    invariant(at >= EMULATED_SHARED_AT);
    memcpy(&number, (const char *)emulated_shared + (at - EMULATED_SHARED_AT), sizeof(number));
    return of_bf16(number);
}

static void multiply(struct lane_products *p, const struct product *o)
{
    struct hidden *h = hide(p, o->sum);
    unsigned column = emulated_lane() % 4 * 2;

    invariant(o->right >> 62 == 1 && (o->right >> 49 & 7) == 0);
    invariant((o->right << 4 & 0x3ff) < 128); // from a multiple of eight rows on
    for (unsigned i = 0; i < 2 * OWN; i++) {
        float sum = o->add ? h->value[i] : 0;
        for (unsigned k = 0; k < DEPTH; k++)
            sum += o->left[i / 2 % 2][k] * right_number(o, k, i / 4 * 8 + column + i % 2);
        h->value[i] = sum;
    }
    if (--h->pending == 0)
        memcpy(h->sum, h->value, sizeof(h->value));
}

void emulated_wgmma_group(void)
{
    all_products[emulated_thread_index()].groups++;
}

void emulated_wgmma_wait(unsigned left)
{
    struct lane_products *p = &all_products[emulated_thread_index()];
    unsigned done = 0;

    for (; done < p->count && p->asked[done].group + left < p->groups; done++)
        multiply(p, &p->asked[done]);
    memmove(p->asked, p->asked + done, (p->count - done) * sizeof(p->asked[0]));
    p->count -= done;
    p->begun = false;
}
