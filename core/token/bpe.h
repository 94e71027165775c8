/*
 * bpe.h - what a tokenizer consists of, and how byte pairs merge. Private to core/token.
 *
 * The pairs stand in a hash table with open addressing, half full at most. A merge's rank is its line: the
 * smaller, the earlier. Pairs with the same rank are the same pair.
 */
#ifndef CORE_TOKEN_BPE_H
#define CORE_TOKEN_BPE_H

#include "core/token/token.h"

#include <string.h>

#define BPE_NO_RANK UINT32_MAX

struct bpe_pair {
    uint64_t pair; /* left << 32 | right */
    uint32_t rank; /* BPE_NO_RANK: the slot is empty */
};

struct tokenizer {
    bool bytes;
    uint32_t size, end; /* end BPE_NO_RANK: none */
    /* What follows is bpe's alone. */
    uint8_t *text;   /* owned: all tokens' bytes, one behind the other */
    uint32_t *start; /* owned: of token i; size + 1 of them */
    uint32_t byte_id[256];
    struct bpe_pair *pairs; /* owned */
    size_t pair_mask;       /* slots - 1; a power of two less one */
    uint32_t *made;         /* owned: by rank, the token that the pair becomes */
    uint32_t rank_count;
};

static inline size_t bpe_slot(const struct tokenizer *t, uint64_t pair)
{
    return (size_t)((pair * 0x9e3779b97f4a7c15) >> 32 ^ pair) & t->pair_mask;
}

/* The pair's rank, or BPE_NO_RANK. */
static inline uint32_t bpe_rank(const struct tokenizer *t, uint32_t left, uint32_t right)
{
    uint64_t pair = (uint64_t)left << 32 | right;
    size_t i = bpe_slot(t, pair);

    while (t->pairs[i].rank != BPE_NO_RANK && t->pairs[i].pair != pair)
        i = (i + 1) & t->pair_mask;
    return t->pairs[i].rank;
}

/* Memory for long pieces, kept from one to the next. */
struct bpe_scratch {
    struct bpe_symbol *symbols; /* owned */
    uint64_t *heap;             /* owned */
    size_t size;                /* symbols; the heap has twice as many entries */
};
void bpe_scratch_done(struct bpe_scratch *s);
/* Merges ids[0..n) in place; returns how many are left. n >= 1 and at most TOKEN_INPUT_BYTES_MAX. */
size_t bpe_merge(const struct tokenizer *t, struct bpe_scratch *s, uint32_t *ids, size_t n);

#endif
