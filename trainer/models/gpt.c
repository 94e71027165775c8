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
 * Each block keeps what its backward pass needs. `x` below is the stream before it, `middle` between its
 * halves.
 */
#include "base/mem.h"
#include "base/rng.h"
#include "trainer/model.h"

#include <math.h>

enum { TENSORS_A_BLOCK = 12, MLP_WIDTHS = 4 };

/* Where a block's tensors begin in the vector. */
struct block_params {
    size_t ln1_w, ln1_b, qkv_w, qkv_b, proj_w, proj_b, ln2_w, ln2_b, fc_w, fc_b, out_w, out_b;
};
/* What it leaves for its backward pass. */
struct block {
    struct block_params p;
    float *x, *ln1, *qkv, *attended, *middle, *ln2, *fc,
        *gelu;                                  // (N,C) (N,C) (N,3C) (N,C) (N,C) (N,C) (N,4C) (N,4C)
    float *mean1, *rstd1, *lse, *mean2, *rstd2; // (N) but lse (n, heads, length)
};
struct gpt {
    struct model model;
    size_t C, tokens_max;
    size_t wte, wpe, lnf_w, lnf_b;
    struct block *blocks; /* owned */
    void **memory;        /* owned: everything on the device, to be given back */
    size_t memory_count, memory_max;
    float *last, *final, *meanf, *rstdf;           // (N,C): behind the last block, and normalised
    float *dx, *dbranch, *dwide, *dqkv, *work;     // (N,C) (N,C) (N,4C) (N,3C), classify's
    int32_t *tokens, *positions, *labels, *starts; // (N)
    double *loss;                                  // (N)
    double *host_loss;
    int32_t *host_positions;
};

static void close_gpt(struct model *model)
{
    struct gpt *m = (struct gpt *)model;
    for (size_t i = 0; i < m->memory_count; i++)
        device_free(model->device, m->memory[i]);
    free(m->memory);
    free(m->blocks);
    free(m->host_loss);
    free(m->host_positions);
    free(m);
}

static void close_gptp(struct gpt **m)
{
    if (*m)
        close_gpt(&(*m)->model);
}

/* ---- parameters ---- */

static enum err_code add(struct gpt *m, size_t *out_first, size_t rows, size_t columns, struct err *e,
                         const char *name, size_t block)
{
    struct params *p = &m->model.params;
    const size_t dims[] = { rows, columns };
    bool flat = rows == 1;
    *out_first = p->count;
    if (block == SIZE_MAX)
        return params_add(p, flat ? dims + 1 : dims, flat ? 1 : 2, e, "%s", name);
    return params_add(p, flat ? dims + 1 : dims, flat ? 1 : 2, e, "h.%zu.%s", block, name);
}

static enum err_code add_block(struct gpt *m, size_t block, struct err *e)
{
    struct block_params *p = &m->blocks[block].p;
    size_t C = m->C;
    const struct {
        size_t *first, rows, columns;
        const char *name;
    } tensors[] = {
        { &p->ln1_w, 1, C, "ln_1.weight" },
        { &p->ln1_b, 1, C, "ln_1.bias" },
        { &p->qkv_w, C, 3 * C, "attn.c_attn.weight" },
        { &p->qkv_b, 1, 3 * C, "attn.c_attn.bias" },
        { &p->proj_w, C, C, "attn.c_proj.weight" },
        { &p->proj_b, 1, C, "attn.c_proj.bias" },
        { &p->ln2_w, 1, C, "ln_2.weight" },
        { &p->ln2_b, 1, C, "ln_2.bias" },
        { &p->fc_w, C, MLP_WIDTHS * C, "mlp.c_fc.weight" },
        { &p->fc_b, 1, MLP_WIDTHS * C, "mlp.c_fc.bias" },
        { &p->out_w, MLP_WIDTHS * C, C, "mlp.c_proj.weight" },
        { &p->out_b, 1, C, "mlp.c_proj.bias" },
    };
    _Static_assert(ARRAY_LEN(tensors) == TENSORS_A_BLOCK, "all of them");
    for (size_t i = 0; i < ARRAY_LEN(tensors); i++)
        if (add(m, tensors[i].first, tensors[i].rows, tensors[i].columns, e, tensors[i].name, block))
            return e->code;
    return OK;
}

static enum err_code add_parameters(struct gpt *m, struct err *e)
{
    const struct model_config *c = &m->model.config;
    if (add(m, &m->wte, c->classes, m->C, e, "wte.weight", SIZE_MAX) ||
        add(m, &m->wpe, c->context, m->C, e, "wpe.weight", SIZE_MAX))
        return e->code;
    for (size_t i = 0; i < c->layers; i++)
        if (add_block(m, i, e))
            return e->code;
    if (add(m, &m->lnf_w, 1, m->C, e, "ln_f.weight", SIZE_MAX) ||
        add(m, &m->lnf_b, 1, m->C, e, "ln_f.bias", SIZE_MAX))
        return e->code;
    params_cut(&m->model.params, c->slices);
    return OK;
}

/* Normal draws of 0.02, in the branches' last matrices less the more of them are added up (Radford et al.
 * 2019, 2.3); norms begin as they are, biases at zero. Drawn on the host in pieces: the device may be another
 * machine. */
static void draw(const struct gpt *m, float *params, size_t first, size_t count, double deviation,
                 uint64_t key)
{
    float piece[1024];
    for (size_t i = 0; i < count; i += ARRAY_LEN(piece)) {
        size_t n = MIN(ARRAY_LEN(piece), count - i);
        for (size_t j = 0; j < n; j++)
            piece[j] = (float)(deviation == 0 ? 1.0 : deviation * rng_normal(key, i + j));
        device_put(m->model.device, params + first + i, piece, n * sizeof(float));
    }
}

static void init_gpt(const struct model *model, uint64_t seed, float *params)
{
    const struct gpt *m = (const struct gpt *)model;
    const struct model_config *c = &model->config;
    const double deviation = 0.02, branch = deviation / sqrt(2.0 * (double)c->layers);
    size_t C = m->C;
    model->k->zero(model->device, params, model->params.padded);
    draw(m, params, m->wte, c->classes * C, deviation, rng_key(seed, 0));
    draw(m, params, m->wpe, c->context * C, deviation, rng_key(seed, 1));
    for (size_t i = 0; i < c->layers; i++) {
        const struct block_params *p = &m->blocks[i].p;
        uint64_t key = rng_key(seed, 2 + i);
        draw(m, params, p->ln1_w, C, 0, 0);
        draw(m, params, p->qkv_w, 3 * C * C, deviation, rng_key(key, 0));
        draw(m, params, p->proj_w, C * C, branch, rng_key(key, 1));
        draw(m, params, p->ln2_w, C, 0, 0);
        draw(m, params, p->fc_w, MLP_WIDTHS * C * C, deviation, rng_key(key, 2));
        draw(m, params, p->out_w, MLP_WIDTHS * C * C, branch, rng_key(key, 3));
    }
    draw(m, params, m->lnf_w, C, 0, 0);
}

/* ---- memory ---- */

static enum err_code take(struct gpt *m, void *out, size_t count, size_t bytes_each, struct err *e)
{
    void *memory;
    invariant(m->memory_count < m->memory_max);
    if (device_alloc(m->model.device, count, bytes_each, &memory, e))
        return e->code;
    m->memory[m->memory_count++] = memory;
    *(void **)out = memory;
    return OK;
}

static enum err_code take_block(struct gpt *m, struct block *b, struct err *e)
{
    size_t N = m->tokens_max, C = m->C * sizeof(float), heads = m->model.config.heads;
    const struct {
        float **out;
        size_t bytes;
    } rows[] = {
        { &b->x, C },
        { &b->ln1, C },
        { &b->qkv, 3 * C },
        { &b->attended, C },
        { &b->middle, C },
        { &b->ln2, C },
        { &b->fc, MLP_WIDTHS * C },
        { &b->gelu, MLP_WIDTHS * C },
        { &b->mean1, sizeof(float) },
        { &b->rstd1, sizeof(float) },
        { &b->mean2, sizeof(float) },
        { &b->rstd2, sizeof(float) },
        { &b->lse, heads * sizeof(float) },
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        if (take(m, rows[i].out, N, rows[i].bytes, e))
            return e->code;
    return OK;
}

static enum err_code take_memory(struct gpt *m, struct err *e)
{
    enum { A_BLOCK = 16, BESIDE = 16 };
    const struct model_config *c = &m->model.config;
    size_t N = m->tokens_max, C = m->C * sizeof(float);
    m->memory_max = c->layers * A_BLOCK + BESIDE;
    m->memory = mem_array(m->memory_max, sizeof(void *)); // NOLINT(bugprone-sizeof-expression): pointers
    m->host_loss = mem_array(N, sizeof(double));
    m->host_positions = mem_array(N, sizeof(int32_t));
    for (size_t i = 0; i < c->layers; i++)
        if (take_block(m, &m->blocks[i], e))
            return e->code;
    if (take(m, &m->last, N, C, e) || take(m, &m->final, N, C, e) ||
        take(m, &m->meanf, N, sizeof(float), e) || take(m, &m->rstdf, N, sizeof(float), e) ||
        take(m, &m->dx, N, C, e) || take(m, &m->dbranch, N, C, e) ||
        take(m, &m->dwide, N, MLP_WIDTHS * C, e) || take(m, &m->dqkv, N, 3 * C, e) ||
        take(m, &m->work, m->model.k->classify_work(N, c->classes), sizeof(float), e) ||
        take(m, &m->tokens, N, sizeof(int32_t), e) || take(m, &m->positions, N, sizeof(int32_t), e) ||
        take(m, &m->labels, N, sizeof(int32_t), e) || take(m, &m->starts, N, sizeof(int32_t), e))
        return e->code;
    return take(m, &m->loss, N, sizeof(double), e);
}

static enum err_code check_shape(const struct model_config *c, struct err *e)
{
    if (c->layers < 1 || c->layers > MODEL_LAYERS_MAX)
        return err_set(e, ERR_USAGE, "a gpt has 1 to %d layers, not %zu", MODEL_LAYERS_MAX, c->layers);
    if (c->heads < 1 || c->width % c->heads != 0)
        return err_set(e, ERR_USAGE, "the width (%zu) must be a multiple of the heads (%zu)", c->width,
                       c->heads);
    if (c->context < 1 || c->context > ATTENTION_T_MAX)
        return err_set(e, ERR_USAGE, "the context is 1 to %d tokens, not %zu", ATTENTION_T_MAX, c->context);
    return OK;
}

static enum err_code open_gpt(const struct model_config *config, struct device *d, struct model **out,
                              struct err *e)
{
    CLEANUP(close_gptp) struct gpt *m = mem_new(sizeof(*m));
    if (check_shape(config, e))
        return e->code;
    m->model = (struct model){ .ops = &model_gpt_ops, .device = d, .k = kernels_for(d), .config = *config };
    m->C = config->width;
    m->tokens_max = config->records_max * config->context;
    m->blocks = mem_array(config->layers, sizeof(*m->blocks));
    if (add_parameters(m, e) || take_memory(m, e))
        return e->code;
    *out = &TAKE(m)->model;
    return OK;
}

/* ---- forward ---- */

/* One call: what all of its steps need. */
struct pass {
    struct gpt *m;
    struct device *d;
    const struct kernels *k;
    const float *params;
    float *grad;
    size_t N, C;
    struct attention_shape shape;
    const int32_t *starts; /* on the device; NULL: none */
    float rate;
    uint64_t key;
};

static struct pass begin(struct gpt *m, const float *params, const struct batch *b)
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
                          .params = params,
                          .N = N,
                          .C = m->C,
                          .shape = { b->n, b->length, heads, m->C / heads },
                          .starts = b->starts ? m->starts : NULL };
}

/* Dropout draws the same numbers in the backward pass: `which` says where. */
static void drop(const struct pass *p, float *x, size_t which)
{
    if (p->rate > 0)
        p->k->dropout(p->d, x, x, p->N * p->C, p->rate, rng_key(p->key, which));
}

/* into = branch + x */
static void add_residual(const struct pass *p, float *into, const float *x)
{
    p->k->add(p->d, into, x, p->N * p->C);
}

static void forward_block(const struct pass *p, size_t i, float *next)
{
    const struct kernels *k = p->k;
    struct device *d = p->d;
    const float *w = p->params;
    struct block *b = &p->m->blocks[i];
    const struct block_params *at = &b->p;
    size_t N = p->N, C = p->C, W = MLP_WIDTHS * C;
    k->layernorm(d, b->ln1, b->mean1, b->rstd1, b->x, w + at->ln1_w, w + at->ln1_b, N, C);
    k->dense(d, b->qkv, b->ln1, w + at->qkv_w, w + at->qkv_b, N, C, 3 * C);
    k->attention(d, b->attended, b->lse, b->qkv, p->starts, &p->shape);
    k->dense(d, b->middle, b->attended, w + at->proj_w, w + at->proj_b, N, C, C);
    drop(p, b->middle, 2 * i + 1);
    add_residual(p, b->middle, b->x);
    k->layernorm(d, b->ln2, b->mean2, b->rstd2, b->middle, w + at->ln2_w, w + at->ln2_b, N, C);
    k->dense(d, b->fc, b->ln2, w + at->fc_w, w + at->fc_b, N, C, W);
    k->gelu(d, b->gelu, b->fc, N * W);
    k->dense(d, next, b->gelu, w + at->out_w, w + at->out_b, N, W, C);
    drop(p, next, 2 * i + 2);
    add_residual(p, next, b->middle);
}

static void forward(const struct pass *p)
{
    struct gpt *m = p->m;
    size_t layers = m->model.config.layers;
    p->k->embed(p->d, m->blocks[0].x, p->params + m->wte, p->params + m->wpe, m->tokens, m->positions, p->N,
                p->C);
    drop(p, m->blocks[0].x, 0);
    for (size_t i = 0; i < layers; i++)
        forward_block(p, i, i + 1 < layers ? m->blocks[i + 1].x : m->last);
    p->k->layernorm(p->d, m->final, m->meanf, m->rstdf, m->last, p->params + m->lnf_w, p->params + m->lnf_b,
                    p->N, p->C);
}

/* ---- backward ---- */

/* dx, the gradient of what the block left, becomes that of what it was given. */
static void backward_block(const struct pass *p, size_t i)
{
    const struct kernels *k = p->k;
    struct gpt *m = p->m;
    struct device *d = p->d;
    const float *w = p->params;
    float *g = p->grad, *branch = m->dbranch;
    const struct block *b = &m->blocks[i];
    const struct block_params *at = &b->p;
    size_t N = p->N, C = p->C, W = MLP_WIDTHS * C;
    const float *into = m->dx;
    if (p->rate > 0) { /* the branch's share passed through dropout; the residual's did not */
        k->dropout(d, branch, m->dx, N * C, p->rate, rng_key(p->key, 2 * i + 2));
        into = branch;
    }
    k->dense_backward_weight(d, g + at->out_w, g + at->out_b, into, b->gelu, N, W, C);
    k->dense_backward_input(d, m->dwide, into, w + at->out_w, N, W, C);
    k->gelu_backward(d, m->dwide, m->dwide, b->fc, N * W);
    k->dense_backward_weight(d, g + at->fc_w, g + at->fc_b, m->dwide, b->ln2, N, C, W);
    k->dense_backward_input(d, branch, m->dwide, w + at->fc_w, N, C, W);
    k->layernorm_backward(d, m->dx, g + at->ln2_w, g + at->ln2_b, branch, b->middle, w + at->ln2_w, b->mean2,
                          b->rstd2, N, C);
    into = m->dx;
    if (p->rate > 0) {
        k->dropout(d, m->dwide, m->dx, N * C, p->rate, rng_key(p->key, 2 * i + 1));
        into = m->dwide;
    }
    k->dense_backward_weight(d, g + at->proj_w, g + at->proj_b, into, b->attended, N, C, C);
    k->dense_backward_input(d, branch, into, w + at->proj_w, N, C, C);
    k->attention_backward(d, m->dqkv, branch, b->qkv, b->attended, b->lse, p->starts, &p->shape);
    k->dense_backward_weight(d, g + at->qkv_w, g + at->qkv_b, m->dqkv, b->ln1, N, C, 3 * C);
    k->dense_backward_input(d, branch, m->dqkv, w + at->qkv_w, N, C, 3 * C);
    k->layernorm_backward(d, m->dx, g + at->ln1_w, g + at->ln1_b, branch, b->x, w + at->ln1_w, b->mean1,
                          b->rstd1, N, C);
}

static void backward(const struct pass *p)
{
    struct gpt *m = p->m;
    const struct kernels *k = p->k;
    size_t N = p->N, C = p->C;
    float *g = p->grad;
    k->classify(p->d, m->loss, m->dbranch, g + m->wte, m->final, p->params + m->wte, m->labels, m->work, N, C,
                m->model.config.classes);
    k->zero(p->d, m->dx, N * C);
    k->layernorm_backward(p->d, m->dx, g + m->lnf_w, g + m->lnf_b, m->dbranch, m->last, p->params + m->lnf_w,
                          m->meanf, m->rstdf, N, C);
    for (size_t i = m->model.config.layers; i-- > 0;)
        backward_block(p, i);
    drop(p, m->dx, 0);
    k->zero(p->d, g + m->wpe, m->model.config.context * C);
    k->embed_backward(p->d, g + m->wte, g + m->wpe, m->dx, m->tokens, m->positions, N, C);
}

static void backward_gpt(struct model *model, const float *params, const struct batch *b,
                         uint64_t dropout_key, float *grad, double *out_loss_sum)
{
    struct gpt *m = (struct gpt *)model;
    double sum = 0;
    if (b->n == 0) {
        model->k->zero(model->device, grad, model->params.padded);
        *out_loss_sum = 0;
        return;
    }
    struct pass p = begin(m, params, b);
    p.grad = grad;
    p.rate = (float)model->config.dropout;
    p.key = dropout_key;
    device_put(p.d, m->labels, b->labels, p.N * sizeof(int32_t));
    forward(&p);
    backward(&p);
    p.k->zero(p.d, grad + model->params.count, model->params.padded - model->params.count);
    device_get(p.d, m->host_loss, m->loss, p.N * sizeof(double));
    for (size_t i = 0; i < p.N; i++)
        sum += m->host_loss[i];
    *out_loss_sum = sum;
}

/* Of the last token of each sequence alone. */
static void predict_gpt(struct model *model, const float *params, const struct batch *b, float *out_probs)
{
    struct gpt *m = (struct gpt *)model;
    size_t C = m->C, V = model->config.classes;
    if (b->n == 0)
        return;
    struct pass p = begin(m, params, b);
    forward(&p);
    for (size_t i = 0; i < b->n; i++) {
        model->k->logits(p.d, m->work, m->final + ((i + 1) * b->length - 1) * C, params + m->wte, 1, C, V);
        model->k->softmax(p.d, m->work, m->work, 1, V);
        device_get(p.d, out_probs + i * V, m->work, V * sizeof(float));
    }
}

const struct model_ops model_gpt_ops = {
    .kind = "gpt",
    .sequences = true,
    .open = open_gpt,
    .init = init_gpt,
    .backward = backward_gpt,
    .predict = predict_gpt,
    .close = close_gpt,
};
