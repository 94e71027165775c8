#include "core/job/attempt.h"

#include "core/job/record.h"

#include <string.h>

const char *const attempt_phase_names[] = { "launching", "running", "ended", NULL };
const char *const attempt_outcome_names[] = {
    "none",       "succeeded", "stopped",    "rank_lost",  "supervisor_lost", "launch_failed", "store_away",
    "state_away", "fenced",    "time_limit", "user_error", "bad_data",        "denied",        "limit",
    "diverged",   "failed",    NULL,
};
_Static_assert(ARRAY_LEN(attempt_outcome_names) == OUTCOME_COUNT + 1, "a name for each outcome");

static const struct exit_rule {
    int status;
    enum attempt_outcome outcome;
} exit_rules[] = {
    { TRAINER_OK, OUTCOME_SUCCEEDED },
    { TRAINER_STOPPED, OUTCOME_STOPPED },
    { TRAINER_USER_ERROR, OUTCOME_USER_ERROR },
    { TRAINER_BAD_DATA, OUTCOME_BAD_DATA },
    { TRAINER_STORE_AWAY, OUTCOME_STORE_AWAY },
    { TRAINER_STATE_AWAY, OUTCOME_STATE_AWAY },
    { TRAINER_DENIED, OUTCOME_DENIED },
    { TRAINER_LIMIT, OUTCOME_LIMIT },
    { TRAINER_DIVERGED, OUTCOME_DIVERGED },
    { TRAINER_FENCED, OUTCOME_FENCED },
    { 126, OUTCOME_LAUNCH_FAILED }, // a shell's: found, but cannot be run
    { 127, OUTCOME_LAUNCH_FAILED }, // a shell's: not found
    { 205, OUTCOME_RANK_LOST },     // mpirun's: a node was lost
};
enum { EXIT_SIGNAL = 128, SIGNAL_MAX = 64 };

enum attempt_outcome outcome_of_exit(int status)
{
    for (size_t i = 0; i < ARRAY_LEN(exit_rules); i++)
        if (exit_rules[i].status == status)
            return exit_rules[i].outcome;
    if (status > EXIT_SIGNAL && status <= EXIT_SIGNAL + SIGNAL_MAX)
        return OUTCOME_RANK_LOST;
    return OUTCOME_FAILED;
}

/* What may go away by itself is tried again; what would only happen again is not. */
static bool is_worth_retrying(enum attempt_outcome outcome)
{
    switch (outcome) {
    case OUTCOME_STOPPED:
    case OUTCOME_RANK_LOST:
    case OUTCOME_SUPERVISOR_LOST:
    case OUTCOME_LAUNCH_FAILED:
    case OUTCOME_STORE_AWAY:
    case OUTCOME_STATE_AWAY:
    case OUTCOME_FENCED:
    case OUTCOME_FAILED:
        return true;
    case OUTCOME_NONE:
    case OUTCOME_SUCCEEDED:
    case OUTCOME_TIME_LIMIT:
    case OUTCOME_USER_ERROR:
    case OUTCOME_BAD_DATA:
    case OUTCOME_DENIED:
    case OUTCOME_LIMIT:
    case OUTCOME_DIVERGED:
    case OUTCOME_COUNT:
        break;
    }
    return false;
}

static int64_t backoff_ms(int64_t first_ms, int64_t retries_used)
{
    const int64_t ms_max = 10 * 60 * 1000;
    int64_t ms = MAX(0, MIN(first_ms, ms_max));
    for (int64_t i = 0; i < retries_used && ms > 0 && ms < ms_max; i++)
        ms = MIN(2 * ms, ms_max);
    return ms;
}

struct retry_decision retry_decide(enum attempt_outcome outcome, int64_t retries_used,
                                   const struct spec_retry *rule)
{
    if (!is_worth_retrying(outcome))
        return (struct retry_decision){ .retry = false };
    if (outcome == OUTCOME_STOPPED)
        return (struct retry_decision){ .retry = true };
    if (retries_used >= rule->max)
        return (struct retry_decision){ .retry = false };
    return (struct retry_decision){ .retry = true,
                                    .counted = true,
                                    .delay_ms = backoff_ms(rule->backoff_ms, retries_used) };
}

#define ATTEMPT "attempt record"

static const struct record_member attempt_members[] = {
    RECORD_TEXT_ROW(attempt, job, 1),
    RECORD_INT_ROW(attempt, number, 1, INT64_MAX),
    RECORD_INT_ROW(attempt, token, 0, INT64_MAX),
    RECORD_CHOICE_ROW(attempt, phase, attempt_phase_names),
    RECORD_CHOICE_ROW(attempt, outcome, attempt_outcome_names),
    RECORD_TEXT_ROW(attempt, node, 0),
    RECORD_INT_ROW(attempt, ranks, 0, SPEC_LEAVES_MAX),
    RECORD_INT_ROW(attempt, supervisor_pid, 0, INT64_MAX),
    RECORD_INT_ROW(attempt, supervisor_start, 0, INT64_MAX),
    RECORD_INT_ROW(attempt, launcher_pid, 0, INT64_MAX),
    RECORD_INT_ROW(attempt, launcher_start, 0, INT64_MAX),
    RECORD_INT_ROW(attempt, started_ms, 0, INT64_MAX),
    RECORD_INT_ROW(attempt, ended_ms, 0, INT64_MAX),
    RECORD_INT_ROW(attempt, exit_status, INT64_MIN, INT64_MAX),
    RECORD_TEXT_ROW(attempt, reason, 0),
    RECORD_END,
};

json_t *attempt_to_json(const struct attempt *a)
{
    return record_to_json(attempt_members, a);
}

static enum err_code attempt_check(const struct attempt *a, struct err *e)
{
    if (!job_id_is_valid(a->job))
        return err_set(e, ERR_CORRUPT, ATTEMPT ": 'job' must look like 261122-k3m9qz, not '%s'", a->job);
    if ((a->phase == ATTEMPT_ENDED) != (a->outcome != OUTCOME_NONE))
        return err_set(e, ERR_CORRUPT, ATTEMPT ": 'phase' %s does not go with 'outcome' %s",
                       attempt_phase_names[a->phase], attempt_outcome_names[a->outcome]);
    return OK;
}

enum err_code attempt_to_text(const struct attempt *a, struct buf *out, struct err *e)
{
    if (attempt_check(a, e))
        return e->code;
    CLEANUP(json_donep) json_t *o = attempt_to_json(a);
    return json_canonical(o, out, e);
}

enum err_code attempt_from_text(const void *text, size_t n, struct attempt *out, struct err *e)
{
    CLEANUP(json_donep) json_t *o = NULL;
    struct attempt a;
    memset(&a, 0, sizeof(a));
    if (json_parse(text, n, ATTEMPT, &o, e) || record_from_json(o, ATTEMPT, attempt_members, &a, e) ||
        attempt_check(&a, e))
        return e->code;
    *out = a;
    return OK;
}

#define PULSE "pulse"

static const struct record_member pulse_members[] = {
    RECORD_INT_ROW(pulse, attempt, 1, INT64_MAX),
    RECORD_INT_ROW(pulse, step, 0, INT64_MAX),
    RECORD_INT_ROW(pulse, steps, 0, INT64_MAX),
    RECORD_INT_ROW(pulse, epoch, 0, INT64_MAX),
    RECORD_INT_ROW(pulse, epochs, 0, INT64_MAX),
    RECORD_INT_ROW(pulse, checkpoint_step, -1, INT64_MAX), // -1: none yet
    RECORD_INT_ROW(pulse, time_ms, 0, INT64_MAX),
    RECORD_REAL_ROW(pulse, loss),
    RECORD_REAL_ROW(pulse, records_per_second),
    RECORD_REAL_ROW(pulse, lr),
    RECORD_TEXT_ROW(pulse, phase, 1),
    RECORD_OTHER_ROW("step_ms"),
    RECORD_END,
};
static const struct record_member pulse_times_members[] = {
    RECORD_REAL_ROW(pulse_times, data),
    RECORD_REAL_ROW(pulse_times, compute),
    RECORD_REAL_ROW(pulse_times, reduce),
    RECORD_REAL_ROW(pulse_times, update),
    RECORD_REAL_ROW(pulse_times, checkpoint),
    RECORD_REAL_ROW(pulse_times, other),
    RECORD_REAL_ROW(pulse_times, slowest),
    RECORD_INT_ROW(pulse_times, slowest_rank, 0, SPEC_LEAVES_MAX),
    RECORD_END,
};

enum err_code pulse_to_text(const struct pulse *p, struct buf *out, struct err *e)
{
    CLEANUP(json_donep) json_t *o = record_to_json(pulse_members, p);
    record_set(o, "step_ms", record_to_json(pulse_times_members, &p->step_ms));
    return json_canonical(o, out, e);
}

enum err_code pulse_from_text(const void *text, size_t n, struct pulse *out, struct err *e)
{
    CLEANUP(json_donep) json_t *o = NULL;
    struct pulse p;
    memset(&p, 0, sizeof(p));
    if (json_parse(text, n, PULSE, &o, e) || record_from_json(o, PULSE, pulse_members, &p, e) ||
        record_from_json(json_object_get(o, "step_ms"), PULSE " 'step_ms'", pulse_times_members, &p.step_ms,
                         e))
        return e->code;
    *out = p;
    return OK;
}
