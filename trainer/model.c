#include "trainer/model.h"

#include "trainer/tree.h"

#include <inttypes.h>
#include <string.h>

static const struct model_ops *const kinds[] = { &model_mlp_ops };

static enum err_code check_config(const struct model_config *c, struct err *e)
{
    if (c->width < 1 || c->width > MODEL_WIDTH_MAX)
        return err_set(e, ERR_USAGE, "a model takes 1 to %d inputs, not %zu", MODEL_WIDTH_MAX, c->width);
    if (c->classes < 2 || c->classes > MODEL_CLASSES_MAX)
        return err_set(e, ERR_USAGE, "a model has 2 to %d classes, not %zu", MODEL_CLASSES_MAX, c->classes);
    if (c->hidden_count > MODEL_HIDDEN_MAX)
        return err_set(e, ERR_USAGE, "a model has at most %d hidden layers, not %zu", MODEL_HIDDEN_MAX,
                       c->hidden_count);
    for (size_t i = 0; i < c->hidden_count; i++)
        if (c->hidden[i] < 1 || c->hidden[i] > MODEL_WIDTH_MAX)
            return err_set(e, ERR_USAGE, "hidden layer %zu has 1 to %d units, not %zu", i, MODEL_WIDTH_MAX,
                           c->hidden[i]);
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

enum err_code model_open(const char *kind, const struct model_config *config, struct device *d,
                         struct model **out, struct err *e)
{
    if (check_config(config, e))
        return e->code;
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
        if (strcmp(kinds[i]->kind, kind) == 0)
            return kinds[i]->open(config, d, out, e) ? err_wrap(e, "open model '%s'", kind) : OK;
    return err_set(e, ERR_USAGE, "there is no model '%s'", kind);
}

void model_close(struct model *m)
{
    if (m)
        m->ops->close(m);
}

void model_init(const struct model *m, uint64_t seed, float *params)
{
    m->ops->init(m, seed, params);
}

static enum err_code check_records(const struct model *m, size_t n, struct err *e)
{
    if (n > m->config.records_max)
        return err_set(e, ERR_USAGE, "%zu records at once, the model was opened for %zu", n,
                       m->config.records_max);
    return OK;
}

enum err_code model_backward(struct model *m, const float *params, const struct batch *b,
                             uint64_t dropout_key, float *grad, double *out_loss_sum, struct err *e)
{
    if (check_records(m, b->n, e))
        return e->code;
    for (size_t i = 0; i < b->n; i++)
        if (b->labels[i] < 0 || (size_t)b->labels[i] >= m->config.classes)
            return err_set(e, ERR_USAGE, "record %zu has label %" PRId32 ", the model has %zu classes", i,
                           b->labels[i], m->config.classes);
    m->ops->backward(m, params, b, dropout_key, grad, out_loss_sum);
    return device_sync(m->device, e);
}

enum err_code model_predict(struct model *m, const float *params, const float *features, size_t n,
                            float *out_probs, struct err *e)
{
    if (check_records(m, n, e))
        return e->code;
    m->ops->predict(m, params, features, n, out_probs);
    return device_sync(m->device, e);
}
