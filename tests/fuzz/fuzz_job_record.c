/* Any text as each of the records in the state: refused as corrupt, or read, written and read back to the
 * same bytes. */
#include "core/job/attempt.h"
#include "tests/fuzz/replay.h"

#include <string.h>

enum { RECORD_BYTES_MAX = 8 << 20 };

static void check_error(const struct err *e)
{
    invariant(e->code == ERR_CORRUPT || e->code == ERR_LIMIT);
    invariant(e->text[0]);
}

static void check_same(const struct buf *once, const struct buf *twice)
{
    invariant(once->len == twice->len && memcmp(once->data, twice->data, once->len) == 0);
}

static void try_job(const uint8_t *data, size_t n)
{
    CLEANUP(job_done) struct job j = { .result = NULL };
    CLEANUP(job_done) struct job back = { .result = NULL };
    CLEANUP(buf_done) struct buf once = BUF_INIT(RECORD_BYTES_MAX);
    CLEANUP(buf_done) struct buf twice = BUF_INIT(RECORD_BYTES_MAX);
    struct err e = ERR_INIT;
    if (job_from_text(data, n, &j, &e)) {
        check_error(&e);
        return;
    }
    invariant(job_to_text(&j, &once, &e) == OK);
    invariant(job_from_text(once.data, once.len, &back, &e) == OK);
    invariant(job_to_text(&back, &twice, &e) == OK);
    check_same(&once, &twice);
}

static void try_attempt(const uint8_t *data, size_t n)
{
    CLEANUP(buf_done) struct buf text = BUF_INIT(RECORD_BYTES_MAX);
    struct attempt a, back;
    struct err e = ERR_INIT;
    if (attempt_from_text(data, n, &a, &e)) {
        check_error(&e);
        return;
    }
    invariant(attempt_to_text(&a, &text, &e) == OK);
    invariant(attempt_from_text(text.data, text.len, &back, &e) == OK);
    invariant(memcmp(&a, &back, sizeof(a)) == 0);
}

static void try_pulse(const uint8_t *data, size_t n)
{
    CLEANUP(buf_done) struct buf once = BUF_INIT(RECORD_BYTES_MAX);
    CLEANUP(buf_done) struct buf twice = BUF_INIT(RECORD_BYTES_MAX);
    struct pulse p, back;
    struct err e = ERR_INIT;
    if (pulse_from_text(data, n, &p, &e)) {
        check_error(&e);
        return;
    }
    invariant(pulse_to_text(&p, &once, &e) == OK);
    invariant(pulse_from_text(once.data, once.len, &back, &e) == OK);
    invariant(pulse_to_text(&back, &twice, &e) == OK);
    check_same(&once, &twice);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    try_job(data, n);
    try_attempt(data, n);
    try_pulse(data, n);
    return 0;
}

REPLAY_MAIN("job_record")
