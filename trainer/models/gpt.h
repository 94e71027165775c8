/*
 * gpt.h - what the files of the gpt share: where its tensors and its arrays are. gpt.c says what it computes.
 *
 * gpt_params.c lays out the parameters and draws them, gpt_memory.c lists the memory, gpt.c has the two
 * passes. Nobody else includes this.
 */
#ifndef TRAINER_MODELS_GPT_H
#define TRAINER_MODELS_GPT_H

#include "trainer/model.h"

/* Where a block's tensors begin in the vector. An option has no use for some of them. */
struct block_params {
    size_t ln1_w, ln1_b, qkv_w, qkv_b, proj_w, proj_b, ln2_w, ln2_b;
    size_t gate_w, gate_b, fc_w, fc_b, out_w, out_b;
};
/* What a block's backward pass needs beside its input. C: width, W: that of the MLP within. */
struct inside {
    real *ln1, *qkv, *attended, *middle, *ln2, *gate, *fc,
        *active;                                // (N,C) (N,3C) (N,C) (N,C) (N,C) (N,W) (N,W) (N,W)
    float *mean1, *rstd1, *lse, *mean2, *rstd2; // (N) but lse (n, heads, length)
};
struct block {
    struct block_params p;
    real *x;           // (N,C): its input
    struct inside *in; /* one for each block; with recompute all of them share one */
};
struct gpt {
    struct model model;
    size_t C, W, tokens_max;
    size_t wte, wpe, lnf_w, lnf_b;
    struct block *blocks;                          /* owned */
    struct inside *insides;                        /* owned */
    real *weights;                                 // the parameters as reals; NULL where those are floats
    real *last, *final;                            // (N,C): behind the last block, and normalised
    float *meanf, *rstdf;                          // (N)
    real *dx, *dbranch, *dwide, *dgate, *dqkv;     // (N,C) (N,C) (N,W) (N,W) (N,3C)
    real *work;                                    // classify's
    float *turns;                                  // rotary's
    int32_t *tokens, *positions, *labels, *starts; // (N)
    double *loss;                                  // (N)
    double *host_loss;                             /* owned */
    int32_t *host_positions;                       /* owned */
};

static inline bool gpt_rms(const struct gpt *m)
{
    return m->model.config.norm == MODEL_NORM_RMS;
}

static inline bool gpt_rotary(const struct gpt *m)
{
    return m->model.config.positions == MODEL_POSITIONS_ROTARY;
}

static inline bool gpt_gated(const struct gpt *m)
{
    return m->model.config.mlp == MODEL_MLP_SWIGLU;
}

/* Needs C and W. ERR_LIMIT: too many parameters. */
enum err_code gpt_add_parameters(struct gpt *m, struct err *e);
void gpt_init(const struct model *model, uint64_t seed, float *params);
void gpt_list_memory(struct gpt *m);

#endif
