#include "scheduler/why.h"

#include "scheduler/text_json.h"

#include <stdio.h>
#include <string.h>

/* What to say of a job that does not wait. */
static void say_state(const struct job *job, struct why *out)
{
    switch (job->state) {
    case JOB_STARTING:
        snprintf(out->reason, sizeof(out->reason), "attempt %lld is starting on node '%s'",
                 (long long)job->attempts, job->node);
        break;
    case JOB_RUNNING:
        snprintf(out->reason, sizeof(out->reason), "attempt %lld runs on node '%s'", (long long)job->attempts,
                 job->node);
        break;
    case JOB_STOPPING:
        snprintf(out->reason, sizeof(out->reason), "attempt %lld was asked to stop",
                 (long long)job->attempts);
        break;
    default:
        snprintf(out->reason, sizeof(out->reason), "it has %s%s%.400s", job_state_names[job->state],
                 job->reason[0] ? ": " : "", job->reason);
        break;
    }
}

static void say_waiting(const struct place_answer *a, const char *delay, struct why *out)
{
    if (a->kind == PLACE_START && delay && delay[0])
        snprintf(out->reason, sizeof(out->reason), "there is room, but it was put off for a moment: %.400s",
                 delay);
    else if (a->kind == PLACE_START)
        snprintf(out->reason, sizeof(out->reason), "there is room: it starts at the scheduler's next turn");
    else
        memcpy(out->reason, a->why, sizeof(out->reason));
    if (a->kind == PLACE_BACKOFF)
        out->backoff_ms = a->wait_ms;
}

void why_job(const struct job *job, struct fleet *fleet, const struct place_job *line, size_t line_count,
             int64_t line_more, const char *delay, int64_t now_ms, struct why *out)
{
    struct place round;
    struct place_answer answer;
    const struct place_job self = place_job_of(job);

    memset(out, 0, sizeof(*out));
    out->state = job->state;
    out->needs = job->slots;
    out->free = fleet_free_on_one(fleet);
    out->free_total = fleet_free(fleet);
    if (job->state != JOB_QUEUED) {
        say_state(job, out);
        return;
    }
    out->ahead = (int64_t)line_count + line_more;
    place_begin(&round, fleet, now_ms);
    for (size_t i = 0; i < line_count; i++) {
        place_ask(&round, &line[i], &answer);
        if (out->shown_count < WHY_AHEAD_SHOWN)
            memcpy(out->shown[out->shown_count++], line[i].id, JOB_ID_BYTES);
    }
    place_ask(&round, &self, &answer);
    say_waiting(&answer, delay, out);
}

json_t *why_to_json(const struct why *w)
{
    json_t *o = json_object(), *shown = json_array();

    for (size_t i = 0; i < w->shown_count; i++)
        json_array_append_new(shown, json_string(w->shown[i]));
    json_object_set_new(o, "state", json_string(job_state_names[w->state]));
    json_object_set_new(o, "reason", text_json(w->reason));
    json_object_set_new(o, "ahead", json_integer(w->ahead));
    json_object_set_new(o, "ahead_jobs", shown);
    json_object_set_new(o, "needs", json_integer(w->needs));
    json_object_set_new(o, "free", json_integer(w->free));
    json_object_set_new(o, "free_total", json_integer(w->free_total));
    json_object_set_new(o, "backoff_ms", json_integer(w->backoff_ms));
    return o;
}
