#include "trainer/export.h"
#include "trainer/worker_parts.h"

enum { FLUSH_MS = 60000 };

enum err_code worker_record(struct worker *w, const char *event, json_t *data, const json_t *result,
                            struct err *e)
{
    CLEANUP(buf_done) struct buf text = BUF_INIT(64 << 10);
    char name[JOB_KEY_BYTES];

    if (json_canonical(result, &text, e)) {
        json_decref(data);
        return e->code;
    }
    worker_tell(w, event, data, job_result_key(w->doc->job, name), buf_text(&text));
    worker_progress(w, "done", true);
    if (w->untold.code != OK) {
        *e = w->untold;
        return e->code;
    }
    return w->fenced ? worker_fenced(w, e) : pulse_flush(w->line, FLUSH_MS, e);
}

enum err_code worker_untold(struct worker *w, struct err *e)
{
    if (e->code == ERR_DENIED)
        w->ended = TRAINER_FENCED;
    else if (e->code == ERR_RETRY)
        w->ended = TRAINER_STATE_AWAY;
    return e->code;
}

static enum err_code record_model(struct worker *w, const struct export_result *model,
                                  const struct metrics *m, struct err *e)
{
    CLEANUP(json_donep) json_t *result = export_result_json(model, m, w->pulse.steps, w->pulse.loss);
    return worker_record(w, "model.committed", export_event_json(model), result, e);
}

static enum err_code finish_model(struct worker *w, struct err *e)
{
    CLEANUP(json_donep) json_t *description = NULL;
    struct metrics m;
    struct export_result model = { 0 };

    worker_progress(w, "evaluate", true);
    if (feed_evaluate(w->feed, w->model, step_params(w->step), w->doc->spec.data.holdout, &m, e) ||
        feed_describe(w->feed, w->model, &description, e))
        return e->code;
    if (w->comm->rank == 0)
        IGNORE(export_model(&w->place, w->model, step_params(w->step), description, w->pulse.steps, &m,
                            &model, e));
    if (comm_agree(w->comm, e))
        return e->code;
    if (w->comm->rank == 0)
        IGNORE(record_model(w, &model, &m, e));
    return comm_agree(w->comm, e) ? worker_untold(w, e) : OK;
}

enum err_code worker_finish(struct worker *w, struct err *e)
{
    return w->doc->spec.task == TASK_EVALUATE ? worker_evaluate(w, e) : finish_model(w, e);
}
