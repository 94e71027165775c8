/*
 * mlp.c - a multi-layer perceptron: linear, ReLU and dropout for each hidden layer, then linear and softmax.
 *
 * Layer l has the tensors layers.l.weight (out, in) and layers.l.bias (out), as PyTorch's Linear has. The
 * input of layer 0 is the record; the input of layer l + 1 is what layer l left after ReLU and dropout, which
 * is kept for the backward pass: that it is above zero tells both that ReLU let it pass and that dropout kept
 * it.
 */
#include "base/mem.h"
#include "base/rng.h"
#include "trainer/model.h"

#include <math.h>

enum { LAYERS_MAX = MODEL_HIDDEN_MAX + 1 };

struct layer {
    size_t in, out;
    size_t weight, bias; /* where its tensors begin in the vector */
    float *x;            // (records_max, in): its input
};
struct mlp {
    struct model model;
    size_t layer_count;
    struct layer layers[LAYERS_MAX];
    float *logits;   // (records_max, classes)
    float *dout;     // (records_max, widest): the gradient on its way down,
    float *dx;       // (records_max, widest): and below the layer at hand
    int32_t *labels; // (records_max)
    double *loss;    // one
};

static void close_mlp(struct model *model)
{
    struct mlp *m = (struct mlp *)model;
    struct device *d = model->device;
    for (size_t l = 0; l < m->layer_count; l++)
        device_free(d, m->layers[l].x);
    device_free(d, m->logits);
    device_free(d, m->dout);
    device_free(d, m->dx);
    device_free(d, m->labels);
    device_free(d, m->loss);
    free(m);
}

static void close_mlpp(struct mlp **m)
{
    if (*m)
        close_mlp(&(*m)->model);
}

static enum err_code add_layer(struct mlp *m, size_t in, size_t out, struct err *e)
{
    struct params *p = &m->model.params;
    size_t number = m->layer_count;
    struct layer *layer = &m->layers[number];

    layer->in = in;
    layer->out = out;
    layer->weight = p->count;
    if (params_add(p, (size_t[]){ out, in }, 2, e, "layers.%zu.weight", number))
        return e->code;
    layer->bias = p->count;
    if (params_add(p, &out, 1, e, "layers.%zu.bias", number))
        return e->code;
    m->layer_count++;
    return OK;
}

static enum err_code take_memory(struct mlp *m, struct err *e)
{
    struct device *d = m->model.device;
    size_t records = m->model.config.records_max, widest = m->model.config.classes;

    for (size_t l = 0; l < m->layer_count; l++) {
        struct layer *layer = &m->layers[l];
        widest = l > 0 ? MAX(widest, layer->in) : widest; // no gradient is taken of the record itself
        if (device_alloc(d, records, layer->in * sizeof(float), (void **)&layer->x, e))
            return e->code;
    }
    if (device_alloc(d, records, m->model.config.classes * sizeof(float), (void **)&m->logits, e) ||
        device_alloc(d, records, widest * sizeof(float), (void **)&m->dout, e) ||
        device_alloc(d, records, widest * sizeof(float), (void **)&m->dx, e) ||
        device_alloc(d, records, sizeof(int32_t), (void **)&m->labels, e))
        return e->code;
    return device_alloc(d, 1, sizeof(double), (void **)&m->loss, e);
}

static enum err_code check_hidden(const struct model_config *c, struct err *e)
{
    if (c->hidden_count > MODEL_HIDDEN_MAX)
        return err_set(e, ERR_USAGE, "a model has at most %d hidden layers, not %zu", MODEL_HIDDEN_MAX,
                       c->hidden_count);
    for (size_t i = 0; i < c->hidden_count; i++)
        if (c->hidden[i] < 1 || c->hidden[i] > MODEL_WIDTH_MAX)
            return err_set(e, ERR_USAGE, "hidden layer %zu has 1 to %d units, not %zu", i, MODEL_WIDTH_MAX,
                           c->hidden[i]);
    return OK;
}

static enum err_code open_mlp(const struct model_config *config, struct device *d, struct model **out,
                              struct err *e)
{
    CLEANUP(close_mlpp) struct mlp *m = mem_new(sizeof(*m));
    size_t in = config->width;

    if (check_hidden(config, e))
        return e->code;
    m->model = (struct model){ .ops = &model_mlp_ops, .device = d, .k = kernels_for(d), .config = *config };
    for (size_t i = 0; i <= config->hidden_count; i++) {
        size_t units = i < config->hidden_count ? config->hidden[i] : config->classes;
        if (add_layer(m, in, units, e))
            return e->code;
        in = units;
    }
    params_cut(&m->model.params, config->slices);
    if (take_memory(m, e))
        return e->code;
    *out = &TAKE(m)->model;
    return OK;
}

/* Before a ReLU the variance is doubled, as it halves it (He et al. 2015, eq. 10); at the end Glorot and
 * Bengio 2010, eq. 12, as normal draws. Biases are zero. Drawn on the host in pieces: the device may be
 * another machine. */
static void init_mlp(const struct model *model, uint64_t seed, float *params)
{
    const struct mlp *m = (const struct mlp *)model;
    float piece[1024];

    model->k->zero(model->device, params, model->params.padded);
    for (size_t l = 0; l < m->layer_count; l++) {
        const struct layer *layer = &m->layers[l];
        bool last = l + 1 == m->layer_count;
        double deviation = sqrt(2.0 / (double)(last ? layer->in + layer->out : layer->in));
        uint64_t key = rng_key(seed, l);
        size_t count = layer->in * layer->out;
        for (size_t i = 0; i < count; i += ARRAY_LEN(piece)) {
            size_t n = MIN(ARRAY_LEN(piece), count - i);
            for (size_t j = 0; j < n; j++)
                piece[j] = (float)(deviation * rng_normal(key, i + j));
            device_put(model->device, params + layer->weight + i, piece, n * sizeof(float));
        }
    }
}

/* `rate` 0: no dropout. Leaves each layer's input in its x and the logits in m->logits. */
static void forward(struct mlp *m, const float *params, const float *features, size_t n, float rate,
                    uint64_t dropout_key)
{
    struct device *d = m->model.device;
    const struct kernels *k = m->model.k;

    device_put(d, m->layers[0].x, features, n * m->layers[0].in * sizeof(float));
    for (size_t l = 0; l < m->layer_count; l++) {
        const struct layer *layer = &m->layers[l];
        bool last = l + 1 == m->layer_count;
        float *out = last ? m->logits : m->layers[l + 1].x;
        k->linear(d, out, layer->x, params + layer->weight, params + layer->bias, n, layer->in, layer->out);
        if (last)
            return;
        k->relu(d, out, out, n * layer->out);
        if (rate > 0)
            k->dropout(d, out, out, n * layer->out, rate, rng_key(dropout_key, l));
    }
}

static void backward_mlp(struct model *model, const float *params, const struct batch *b,
                         uint64_t dropout_key, float *grad, double *out_loss_sum)
{
    struct mlp *m = (struct mlp *)model;
    struct device *d = model->device;
    const struct kernels *k = model->k;
    float rate = (float)model->config.dropout;
    size_t classes = model->config.classes;

    forward(m, params, b->features, b->n, rate, dropout_key);
    device_put(d, m->labels, b->labels, b->n * sizeof(int32_t));
    k->cross_entropy(d, m->loss, m->logits, m->logits, m->labels, b->n, classes);
    k->cross_entropy_backward(d, m->dout, m->logits, m->labels, b->n, classes);
    for (size_t l = m->layer_count; l-- > 0;) {
        const struct layer *layer = &m->layers[l];
        k->linear_backward_weight(d, grad + layer->weight, grad + layer->bias, m->dout, layer->x, b->n,
                                  layer->in, layer->out);
        if (l == 0)
            break;
        k->linear_backward_input(d, m->dx, m->dout, params + layer->weight, b->n, layer->in, layer->out);
        k->relu_backward(d, m->dout, m->dx, layer->x, b->n * layer->in);
        if (rate > 0)
            k->dropout(d, m->dout, m->dout, b->n * layer->in, rate, rng_key(dropout_key, l - 1));
    }
    k->zero(d, grad + model->params.count, model->params.padded - model->params.count);
    device_get(d, out_loss_sum, m->loss, sizeof(double));
}

static void predict_mlp(struct model *model, const float *params, const struct batch *b, float *out_probs)
{
    struct mlp *m = (struct mlp *)model;
    forward(m, params, b->features, b->n, 0, 0);
    model->k->softmax(model->device, m->logits, m->logits, b->n, model->config.classes);
    device_get(model->device, out_probs, m->logits, b->n * model->config.classes * sizeof(float));
}

const struct model_ops model_mlp_ops = {
    .kind = "mlp",
    .open = open_mlp,
    .init = init_mlp,
    .backward = backward_mlp,
    .predict = predict_mlp,
    .close = close_mlp,
};
