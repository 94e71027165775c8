/* From the outbox into the ledger: all of it, in order, once; whatever fails in between. */
#include "scheduler/audit.h"
#include "core/job/job.h"
#include "tests/fake/state_fault.h"
#include "tests/scheduler.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

struct world {
    struct cluster *cluster;
    struct clock_fake clock;
    struct state *state;
    struct state_fault state_fault;
    struct store *inner, *store; /* the latter fails when told to */
    struct signer signer;
    struct lease lead;
    struct audit_counts counts;
    struct audit audit;
};

static void take_lead(struct world *w, const char *owner)
{
    struct err e = ERR_INIT;
    assert_ok(lease_take(w->state, JOB_LEADER_LEASE, owner, 5000, &w->lead, &e));
}

static int set_up(void **out)
{
    static struct world world;
    struct world *w = &world;
    const struct state_config config = { .address = "mem:audit", .cluster = "test" };
    const struct store_place place = { .kind = STORE_MEM, .bucket = "evidence" };
    CLEANUP(secret_freep) struct secret *seed = secret_random(SIGN_PUBLIC_BYTES);
    struct err e = ERR_INIT;

    memset(w, 0, sizeof(*w));
    w->cluster = test_cluster("a:4", "default:0");
    snprintf(w->cluster->ledger.prefix, sizeof(w->cluster->ledger.prefix), "ledger");
    w->clock = clock_fake_at(1795348800000);
    assert_ok(state_open(&config, NULL, &w->state, &e));
    state_mem_set_clock(w->state, &w->clock.base);
    state_fault_init(&w->state_fault, w->state);
    assert_ok(store_open(&place, NULL, &w->inner, &e));
    w->store = store_fault_new(w->inner);
    assert_ok(signer_from_seed(seed, &w->signer, &e));
    w->audit = (struct audit){
        .cluster = w->cluster,
        .state = &w->state_fault.base,
        .store = w->store,
        .signer = &w->signer,
        .clock = &w->clock.base,
        .counts = &w->counts,
    };
    take_lead(w, "one");
    *out = w;
    return 0;
}

static int tear_down(void **state)
{
    struct world *w = *state;

    audit_done(&w->audit);
    store_close(w->store);
    store_close(w->inner);
    state_close(w->state);
    signer_done(&w->signer);
    cluster_free(w->cluster);
    return 0;
}

/* ---- events ---- */

static void add_raw(struct world *w, const void *data, size_t n)
{
    CLEANUP(state_tx_freep) struct state_tx *tx = state_tx_new();
    struct err e = ERR_INIT;

    state_tx_append(tx, JOB_OUTBOX, data, n);
    assert_ok(state_commit(w->state, tx, &e));
}

/* Numbers from..to. */
static void add_events(struct world *w, int64_t from, int64_t to)
{
    struct err e = ERR_INIT;

    for (int64_t i = from; i <= to; i++) {
        CLEANUP(buf_done) struct buf text = BUF_INIT(4096);
        CLEANUP(json_donep) json_t *data = json_pack("{s:I}", "number", (json_int_t)i);
        assert_ok(
            job_event_text("user:ana", "job.submitted", "261122-k3m9qz", 1795348800000 + i, data, &text, &e));
        add_raw(w, text.data, text.len);
    }
}

static enum err_code count_entry(void *context, const char *id, const void *data, size_t n, struct err *e)
{
    (void)id, (void)data, (void)n, (void)e;
    ++*(int64_t *)context;
    return OK;
}

static int64_t in_outbox(struct world *w)
{
    int64_t count = 0;
    struct err e = ERR_INIT;

    assert_ok(state_read(w->state, JOB_OUTBOX, NULL, STATE_PAGE_MAX, count_entry, &count, &e));
    return count;
}

struct seen {
    int64_t count, malformed;
};

/* Record i is event i, but for those that were none. */
static enum err_code see(void *context, const json_t *record, const char *hash, struct err *e)
{
    struct seen *seen = context;
    const json_t *data = json_object_get(record, "data");

    (void)hash, (void)e;
    seen->count++;
    if (strcmp(json_text_or(record, "event", ""), "outbox.malformed") == 0) {
        seen->malformed++;
        assert_int_equal(strlen(json_text_or(data, "sha256", "")), 64);
        return OK;
    }
    assert_int_equal(json_i64_or(data, "number", -1), seen->count);
    assert_string_equal(json_text_or(record, "actor", ""), "user:ana");
    return OK;
}

/* The chain is whole, ends where the state says that it does, and holds events 1 to `records`. */
static void assert_recorded(struct world *w, int64_t records, int64_t malformed)
{
    CLEANUP(buf_done) struct buf text = BUF_INIT(4096);
    CLEANUP(json_donep) json_t *doc = NULL;
    struct ledger_trust trust = { .count = 1 };
    struct ledger_head expected = { .seq = 0 };
    struct ledger_report r;
    struct seen seen = { .count = 0 };
    struct err e = ERR_INIT;

    memcpy(trust.public_key[0], w->signer.public_key, SIGN_PUBLIC_BYTES);
    assert_ok(state_get(w->state, AUDIT_HEAD_KEY, &text, NULL, &e));
    assert_ok(json_parse(text.data, text.len, "head", &doc, &e));
    expected.seq = json_i64_or(doc, "seq", -1);
    expected.token = json_i64_or(doc, "token", -1);
    snprintf(expected.hash, sizeof(expected.hash), "%s", json_text_or(doc, "hash", ""));
    snprintf(expected.source, sizeof(expected.source), "%s", json_text_or(doc, "source", ""));
    assert_int_equal(expected.seq, records);
    assert_ok(ledger_verify(w->inner, "test", "ledger", &trust, &expected, see, &seen, &r, &e));
    if (!r.ok)
        fail_msg("record %d: %s", (int)r.bad_seq, r.why);
    assert_int_equal(seen.count, records);
    assert_int_equal(seen.malformed, malformed);
}

static void drain(struct world *w)
{
    size_t count = 1;
    struct err e = ERR_INIT;

    while (count)
        assert_ok(audit_step(&w->audit, w->lead.token, &count, &e));
    assert_int_equal(in_outbox(w), 0);
}

/* ---- tests ---- */

static void events_are_recorded_in_order_and_leave_the_outbox(void **state)
{
    struct world *w = *state;

    add_events(w, 1, 5);
    drain(w);
    assert_recorded(w, 5, 0);
    add_events(w, 6, 7);
    drain(w);
    assert_recorded(w, 7, 0);
}

/* Counted once they are in the ledger, and not a second time where they are only found there. */
static void refused_connections_are_counted(void **state)
{
    static const char event[] =
        "{\"actor\":\"supervisor:x.1\",\"data\":{\"count\":2,\"detail\":\"192.0.2.1\",\"kind\":\"address\","
        "\"number\":1,\"place\":\"https://s3\",\"program\":\"trainer\"},\"event\":\"egress.refused\","
        "\"job\":\"\",\"time_ms\":1}";
    struct world *w = *state;
    size_t count = 0;
    struct err e = ERR_INIT;

    add_raw(w, event, strlen(event));
    state_fault_at(&w->state_fault, 2, 1, false); /* in the ledger, still in the outbox */
    assert_int_equal(audit_step(&w->audit, w->lead.token, &count, &e), ERR_RETRY);
    drain(w);
    assert_int_equal(atomic_load(&w->counts.refused[EGRESS_TRAINER][HTTP_REFUSED_ADDRESS]), 2);
    assert_int_equal(atomic_load(&w->counts.events), 1);
    assert_int_equal(audit_refused(&w->counts), 2);
}

static void an_empty_outbox_writes_nothing(void **state)
{
    struct world *w = *state;
    size_t count = 1;
    struct err e = ERR_INIT;

    assert_ok(audit_step(&w->audit, w->lead.token, &count, &e));
    assert_int_equal(count, 0);
    assert_int_equal(state_get(w->state, AUDIT_HEAD_KEY, NULL, NULL, &e), ERR_NOT_FOUND);
}

static void more_than_a_batch_takes_several(void **state)
{
    struct world *w = *state;
    size_t count = 0;
    struct err e = ERR_INIT;

    add_events(w, 1, LEDGER_BATCH_MAX + 3);
    assert_ok(audit_step(&w->audit, w->lead.token, &count, &e));
    assert_int_equal(count, LEDGER_BATCH_MAX);
    assert_int_equal(in_outbox(w), 3);
    drain(w);
    assert_recorded(w, LEDGER_BATCH_MAX + 3, 0);
}

static void what_is_no_event_is_recorded_as_such_and_holds_up_nothing(void **state)
{
    static const char *const bad[] = {
        "",
        "not json",
        "[]",
        "{}",
        "{\"actor\":\"a\",\"event\":\"\",\"job\":\"\",\"time_ms\":1,\"data\":{}}",
        "{\"actor\":\"a\",\"event\":\"b\",\"job\":\"\",\"time_ms\":-1,\"data\":{}}",
        "{\"actor\":\"a\",\"event\":\"b\",\"job\":\"\",\"time_ms\":1,\"data\":{\"x\":[1.5]}}",
        "{\"actor\":\"a\",\"event\":\"b\",\"job\":\"\",\"time_ms\":\"1\",\"data\":{}}",
        "\xff\xfe",
    };
    struct world *w = *state;

    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        add_raw(w, bad[i], strlen(bad[i]));
    add_events(w, ARRAY_LEN(bad) + 1, ARRAY_LEN(bad) + 1);
    drain(w);
    assert_recorded(w, ARRAY_LEN(bad) + 1, ARRAY_LEN(bad));
}

static void a_store_that_is_away_loses_nothing(void **state)
{
    struct world *w = *state;
    size_t count = 0;
    struct err e = ERR_INIT;

    add_events(w, 1, 3);
    store_fault_at(w->store, 1, ERR_RETRY, false);
    assert_int_equal(audit_step(&w->audit, w->lead.token, &count, &e), ERR_RETRY);
    assert_int_equal(in_outbox(w), 3);
    add_events(w, 4, 5);
    drain(w);
    assert_recorded(w, 5, 0);
}

static void who_died_between_append_and_drop_writes_nothing_twice(void **state)
{
    struct world *w = *state;
    size_t count = 0;
    struct err e = ERR_INIT;

    add_events(w, 1, 3);
    state_fault_at(&w->state_fault, 2, 1, false); /* read, then commit */
    assert_int_equal(audit_step(&w->audit, w->lead.token, &count, &e), ERR_RETRY);
    assert_int_equal(in_outbox(w), 3);
    audit_done(&w->audit); /* and what it remembered is gone, too */
    add_events(w, 4, 4);
    drain(w);
    assert_recorded(w, 4, 0);
}

static void a_new_leader_goes_on_where_the_old_one_was(void **state)
{
    struct world *w = *state;
    struct audit old;
    size_t count = 0;
    struct err e = ERR_INIT;

    add_events(w, 1, 2);
    drain(w);
    old = w->audit;
    w->audit.ledger = NULL;
    const int64_t old_token = w->lead.token;
    w->clock.base.sleep_ms(&w->clock.base, 6000);
    take_lead(w, "two");
    add_events(w, 3, 4);
    /* The old one wakes up: it may still write to the store, but nothing that counts, and the outbox stays.
     */
    assert_int_equal(audit_step(&old, old_token, &count, &e), ERR_DENIED);
    assert_int_equal(in_outbox(w), 2);
    audit_done(&old);
    drain(w);
    add_events(w, 5, 5);
    drain(w);
    assert_recorded(w, 5, 0);
}

static void whatever_call_fails_the_chain_is_whole(void **state)
{
    struct world *w = *state;
    int64_t written = 0;

    for (int torn = 0; torn < 2; torn++)
        for (int64_t nth = 1; nth <= 12; nth++) {
            size_t count = 0;
            struct err e = ERR_INIT;
            add_events(w, written + 1, written + 2);
            written += 2;
            store_fault_at(w->store, nth, ERR_RETRY, torn);
            state_fault_at(&w->state_fault, 13 - nth, 1, torn);
            for (int tries = 0; tries < 4; tries++)
                if (audit_step(&w->audit, w->lead.token, &count, &e) && tries == 1)
                    audit_done(&w->audit);
            store_fault_at(w->store, 0, OK, false);
            state_fault_at(&w->state_fault, 1, 0, false);
            drain(w);
            assert_recorded(w, written, 0);
        }
}

static void a_chain_that_was_altered_is_not_written_on(void **state)
{
    struct world *w = *state;
    CLEANUP(signer_done) struct signer stranger = { .seed = NULL };
    CLEANUP(secret_freep) struct secret *seed = secret_random(SIGN_PUBLIC_BYTES);
    size_t count = 0;
    struct err e = ERR_INIT;

    add_events(w, 1, 2);
    drain(w);
    audit_done(&w->audit);
    assert_ok(signer_from_seed(seed, &stranger, &e));
    w->audit.signer = &stranger; /* to whom the head looks forged */
    add_events(w, 3, 3);
    assert_int_equal(audit_step(&w->audit, w->lead.token, &count, &e), ERR_CORRUPT);
    assert_int_equal(in_outbox(w), 1);
}

#define WITH(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH(events_are_recorded_in_order_and_leave_the_outbox),
        WITH(refused_connections_are_counted),
        WITH(an_empty_outbox_writes_nothing),
        WITH(more_than_a_batch_takes_several),
        WITH(what_is_no_event_is_recorded_as_such_and_holds_up_nothing),
        WITH(a_store_that_is_away_loses_nothing),
        WITH(who_died_between_append_and_drop_writes_nothing_twice),
        WITH(a_new_leader_goes_on_where_the_old_one_was),
        WITH(whatever_call_fails_the_chain_is_whole),
        WITH(a_chain_that_was_altered_is_not_written_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
