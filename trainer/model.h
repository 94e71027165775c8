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
#include "trainer/params.h"

enum {
    MODEL_HIDDEN_MAX = 16,
    MODEL_WIDTH_MAX = 1 << 20,
    MODEL_CLASSES_MAX = 1 << 18,
    MODEL_RECORDS_MAX = 1 << 20,
    MODEL_LAYERS_MAX = 80,
};

struct model_config {
    size_t width;                    /* mlp: inputs a record. gpt: floats of a token's vector */
    size_t hidden[MODEL_HIDDEN_MAX]; /* mlp: sizes of the hidden layers, first to last */
    size_t hidden_count;             /* mlp: 0: logistic regression */
    size_t layers, heads,
        context;        /* gpt: blocks; heads of each, which divide the width; tokens of a sequence */
    size_t classes;     /* at least 2. gpt: the vocabulary */
    double dropout;     /* mlp: after each hidden layer; gpt: after the embeddings and in each
                           residual branch; while training; [0, 1) */
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

struct model;
struct model_ops {
    const char *kind; /* "mlp" */
    bool sequences;   /* its records are those of tokens */
    enum err_code (*open)(const struct model_config *config, struct device *d, struct model **out,
                          struct err *e);
    void (*init)(const struct model *m, uint64_t seed, float *params);
    void (*backward)(struct model *m, const float *params, const struct batch *b, uint64_t dropout_key,
                     float *grad, double *out_loss_sum);
    void (*predict)(struct model *m, const float *params, const struct batch *b, float *out_probs);
    void (*close)(struct model *m);
};
struct model { /* first member of each model's struct */
    const struct model_ops *ops;
    struct device *device; /* borrowed */
    const struct kernels *k;
    struct model_config config;
    struct params params;
};

/* `kind`: "mlp", "gpt". `d` is borrowed and must outlive the model. ERR_USAGE: a size that makes no sense;
 * ERR_LIMIT: memory. */
enum err_code model_open(const char *kind, const struct model_config *config, struct device *d,
                         struct model **out, struct err *e);
void model_close(struct model *m);
DEFINE_CLEANUP_PTR(struct model, model_close)

/* The starting point: a pure function of (model, seed). Fills all params.padded floats of `params` (device
 * memory). */
void model_init(const struct model *m, uint64_t seed, float *params);

/* Forward and backward of one leaf. `params`, `grad`: device memory, params.padded floats; grad is
 * overwritten, zeros for an empty batch. out_loss_sum (host): the sum of the records' losses. ERR_USAGE: a
 * label that is no class, a token that is none, too many records or tokens. */
enum err_code model_backward(struct model *m, const float *params, const struct batch *b,
                             uint64_t dropout_key, float *grad, double *out_loss_sum, struct err *e);

/* Class probabilities without dropout: out_probs (n, classes) in host memory. Of a sequence: of what comes
 * behind its last token. Labels are not looked at. */
enum err_code model_predict(struct model *m, const float *params, const struct batch *b, float *out_probs,
                            struct err *e);

/* A model kind is a file in trainer/models and a row in model.c. */
extern const struct model_ops model_mlp_ops, model_gpt_ops;

#endif
