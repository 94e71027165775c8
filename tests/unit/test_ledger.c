/* The writer's side of core/ledger/ledger.h: what is recorded, how it goes on, and what failures leave. */
#include "tests/test.h"

#include "base/num.h"
#include "tests/unit/ledger_small.h"

static struct ledger *open_or_fail(struct ledger_small *s, struct store *store, int64_t token)
{
    const struct ledger_config config = small_config("one", token);
    struct ledger *l = NULL;
    struct err e = ERR_INIT;

    assert_ok(ledger_open(&config, store, &s->signer, &s->clock.base, &l, &e));
    return l;
}

static void assert_good(struct ledger_small *s, struct store *store, int64_t records, int64_t superseded)
{
    struct ledger_report r = small_verify(store, s, NULL);

    if (!r.ok)
        fail_msg("%s: record %d: %s", r.bad_key, (int)r.bad_seq, r.why);
    assert_int_equal(r.records, records);
    assert_int_equal(r.last.seq, records);
    assert_int_equal(r.superseded, superseded);
}

/* ---- what is recorded ---- */

struct seen {
    int64_t count;
    char prev[SHA256_HEX_BYTES];
    enum err_code stop_with;
};

static enum err_code see_record(void *context, const json_t *record, const char *hash, struct err *e)
{
    struct seen *seen = context;
    CLEANUP(buf_done) struct buf line = BUF_INIT(LEDGER_RECORD_BYTES_MAX);
    char own_hash[SHA256_HEX_BYTES], when[CLOCK_TEXT_BYTES], source[32];
    int64_t i = ++seen->count;

    assert_int_equal(json_object_size(record), 8);
    assert_int_equal(json_i64_or(record, "seq", 0), i);
    assert_string_equal(json_text_or(record, "prev", ""), seen->prev);
    assert_string_equal(json_text_or(record, "actor", ""), "user:ana");
    assert_string_equal(json_text_or(record, "event", ""), "job.submitted");
    assert_string_equal(json_text_or(record, "job", ""), "261122-k3m9qz");
    assert_string_equal(json_text_or(record, "time", ""), clock_format(1800000000000 + i, when));
    snprintf(source, sizeof(source), "1-%" PRId64, i);
    assert_string_equal(json_text_or(record, "source", ""), source);
    const json_t *data = json_object_get(record, "data");
    assert_int_equal(json_i64_or(data, "number", 0), i);
    assert_string_equal(json_text_or(data, "text", ""), "a\nb \xc3\xa4");
    if (json_canonical(record, &line, e))
        return e->code;
    sha256_hex(line.data, line.len, own_hash);
    assert_string_equal(own_hash, hash);
    memcpy(seen->prev, hash, sizeof(seen->prev));
    return seen->stop_with && i == 5 ? err_set(e, seen->stop_with, "enough") : OK;
}

static void records_in_order(void **state)
{
    struct ledger_small s = small_open();
    const struct ledger_trust trust = small_trust(&s.signer, NULL);
    struct seen seen = { .count = 0 };
    struct ledger_report r;
    struct err e = ERR_INIT;

    (void)state;
    memcpy(seen.prev, ledger_no_hash, sizeof(seen.prev));
    assert_ok(ledger_verify(s.store, "one", "audit/one", &trust, NULL, see_record, &seen, &r, &e));
    assert_true(r.ok);
    assert_int_equal(seen.count, 12);
    assert_int_equal(r.records, 12);
    assert_int_equal(r.segments, 3);
    assert_int_equal(r.heads, 3);
    assert_int_equal(r.last.seq, 12);
    assert_int_equal(r.last.token, 7);
    assert_string_equal(r.last.hash, seen.prev);
    assert_string_equal(r.last.source, "1-12");
    seen = (struct seen){ .stop_with = ERR_CANCELED };
    memcpy(seen.prev, ledger_no_hash, sizeof(seen.prev));
    assert_int_equal(ledger_verify(s.store, "one", "audit/one", &trust, NULL, see_record, &seen, &r, &e),
                     ERR_CANCELED);
    assert_int_equal(seen.count, 5);
    small_close(&s);
}

static void empty_prefix(void **state)
{
    struct ledger_small s = small_open();
    const struct ledger_trust trust = small_trust(&s.signer, NULL);
    struct ledger_config config = { .cluster = "one", .prefix = "elsewhere", .token = 1 };
    CLEANUP(ledger_closep) struct ledger *l = NULL;
    struct ledger_head head;
    struct ledger_report r;
    struct err e = ERR_INIT;

    (void)state;
    assert_ok(ledger_open(&config, s.store, &s.signer, &s.clock.base, &l, &e));
    ledger_head(l, &head);
    assert_int_equal(head.seq, 0);
    assert_string_equal(head.source, "");
    assert_ok(ledger_verify(s.store, "one", "elsewhere", &trust, NULL, NULL, NULL, &r, &e));
    assert_true(r.ok);
    assert_int_equal(r.records, 0);
    small_close(&s);
}

static void goes_on(void **state)
{
    struct ledger_small s = small_open();
    struct ledger_head head;
    struct err e = ERR_INIT;

    (void)state;
    for (int64_t token = 7; token < 10; token++) { /* the same writer again, then newer ones */
        CLEANUP(ledger_closep) struct ledger *l = open_or_fail(&s, s.store, token);
        char source[32];
        ledger_head(l, &head);
        assert_int_equal(head.seq, 12 + token - 7);
        snprintf(source, sizeof(source), "1-%" PRId64, head.seq);
        assert_string_equal(head.source, source);
        assert_ok(small_append(l, head.seq + 1, head.seq + 1, "job.placed", &e));
    }
    assert_good(&s, s.store, 15, 0);
    small_close(&s);
}

static void under_lock(void **state)
{
    struct ledger_small s = small_open();
    struct ledger_config config = small_config("one", 8);
    CLEANUP(ledger_closep) struct ledger *l = NULL;
    const char *const keys[] = { "audit/one/segment/000000000013-8.jsonl",
                                 "audit/one/head/000000000014-8.json" };
    struct store_info info;
    struct err e = ERR_INIT;

    (void)state;
    config.lock_mode = STORE_LOCK_COMPLIANCE;
    assert_int_equal(ledger_open(&config, s.store, &s.signer, &s.clock.base, &l, &e), ERR_USAGE);
    config.retain_ms = 3600000;
    assert_ok(ledger_open(&config, s.store, &s.signer, &s.clock.base, &l, &e));
    assert_ok(small_append(l, 13, 14, "job.placed", &e));
    for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
        assert_ok(store_head(s.store, keys[i], NULL, &info, &e));
        assert_int_equal(info.lock.mode, STORE_LOCK_COMPLIANCE);
        assert_true(info.lock.retain_until_ms >= s.clock.wall + 3600000);
        assert_int_equal(store_delete(s.store, keys[i], info.version, &e), ERR_DENIED);
    }
    small_close(&s);
}

/* ---- what is refused ---- */

static const struct refused_row {
    const char *name;
    struct ledger_event event;
    const char *data; /* JSON; NULL: none */
    enum err_code want;
} refused_rows[] = {
    { "no data is an empty object", { "s", 0, "a", "e", "j", NULL }, NULL, OK },
    { "no job is fine", { "s", 0, "a", "e", "", NULL }, NULL, OK },
    { "truth and nothing are fine", { "s", 0, "a", "e", "", NULL }, "{\"a\":[true,null,1,\"x\",{}]}", OK },
    { "a source is needed", { "", 0, "a", "e", "j", NULL }, NULL, ERR_USAGE },
    { "a source has a limit",
      { "0123456789012345678901234567890123456789012345678901234567890123", 0, "a", "e", "j", NULL },
      NULL,
      ERR_USAGE },
    { "an actor is needed", { "s", 0, "", "e", "j", NULL }, NULL, ERR_USAGE },
    { "an event is needed", { "s", 0, "a", "", "j", NULL }, NULL, ERR_USAGE },
    { "a real is refused", { "s", 0, "a", "e", "j", NULL }, "{\"a\":0.5}", ERR_USAGE },
    { "a real is refused, however deep",
      { "s", 0, "a", "e", "j", NULL },
      "{\"a\":[{\"b\":[1.0]}]}",
      ERR_USAGE },
    { "a list is refused", { "s", 0, "a", "e", "j", NULL }, "[1]", ERR_USAGE },
    { "bytes that are no text are refused", { "s", 0, "\xff", "e", "j", NULL }, NULL, ERR_USAGE },
};

static void refused(void **state)
{
    const struct refused_row *row = *state;
    struct ledger_small s = small_open();
    CLEANUP(ledger_closep) struct ledger *l = open_or_fail(&s, s.store, 7);
    struct ledger_event events[2] = { row->event, row->event };
    struct err e = ERR_INIT;

    if (row->data)
        assert_ok(json_parse(row->data, strlen(row->data), "data", &events[0].data, &e));
    enum err_code code = ledger_append(l, events, 1, &e);
    if (code != row->want)
        fail_msg("%s: %s", err_name(code), e.text);
    assert_good(&s, s.store, code == OK ? 13 : 12, 0);
    if (code == OK)
        assert_ok(ledger_append(l, events, 1, &e));
    else /* and the ledger goes on with what is sound */
        assert_ok(small_append(l, 13, 14, "job.placed", &e));
    assert_good(&s, s.store, 14, 0);
    json_decref(events[0].data);
    small_close(&s);
}

static void limits(void **state)
{
    struct ledger_small s = small_open();
    CLEANUP(ledger_closep) struct ledger *l = open_or_fail(&s, s.store, 7);
    CLEANUP(freep) char *long_text = malloc(LEDGER_RECORD_BYTES_MAX + 1);
    struct ledger_event event = { .source = "s", .actor = "a", .event = "e", .job = "" };
    struct err e = ERR_INIT;

    (void)state;
    memset(long_text, 'x', LEDGER_RECORD_BYTES_MAX);
    long_text[LEDGER_RECORD_BYTES_MAX] = '\0';
    event.data = json_pack("{s:s}", "text", long_text);
    assert_int_equal(ledger_append(l, &event, 1, &e), ERR_LIMIT);
    json_decref(event.data);
    long_text[LEDGER_RECORD_BYTES_MAX - 400] = '\0';
    event.data = json_pack("{s:s}", "text", long_text);
    assert_ok(ledger_append(l, &event, 1, &e));
    json_decref(event.data);
    assert_int_equal(ledger_append(l, &event, 0, &e), ERR_USAGE);
    assert_int_equal(ledger_append(l, &event, LEDGER_BATCH_MAX + 1, &e), ERR_USAGE);
    assert_ok(small_append(l, 14, 13 + LEDGER_BATCH_MAX, "job.placed", &e));
    assert_good(&s, s.store, 13 + LEDGER_BATCH_MAX, 0);
    small_close(&s);
}

static void deposed(void **state)
{
    struct ledger_small s = small_open();
    const struct ledger_config older = small_config("one", 6), other = small_config("two", 9),
                               none = small_config("one", 0);
    struct ledger *l = NULL;
    struct err e = ERR_INIT;

    (void)state;
    assert_int_equal(ledger_open(&older, s.store, &s.signer, &s.clock.base, &l, &e), ERR_DENIED);
    assert_int_equal(ledger_open(&other, s.store, &s.signer, &s.clock.base, &l, &e), ERR_CORRUPT);
    assert_non_null(strstr(e.text, "cluster 'one'"));
    assert_int_equal(ledger_open(&none, s.store, &s.signer, &s.clock.base, &l, &e), ERR_USAGE);
    assert_int_equal(
        ledger_open(&(struct ledger_config){ .cluster = "one", .prefix = "audit/one", .token = 8 }, s.store,
                    &s.stranger, &s.clock.base, &l, &e),
        ERR_CORRUPT);
    assert_non_null(strstr(e.text, "head/000000000012-7.json"));
    assert_null(l);
    small_close(&s);
}

static void damaged_end(void **state)
{
    static const char *const keys[] = { "audit/one/head/000000000012-7.json",
                                        "audit/one/segment/000000000009-7.jsonl" };
    const struct ledger_config config = small_config("one", 8);
    struct ledger *l = NULL;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
        struct ledger_small s = small_open();
        CLEANUP(buf_done) struct buf bytes = BUF_INIT(1 << 20);
        struct err e = ERR_INIT;
        assert_ok(store_get(s.store, keys[i], NULL, 0, UINT64_MAX, &bytes, NULL, &e));
        bytes.data[bytes.len / 2] ^= 1;
        assert_ok(store_put(s.store, keys[i], bytes.data, bytes.len, NULL, NULL, &e));
        assert_int_equal(ledger_open(&config, s.store, &s.signer, &s.clock.base, &l, &e), ERR_CORRUPT);
        assert_non_null(strstr(e.text, keys[i]));
        small_close(&s);
    }
}

/* ---- failures in between ---- */

/* The Nth call to the store fails, torn or not; the same append again makes it good. */
static void same_call_again(void **state)
{
    (void)state;
    for (int torn = 0; torn < 2; torn++)
        for (int64_t nth = 1; nth <= 4; nth++) {
            struct ledger_small s = small_open();
            CLEANUP(store_closep) struct store *fault = store_fault_new(s.store);
            CLEANUP(ledger_closep) struct ledger *l = open_or_fail(&s, fault, 8);
            struct err e = ERR_INIT;
            int failures = 0;
            store_fault_at(fault, nth, ERR_RETRY, torn);
            for (int64_t from = 13; from <= 17; from += 2)
                while (small_append(l, from, from + 1, "job.placed", &e)) {
                    assert_int_equal(e.code, ERR_RETRY);
                    assert_int_equal(++failures, 1);
                }
            assert_int_equal(failures, 1);
            assert_good(&s, s.store, 18, 0);
            small_close(&s);
        }
}

/* It fails, the writer dies, and the next one goes on from what it finds, by the source. */
static void next_writer(void **state)
{
    (void)state;
    for (int torn = 0; torn < 2; torn++)
        for (int64_t nth = 1; nth <= 2; nth++) {
            struct ledger_small s = small_open();
            CLEANUP(store_closep) struct store *fault = store_fault_new(s.store);
            struct ledger *l = open_or_fail(&s, fault, 8);
            struct ledger_head head;
            struct err e = ERR_INIT;
            int64_t last = 0;
            store_fault_at(fault, nth, ERR_RETRY, torn);
            assert_int_equal(small_append(l, 13, 15, "job.placed", &e), ERR_RETRY);
            ledger_close(l);
            l = open_or_fail(&s, s.store, 9);
            ledger_head(l, &head);
            assert_int_equal(head.seq, torn && nth == 2 ? 15 : 12);
            assert_ok(parse_i64(head.source + strlen("1-"), &last, &e));
            assert_ok(small_append(l, last + 1, 20, "job.placed", &e));
            ledger_close(l);
            /* The segment without a head is still there: token 8's, beside the chain. */
            assert_good(&s, s.store, 20, (torn && nth == 1) || (!torn && nth == 2) ? 1 : 0);
            small_close(&s);
        }
}

static void another_call_is_refused(void **state)
{
    struct ledger_small s = small_open();
    CLEANUP(store_closep) struct store *fault = store_fault_new(s.store);
    CLEANUP(ledger_closep) struct ledger *l = open_or_fail(&s, fault, 8);
    struct err e = ERR_INIT;

    (void)state;
    store_fault_at(fault, 2, ERR_RETRY, true);
    assert_int_equal(small_append(l, 13, 15, "job.placed", &e), ERR_RETRY);
    assert_int_equal(small_append(l, 13, 14, "job.placed", &e), ERR_CONFLICT);
    assert_int_equal(small_append(l, 13, 16, "job.placed", &e), ERR_CONFLICT);
    assert_int_equal(small_append(l, 13, 15, "job.started", &e), ERR_CONFLICT);
    assert_good(&s, s.store, 15, 0);
    assert_ok(small_append(l, 13, 15, "job.placed", &e));
    assert_ok(small_append(l, 16, 16, "job.started", &e));
    assert_good(&s, s.store, 16, 0);
    small_close(&s);
}

static void store_away(void **state)
{
    struct ledger_small s = small_open();
    CLEANUP(store_closep) struct store *fault = store_fault_new(s.store);
    const struct ledger_config config = small_config("one", 8);
    const struct ledger_trust trust = small_trust(&s.signer, NULL);
    struct ledger *l = NULL;
    struct ledger_report r = { .records = -1 };
    struct err e = ERR_INIT;

    (void)state;
    for (int64_t nth = 1; nth <= 3; nth++) { /* list, head, segment */
        store_fault_at(fault, nth, ERR_RETRY, false);
        assert_int_equal(ledger_open(&config, fault, &s.signer, &s.clock.base, &l, &e), ERR_RETRY);
        assert_null(l);
    }
    for (int64_t nth = 1; nth <= 8; nth++) { /* a verdict is never made from what could not be read */
        store_fault_at(fault, nth, nth % 2 ? ERR_RETRY : ERR_IO, false);
        enum err_code code = ledger_verify(fault, "one", "audit/one", &trust, NULL, NULL, NULL, &r, &e);
        assert_int_equal(code, nth % 2 ? ERR_RETRY : ERR_IO);
        assert_int_equal(r.records, -1);
    }
    small_close(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        { "records come in order, whole, each building on the one before", records_in_order, NULL, NULL,
          NULL },
        { "an empty prefix is an empty ledger, and starts a new one", empty_prefix, NULL, NULL, NULL },
        { "a ledger goes on where it ended, under the same token or a newer one", goes_on, NULL, NULL, NULL },
        { "segments and heads lie under lock where asked", under_lock, NULL, NULL, NULL },
        { "records and batches have limits, and reach them", limits, NULL, NULL, NULL },
        { "an older token, another cluster, another key may not write", deposed, NULL, NULL, NULL },
        { "a damaged end is not built on, and the object is named", damaged_end, NULL, NULL, NULL },
        { "after a failure, torn or not, the same call makes it good", same_call_again, NULL, NULL, NULL },
        { "after a death, the next writer goes on and records nothing twice", next_writer, NULL, NULL, NULL },
        { "after a failure, any other call is refused", another_call_is_refused, NULL, NULL, NULL },
        { "a store that is away is an error, never a verdict", store_away, NULL, NULL, NULL },
    };
    struct CMUnitTest rows[ARRAY_LEN(refused_rows)];

    for (size_t i = 0; i < ARRAY_LEN(refused_rows); i++)
        rows[i] = (struct CMUnitTest){ refused_rows[i].name, refused, NULL, NULL, (void *)&refused_rows[i] };
    return cmocka_run_group_tests(tests, NULL, NULL) + cmocka_run_group_tests(rows, NULL, NULL);
}
