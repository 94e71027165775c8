#include "trainer/model.h"

#include "trainer/tree.h"

#include <inttypes.h>
#include <string.h>

static const struct model_ops *const kinds[] = { &model_mlp_ops, &model_gpt_ops };

/* What holds for every kind; the rest is for each to check. */
static enum err_code check_config(const struct model_config *c, struct err *e)
{
    if (c->width < 1 || c->width > MODEL_WIDTH_MAX)
        return err_set(e, ERR_USAGE, "a model takes 1 to %d inputs, not %zu", MODEL_WIDTH_MAX, c->width);
    if (c->classes < 2 || c->classes > MODEL_CLASSES_MAX)
        return err_set(e, ERR_USAGE, "a model has 2 to %d classes, not %zu", MODEL_CLASSES_MAX, c->classes);
    if (!(c->dropout >= 0 && c->dropout < 1))
        return err_set(e, ERR_USAGE, "dropout is from 0 to below 1, not %g", c->dropout);
    if (c->records_max < 1 || c->records_max > MODEL_RECORDS_MAX)
        return err_set(e, ERR_USAGE, "a model takes 1 to %d records at a time, not %zu", MODEL_RECORDS_MAX,
                       c->records_max);
    if (!is_power_of_two(c->slices) || c->slices > TREE_LEAVES_MAX)
        return err_set(e, ERR_USAGE, "leaves are a power of two up to %d, not %zu", TREE_LEAVES_MAX,
                       c->slices);
    return OK;
}

/* All of a model but its memory on the device. */
static enum err_code plan(const char *kind, const struct model_config *config, struct device *d,
                          struct model **out, struct err *e)
{
    if (check_config(config, e))
        return e->code;
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
        if (strcmp(kinds[i]->kind, kind) == 0)
            return kinds[i]->plan(config, d, out, e) ? err_wrap(e, "open model '%s'", kind) : OK;
    return err_set(e, ERR_USAGE, "there is no model '%s'", kind);
}

enum err_code model_open(const char *kind, const struct model_config *config, struct device *d,
                         struct model **out, struct err *e)
{
    CLEANUP(model_closep) struct model *m = NULL;
    if (plan(kind, config, d, &m, e))
        return e->code;
    invariant(m);
    if (memory_take(&m->memory, d, e))
        return err_wrap(e, "open model '%s'", kind);
    m->ops->start(m);
    *out = TAKE(m);
    return OK;
}

enum err_code model_plan(const char *kind, const struct model_config *config, struct device *d,
                         struct params *out_params, struct model_memory *out, struct err *e)
{
    CLEANUP(model_closep) struct model *m = NULL;
    size_t bytes[MEMORY_USES];
    if (plan(kind, config, d, &m, e))
        return e->code;
    invariant(m);
    if (memory_sum(&m->memory, bytes, e))
        return err_wrap(e, "plan model '%s'", kind);
    if (out_params)
        *out_params = m->params;
    *out = (struct model_memory){ bytes[MEMORY_ACTIVATIONS], bytes[MEMORY_WORKSPACE] };
    return OK;
}

void model_close(struct model *m)
{
    if (!m)
        return;
    memory_done(&m->memory, m->device);
    m->ops->close(m);
}

void model_init(const struct model *m, uint64_t seed, float *params)
{
    m->ops->init(m, seed, params);
}

/* Each of `values` in [least, classes). */
static enum err_code check_values(const struct model *m, const int32_t *values, size_t n, int32_t least,
                                  const char *of, const char *what, struct err *e)
{
    for (size_t i = 0; i < n; i++)
        if (values[i] < least || (values[i] >= 0 && (size_t)values[i] >= m->config.classes))
            return err_set(e, ERR_USAGE, "%s %zu has %s %" PRId32 ", the model has %zu classes", of, i, what,
                           values[i], m->config.classes);
    return OK;
}

static enum err_code check_batch(const struct model *m, const struct batch *b, struct err *e)
{
    if (b->n > m->config.records_max)
        return err_set(e, ERR_USAGE, "%zu records at once, the model was opened for %zu", b->n,
                       m->config.records_max);
    if (!m->ops->sequences)
        return OK;
    if (b->length < 1 || b->length > m->config.context)
        return err_set(e, ERR_USAGE, "sequences of %zu tokens, the model's context is %zu", b->length,
                       m->config.context);
    for (size_t i = 0; b->starts && i < b->n * b->length; i++)
        if (b->starts[i] < 0 || (size_t)b->starts[i] > i % b->length)
            return err_set(e, ERR_USAGE, "token %zu has a document that begins behind it", i);
    return check_values(m, b->tokens, b->n * b->length, 0, "token", "id", e);
}

static enum err_code check_labelled(const struct model *m, const struct batch *b, struct err *e)
{
    if (check_batch(m, b, e))
        return e->code;
    if (m->ops->sequences)
        return check_values(m, b->labels, b->n * b->length, -1, "token", "label", e);
    return check_values(m, b->labels, b->n, 0, "record", "label", e);
}

enum err_code model_backward(struct model *m, const float *params, const struct batch *b,
                             uint64_t dropout_key, float *grad, double *out_loss_sum, struct err *e)
{
    if (check_labelled(m, b, e))
        return e->code;
    m->ops->backward(m, params, b, dropout_key, grad, out_loss_sum);
    return device_sync(m->device, e);
}

void model_on_final(struct model *m, model_final_fn *fn, void *context)
{
    m->on_final = fn;
    m->final_context = context;
}

void model_tell_final(struct model *m, size_t first)
{
    if (m->on_final)
        m->on_final(m->final_context, first);
}

enum err_code model_evaluate(struct model *m, const float *params, const struct batch *b,
                             double *out_loss_sum, struct err *e)
{
    if (check_labelled(m, b, e))
        return e->code;
    m->ops->evaluate(m, params, b, out_loss_sum);
    return device_sync(m->device, e);
}

enum err_code model_predict(struct model *m, const float *params, const struct batch *b, float *out_probs,
                            struct err *e)
{
    if (check_batch(m, b, e))
        return e->code;
    m->ops->predict(m, params, b, out_probs);
    return device_sync(m->device, e);
}
