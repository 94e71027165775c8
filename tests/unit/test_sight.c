/* What is seen of an active job, and what follows. */
#include "scheduler/sight.h"
#include "tests/test.h"

#define RECORD(phase_) .has_record = true, .phase = (phase_)
#define GRACE .stop_grace_ms = 20000

static const struct row {
    const char *name;
    struct sight sight;
    enum sight_verdict want;
} rows[] = {
    { "placed a moment ago: wait for its first word",
      { .state = JOB_STARTING, .supervisor = SIGHT_ALIVE, .launched = true, .placed_ago_ms = 10, GRACE }, SIGHT_WAIT },
    { "a supervisor that says that the ranks run: started",
      { .state = JOB_STARTING, RECORD(ATTEMPT_RUNNING), .supervisor = SIGHT_ALIVE, .lease_held = true, GRACE }, SIGHT_STARTED },
    { "still launching: wait",
      { .state = JOB_STARTING, RECORD(ATTEMPT_LAUNCHING), .supervisor = SIGHT_ALIVE, .lease_held = true, GRACE }, SIGHT_WAIT },
    { "running well: wait", { .state = JOB_RUNNING, RECORD(ATTEMPT_RUNNING), .supervisor = SIGHT_ALIVE, .lease_held = true, GRACE },
      SIGHT_WAIT },
    { "an ended record is the end, dead or alive, lease or not",
      { .state = JOB_RUNNING, RECORD(ATTEMPT_ENDED), .supervisor = SIGHT_DEAD, .lease_gone_ms = 99999, GRACE }, SIGHT_ENDED },
    { "an ended record is the end while stopping, too",
      { .state = JOB_STOPPING, RECORD(ATTEMPT_ENDED), .stopping_ms = 999999, GRACE }, SIGHT_ENDED },
    { "a dead supervisor without a last word: lost",
      { .state = JOB_RUNNING, RECORD(ATTEMPT_RUNNING), .supervisor = SIGHT_DEAD, .lease_held = true, GRACE }, SIGHT_LOST },
    { "dead while launching: lost",
      { .state = JOB_STARTING, RECORD(ATTEMPT_LAUNCHING), .supervisor = SIGHT_DEAD, .lease_held = true, GRACE }, SIGHT_LOST },
    { "dead before its first word: it did not start",
      { .state = JOB_STARTING, .supervisor = SIGHT_DEAD, .launched = true, GRACE }, SIGHT_NO_START },
    { "dead before its first word, though it took the lease",
      { .state = JOB_STARTING, .supervisor = SIGHT_DEAD, .launched = true, .lease_held = true, GRACE }, SIGHT_NO_START },
    { "dead before its first word, asked to stop: it did not start",
      { .state = JOB_STOPPING, .supervisor = SIGHT_DEAD, .launched = true, GRACE }, SIGHT_NO_START },
    { "a lease that was just seen gone may come back",
      { .state = JOB_RUNNING, RECORD(ATTEMPT_RUNNING), .supervisor = SIGHT_ALIVE, .lease_gone_ms = SIGHT_LEASE_GRACE_MS - 1, GRACE },
      SIGHT_WAIT },
    { "a lease that stays away is lost, though the process lives",
      { .state = JOB_RUNNING, RECORD(ATTEMPT_RUNNING), .supervisor = SIGHT_ALIVE, .lease_gone_ms = SIGHT_LEASE_GRACE_MS, GRACE },
      SIGHT_LOST },
    { "another host's lease that stays away is lost",
      { .state = JOB_RUNNING, RECORD(ATTEMPT_RUNNING), .lease_gone_ms = SIGHT_LEASE_GRACE_MS, GRACE }, SIGHT_LOST },
    { "of another host only the lease counts",
      { .state = JOB_RUNNING, RECORD(ATTEMPT_RUNNING), .lease_held = true, GRACE }, SIGHT_WAIT },
    { "never a word until the deadline: it did not start",
      { .state = JOB_STARTING, .supervisor = SIGHT_ALIVE, .launched = true, .placed_ago_ms = SIGHT_START_MS, GRACE },
      SIGHT_NO_START },
    { "just before the deadline: wait",
      { .state = JOB_STARTING, .supervisor = SIGHT_ALIVE, .launched = true, .placed_ago_ms = SIGHT_START_MS - 1, GRACE },
      SIGHT_WAIT },
    { "no word, but it holds the lease: it is about to speak",
      { .state = JOB_STARTING, .supervisor = SIGHT_ALIVE, .lease_held = true, .placed_ago_ms = 10 * SIGHT_START_MS, GRACE },
      SIGHT_WAIT },
    { "placed and never launched, as far as anybody knows: forgotten",
      { .state = JOB_STARTING, .placed_ago_ms = SIGHT_START_MS, GRACE }, SIGHT_FORGOTTEN },
    { "perhaps launched a moment ago by a scheduler that died: wait",
      { .state = JOB_STARTING, .placed_ago_ms = SIGHT_START_MS - 1, GRACE }, SIGHT_WAIT },
    { "stopping within its grace: wait",
      { .state = JOB_STOPPING, RECORD(ATTEMPT_RUNNING), .supervisor = SIGHT_ALIVE, .lease_held = true,
        .stopping_ms = 20000 + SIGHT_STOP_MARGIN_MS - 1, GRACE },
      SIGHT_WAIT },
    { "stopping for ever: it goes by force",
      { .state = JOB_STOPPING, RECORD(ATTEMPT_RUNNING), .supervisor = SIGHT_ALIVE, .lease_held = true,
        .stopping_ms = 20000 + SIGHT_STOP_MARGIN_MS, GRACE },
      SIGHT_LOST },
    { "stopping is not started again by a late word",
      { .state = JOB_STOPPING, RECORD(ATTEMPT_RUNNING), .supervisor = SIGHT_ALIVE, .lease_held = true, GRACE }, SIGHT_WAIT },
};

static void decides(void **state)
{
    const struct row *r = *state;
    assert_int_equal(sight_decide(&r->sight), r->want);
}

int main(void)
{
    static struct CMUnitTest tests[ARRAY_LEN(rows)];
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        tests[i] = (struct CMUnitTest){ rows[i].name, decides, NULL, NULL, (void *)&rows[i] };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
