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
    free(m);
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

static void list_memory(struct mlp *m)
{
    struct memory_list *list = &m->model.memory;
    size_t records = m->model.config.records_max, classes = m->model.config.classes, widest = classes;

    memory_init(list, LAYERS_MAX + 5);
    for (size_t l = 0; l < m->layer_count; l++) {
        struct layer *layer = &m->layers[l];
        widest = l > 0 ? MAX(widest, layer->in) : widest; // no gradient is taken of the record itself
        memory_add(list, MEMORY_ACTIVATIONS, &layer->x, records, layer->in * sizeof(float));
    }
    memory_add(list, MEMORY_ACTIVATIONS, &m->logits, records, classes * sizeof(float));
    memory_add(list, MEMORY_WORKSPACE, &m->dout, records, widest * sizeof(float));
    memory_add(list, MEMORY_WORKSPACE, &m->dx, records, widest * sizeof(float));
    memory_add(list, MEMORY_WORKSPACE, &m->labels, records, sizeof(int32_t));
    memory_add(list, MEMORY_WORKSPACE, &m->loss, 1, sizeof(double));
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

static enum err_code plan_mlp(const struct model_config *config, struct device *d, struct model **out,
                              struct err *e)
{
    size_t in = config->width;

    if (check_hidden(config, e))
        return e->code;
    struct mlp *m = mem_new(sizeof(*m));
    CLEANUP(model_closep) struct model *model = &m->model;
    m->model = (struct model){ .ops = &model_mlp_ops, .device = d, .k = kernels_for(d), .config = *config };
    for (size_t i = 0; i <= config->hidden_count; i++) {
        size_t units = i < config->hidden_count ? config->hidden[i] : config->classes;
        if (add_layer(m, in, units, e))
            return e->code;
        in = units;
    }
    params_cut(&m->model.params, config->slices);
    list_memory(m);
    *out = TAKE(model);
    return OK;
}

static void start_mlp(struct model *model)
{
    (void)model; /* nothing in it stays the same */
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

static void evaluate_mlp(struct model *model, const float *params, const struct batch *b,
                         double *out_loss_sum)
{
    struct mlp *m = (struct mlp *)model;
    struct device *d = model->device;
    forward(m, params, b->features, b->n, 0, 0);
    device_put(d, m->labels, b->labels, b->n * sizeof(int32_t));
    model->k->cross_entropy(d, m->loss, m->logits, m->logits, m->labels, b->n, model->config.classes);
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
    .plan = plan_mlp,
    .start = start_mlp,
    .init = init_mlp,
    .backward = backward_mlp,
    .evaluate = evaluate_mlp,
    .predict = predict_mlp,
    .close = close_mlp,
};
