/*
 * state_mem_data.h - what the mem backend keeps: values, ordered sets, streams and leases of one cluster, by
 * name.
 *
 * Plain containers without locks: state_mem.c holds the cluster's mutex around every call. Names are kept in
 * search trees (tsearch); an ordered set keeps its members both in a tree by name and in an array by (score,
 * name).
 */
#ifndef CORE_STATE_STATE_MEM_DATA_H
#define CORE_STATE_STATE_MEM_DATA_H

#include "core/state/state_ops.h"

/* The first member of everything that lies in a tree: its name, owned. */
struct mem_named {
    char *name;
};
void *mem_find(void *const *tree, const char *name);
void *mem_add(void **tree, const char *name, size_t bytes); /* zeroed, but for its name; must not be there */
void mem_remove(void **tree, struct mem_named *item);       /* out of the tree; the caller frees it */

struct mem_value {
    struct mem_named named;
    int64_t version;
    uint8_t *data;
    size_t n;
};
void mem_value_set(struct mem_value *v, const void *data, size_t n);
void mem_value_free(void *v);

struct mem_rank {
    struct mem_named member;
    double score;
};

struct mem_set {
    struct mem_named named;
    void *members;
    struct mem_rank **order;
    size_t count, size;
};
void mem_set_rank(struct mem_set *s, const char *member, double score);
void mem_set_unrank(struct mem_set *s, const char *member);
size_t mem_set_from(const struct mem_set *s, double min); /* index of the first with score >= min */
size_t mem_set_upto(const struct mem_set *s, double max); /* index behind the last with score <= max */
void mem_set_free(void *s);

struct mem_entry {
    struct state_id id;
    uint8_t *data;
    size_t n;
};

struct mem_stream {
    struct mem_named named;
    struct mem_entry *entries;
    size_t first, count, size; /* entries[first .. first + count - 1] */
    struct state_id last;      /* ids grow even where all entries are gone */
};
void mem_stream_append(struct mem_stream *s, uint64_t now_ms, const void *data, size_t n);
void mem_stream_drop(struct mem_stream *s, struct state_id up_to);
/* Index of the first entry behind it. */
size_t mem_stream_behind(const struct mem_stream *s, struct state_id after);
void mem_stream_free(void *s);

struct mem_lease {
    struct mem_named named;
    char owner[LEASE_OWNER_BYTES];
    int64_t token;
    int64_t until_mono_ms;
};
void mem_lease_free(void *l);

#endif
