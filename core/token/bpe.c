#include "core/token/bpe.h"

#include "base/mem.h"

enum { SHORT_MAX = 48, SCRATCH_KEPT_MAX = 1 << 16 };
#define NOWHERE UINT32_MAX

/* A token of the piece, in a list from left to right. */
struct bpe_symbol {
    uint32_t id; /* BPE_NO_RANK: it went into the one before it */
    uint32_t before, behind;
};

void bpe_scratch_done(struct bpe_scratch *s)
{
    free(s->symbols);
    free(s->heap);
    *s = (struct bpe_scratch){ .size = 0 };
}

/* Looks at every pair for each merge: for a few dozen bytes nothing is faster. */
static size_t merge_short(const struct tokenizer *t, uint32_t *ids, size_t n)
{
    uint32_t ranks[SHORT_MAX];

    for (size_t i = 0; i + 1 < n; i++)
        ranks[i] = bpe_rank(t, ids[i], ids[i + 1]);
    while (n > 1) {
        size_t best = 0;
        for (size_t i = 1; i + 1 < n; i++)
            if (ranks[i] < ranks[best])
                best = i;
        if (ranks[best] == BPE_NO_RANK)
            break;
        ids[best] = t->made[ranks[best]];
        n--;
        memmove(ids + best + 1, ids + best + 2, (n - best - 1) * sizeof(*ids));
        memmove(ranks + best, ranks + best + 1, (n - best) * sizeof(*ranks));
        if (best > 0)
            ranks[best - 1] = bpe_rank(t, ids[best - 1], ids[best]);
        if (best + 1 < n)
            ranks[best] = bpe_rank(t, ids[best], ids[best + 1]);
    }
    return n;
}

/* ---- long pieces: a heap of rank << 32 | place ---- */

struct heap {
    uint64_t *entries;
    size_t count;
};

static void heap_add(struct heap *h, uint64_t entry)
{
    size_t i = h->count++;

    while (i > 0 && h->entries[(i - 1) / 2] > entry) {
        h->entries[i] = h->entries[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    h->entries[i] = entry;
}

static uint64_t heap_take(struct heap *h)
{
    uint64_t first = h->entries[0], last = h->entries[--h->count];
    size_t i = 0, child;

    while ((child = 2 * i + 1) < h->count) {
        if (child + 1 < h->count && h->entries[child + 1] < h->entries[child])
            child++;
        if (h->entries[child] >= last)
            break;
        h->entries[i] = h->entries[child];
        i = child;
    }
    h->entries[i] = last;
    return first;
}

/* The rank of the symbol at `i` and the one behind it. */
static uint32_t rank_at(const struct tokenizer *t, const struct bpe_symbol *s, uint32_t i)
{
    bool none = s[i].id == BPE_NO_RANK || s[i].behind == NOWHERE;
    return none ? BPE_NO_RANK : bpe_rank(t, s[i].id, s[s[i].behind].id);
}

static void offer(const struct tokenizer *t, const struct bpe_symbol *s, struct heap *h, uint32_t i)
{
    uint32_t rank = rank_at(t, s, i);
    if (rank != BPE_NO_RANK)
        heap_add(h, (uint64_t)rank << 32 | i);
}

/* The symbol behind the one at `i` goes into it. */
static void join(struct bpe_symbol *s, uint32_t i, uint32_t id)
{
    uint32_t gone = s[i].behind;

    s[i].id = id;
    s[i].behind = s[gone].behind;
    if (s[i].behind != NOWHERE)
        s[s[i].behind].before = i;
    s[gone].id = BPE_NO_RANK;
}

static void make_room(struct bpe_scratch *s, size_t n)
{
    if (n <= s->size)
        return;
    bpe_scratch_done(s);
    s->symbols = mem_array(n, sizeof(*s->symbols));
    s->heap = mem_array(2 * n, sizeof(*s->heap)); /* n at first; each merge takes one and adds at most two */
    s->size = n;
}

static size_t merge_long(const struct tokenizer *t, struct bpe_scratch *scratch, uint32_t *ids, size_t n)
{
    make_room(scratch, n);
    struct bpe_symbol *s = scratch->symbols;
    struct heap h = { .entries = scratch->heap };
    size_t left = 0;

    for (uint32_t i = 0; i < n; i++)
        s[i] = (struct bpe_symbol){ ids[i], i > 0 ? i - 1 : NOWHERE, i + 1 < n ? i + 1 : NOWHERE };
    for (uint32_t i = 0; i < n; i++)
        offer(t, s, &h, i);
    while (h.count > 0) {
        uint64_t entry = heap_take(&h);
        uint32_t rank = (uint32_t)(entry >> 32), i = (uint32_t)entry;
        if (rank_at(t, s, i) != rank) /* one of the two has become another since */
            continue;
        join(s, i, t->made[rank]);
        offer(t, s, &h, i);
        if (s[i].before != NOWHERE)
            offer(t, s, &h, s[i].before);
    }
    for (uint32_t i = 0; i != NOWHERE; i = s[i].behind)
        ids[left++] = s[i].id;
    if (scratch->size > SCRATCH_KEPT_MAX)
        bpe_scratch_done(scratch);
    return left;
}

size_t bpe_merge(const struct tokenizer *t, struct bpe_scratch *s, uint32_t *ids, size_t n)
{
    return n <= SHORT_MAX ? merge_short(t, ids, n) : merge_long(t, s, ids, n);
}
