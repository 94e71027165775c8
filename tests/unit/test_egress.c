/* Refused connections on their way to the ledger: kept, counted, told once, and read from a rank's line. */
#include "core/cluster/egress.h"
#include "core/job/job.h"
#include "core/json/json.h"
#include "tests/fake/state_fault.h"
#include "tests/test.h"

#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

/* ---- lines ---- */

static const struct line_row {
    const char *name, *json;
    enum err_code want;
} line_rows[] = {
    { "as a rank writes it",
      "{\"detail\":\"192.0.2.1\",\"kind\":\"address\",\"place\":\"https://s3\",\"rank\":3}", OK },
    { "another order is the same", "{\"rank\":0,\"place\":\"\",\"kind\":\"client\",\"detail\":\"\"}", OK },
    { "no JSON", "address", ERR_CORRUPT },
    { "nothing", "", ERR_CORRUPT },
    { "no object", "[]", ERR_CORRUPT },
    { "a kind that there is not", "{\"detail\":\"\",\"kind\":\"odd\",\"place\":\"\",\"rank\":0}",
      ERR_CORRUPT },
    { "no rank", "{\"detail\":\"\",\"kind\":\"plain\",\"place\":\"\"}", ERR_CORRUPT },
    { "a negative rank", "{\"detail\":\"\",\"kind\":\"plain\",\"place\":\"\",\"rank\":-1}", ERR_CORRUPT },
    { "a rank that no job has", "{\"detail\":\"\",\"kind\":\"plain\",\"place\":\"\",\"rank\":9999999}",
      ERR_CORRUPT },
    { "one member more", "{\"detail\":\"\",\"kind\":\"plain\",\"place\":\"\",\"rank\":0,\"x\":1}",
      ERR_CORRUPT },
    { "a number for a text", "{\"detail\":7,\"kind\":\"plain\",\"place\":\"\",\"rank\":0}", ERR_CORRUPT },
    { "cut off", "{\"detail\":\"192.0.2.1\",\"kind\":\"addr", ERR_CORRUPT },
};

static void a_line_is_read_strictly(void **state)
{
    const struct line_row *row = *state;
    struct egress_refusal r = { .rank = 77 };
    struct err e = ERR_INIT;
    assert_int_equal(egress_from_line(row->json, 5, &r, &e), row->want);
    if (row->want)
        assert_int_equal(r.rank, 77);
}

static void what_a_rank_writes_is_what_is_read(void **state)
{
    char place[400], detail[400];
    struct egress_refusal r, again;
    CLEANUP(buf_done) struct buf line = BUF_INIT(4096);
    struct err e = ERR_INIT;
    (void)state;
    memset(place, '"', sizeof(place) - 1); /* doubled by JSON */
    memset(detail, '\\', sizeof(detail) - 1);
    place[sizeof(place) - 1] = detail[sizeof(detail) - 1] = '\0';
    detail[3] = '\n'; /* would end the line */
    egress_from_http(EGRESS_TRAINER, 2, 1000, &(struct http_refusal){ HTTP_REFUSED_REDIRECT, place, detail },
                     &r);
    egress_to_line(&r, &line);
    assert_true(line.len < 1024); /* OUTPUT_LINE_BYTES */
    assert_memory_equal(buf_text(&line), EGRESS_LINE, strlen(EGRESS_LINE));
    assert_ptr_equal(strchr(buf_text(&line), '\n'), buf_text(&line) + line.len - 1);
    assert_ok(egress_from_line(buf_text(&line) + strlen(EGRESS_LINE), 1000, &again, &e));
    assert_memory_equal(&again, &r, sizeof(r));
}

/* ---- the queue ---- */

struct told {
    int count;
    char first[4096], last[4096];
};

static enum err_code see(void *context, const char *id, const void *data, size_t n, struct err *e)
{
    struct told *t = context;
    (void)id, (void)e;
    t->count++;
    snprintf(t->last, sizeof(t->last), "%.*s", (int)n, (const char *)data);
    if (t->count == 1)
        memcpy(t->first, t->last, sizeof(t->first));
    return OK;
}

static struct told outbox(struct state *s)
{
    struct told t = { .count = 0 };
    struct err e = ERR_INIT;
    assert_ok(state_read(s, JOB_OUTBOX, "", 1000, see, &t, &e));
    return t;
}

static struct state *open_state(void)
{
    const struct state_config config = { .address = "mem:", .cluster = "test" };
    struct state *s = NULL;
    struct err e = ERR_INIT;
    assert_ok(state_open(&config, NULL, &s, &e));
    return s;
}

static const struct egress_teller scheduler = { .actor = "scheduler", .job = "" };
static const struct http_refusal away = { HTTP_REFUSED_ADDRESS, "https://s3.example", "192.0.2.1" };

static bool is_readable(int fd)
{
    struct pollfd p = { .fd = fd, .events = POLLIN };
    return poll(&p, 1, 0) == 1;
}

static void what_is_refused_again_is_counted(void **state)
{
    struct clock_fake clock = clock_fake_at(1795348800000);
    CLEANUP(egress_freep) struct egress *q = egress_new(EGRESS_SCHEDULER, &clock.base);
    CLEANUP(state_closep) struct state *s = open_state();
    struct err e = ERR_INIT;
    (void)state;
    assert_false(is_readable(egress_fd(q)));
    egress_on_refusal(q, &away);
    egress_on_refusal(q, &away);
    assert_true(is_readable(egress_fd(q)));
    assert_int_equal(egress_waiting(q), 1);
    assert_ok(egress_tell(q, s, &scheduler, &e));
    struct told t = outbox(s);
    assert_int_equal(t.count, 1);
    assert_string_equal(t.last,
                        "{\"actor\":\"scheduler\",\"data\":{\"count\":2,\"detail\":\"192.0.2.1\",\"kind\":"
                        "\"address\",\"place\":\"https://s3.example\",\"program\":\"scheduler\"},\"event\":"
                        "\"egress.refused\",\"job\":\"\",\"time_ms\":1795348800000}");
    assert_false(is_readable(egress_fd(q)));
    assert_ok(egress_tell(q, s, &scheduler, &e));
    assert_int_equal(outbox(s).count, 1); /* told once */
}

static void an_attempt_and_a_rank_are_named(void **state)
{
    CLEANUP(egress_freep) struct egress *q = egress_new(EGRESS_SUPERVISOR, &clock_real);
    CLEANUP(state_closep) struct state *s = open_state();
    const struct egress_teller teller = { .actor = "supervisor:261122-psm3fz.2",
                                          .job = "261122-psm3fz",
                                          .attempt = 2 };
    struct egress_refusal r;
    struct err e = ERR_INIT;
    (void)state;
    egress_from_http(EGRESS_TRAINER, 0, 7, &away, &r);
    egress_add(q, &r);
    assert_ok(egress_tell(q, s, &teller, &e));
    struct told t = outbox(s);
    assert_non_null(strstr(t.last, "\"attempt\":2"));
    assert_non_null(strstr(t.last, "\"rank\":0"));
    assert_non_null(strstr(t.last, "\"program\":\"trainer\""));
    assert_non_null(strstr(t.last, "\"job\":\"261122-psm3fz\""));
}

static void what_does_not_fit_is_counted_too(void **state)
{
    CLEANUP(egress_freep) struct egress *q = egress_new(EGRESS_SOVRUN, &clock_real);
    CLEANUP(state_closep) struct state *s = open_state();
    struct err e = ERR_INIT;
    char detail[32];
    (void)state;
    for (int i = 0; i < EGRESS_WAITING_MAX + 3; i++) {
        snprintf(detail, sizeof(detail), "192.0.2.%d", i);
        egress_on_refusal(q, &(struct http_refusal){ HTTP_REFUSED_ADDRESS, "https://s3.example", detail });
    }
    assert_int_equal(egress_waiting(q), EGRESS_WAITING_MAX);
    assert_ok(egress_tell(q, s, &scheduler, &e));
    struct told t = outbox(s);
    assert_int_equal(t.count, EGRESS_WAITING_MAX);
    assert_non_null(strstr(t.first, "\"dropped\":3"));
    egress_on_refusal(q, &away);
    assert_ok(egress_tell(q, s, &scheduler, &e));
    assert_null(strstr(outbox(s).last, "dropped"));
}

static void a_state_that_is_away_hears_of_it_later(void **state)
{
    CLEANUP(egress_freep) struct egress *q = egress_new(EGRESS_SCHEDULER, &clock_real);
    CLEANUP(state_closep) struct state *s = open_state();
    struct state_fault fault;
    struct err e = ERR_INIT;
    (void)state;
    state_fault_init(&fault, s);
    egress_on_refusal(q, &away);
    state_fault_at(&fault, 1, 1, false);
    assert_int_equal(egress_tell(q, &fault.base, &scheduler, &e), ERR_RETRY);
    assert_int_equal(egress_waiting(q), 1);
    egress_on_refusal(q, &away);
    assert_ok(egress_tell(q, &fault.base, &scheduler, &e));
    assert_int_equal(outbox(s).count, 1);
    assert_non_null(strstr(outbox(s).last, "\"count\":2"));
}

static void a_fence_holds(void **state)
{
    CLEANUP(egress_freep) struct egress *q = egress_new(EGRESS_SUPERVISOR, &clock_real);
    CLEANUP(state_closep) struct state *s = open_state();
    const struct egress_teller old = { .actor = "supervisor", .job = "", .lease = "attempt/x", .token = 1 };
    struct err e = ERR_INIT;
    (void)state;
    egress_on_refusal(q, &away);
    assert_int_equal(egress_tell(q, s, &old, &e), ERR_DENIED);
    assert_int_equal(outbox(s).count, 0);
}

static void *refuse_often(void *q)
{
    for (int i = 0; i < 1000; i++)
        egress_on_refusal(q, &away);
    return NULL;
}

static void many_threads_may_be_refused_at_once(void **state)
{
    enum { THREADS = 4 };
    CLEANUP(egress_freep) struct egress *q = egress_new(EGRESS_SCHEDULER, &clock_real);
    CLEANUP(state_closep) struct state *s = open_state();
    pthread_t threads[THREADS];
    struct err e = ERR_INIT;
    (void)state;
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, refuse_often, q), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    assert_ok(egress_tell(q, s, &scheduler, &e));
    assert_non_null(strstr(outbox(s).last, "\"count\":4000"));
}

int main(void)
{
    static const struct CMUnitTest whole[] = {
        cmocka_unit_test(what_a_rank_writes_is_what_is_read),
        cmocka_unit_test(what_is_refused_again_is_counted),
        cmocka_unit_test(an_attempt_and_a_rank_are_named),
        cmocka_unit_test(what_does_not_fit_is_counted_too),
        cmocka_unit_test(a_state_that_is_away_hears_of_it_later),
        cmocka_unit_test(a_fence_holds),
        cmocka_unit_test(many_threads_may_be_refused_at_once),
    };
    static struct CMUnitTest tests[ARRAY_LEN(line_rows) + ARRAY_LEN(whole)];
    size_t n = 0;
    for (size_t i = 0; i < ARRAY_LEN(line_rows); i++)
        tests[n++] = (struct CMUnitTest){ line_rows[i].name, a_line_is_read_strictly, NULL, NULL,
                                          (void *)&line_rows[i] };
    for (size_t i = 0; i < ARRAY_LEN(whole); i++)
        tests[n++] = whole[i];
    return cmocka_run_group_tests(tests, NULL, NULL);
}
