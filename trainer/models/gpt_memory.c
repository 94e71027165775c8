/* The arrays of a gpt, by what its options take. */
#include "base/mem.h"
#include "trainer/models/gpt.h"

struct row {
    bool there;
    void *out;            /* a pointer to reals, or to floats */
    size_t reals, floats; /* a token */
};

static void add_rows(struct gpt *m, enum memory_use use, const struct row *rows, size_t n)
{
    size_t each = device_real_bytes(m->model.device);

    for (size_t i = 0; i < n; i++)
        if (rows[i].there)
            memory_add(&m->model.memory, use, rows[i].out, m->tokens_max,
                       rows[i].reals * each + rows[i].floats * sizeof(float));
}

static void list_inside(struct gpt *m, struct inside *in)
{
    size_t C = m->C, W = m->W;
    const struct row rows[] = {
        { true, &in->ln1, C, 0 },
        { true, &in->qkv, 3 * C, 0 },
        { true, &in->attended, C, 0 },
        { true, &in->middle, C, 0 },
        { true, &in->ln2, C, 0 },
        { gpt_gated(m), &in->gate, W, 0 },
        { true, &in->fc, W, 0 },
        { true, &in->active, W, 0 },
        { !gpt_rms(m), &in->mean1, 0, 1 },
        { true, &in->rstd1, 0, 1 },
        { !gpt_rms(m), &in->mean2, 0, 1 },
        { true, &in->rstd2, 0, 1 },
        { true, &in->lse, 0, m->model.config.heads },
    };
    add_rows(m, m->model.config.recompute ? MEMORY_WORKSPACE : MEMORY_ACTIVATIONS, rows, ARRAY_LEN(rows));
}

void gpt_list_memory(struct gpt *m)
{
    enum { A_BLOCK = 16, BESIDE = 20 };
    const struct model_config *c = &m->model.config;
    struct memory_list *list = &m->model.memory;
    size_t N = m->tokens_max, C = m->C, W = m->W, insides = c->recompute ? 1 : c->layers;
    size_t each = device_real_bytes(m->model.device);
    const struct row kept[] = {
        { true, &m->last, C, 0 },
        { true, &m->final, C, 0 },
        { !gpt_rms(m), &m->meanf, 0, 1 },
        { true, &m->rstdf, 0, 1 },
    };
    const struct row reused[] = {
        { true, &m->dx, C, 0 },       { true, &m->dbranch, C, 0 },
        { true, &m->dwide, W, 0 },    { gpt_gated(m), &m->dgate, W, 0 },
        { true, &m->dqkv, 3 * C, 0 },
    };
    memory_init(list, c->layers * A_BLOCK + BESIDE);
    m->insides = mem_array(insides, sizeof(*m->insides));
    for (size_t i = 0; i < c->layers; i++) {
        struct block *b = &m->blocks[i];
        b->in = &m->insides[c->recompute ? 0 : i];
        memory_add(list, MEMORY_ACTIVATIONS, &b->x, N, C * each);
    }
    for (size_t i = 0; i < insides; i++)
        list_inside(m, &m->insides[i]);
    add_rows(m, MEMORY_ACTIVATIONS, kept, ARRAY_LEN(kept));
    add_rows(m, MEMORY_WORKSPACE, reused, ARRAY_LEN(reused));
    memory_add(list, MEMORY_WORKSPACE, &m->work, m->model.k->classify_work(N, c->classes), each);
    if (each < sizeof(float))
        memory_add(list, MEMORY_WORKSPACE, &m->weights, m->model.params.count, each);
    if (gpt_rotary(m))
        memory_add(list, MEMORY_WORKSPACE, &m->turns, c->context, C / c->heads * sizeof(float));
    int32_t **const numbers[] = { &m->tokens, &m->positions, &m->labels, &m->starts };
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++)
        memory_add(list, MEMORY_WORKSPACE, numbers[i], N, sizeof(int32_t));
    memory_add(list, MEMORY_WORKSPACE, &m->loss, N, sizeof(double));
}
