/*
 * gpt.c - a decoder-only transformer, as GPT-2 is one (Radford et al. 2019): token and position embeddings,
 * blocks of attention and MLP behind layer normalisation each, a last normalisation, and the token embeddings
 * again as output.
 *
 * Tensors have GPT-2's names and shapes, so that a checkpoint of it loads: h.0.attn.c_attn.weight is (C, 3C),
 * inputs first. With x the stream of residuals (N, C), N = n length tokens, a block is
 *
 *     x = x + proj(attention(qkv(ln_1(x))))        x = x + c_proj(gelu(c_fc(ln_2(x))))
 *
 * The options of today's models: RMSNorm in the place of ln; rotary positions, queries and keys turned behind
 * qkv, in the place of position embeddings; silu(c_gate(...)) c_fc(...), SwiGLU, in the place of gelu.
 *
 * Each block keeps what its backward pass needs. `x` below is the stream before it, `middle` between its
 * halves. With recompute it keeps x alone: the rest lies in one place that the blocks share, and the backward
 * pass begins with the block's forward pass. Dropout draws by its key and so repeats itself.
 */
#include "base/mem.h"
#include "base/rng.h"
#include "trainer/models/gpt.h"

/* ---- opening and closing ---- */

static void close_gpt(struct model *model)
{
    struct gpt *m = (struct gpt *)model;
    free(m->blocks);
    free(m->insides);
    free(m->host_loss);
    free(m->host_positions);
    free(m);
}

static enum err_code check_shape(const struct model_config *c, struct err *e)
{
    if (c->layers < 1 || c->layers > MODEL_LAYERS_MAX)
        return err_set(e, ERR_USAGE, "a gpt has 1 to %d layers, not %zu", MODEL_LAYERS_MAX, c->layers);
    if (c->heads < 1 || c->width % c->heads != 0)
        return err_set(e, ERR_USAGE, "the width (%zu) must be a multiple of the heads (%zu)", c->width,
                       c->heads);
    if (c->positions == MODEL_POSITIONS_ROTARY && c->width / c->heads % 2 != 0)
        return err_set(e, ERR_USAGE, "rotary positions take heads of an even size, not %zu",
                       c->width / c->heads);
    if (c->context < 1 || c->context > ATTENTION_T_MAX)
        return err_set(e, ERR_USAGE, "the context is 1 to %d tokens, not %zu", ATTENTION_T_MAX, c->context);
    return OK;
}

/* 8/3 of the width make three matrices as large as two of 4 widths. */
static size_t mlp_width(const struct model_config *c)
{
    const size_t multiple = 64;
    if (c->mlp == MODEL_MLP_GELU)
        return 4 * c->width;
    return (8 * c->width + 3 * multiple - 1) / (3 * multiple) * multiple;
}

static enum err_code plan_gpt(const struct model_config *config, struct device *d, struct model **out,
                              struct err *e)
{
    if (check_shape(config, e))
        return e->code;
    struct gpt *m = mem_new(sizeof(*m));
    CLEANUP(model_closep) struct model *model = &m->model;
    m->model = (struct model){ .ops = &model_gpt_ops, .device = d, .k = kernels_for(d), .config = *config };
    m->C = config->width;
    m->W = mlp_width(config);
    m->tokens_max = config->records_max * config->context;
    m->blocks = mem_array(config->layers, sizeof(*m->blocks));
    if (gpt_add_parameters(m, e))
        return e->code;
    gpt_list_memory(m);
    *out = TAKE(model);
    return OK;
}

static void start_gpt(struct model *model)
{
    struct gpt *m = (struct gpt *)model;
    size_t context = model->config.context, size = m->C / model->config.heads;
    m->host_loss = mem_array(m->tokens_max, sizeof(double));
    m->host_positions = mem_array(m->tokens_max, sizeof(int32_t));
    if (!gpt_rotary(m))
        return;
    CLEANUP(freep) float *turns = mem_array(context * size, sizeof(float));
    rotary_prepare(turns, context, size);
    device_put(model->device, m->turns, turns, context * size * sizeof(float));
}

/* ---- forward ---- */

/* One call: what all of its steps need. */
struct pass {
    struct gpt *m;
    struct device *d;
    const struct kernels *k;
    const real *weights; /* the parameters */
    size_t real_bytes;
    float *grad;
    size_t N, C;
    struct attention_shape shape;
    const int32_t *starts; /* on the device; NULL: none */
    float rate;
    uint64_t key;
};

/* Beside what dropout draws by, which is numbered from 0 on. */
enum { DRAW_WEIGHTS = 0x72656c };

/* The parameters as the passes take them: rounded anew for each call, so that nobody has to tell when they
 * changed. `draw`: the call's key, to round by drawing; NULL: to the nearest. */
static const real *weights_of(struct gpt *m, const float *params, const uint64_t *draw)
{
    const struct kernels *k = m->model.k;
    const size_t n = m->model.params.count;

    if (!m->weights)
        return params;
    if (draw)
        k->draw_real(m->model.device, m->weights, params, n, rng_key(*draw, DRAW_WEIGHTS));
    else
        k->to_real(m->model.device, m->weights, params, n);
    return m->weights;
}

static struct pass begin(struct gpt *m, const float *params, const struct batch *b, const uint64_t *draw)
{
    struct device *d = m->model.device;
    size_t N = b->n * b->length, heads = m->model.config.heads;
    for (size_t i = 0; i < N; i++) /* within its document */
        m->host_positions[i] = (int32_t)(i % b->length) - (b->starts ? b->starts[i] : 0);
    device_put(d, m->tokens, b->tokens, N * sizeof(int32_t));
    device_put(d, m->positions, m->host_positions, N * sizeof(int32_t));
    if (b->starts)
        device_put(d, m->starts, b->starts, N * sizeof(int32_t));
    return (struct pass){ .m = m,
                          .d = d,
                          .k = m->model.k,
                          .weights = weights_of(m, params, draw),
                          .real_bytes = device_real_bytes(d),
                          .N = N,
                          .C = m->C,
                          .shape = { b->n, b->length, heads, m->C / heads },
                          .starts = b->starts ? m->starts : NULL };
}

/* Reals from the first one on. */
static const real *from(const struct pass *p, const real *first, size_t count)
{
    return (const char *)first + count * p->real_bytes;
}

/* The tensor that begins there in the vector of parameters. */
static const real *weight(const struct pass *p, size_t at)
{
    return from(p, p->weights, at);
}

/* Dropout draws the same numbers in the backward pass: `which` says where. */
static void drop(const struct pass *p, real *x, size_t which)
{
    if (p->rate > 0)
        p->k->drop(p->d, x, x, p->N * p->C, p->rate, rng_key(p->key, which));
}

/* A normalisation: where its tensors are, and what it keeps. */
struct norm {
    size_t w, b;
    float *mean, *rstd;
};

static void normalise(const struct pass *p, real *out, const real *x, const struct norm *n)
{
    const real *w = weight(p, n->w), *b = weight(p, n->b);
    if (gpt_rms(p->m))
        p->k->rmsnorm(p->d, out, n->rstd, x, w, p->N, p->C);
    else
        p->k->layernorm(p->d, out, n->mean, n->rstd, x, w, b, p->N, p->C);
}

/* branch = dropout(branch) + x, which out is the normalised of. */
static void join(const struct pass *p, real *branch, const real *x, size_t which, real *out,
                 const struct norm *n)
{
    const struct residual r = { branch, x, p->rate, rng_key(p->key, which) };
    const real *w = weight(p, n->w), *b = weight(p, n->b);
    if (gpt_rms(p->m))
        p->k->residual_rmsnorm(p->d, branch, out, n->rstd, &r, w, p->N, p->C);
    else
        p->k->residual_layernorm(p->d, branch, out, n->mean, n->rstd, &r, w, b, p->N, p->C);
}

/* Adds to m->dx. */
static void normalise_back(const struct pass *p, const real *dout, const real *x, const struct norm *n)
{
    float *dw = p->grad + n->w, *db = p->grad + n->b;
    const real *w = weight(p, n->w);
    real *dx = p->m->dx;
    if (gpt_rms(p->m))
        p->k->rmsnorm_backward(p->d, dx, dw, dout, x, w, n->rstd, p->N, p->C);
    else
        p->k->layernorm_backward(p->d, dx, dw, db, dout, x, w, n->mean, n->rstd, p->N, p->C);
}

static struct norm norm_1(const struct block *b)
{
    return (struct norm){ b->p.ln1_w, b->p.ln1_b, b->in->mean1, b->in->rstd1 };
}

static struct norm norm_2(const struct block *b)
{
    return (struct norm){ b->p.ln2_w, b->p.ln2_b, b->in->mean2, b->in->rstd2 };
}

static struct norm norm_last(const struct gpt *m)
{
    return (struct norm){ m->lnf_w, m->lnf_b, m->meanf, m->rstdf };
}

static void activate(const struct pass *p, const struct block *b)
{
    const struct inside *in = b->in;
    size_t N = p->N, C = p->C, W = p->m->W;
    const real *fc_w = weight(p, b->p.fc_w), *fc_b = weight(p, b->p.fc_b);
    if (!gpt_gated(p->m)) {
        p->k->dense_gelu(p->d, in->active, in->fc, in->ln2, fc_w, fc_b, N, C, W);
        return;
    }
    p->k->dense(p->d, in->fc, in->ln2, fc_w, fc_b, N, C, W);
    p->k->dense(p->d, in->gate, in->ln2, weight(p, b->p.gate_w), weight(p, b->p.gate_b), N, C, W);
    p->k->swiglu(p->d, in->active, in->gate, in->fc, N * W);
}

/* All of a block that its backward pass needs: from ln1 to what the last product takes. */
static void forward_inside(const struct pass *p, size_t i)
{
    const struct kernels *k = p->k;
    struct device *d = p->d;
    const struct block *b = &p->m->blocks[i];
    const struct inside *in = b->in;
    const struct block_params *at = &b->p;
    const struct norm second = norm_2(b);
    size_t N = p->N, C = p->C;
    k->dense(d, in->qkv, in->ln1, weight(p, at->qkv_w), weight(p, at->qkv_b), N, C, 3 * C);
    if (gpt_rotary(p->m))
        k->rotary(d, in->qkv, p->m->turns, p->m->positions, false, &p->shape);
    k->attention(d, in->attended, in->lse, in->qkv, p->starts, &p->shape);
    k->dense(d, in->middle, in->attended, weight(p, at->proj_w), weight(p, at->proj_b), N, C, C);
    join(p, in->middle, b->x, 2 * i + 1, in->ln2, &second);
    activate(p, b);
}

/* Leaves the stream behind it, and the normalised of that where it is taken: by the next block, or by the
 * end. */
static void forward_block(const struct pass *p, size_t i)
{
    struct gpt *m = p->m;
    const struct block *b = &m->blocks[i];
    const bool last = i + 1 == m->model.config.layers;
    const struct norm norm = last ? norm_last(m) : norm_1(b + 1);
    real *x = last ? m->last : b[1].x, *normalised = last ? m->final : b[1].in->ln1;
    forward_inside(p, i);
    p->k->dense(p->d, x, b->in->active, weight(p, b->p.out_w), weight(p, b->p.out_b), p->N, m->W, p->C);
    join(p, x, b->in->middle, 2 * i + 2, normalised, &norm);
}

static void forward(const struct pass *p)
{
    struct gpt *m = p->m;
    const struct block *b = &m->blocks[0];
    const struct norm first = norm_1(b);
    const real *positions = gpt_rotary(m) ? NULL : weight(p, m->wpe);
    p->k->embed(p->d, b->x, weight(p, m->wte), positions, m->tokens, m->positions, p->N, p->C);
    drop(p, b->x, 0);
    normalise(p, b->in->ln1, b->x, &first);
    for (size_t i = 0; i < m->model.config.layers; i++)
        forward_block(p, i);
}

/* ---- backward ---- */

/* The gradient of a branch: m->dx but for dropout, which the residual did not pass through. */
static const real *drop_back(const struct pass *p, real *into, size_t which)
{
    const real *dx = p->m->dx;
    if (!(p->rate > 0))
        return dx;
    p->k->drop(p->d, into, dx, p->N * p->C, p->rate, rng_key(p->key, which));
    return into;
}

/* Of activate() and the product behind it, whose gradient is `dout`; that of what activate() was given goes
 * to m->dbranch. */
static void activate_back(const struct pass *p, const struct block *b, const real *dout)
{
    const struct kernels *k = p->k;
    struct gpt *m = p->m;
    struct device *d = p->d;
    const struct inside *in = b->in;
    const struct block_params *at = &b->p;
    float *g = p->grad;
    real *other = m->dqkv; /* not in use yet */
    size_t N = p->N, C = p->C, W = m->W;
    k->dense_backward_weight(d, g + at->out_w, g + at->out_b, dout, in->active, N, W, C);
    if (gpt_gated(m)) {
        k->dense_backward_input(d, m->dwide, dout, weight(p, at->out_w), N, W, C);
        k->swiglu_backward(d, m->dgate, m->dwide, m->dwide, in->gate, in->fc, N * W);
    } else
        k->dense_backward_gelu(d, m->dwide, dout, weight(p, at->out_w), in->fc, N, W, C);
    k->dense_backward_weight(d, g + at->fc_w, g + at->fc_b, m->dwide, in->ln2, N, C, W);
    k->dense_backward_input(d, m->dbranch, m->dwide, weight(p, at->fc_w), N, C, W);
    if (!gpt_gated(m))
        return;
    k->dense_backward_weight(d, g + at->gate_w, g + at->gate_b, m->dgate, in->ln2, N, C, W);
    k->dense_backward_input(d, other, m->dgate, weight(p, at->gate_w), N, C, W);
    k->residual(d, m->dbranch, other, m->dbranch, N * C, 0, 0);
}

/* dx, the gradient of what the block left, becomes that of what it was given. */
static void backward_block(const struct pass *p, size_t i)
{
    const struct kernels *k = p->k;
    struct gpt *m = p->m;
    struct device *d = p->d;
    float *g = p->grad;
    real *branch = m->dbranch;
    const struct block *b = &m->blocks[i];
    const struct inside *in = b->in;
    const struct block_params *at = &b->p;
    const struct norm first = norm_1(b), second = norm_2(b);
    size_t N = p->N, C = p->C;
    if (m->model.config.recompute && i + 1 < m->model.config.layers) { /* the last one's is still there */
        normalise(p, in->ln1, b->x, &first);
        forward_inside(p, i);
    }
    const real *into = drop_back(p, branch, 2 * i + 2);
    activate_back(p, b, into);
    normalise_back(p, branch, in->middle, &second);
    into = drop_back(p, m->dwide, 2 * i + 1);
    k->dense_backward_weight(d, g + at->proj_w, g + at->proj_b, into, in->attended, N, C, C);
    k->dense_backward_input(d, branch, into, weight(p, at->proj_w), N, C, C);
    k->attention_backward(d, m->dqkv, branch, in->qkv, in->attended, in->lse, p->starts, &p->shape);
    if (gpt_rotary(m))
        k->rotary(d, m->dqkv, m->turns, m->positions, true, &p->shape);
    k->dense_backward_weight(d, g + at->qkv_w, g + at->qkv_b, m->dqkv, in->ln1, N, C, 3 * C);
    k->dense_backward_input(d, branch, m->dqkv, weight(p, at->qkv_w), N, C, 3 * C);
    normalise_back(p, branch, b->x, &first);
}

static void backward(const struct pass *p)
{
    struct gpt *m = p->m;
    const struct kernels *k = p->k;
    const struct norm last = norm_last(m);
    size_t N = p->N, C = p->C;
    float *g = p->grad, *dpositions = gpt_rotary(m) ? NULL : g + m->wpe;
    k->classify(p->d, m->loss, m->dbranch, g + m->wte, m->final, weight(p, m->wte), m->labels, m->work, N, C,
                m->model.config.classes);
    k->clear(p->d, m->dx, N * C);
    normalise_back(p, m->dbranch, m->last, &last);
    for (size_t i = m->model.config.layers; i-- > 0;) {
        backward_block(p, i);
        model_tell_final(&m->model, m->blocks[i].p.ln1_w); /* behind it are later blocks, and the last norm */
    }
    drop(p, m->dx, 0);
    if (dpositions)
        k->zero(p->d, dpositions, m->model.config.context * C);
    k->embed_backward(p->d, g + m->wte, dpositions, m->dx, m->tokens, m->positions, N, C);
}

static void forward_and_backward(void *context)
{
    forward(context);
    backward(context);
}

/* ---- the model's operations ---- */

static double sum_of_losses(const struct pass *p)
{
    double *loss = p->m->host_loss, sum = 0;
    device_get(p->d, loss, p->m->loss, p->N * sizeof(double));
    for (size_t i = 0; i < p->N; i++)
        sum += loss[i];
    return sum;
}

static void backward_gpt(struct model *model, const float *params, const struct batch *b,
                         uint64_t dropout_key, float *grad, double *out_loss_sum)
{
    struct gpt *m = (struct gpt *)model;
    if (b->n == 0) {
        model->k->zero(model->device, grad, model->params.padded);
        *out_loss_sum = 0;
        return;
    }
    struct pass p = begin(m, params, b, model->config.draw_weights ? &dropout_key : NULL);
    p.grad = grad;
    p.rate = (float)model->config.dropout;
    p.key = dropout_key;
    device_put(p.d, m->labels, b->labels, p.N * sizeof(int32_t));
    p.k->zero(p.d, grad + model->params.count, model->params.padded - model->params.count);
    /* All that the calls depend on; but dropout draws anew each time, and whoever asks what is final does so
     * from here. */
    const uintptr_t what[] = { (uintptr_t)m, (uintptr_t)params, (uintptr_t)grad,
                               b->n,         b->length,         b->starts != NULL };
    if (p.rate > 0 || model->on_final)
        forward_and_backward(&p);
    else
        device_repeat(p.d, what, sizeof(what), forward_and_backward, &p);
    *out_loss_sum = sum_of_losses(&p);
}

static void evaluate_gpt(struct model *model, const float *params, const struct batch *b,
                         double *out_loss_sum)
{
    struct gpt *m = (struct gpt *)model;
    *out_loss_sum = 0;
    if (b->n == 0)
        return;
    struct pass p = begin(m, params, b, NULL);
    device_put(p.d, m->labels, b->labels, p.N * sizeof(int32_t));
    forward(&p);
    p.k->classify(p.d, m->loss, NULL, NULL, m->final, weight(&p, m->wte), m->labels, m->work, p.N, p.C,
                  model->config.classes);
    *out_loss_sum = sum_of_losses(&p);
}

/* Of the last token of each sequence alone. */
static void predict_gpt(struct model *model, const float *params, const struct batch *b, float *out_probs)
{
    struct gpt *m = (struct gpt *)model;
    size_t C = m->C, V = model->config.classes;
    if (b->n == 0)
        return;
    struct pass p = begin(m, params, b, NULL);
    float *row = m->work;
    forward(&p);
    for (size_t i = 0; i < b->n; i++) {
        const real *x = from(&p, m->final, ((i + 1) * b->length - 1) * C);
        model->k->logits(p.d, row, x, weight(&p, m->wte), 1, C, V);
        model->k->softmax(p.d, row, row, 1, V);
        device_get(p.d, out_probs + i * V, row, V * sizeof(float));
    }
}

const struct model_ops model_gpt_ops = {
    .kind = "gpt",
    .sequences = true,
    .plan = plan_gpt,
    .start = start_gpt,
    .init = gpt_init,
    .backward = backward_gpt,
    .evaluate = evaluate_gpt,
    .predict = predict_gpt,
    .close = close_gpt,
};
