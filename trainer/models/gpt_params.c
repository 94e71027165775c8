/* The tensors of a gpt: their names, their places, and how they start. */
#include "base/rng.h"
#include "trainer/models/gpt.h"

#include <math.h>

struct tensor {
    bool there;
    size_t *first, rows, columns; /* rows 0: a vector */
    const char *name;
};

static enum err_code add(struct gpt *m, const struct tensor *t, size_t block, struct err *e)
{
    struct params *p = &m->model.params;
    const size_t dims[] = { t->rows, t->columns };
    size_t flat = t->rows == 0;
    *t->first = p->count;
    if (!t->there)
        return OK;
    if (block == SIZE_MAX)
        return params_add(p, dims + flat, 2 - flat, e, "%s", t->name);
    return params_add(p, dims + flat, 2 - flat, e, "h.%zu.%s", block, t->name);
}

static enum err_code add_block(struct gpt *m, size_t block, struct err *e)
{
    struct block_params *p = &m->blocks[block].p;
    size_t C = m->C, W = m->W;
    bool bias = !gpt_rms(m), gated = gpt_gated(m);
    const struct tensor tensors[] = {
        { true, &p->ln1_w, 0, C, "ln_1.weight" },
        { bias, &p->ln1_b, 0, C, "ln_1.bias" },
        { true, &p->qkv_w, C, 3 * C, "attn.c_attn.weight" },
        { true, &p->qkv_b, 0, 3 * C, "attn.c_attn.bias" },
        { true, &p->proj_w, C, C, "attn.c_proj.weight" },
        { true, &p->proj_b, 0, C, "attn.c_proj.bias" },
        { true, &p->ln2_w, 0, C, "ln_2.weight" },
        { bias, &p->ln2_b, 0, C, "ln_2.bias" },
        { gated, &p->gate_w, C, W, "mlp.c_gate.weight" },
        { gated, &p->gate_b, 0, W, "mlp.c_gate.bias" },
        { true, &p->fc_w, C, W, "mlp.c_fc.weight" },
        { true, &p->fc_b, 0, W, "mlp.c_fc.bias" },
        { true, &p->out_w, W, C, "mlp.c_proj.weight" },
        { true, &p->out_b, 0, C, "mlp.c_proj.bias" },
    };
    for (size_t i = 0; i < ARRAY_LEN(tensors); i++)
        if (add(m, &tensors[i], block, e))
            return e->code;
    return OK;
}

enum err_code gpt_add_parameters(struct gpt *m, struct err *e)
{
    const struct model_config *c = &m->model.config;
    const struct tensor wte = { true, &m->wte, c->classes, m->C, "wte.weight" };
    const struct tensor wpe = { !gpt_rotary(m), &m->wpe, c->context, m->C, "wpe.weight" };
    const struct tensor lnf_w = { true, &m->lnf_w, 0, m->C, "ln_f.weight" };
    const struct tensor lnf_b = { !gpt_rms(m), &m->lnf_b, 0, m->C, "ln_f.bias" };
    if (add(m, &wte, SIZE_MAX, e) || add(m, &wpe, SIZE_MAX, e))
        return e->code;
    for (size_t i = 0; i < c->layers; i++)
        if (add_block(m, i, e))
            return e->code;
    if (add(m, &lnf_w, SIZE_MAX, e) || add(m, &lnf_b, SIZE_MAX, e))
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

void gpt_init(const struct model *model, uint64_t seed, float *params)
{
    const struct gpt *m = (const struct gpt *)model;
    const struct model_config *c = &model->config;
    const double deviation = 0.02, branch = deviation / sqrt(2.0 * (double)c->layers);
    size_t C = m->C, W = m->W;
    model->k->zero(model->device, params, model->params.padded);
    draw(m, params, m->wte, c->classes * C, deviation, rng_key(seed, 0));
    if (!gpt_rotary(m))
        draw(m, params, m->wpe, c->context * C, deviation, rng_key(seed, 1));
    for (size_t i = 0; i < c->layers; i++) {
        const struct block_params *p = &m->blocks[i].p;
        uint64_t key = rng_key(seed, 2 + i);
        draw(m, params, p->ln1_w, C, 0, 0);
        draw(m, params, p->qkv_w, 3 * C * C, deviation, rng_key(key, 0));
        draw(m, params, p->proj_w, C * C, branch, rng_key(key, 1));
        draw(m, params, p->ln2_w, C, 0, 0);
        draw(m, params, p->fc_w, W * C, deviation, rng_key(key, 2));
        draw(m, params, p->out_w, W * C, branch, rng_key(key, 3));
        if (gpt_gated(m))
            draw(m, params, p->gate_w, W * C, deviation, rng_key(key, 4));
    }
    draw(m, params, m->lnf_w, C, 0, 0);
}
