#include "core/job/attempt.h"
#include "core/job/job.h"
#include "core/job/record.h"

#include <string.h>

#define WHAT "job record"

static const struct record_member members[] = {
    RECORD_TEXT_ROW(job, id, 1),
    RECORD_TEXT_ROW(job, user, 1),
    RECORD_CHOICE_ROW(job, state, job_state_names),
    RECORD_OTHER_ROW("spec"),
    RECORD_HEX_ROW(job, spec_digest, 1),
    RECORD_HEX_ROW(job, dataset_digest, 0),
    RECORD_INT_ROW(job, attempts, 0, INT64_MAX),
    RECORD_INT_ROW(job, retries, 0, INT64_MAX),
    RECORD_INT_ROW(job, submitted_ms, 0, INT64_MAX),
    RECORD_INT_ROW(job, started_ms, 0, INT64_MAX),
    RECORD_INT_ROW(job, ended_ms, 0, INT64_MAX),
    RECORD_INT_ROW(job, not_before_ms, 0, INT64_MAX),
    RECORD_TEXT_ROW(job, node, 0),
    RECORD_INT_ROW(job, slots, 0, INT64_MAX),
    RECORD_TEXT_ROW(job, reason, 0),
    RECORD_TEXT_ROW(job, outcome, 0),
    RECORD_OTHER_ROW("result"),
    RECORD_END,
};

void job_done(struct job *j)
{
    json_decref(j->result);
    j->result = NULL;
}

json_t *job_to_json(const struct job *j)
{
    json_t *o = record_to_json(members, j);
    record_set(o, "spec", job_spec_to_json(&j->spec));
    record_set(o, "result", j->result ? json_incref(j->result) : json_null());
    return o;
}

enum err_code job_to_text(const struct job *j, struct buf *out, struct err *e)
{
    CLEANUP(json_donep) json_t *o = job_to_json(j);
    return json_canonical(o, out, e);
}

static bool is_outcome(const char *name)
{
    for (size_t i = 0; attempt_outcome_names[i]; i++)
        if (strcmp(attempt_outcome_names[i], name) == 0)
            return true;
    return false;
}

/* What one member alone cannot tell. `spec` has been read, so it is in its canonical form: its digest is the
 * spec's. */
static enum err_code check(const struct job *j, const json_t *spec, struct err *e)
{
    char digest[65];
    if (!job_id_is_valid(j->id))
        return err_set(e, ERR_CORRUPT, WHAT ": 'id' must look like 261122-k3m9qz, not '%s'", j->id);
    record_digest(spec, digest);
    if (strcmp(digest, j->spec_digest) != 0)
        return err_set(e, ERR_CORRUPT, WHAT ": 'spec_digest' is not the digest of 'spec'");
    if (j->retries > j->attempts)
        return err_set(e, ERR_CORRUPT, WHAT ": 'retries' must be at most 'attempts'");
    if (j->outcome[0] && !is_outcome(j->outcome))
        return err_set(e, ERR_CORRUPT, WHAT ": 'outcome' has no value '%s'", j->outcome);
    return OK;
}

enum err_code job_from_text(const void *text, size_t n, struct job *out, struct err *e)
{
    CLEANUP(json_donep) json_t *o = NULL;
    struct job j;
    memset(&j, 0, sizeof(j));
    if (json_parse(text, n, WHAT, &o, e) || record_from_json(o, WHAT, members, &j, e))
        return e->code;
    const json_t *spec = json_object_get(o, "spec");
    if (job_spec_from_json(spec, &j.spec, e))
        return err_wrap(e, WHAT);
    if (check(&j, spec, e))
        return e->code;
    json_t *result = json_object_get(o, "result");
    if (!json_is_object(result) && !json_is_null(result))
        return err_set(e, ERR_CORRUPT, WHAT ": 'result' must be an object or null");
    j.result = json_is_null(result) ? NULL : json_incref(result);
    *out = j;
    return OK;
}
