#include "runner/attempt/judge.h"

#include "tests/test.h"

#include <string.h>

#define NO_NOTES .dead_rank = -1, .dead_signal = -1, .failed_rank = -1
#define KILLED true

static const struct row {
    const char *name;
    enum stop_cause cause;
    bool killed;
    int status;
    struct output_notes notes;
    enum attempt_outcome want;
    const char *reason; /* all of it */
} rows[] = {
    { "all ranks ended well", STOP_NONE, false, 0, { NO_NOTES }, OUTCOME_SUCCEEDED, "" },
    { "done before it heard of the cancellation",
      STOP_CANCELLED,
      false,
      0,
      { NO_NOTES },
      OUTCOME_SUCCEEDED,
      "" },
    { "done before it heard of the time limit",
      STOP_TIME_LIMIT,
      false,
      0,
      { NO_NOTES },
      OUTCOME_SUCCEEDED,
      "" },
    { "cancelled, with a checkpoint",
      STOP_CANCELLED,
      false,
      TRAINER_STOPPED,
      { NO_NOTES },
      OUTCOME_STOPPED,
      "the job was cancelled" },
    { "cancelled, deaf",
      STOP_CANCELLED,
      KILLED,
      0,
      { NO_NOTES },
      OUTCOME_STOPPED,
      "the job was cancelled; the ranks did not stop within 30.0s and were killed" },
    { "cancelled, died of it",
      STOP_CANCELLED,
      false,
      143,
      { NO_NOTES },
      OUTCOME_STOPPED,
      "the job was cancelled; the ranks ended with status 143" },
    { "cancelled, with an error",
      STOP_CANCELLED,
      false,
      13,
      { NO_NOTES, .error = "store away" },
      OUTCOME_STOPPED,
      "the job was cancelled; the ranks ended with status 13: store away" },
    { "the service goes down",
      STOP_SERVICE,
      false,
      TRAINER_STOPPED,
      { NO_NOTES },
      OUTCOME_STOPPED,
      "the service was stopped" },
    { "out of time",
      STOP_TIME_LIMIT,
      false,
      TRAINER_STOPPED,
      { NO_NOTES },
      OUTCOME_TIME_LIMIT,
      "the time limit was reached" },
    { "out of time, deaf",
      STOP_TIME_LIMIT,
      KILLED,
      0,
      { NO_NOTES },
      OUTCOME_TIME_LIMIT,
      "the time limit was reached; the ranks did not stop within 30.0s and were killed" },
    { "the lease is another's",
      STOP_FENCED,
      KILLED,
      0,
      { NO_NOTES },
      OUTCOME_FENCED,
      "another attempt took over" },
    { "the lease is another's, though all ended well",
      STOP_FENCED,
      false,
      0,
      { NO_NOTES },
      OUTCOME_FENCED,
      "another attempt took over" },
    { "the state was away too long",
      STOP_LEASE_OVER,
      KILLED,
      0,
      { NO_NOTES },
      OUTCOME_FENCED,
      "the state was away for longer than the attempt's lease" },
    { "a rank was fenced",
      STOP_NONE,
      false,
      TRAINER_FENCED,
      { NO_NOTES, .error = "fenced" },
      OUTCOME_FENCED,
      "fenced" },
    { "fenced while it was asked to stop",
      STOP_CANCELLED,
      false,
      TRAINER_FENCED,
      { NO_NOTES },
      OUTCOME_FENCED,
      "the job was cancelled; the ranks ended with status 18" },
    { "a rank was killed",
      STOP_NONE,
      false,
      137,
      { .dead_rank = 1, .dead_signal = 9, .dead_node = "vm", .failed_rank = -1 },
      OUTCOME_RANK_LOST,
      "rank 1 on node vm ended by signal 9 (Killed)" },
    { "a rank crashed, and mpirun says 1",
      STOP_NONE,
      false,
      1,
      { .dead_rank = 0, .dead_signal = 11, .dead_node = "vm", .failed_rank = -1 },
      OUTCOME_RANK_LOST,
      "rank 0 on node vm ended by signal 11 (Segmentation fault)" },
    { "mpirun was killed",
      STOP_NONE,
      false,
      137,
      { NO_NOTES },
      OUTCOME_RANK_LOST,
      "mpirun or a rank ended by signal 9 (Killed)" },
    { "a node was lost",
      STOP_NONE,
      false,
      205,
      { NO_NOTES, .node_lost = true },
      OUTCOME_RANK_LOST,
      "mpirun lost the connection to a node" },
    { "a node was lost without a word",
      STOP_NONE,
      false,
      205,
      { NO_NOTES },
      OUTCOME_RANK_LOST,
      "mpirun ended with status 205" },
    { "too few slots",
      STOP_NONE,
      false,
      1,
      { NO_NOTES, .launch = "There are not enough slots" },
      OUTCOME_LAUNCH_FAILED,
      "There are not enough slots" },
    { "no such program, by Open MPI's status",
      STOP_NONE,
      false,
      132,
      { NO_NOTES, .launch = "mpirun was unable to launch" },
      OUTCOME_LAUNCH_FAILED,
      "mpirun was unable to launch" },
    { "a shell could not find it",
      STOP_NONE,
      false,
      127,
      { NO_NOTES },
      OUTCOME_LAUNCH_FAILED,
      "mpirun ended with status 127; see the log" },
    { "the user's mistake",
      STOP_NONE,
      false,
      TRAINER_USER_ERROR,
      { .dead_rank = -1, .error = "no column 'x'", .failed_rank = 0 },
      OUTCOME_USER_ERROR,
      "no column 'x'" },
    { "the user's mistake, and mpirun killed another rank",
      STOP_NONE,
      false,
      TRAINER_USER_ERROR,
      { .dead_rank = 1, .dead_signal = 9, .dead_node = "vm", .failed_rank = 0, .error = "no column 'x'" },
      OUTCOME_USER_ERROR,
      "no column 'x'" },
    { "bad data",
      STOP_NONE,
      false,
      TRAINER_BAD_DATA,
      { NO_NOTES, .error = "shard 3" },
      OUTCOME_BAD_DATA,
      "shard 3" },
    { "the store is away",
      STOP_NONE,
      false,
      TRAINER_STORE_AWAY,
      { NO_NOTES },
      OUTCOME_STORE_AWAY,
      "mpirun ended with status 13; see the log" },
    { "denied", STOP_NONE, false, TRAINER_DENIED, { NO_NOTES, .error = "no" }, OUTCOME_DENIED, "no" },
    { "not a number",
      STOP_NONE,
      false,
      TRAINER_DIVERGED,
      { NO_NOTES, .error = "loss is NaN" },
      OUTCOME_DIVERGED,
      "loss is NaN" },
    { "anything else, without a word",
      STOP_NONE,
      false,
      1,
      { .dead_rank = -1, .failed_rank = 2 },
      OUTCOME_FAILED,
      "rank 2 ended with status 1 and did not say why; see the log" },
};

static void judged(void **state)
{
    const struct row *r = *state;
    const struct ending end = {
        .cause = r->cause,
        .killed = r->killed,
        .status = r->status,
        .stop_grace_ms = 30000,
        .notes = &r->notes,
    };
    enum attempt_outcome outcome;
    char reason[JOB_REASON_BYTES];
    judge(&end, &outcome, reason);
    assert_string_equal(attempt_outcome_names[outcome], attempt_outcome_names[r->want]);
    assert_string_equal(reason, r->reason);
}

static void failures_to_start_tell_who_must_act(void **state)
{
    (void)state;
    assert_int_equal(judge_start(ERR_USAGE), OUTCOME_USER_ERROR);
    assert_int_equal(judge_start(ERR_DENIED), OUTCOME_DENIED);
    assert_int_equal(judge_start(ERR_RETRY), OUTCOME_STATE_AWAY);
    assert_int_equal(judge_start(ERR_LIMIT), OUTCOME_LIMIT);
    assert_int_equal(judge_start(ERR_NOT_FOUND), OUTCOME_LAUNCH_FAILED);
    assert_int_equal(judge_start(ERR_IO), OUTCOME_LAUNCH_FAILED);
}

int main(void)
{
    static struct CMUnitTest tests[ARRAY_LEN(rows) + 1];
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        tests[i] = (struct CMUnitTest){ rows[i].name, judged, NULL, NULL, (void *)&rows[i] };
    tests[ARRAY_LEN(rows)] = (struct CMUnitTest)cmocka_unit_test(failures_to_start_tell_who_must_act);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
