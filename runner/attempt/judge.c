#include "runner/attempt/judge.h"

#include "base/fit.h"
#include "base/num.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const char *const cause_reasons[] = {
    [STOP_NONE] = "",
    [STOP_CANCELLED] = "the job was cancelled",
    [STOP_SERVICE] = "the service was stopped",
    [STOP_TIME_LIMIT] = "the time limit was reached",
    [STOP_FENCED] = "another attempt took over",
    [STOP_LEASE_OVER] = "the state was away for longer than the attempt's lease",
};

/* mpirun gives on the status of the first rank that failed; its own statuses are 1 and what looks like a
 * signal's. */
static bool is_trainers_own(int status)
{
    return status >= TRAINER_STOPPED && status <= TRAINER_FENCED;
}

static enum attempt_outcome outcome_of(const struct ending *end)
{
    const struct output_notes *n = end->notes;
    if (end->cause == STOP_FENCED || end->cause == STOP_LEASE_OVER)
        return OUTCOME_FENCED;
    if (!end->killed && end->status == TRAINER_OK)
        return OUTCOME_SUCCEEDED;
    if (!end->killed && end->status == TRAINER_FENCED)
        return OUTCOME_FENCED;
    if (end->cause == STOP_TIME_LIMIT)
        return OUTCOME_TIME_LIMIT;
    if (end->cause != STOP_NONE)
        return OUTCOME_STOPPED;
    if (is_trainers_own(end->status))
        return outcome_of_exit(end->status);
    if (n->launch[0] && !n->error[0])
        return OUTCOME_LAUNCH_FAILED;
    if (n->dead_rank >= 0 || n->node_lost)
        return OUTCOME_RANK_LOST;
    return outcome_of_exit(end->status);
}

static void explain_stop(const struct ending *end, char out[JOB_REASON_BYTES])
{
    char grace[NUM_TEXT_BYTES];
    if (end->killed)
        snprintf(out, JOB_REASON_BYTES, "%s; the ranks did not stop within %s and were killed",
                 cause_reasons[end->cause], format_duration(end->stop_grace_ms, grace));
    else if (end->status == TRAINER_STOPPED)
        snprintf(out, JOB_REASON_BYTES, "%s", cause_reasons[end->cause]);
    else
        snprintf(out, JOB_REASON_BYTES, "%s; the ranks ended with status %d%s%.400s",
                 cause_reasons[end->cause], end->status, end->notes->error[0] ? ": " : "", end->notes->error);
}

static void explain_loss(const struct ending *end, char out[JOB_REASON_BYTES])
{
    const struct output_notes *n = end->notes;
    if (n->dead_rank >= 0)
        snprintf(out, JOB_REASON_BYTES, "rank %" PRId64 " on node %s ended by signal %" PRId64 " (%s)",
                 n->dead_rank, n->dead_node, n->dead_signal, strsignal((int)n->dead_signal));
    else if (n->node_lost)
        snprintf(out, JOB_REASON_BYTES, "mpirun lost the connection to a node");
    else if (end->status > 128 && end->status <= 128 + 64)
        snprintf(out, JOB_REASON_BYTES, "mpirun or a rank ended by signal %d (%s)", end->status - 128,
                 strsignal(end->status - 128));
    else
        snprintf(out, JOB_REASON_BYTES, "mpirun ended with status %d", end->status);
}

static void explain_failure(const struct ending *end, char out[JOB_REASON_BYTES])
{
    const struct output_notes *n = end->notes;
    if (n->error[0])
        text_fit(out, JOB_REASON_BYTES, n->error);
    else if (n->failed_rank >= 0)
        snprintf(out, JOB_REASON_BYTES,
                 "rank %" PRId64 " ended with status %d and did not say why; see the log", n->failed_rank,
                 end->status);
    else
        snprintf(out, JOB_REASON_BYTES, "mpirun ended with status %d; see the log", end->status);
}

void judge(const struct ending *end, enum attempt_outcome *out, char out_reason[JOB_REASON_BYTES])
{
    *out = outcome_of(end);
    if (*out == OUTCOME_SUCCEEDED)
        out_reason[0] = '\0';
    else if (end->cause == STOP_FENCED || end->cause == STOP_LEASE_OVER)
        snprintf(out_reason, JOB_REASON_BYTES, "%s", cause_reasons[end->cause]);
    else if (end->cause != STOP_NONE)
        explain_stop(end, out_reason);
    else if (*out == OUTCOME_LAUNCH_FAILED && end->notes->launch[0])
        text_fit(out_reason, JOB_REASON_BYTES, end->notes->launch);
    else if (*out == OUTCOME_RANK_LOST)
        explain_loss(end, out_reason);
    else
        explain_failure(end, out_reason);
}

enum attempt_outcome judge_start(enum err_code code)
{
    switch (code) {
    case ERR_USAGE:
        return OUTCOME_USER_ERROR;
    case ERR_DENIED:
        return OUTCOME_DENIED;
    case ERR_LIMIT:
        return OUTCOME_LIMIT;
    case ERR_RETRY:
        return OUTCOME_STATE_AWAY;
    case OK:
    case ERR_NOT_FOUND:
    case ERR_CONFLICT:
    case ERR_CORRUPT:
    case ERR_IO:
    case ERR_DEVICE:
    case ERR_CANCELED:
    case ERR_CODE_COUNT:
        break;
    }
    return OUTCOME_LAUNCH_FAILED;
}
