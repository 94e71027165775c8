/*
 * ledger_hands.h - hands on the store of a small ledger, past the ledger: what somebody may do who can write
 * to the bucket.
 */
#ifndef TESTS_UNIT_LEDGER_HANDS_H
#define TESTS_UNIT_LEDGER_HANDS_H

#include "tests/test.h"

#include "base/mem.h"
#include "tests/unit/ledger_small.h"

#define SEGMENT_1 "audit/one/segment/000000000001-7.jsonl"
#define SEGMENT_4 "audit/one/segment/000000000004-7.jsonl"
#define SEGMENT_9 "audit/one/segment/000000000009-7.jsonl"
#define HEAD_3 "audit/one/head/000000000003-7.json"
#define HEAD_8 "audit/one/head/000000000008-7.json"
#define HEAD_12 "audit/one/head/000000000012-7.json"

enum { BYTES_MAX = 1 << 20, LINES_MAX = 32 };

static inline void fetch(struct store *store, const char *key, struct buf *out)
{
    struct err e = ERR_INIT;
    assert_ok(store_get(store, key, NULL, 0, UINT64_MAX, out, NULL, &e));
}

static inline void place(struct ledger_small *s, const char *key, const void *data, size_t n)
{
    struct err e = ERR_INIT;
    assert_ok(store_put(s->store, key, data, n, NULL, NULL, &e));
}

static inline void hide(struct ledger_small *s, const char *key)
{
    struct err e = ERR_INIT;
    assert_ok(store_delete(s->store, key, NULL, &e));
}

static inline void copy(struct ledger_small *s, struct store *from, const char *from_key, const char *to_key)
{
    CLEANUP(buf_done) struct buf bytes = BUF_INIT(BYTES_MAX);
    fetch(from, from_key, &bytes);
    place(s, to_key, bytes.data, bytes.len);
}

struct lines {
    char *line[LINES_MAX];
    size_t count;
};

static inline struct lines lines_of(struct ledger_small *s, const char *key)
{
    CLEANUP(buf_done) struct buf bytes = BUF_INIT(BYTES_MAX);
    struct lines l = { .count = 0 };
    char *save = NULL;

    fetch(s->store, key, &bytes);
    for (char *at = strtok_r((char *)bytes.data, "\n", &save); at; at = strtok_r(NULL, "\n", &save))
        l.line[l.count++] = mem_text(at);
    return l;
}

static inline void put_lines(struct ledger_small *s, const char *key, struct lines *l)
{
    CLEANUP(buf_done) struct buf bytes = BUF_INIT(BYTES_MAX);

    for (size_t i = 0; i < l->count; i++) {
        buf_addf(&bytes, "%s\n", l->line[i]);
        free(l->line[i]);
    }
    place(s, key, bytes.data, bytes.len);
}

#endif
