#include "core/state/state_mem_data.h"

#include "base/mem.h"

#include <search.h>
#include <string.h>

/* ---- trees of named things ---- */

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct mem_named *)a)->name, ((const struct mem_named *)b)->name);
}

void *mem_find(void *const *tree, const char *name)
{
    struct mem_named key = { .name = (char *)name };
    void *node = tfind(&key, tree, by_name);
    return node ? *(void **)node : NULL;
}

void *mem_add(void **tree, const char *name, size_t bytes)
{
    struct mem_named *item = mem_new(bytes);

    item->name = mem_text(name);
    void *node = tsearch(item, tree, by_name);
    invariant(node && *(void **)node == item);
    return item;
}

void mem_remove(void **tree, struct mem_named *item)
{
    invariant(tdelete(item, tree, by_name) != NULL);
}

/* ---- values ---- */

void mem_value_set(struct mem_value *v, const void *data, size_t n)
{
    uint8_t *copy = mem_new(n);

    if (n)
        memcpy(copy, data, n);
    free(v->data);
    v->data = copy;
    v->n = n;
    v->version++;
}

void mem_value_free(void *item)
{
    struct mem_value *v = item;

    free(v->named.name);
    free(v->data);
    free(v);
}

/* ---- ordered sets ---- */

static int rank_compare(double score, const char *member, const struct mem_rank *r)
{
    if (score != r->score)
        return score < r->score ? -1 : 1;
    return strcmp(member, r->member.name);
}

/* The first index whose rank is not below (score, member). */
static size_t rank_place(const struct mem_set *s, double score, const char *member)
{
    size_t from = 0, to = s->count;

    while (from < to) {
        size_t mid = from + (to - from) / 2;
        if (rank_compare(score, member, s->order[mid]) > 0)
            from = mid + 1;
        else
            to = mid;
    }
    return from;
}

static void order_remove(struct mem_set *s, const struct mem_rank *r)
{
    size_t at = rank_place(s, r->score, r->member.name);

    invariant(at < s->count && s->order[at] == r);
    memmove(s->order + at, s->order + at + 1, (s->count - at - 1) * sizeof(struct mem_rank *));
    s->count--;
}

static void order_insert(struct mem_set *s, struct mem_rank *r)
{
    if (s->count == s->size) {
        s->size = s->size ? s->size * 2 : 8;
        s->order = mem_grow(s->order, s->size, sizeof(struct mem_rank *));
    }
    size_t at = rank_place(s, r->score, r->member.name);
    memmove(s->order + at + 1, s->order + at, (s->count - at) * sizeof(struct mem_rank *));
    s->order[at] = r;
    s->count++;
}

void mem_set_rank(struct mem_set *s, const char *member, double score)
{
    struct mem_rank *r = mem_find(&s->members, member);

    if (r)
        order_remove(s, r);
    else
        r = mem_add(&s->members, member, sizeof(*r));
    r->score = score;
    order_insert(s, r);
}

static void rank_free(void *item)
{
    struct mem_rank *r = item;

    free(r->member.name);
    free(r);
}

void mem_set_unrank(struct mem_set *s, const char *member)
{
    struct mem_rank *r = mem_find(&s->members, member);

    if (!r)
        return;
    order_remove(s, r);
    mem_remove(&s->members, &r->member);
    rank_free(r);
}

size_t mem_set_from(const struct mem_set *s, double min)
{
    return rank_place(s, min, ""); /* no member is named "" */
}

size_t mem_set_upto(const struct mem_set *s, double max)
{
    size_t from = 0, to = s->count;

    while (from < to) {
        size_t mid = from + (to - from) / 2;
        if (s->order[mid]->score <= max)
            from = mid + 1;
        else
            to = mid;
    }
    return from;
}

void mem_set_free(void *item)
{
    struct mem_set *s = item;

    tdestroy(s->members, rank_free);
    free(s->order);
    free(s->named.name);
    free(s);
}

/* ---- streams ---- */

void mem_stream_append(struct mem_stream *s, uint64_t now_ms, const void *data, size_t n)
{
    if (s->first + s->count == s->size) {
        if (s->first > s->count) { /* more than half is empty: move down rather than grow */
            memmove(s->entries, s->entries + s->first, s->count * sizeof(*s->entries));
            s->first = 0;
        } else {
            s->size = s->size ? s->size * 2 : 8;
            s->entries = mem_grow(s->entries, s->size, sizeof(*s->entries));
        }
    }
    /* The clock may stand still or go back; ids never do. */
    s->last = now_ms > s->last.ms ? (struct state_id){ now_ms, 0 } : state_id_next(s->last);
    struct mem_entry *entry = &s->entries[s->first + s->count++];
    *entry = (struct mem_entry){ .id = s->last, .data = mem_new(n), .n = n };
    if (n)
        memcpy(entry->data, data, n);
}

void mem_stream_drop(struct mem_stream *s, struct state_id up_to)
{
    while (s->count && state_id_compare(s->entries[s->first].id, up_to) <= 0) {
        free(s->entries[s->first].data);
        s->first++;
        s->count--;
    }
}

size_t mem_stream_behind(const struct mem_stream *s, struct state_id after)
{
    size_t from = s->first, to = s->first + s->count;

    while (from < to) {
        size_t mid = from + (to - from) / 2;
        if (state_id_compare(s->entries[mid].id, after) <= 0)
            from = mid + 1;
        else
            to = mid;
    }
    return from;
}

void mem_stream_free(void *item)
{
    struct mem_stream *s = item;

    for (size_t i = 0; i < s->count; i++)
        free(s->entries[s->first + i].data);
    free(s->entries);
    free(s->named.name);
    free(s);
}

void mem_lease_free(void *item)
{
    struct mem_lease *l = item;

    free(l->named.name);
    free(l);
}
