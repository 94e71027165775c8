/*
 * Any bytes as a head's payload and as a segment: refused, or what they say is in bounds; and one altered
 * byte of a sound ledger is found.
 *
 * The input's first byte chooses. 'h': the rest is a head's payload. 's': the rest is a segment, to be
 * checked against a head made for it. 'b': object, place (2 bytes) and change of one byte of a sound ledger.
 * 'o': an object (1 byte) becomes the rest.
 */
#include "base/mem.h"
#include "tests/fuzz/replay.h"
#include "tests/unit/ledger_small.h"

static const char *const objects[] = {
    "audit/one/segment/000000000001-7.jsonl", "audit/one/segment/000000000004-7.jsonl",
    "audit/one/segment/000000000009-7.jsonl", "audit/one/head/000000000003-7.json",
    "audit/one/head/000000000008-7.json",     "audit/one/head/000000000012-7.json",
};

static void any_head(const uint8_t *data, size_t n)
{
    struct ledger_signed h;
    struct err e = ERR_INIT;

    if (ledger_head_parse(data, n, "one", &h, &e))
        return;
    invariant(h.first >= 1 && h.seq >= h.first && h.seq - h.first < LEDGER_BATCH_MAX && h.token >= 1);
    invariant(strlen(h.hash) == SHA256_HEX_BYTES - 1 && strlen(h.prev) == SHA256_HEX_BYTES - 1);
}

/* Signed by a writer who wrote anything at all: as many records as lines, the last line's hash. */
static void any_segment(const uint8_t *data, size_t n)
{
    CLEANUP(freep) struct ledger_segment *s = mem_new(sizeof(*s));
    CLEANUP(buf_done) struct buf bytes = BUF_INIT(1 << 20);
    struct ledger_signed h = { .first = 1, .seq = 1, .token = 1 };
    struct ledger_fault fault = { .why = "" };

    buf_add(&bytes, data, n);
    if (bytes.full)
        return;
    memcpy(h.prev, ledger_no_hash, sizeof(h.prev));
    memcpy(h.hash, ledger_no_hash, sizeof(h.hash));
    invariant(!ledger_segment_check(&bytes, &h, s, &fault) && *fault.why);
    if (s->count == 0 || s->count > LEDGER_BATCH_MAX)
        return;
    h.seq = (int64_t)s->count;
    memcpy(h.hash, s->line[s->count - 1].hash, sizeof(h.hash));
    if (ledger_segment_check(&bytes, &h, s, &fault))
        invariant((int64_t)s->count == h.seq);
    else
        invariant(*fault.why && fault.seq <= h.seq);
}

static void change_object(const char *key, const uint8_t *data, size_t n, size_t at, uint8_t flip)
{
    struct ledger_small s = small_open();
    CLEANUP(buf_done) struct buf before = BUF_INIT(1 << 20), after = BUF_INIT(1 << 20);
    struct err e = ERR_INIT;

    invariant(small_verify(s.store, &s, NULL).ok);
    invariant(store_get(s.store, key, NULL, 0, UINT64_MAX, &before, NULL, &e) == OK);
    if (data) {
        buf_add(&after, data, n);
    } else {
        buf_add(&after, before.data, before.len);
        after.data[at % after.len] ^= flip;
    }
    bool same = !after.full && after.len == before.len && memcmp(after.data, before.data, before.len) == 0;
    if (!after.full) {
        invariant(store_put(s.store, key, after.data, after.len, NULL, NULL, &e) == OK);
        struct ledger_report r = small_verify(s.store, &s, NULL);
        invariant(r.ok == same);
        invariant(same || (*r.why && strcmp(r.bad_key, "") != 0));
    }
    small_close(&s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    if (n >= 1 && data[0] == 'h')
        any_head(data + 1, n - 1);
    else if (n >= 1 && data[0] == 's')
        any_segment(data + 1, n - 1);
    else if (n == 5 && data[0] == 'b')
        change_object(objects[data[1] % ARRAY_LEN(objects)], NULL, 0, (size_t)(data[2] << 8 | data[3]),
                      data[4]);
    else if (n >= 2 && data[0] == 'o')
        change_object(objects[data[1] % ARRAY_LEN(objects)], data + 2, n - 2, 0, 0);
    return 0;
}

REPLAY_MAIN("ledger")
