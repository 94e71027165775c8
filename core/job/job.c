#include "core/job/job.h"

#include "base/clock.h"
#include "base/rng.h"
#include "core/job/record.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

const char *const job_state_names[] = {
    "queued", "starting", "running", "stopping", "succeeded", "failed", "cancelled", NULL,
};
const char *const job_event_names[] = {
    "placed", "started", "finished", "retried", "failed", "cancelled", "stopped", NULL,
};
_Static_assert(ARRAY_LEN(job_state_names) == JOB_STATE_COUNT + 1, "a name for each state");
_Static_assert(ARRAY_LEN(job_event_names) == JOB_EVENT_COUNT + 1, "a name for each event");

static const struct move {
    enum job_state from;
    enum job_event event;
    enum job_state to;
} moves[] = {
    { JOB_QUEUED, JOB_PLACE, JOB_STARTING },       { JOB_QUEUED, JOB_CANCEL, JOB_CANCELLED },
    { JOB_QUEUED, JOB_GIVE_UP, JOB_FAILED },       { JOB_STARTING, JOB_STARTED, JOB_RUNNING },
    { JOB_STARTING, JOB_RETRY, JOB_QUEUED },       { JOB_STARTING, JOB_CANCEL, JOB_STOPPING },
    { JOB_STARTING, JOB_GIVE_UP, JOB_FAILED },     { JOB_RUNNING, JOB_FINISHED, JOB_SUCCEEDED },
    { JOB_RUNNING, JOB_RETRY, JOB_QUEUED },        { JOB_RUNNING, JOB_CANCEL, JOB_STOPPING },
    { JOB_RUNNING, JOB_GIVE_UP, JOB_FAILED },      { JOB_STOPPING, JOB_STOPPED, JOB_CANCELLED },
    { JOB_STOPPING, JOB_FINISHED, JOB_SUCCEEDED },
};

/* "a succeeded job cannot be cancelled" */
static const char *const cannot[] = {
    "be placed", "be started", "finish", "be retried", "be given up", "be cancelled", "stop",
};
_Static_assert(ARRAY_LEN(cannot) == JOB_EVENT_COUNT, "a sentence for each event");

enum err_code job_move(enum job_state from, enum job_event event, enum job_state *out, struct err *e)
{
    invariant(from < JOB_STATE_COUNT && event < JOB_EVENT_COUNT);
    for (size_t i = 0; i < ARRAY_LEN(moves); i++) {
        if (moves[i].from != from || moves[i].event != event)
            continue;
        *out = moves[i].to;
        return OK;
    }
    return err_set(e, ERR_CONFLICT, "a %s job cannot %s", job_state_names[from], cannot[event]);
}

bool job_is_over(enum job_state s)
{
    return s == JOB_SUCCEEDED || s == JOB_FAILED || s == JOB_CANCELLED;
}

bool job_is_active(enum job_state s)
{
    return s == JOB_STARTING || s == JOB_RUNNING || s == JOB_STOPPING;
}

/* Base 32 without i, l, o and u: an id is read aloud and typed. */
static const char id_letters[] = "0123456789abcdefghjkmnpqrstvwxyz";
enum { ID_DATE_CHARS = 6, ID_RANDOM_CHARS = 6, ID_CHARS = ID_DATE_CHARS + 1 + ID_RANDOM_CHARS };
_Static_assert((int)ID_CHARS < (int)JOB_ID_BYTES, "an id fits");

void job_new_id(int64_t wall_ms, char out[JOB_ID_BYTES])
{
    uint8_t random[ID_RANDOM_CHARS];
    char when[CLOCK_TEXT_BYTES]; // 2026-11-22T...
    clock_format(wall_ms, when);
    random_bytes(random, sizeof(random));
    snprintf(out, JOB_ID_BYTES, "%.2s%.2s%.2s-", when + 2, when + 5, when + 8);
    for (size_t i = 0; i < ID_RANDOM_CHARS; i++)
        out[ID_DATE_CHARS + 1 + i] = id_letters[random[i] % 32];
    out[ID_CHARS] = '\0';
}

static int two_digits(const char *p)
{
    return (p[0] - '0') * 10 + (p[1] - '0');
}

bool job_id_is_valid(const char *text)
{
    if (strlen(text) != ID_CHARS || strspn(text, "0123456789") != ID_DATE_CHARS || text[ID_DATE_CHARS] != '-')
        return false;
    int month = two_digits(text + 2), day = two_digits(text + 4);
    return month >= 1 && month <= 12 && day >= 1 && day <= 31 &&
           strspn(text + ID_DATE_CHARS + 1, id_letters) == ID_RANDOM_CHARS;
}

static const char *key_of(const char *kind, const char *id, char out[JOB_KEY_BYTES])
{
    int n = snprintf(out, JOB_KEY_BYTES, "%s/%s", kind, id);
    invariant(n > 0 && n < JOB_KEY_BYTES);
    return out;
}

static const char *numbered_key(const char *kind, const char *id, int64_t number, char out[JOB_KEY_BYTES])
{
    int n = snprintf(out, JOB_KEY_BYTES, "%s/%s/%" PRId64, kind, id, number);
    invariant(n > 0 && n < JOB_KEY_BYTES);
    return out;
}

const char *job_key(const char *id, char out[JOB_KEY_BYTES])
{
    return key_of("job", id, out);
}

const char *job_pulse_key(const char *id, char out[JOB_KEY_BYTES])
{
    return key_of("pulse", id, out);
}

const char *job_result_key(const char *id, char out[JOB_KEY_BYTES])
{
    return key_of("result", id, out);
}

const char *job_events_key(const char *id, char out[JOB_KEY_BYTES])
{
    return key_of("events", id, out);
}

const char *job_checkpoint_key(const char *id, char out[JOB_KEY_BYTES])
{
    return key_of("checkpoint", id, out);
}

const char *job_attempt_key(const char *id, int64_t n, char out[JOB_KEY_BYTES])
{
    return numbered_key("attempt", id, n, out);
}

const char *job_sessions_key(const char *id, int64_t n, char out[JOB_KEY_BYTES])
{
    return numbered_key("sessions", id, n, out);
}

const char *job_plan_key(const char *id, int64_t n, char out[JOB_KEY_BYTES])
{
    return numbered_key("plan", id, n, out);
}

const char *job_lease_name(const char *id, char out[JOB_KEY_BYTES])
{
    return key_of("attempt", id, out);
}

const char *job_control_stream(const char *id, char out[JOB_KEY_BYTES])
{
    return key_of("control", id, out);
}

double job_queue_score(int64_t priority, int64_t submitted_ms)
{
    /* 42 bits of milliseconds reach the year 2109; with 11 of priority a double holds the sum exactly. */
    const int64_t priority_max = 1000, ms_bound = 1ll << 42;
    int64_t p = MAX(-priority_max, MIN(priority, priority_max));
    int64_t ms = MAX(0, MIN(submitted_ms, ms_bound - 1));
    return (double)(ms - p * ms_bound);
}

static bool has_reals(const json_t *j)
{
    size_t i;
    const char *name;
    json_t *child;
    if (json_is_real(j))
        return true;
    json_array_foreach((json_t *)j, i, child) if (has_reals(child)) return true;
    json_object_foreach((json_t *)j, name, child) if (has_reals(child)) return true;
    return false;
}

enum err_code job_event_text(const char *actor, const char *event, const char *job, int64_t time_ms,
                             json_t *data, struct buf *out, struct err *e)
{
    if (data && !json_is_object(data))
        return err_set(e, ERR_USAGE, "event '%s': data must be an object", event);
    if (data && has_reals(data))
        return err_set(e, ERR_USAGE, "event '%s': fractions travel as text", event);
    CLEANUP(json_donep) json_t *o = json_object();
    record_set(o, "actor", record_text(actor));
    record_set(o, "data", data ? json_incref(data) : json_object());
    record_set(o, "event", record_text(event));
    record_set(o, "job", record_text(job));
    record_set(o, "time_ms", json_integer(time_ms));
    return json_canonical(o, out, e);
}
