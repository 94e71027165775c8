#include "trainer/feed.h"

#include "base/mem.h"

#include <stdio.h>

struct feed *feed_new(const struct feed_place *place)
{
    struct feed *f = place->spec->model.kind == MODEL_GPT ? feed_tokens_new() : feed_rows_new();
    f->place = *place;
    return f;
}

void feed_free(struct feed *f)
{
    if (f)
        f->ops->close(f);
}

enum err_code feed_fit(struct feed *f, struct err *e)
{
    return f->ops->fit(f, e) ? err_wrap(e, "fit to the data") : OK;
}

enum err_code feed_restore(struct feed *f, const json_t *file, struct err *e)
{
    snprintf(f->begun_from, sizeof(f->begun_from), "%s", json_text_or(file, "begun_from", ""));
    return f->ops->restore(f, file, e);
}

struct model_config feed_model_config(const struct feed *f, size_t records_max)
{
    const struct job_spec *spec = f->place.spec;
    struct model_config c = {
        .dropout = spec->model.dropout,
        .records_max = records_max,
        .slices = (size_t)spec->train.leaves,
        .hidden_count = spec->model.hidden_count,
        .layers = (size_t)spec->model.layers,
        .heads = (size_t)spec->model.heads,
        .context = (size_t)spec->model.context,
        .width = (size_t)spec->model.width,
        .norm = spec->model.norm == NORM_RMS ? MODEL_NORM_RMS : MODEL_NORM_LAYER,
        .positions =
            spec->model.positions == POSITIONS_ROTARY ? MODEL_POSITIONS_ROTARY : MODEL_POSITIONS_LEARNED,
        .mlp = spec->model.mlp == MLP_SWIGLU ? MODEL_MLP_SWIGLU : MODEL_MLP_GELU,
        .recompute = spec->model.recompute,
        .draw_weights = spec->train.rounding == ROUNDING_STOCHASTIC,
    };

    for (size_t i = 0; i < c.hidden_count; i++)
        c.hidden[i] = (size_t)spec->model.hidden[i];
    f->ops->shape(f, &c);
    return c;
}

enum err_code feed_describe(const struct feed *f, const struct model *m, json_t **out, struct err *e)
{
    if (f->ops->describe(f, m, out, e))
        return err_wrap(e, "describe the model");
    if (f->begun_from[0])
        json_object_set_new(*out, "begun_from", json_string(f->begun_from));
    return OK;
}

enum err_code feed_evaluate(struct feed *f, struct model *m, const float *params, double share,
                            struct metrics *out, struct err *e)
{
    struct metrics found = { .records = 0 };

    if (f->ops->evaluate(f, m, params, share, &found, e))
        return err_wrap(e, "evaluate");
    *out = found;
    return OK;
}
