#include "runner/cli/cut.h"

#include "base/def.h"

static const uint64_t hash_start = 0xcbf29ce484222325; // FNV-1a, 64 bits

uint64_t cut_share(uint64_t records, uint64_t shards, uint64_t i)
{
    return records / shards + (i < records % shards);
}

struct cut cut_new(const struct cut_plan *plan)
{
    return (struct cut){ .plan = *plan, .paragraph_hash = hash_start };
}

uint64_t cut_room(const struct cut *c)
{
    uint64_t all = c->plan.mode == CUT_EQUAL   ? cut_share(c->plan.records, c->plan.shards, c->shard)
                   : c->plan.mode == CUT_COUNT ? c->plan.each
                                               : UINT64_MAX;
    return all > c->records ? all - c->records : 1;
}

static uint64_t add_hash(uint64_t h, const uint8_t *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        h = (h ^ p[i]) * 0x100000001b3;
    return h;
}

/* Every bit of the result depends on every bit of FNV's, whose upper ones move little. */
static uint64_t stir(uint64_t h)
{
    h = (h ^ h >> 33) * 0xff51afd7ed558ccd; // the finalizer of MurmurHash3
    h = (h ^ h >> 33) * 0xc4ceb9fe1a85ec53;
    return h ^ h >> 33;
}

/* With a chance in proportion to its length, so that sizes do not depend on how long records are. */
static bool says_cut(uint64_t hash, uint64_t bytes, uint64_t each)
{
    uint64_t span = MAX(each - each / 4, (uint64_t)1); // beyond the quarter that comes first
    return bytes >= span || stir(hash) < UINT64_MAX / span * bytes;
}

static bool is_blank(const uint8_t *p, size_t n)
{
    while (n > 0 && (p[n - 1] == '\n' || p[n - 1] == '\r' || p[n - 1] == ' ' || p[n - 1] == '\t'))
        n--;
    return n == 0;
}

/* The hash of a paragraph is what decides behind the blank line that ends it. */
static bool ends_paragraph(struct cut *c, const uint8_t *p, size_t n)
{
    c->paragraph_bytes += n;
    if (!is_blank(p, n)) {
        c->paragraph_hash = add_hash(c->paragraph_hash, p, n);
        return false;
    }
    bool cut = says_cut(c->paragraph_hash, c->paragraph_bytes, c->plan.each);
    c->paragraph_bytes = 0;
    c->paragraph_hash = hash_start;
    return cut;
}

static bool ends_by_content(struct cut *c, const uint8_t *p, size_t n)
{
    uint64_t each = c->plan.each;
    bool paragraph = c->plan.paragraphs && ends_paragraph(c, p, n);

    if (c->bytes < each / 4)
        return false;
    if (c->bytes >= each * 4)
        return true;
    if (c->plan.paragraphs && c->bytes < each * 2)
        return paragraph;
    return paragraph || says_cut(add_hash(hash_start, p, n), n, each);
}

bool cut_take(struct cut *c, const void *raw, size_t n, uint64_t records)
{
    bool full = records >= cut_room(c) && c->plan.mode != CUT_CONTENT;

    c->records += records;
    c->bytes += n;
    if (c->plan.mode == CUT_CONTENT)
        full = ends_by_content(c, raw, n);
    if (full) {
        c->shard++;
        c->records = c->bytes = 0;
    }
    return full;
}
