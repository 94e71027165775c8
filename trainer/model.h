/*
 * model.h - a model: the layout of its parameters, how they start, its forward and its backward pass.
 *
 * A model owns no parameters: these are one vector (params.h) that the caller passes in. It owns the memory
 * for its activations, all of it taken when it is opened, for at most `records_max` records at a time. A
 * backward pass is that of one leaf's micro-batch and writes, not adds, the gradient of the SUM of the
 * records' losses; the step divides by the number of records once, after the leaves were summed (step.h).
 *
 * The same inputs give the same bits, whatever else the process has done before.
 */
#ifndef TRAINER_MODEL_H
#define TRAINER_MODEL_H

#include "kernels/kernels.h"
#include "trainer/models/memory.h"
#include "trainer/params.h"

enum {
    MODEL_HIDDEN_MAX = 16,
    MODEL_WIDTH_MAX = 1 << 20,
    MODEL_CLASSES_MAX = 1 << 18,
    MODEL_RECORDS_MAX = 1 << 20,
    MODEL_LAYERS_MAX = 80,
};

/* What a gpt is made of; zeros are GPT-2's. Other kinds do not look at them. */
enum model_norm {
    MODEL_NORM_LAYER, /* Ba et al. 2016 */
    MODEL_NORM_RMS,   /* Zhang and Sennrich 2019: weights alone */
};
enum model_positions {
    MODEL_POSITIONS_LEARNED, /* a vector for each, added to the token's */
    MODEL_POSITIONS_ROTARY,  /* Su et al. 2021: queries and keys are turned; heads of an even size */
};
enum model_mlp_kind {
    MODEL_MLP_GELU,   /* of 4 widths */
    MODEL_MLP_SWIGLU, /* Shazeer 2020: of 8/3 widths, up to a multiple of 64 */
};

struct model_config {
    size_t width;                    /* mlp: inputs a record. gpt: floats of a token's vector */
    size_t hidden[MODEL_HIDDEN_MAX]; /* mlp: sizes of the hidden layers, first to last */
    size_t hidden_count;             /* mlp: 0: logistic regression */
    size_t layers, heads,
        context;    /* gpt: blocks; heads of each, which divide the width; tokens of a sequence */
    size_t classes; /* at least 2. gpt: the vocabulary */
    enum model_norm norm;
    enum model_positions positions;
    enum model_mlp_kind mlp;
    bool recompute;     /* gpt: a block keeps its input alone, and the backward pass does the rest of its
                           forward pass again: less memory, the same bits */
    double dropout;     /* mlp: after each hidden layer; gpt: after the embeddings and in each
                           residual branch; while training; [0, 1) */
    bool draw_weights;  /* gpt, where reals are bf16: in the passes of training weights are rounded up or down by
                           the draw of dropout_key, with the probabilities that make their mean right */
    size_t records_max; /* the most records in one call */
    size_t slices;      /* the job's leaves */
};

/* Some records in host memory: rows of a table, or sequences of tokens. */
struct batch {
    size_t n;
    const float *features; /* rows: (n, width) */
    const int32_t *labels; /* rows: (n), in [0, classes). Sequences: (n, length), the token that comes next,
                              -1: not to be predicted */
    const int32_t *tokens; /* sequences: (n, length) */
    const int32_t *starts; /* sequences: (n, length), where the document of each token begins; NULL: at 0 */
    size_t length;         /* sequences: at most the context */
};

/* A model's memory on its device, beside the parameters: bytes. */
struct model_memory {
    size_t activations; /* what the forward pass leaves for the backward pass */
    size_t workspace;   /* what is used again and again */
};

/* The gradient's floats from `first` to its end are final. */
typedef void model_final_fn(void *context, size_t first);

struct model;
struct model_ops {
    const char *kind; /* "mlp" */
    bool sequences;   /* its records are those of tokens */
    /* Checks the sizes, lays out the parameters and lists the memory; takes none of the device's. */
    enum err_code (*plan)(const struct model_config *config, struct device *d, struct model **out,
                          struct err *e);
    void (*start)(struct model *m); /* the memory is there: fills what never changes */
    void (*init)(const struct model *m, uint64_t seed, float *params);
    void (*backward)(struct model *m, const float *params, const struct batch *b, uint64_t dropout_key,
                     float *grad, double *out_loss_sum);
    void (*evaluate)(struct model *m, const float *params, const struct batch *b, double *out_loss_sum);
    void (*predict)(struct model *m, const float *params, const struct batch *b, float *out_probs);
    void (*close)(struct model *m); /* the host's memory; the device's is given back already */
};
struct model { /* first member of each model's struct */
    const struct model_ops *ops;
    struct device *device; /* borrowed */
    const struct kernels *k;
    struct model_config config;
    struct params params;
    struct memory_list memory;
    model_final_fn *on_final; /* model_on_final(); NULL: nobody asks */
    void *final_context;
};

/* `kind`: "mlp", "gpt". `d` is borrowed and must outlive the model. ERR_USAGE: a size that makes no sense;
 * ERR_LIMIT: memory. */
enum err_code model_open(const char *kind, const struct model_config *config, struct device *d,
                         struct model **out, struct err *e);
void model_close(struct model *m);
DEFINE_CLEANUP_PTR(struct model, model_close)

/* What model_open() would make of the same arguments, without taking any of the device's memory: the layout
 * of the parameters (out_params NULL: not asked for) and the bytes that it would ask the device for. Fails as
 * model_open() does, but not where the device lacks room for a possible size. */
enum err_code model_plan(const char *kind, const struct model_config *config, struct device *d,
                         struct params *out_params, struct model_memory *out, struct err *e);

/* The starting point: a pure function of (model, seed). Fills all params.padded floats of `params` (device
 * memory). */
void model_init(const struct model *m, uint64_t seed, float *params);

/* Forward and backward of one leaf. `params`, `grad`: device memory, params.padded floats; grad is
 * overwritten, zeros for an empty batch. out_loss_sum (host): the sum of the records' losses. ERR_USAGE: a
 * label that is no class, a token that is none, too many records or tokens. */
enum err_code model_backward(struct model *m, const float *params, const struct batch *b,
                             uint64_t dropout_key, float *grad, double *out_loss_sum, struct err *e);

/* From now on model_backward() tells how far the gradient is while it goes on, as often as it likes, from the
 * end towards the beginning; or never, as a kind may. NULL: nobody asks any more. */
void model_on_final(struct model *m, model_final_fn *fn, void *context);
void model_tell_final(struct model *m, size_t first); /* for kinds */

/* The sum of the losses without dropout: of the records, or of the tokens that have a label. No gradients.
 * Fails as model_backward() does. */
enum err_code model_evaluate(struct model *m, const float *params, const struct batch *b,
                             double *out_loss_sum, struct err *e);

/* Class probabilities without dropout: out_probs (n, classes) in host memory. Of a sequence: of what comes
 * behind its last token. Labels are not looked at. */
enum err_code model_predict(struct model *m, const float *params, const struct batch *b, float *out_probs,
                            struct err *e);

/* A model kind is a file in trainer/models and a row in model.c. */
extern const struct model_ops model_mlp_ops, model_gpt_ops;

#endif
