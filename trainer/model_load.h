/*
 * model_load.h - a model's parameters from a safetensors file, ours or the public GPT-2's.
 *
 * Each tensor of the model must be there by its name, with or without "transformer." in front, in its shape,
 * as F32, F16 or BF16 and finite; and none beside them. What GPT-2's files have on top is known: the masks
 * (h.N.attn.bias, h.N.attn.masked_bias) are not read, and lm_head.weight must be the embeddings again, since
 * they are one tensor here. A table of more positions than the model has is cut.
 *
 * The number of heads shows in no shape. Our own files say it (model_load_check()); of others it cannot be
 * told.
 */
#ifndef TRAINER_MODEL_LOAD_H
#define TRAINER_MODEL_LOAD_H

#include "core/artifact/tensors.h"
#include "trainer/model.h"

struct model_load_notes {
    uint64_t positions; /* of the file's table, where it was cut; else 0 */
};

/* Fills `params`, model->params.padded floats of host memory, its padding with zeros. ERR_USAGE: the file's
 * first tensor that is missing, of another shape or type, or unknown, by name. */
enum err_code model_load(const struct model *m, const struct tensors *file, float *params,
                         struct model_load_notes *out, struct err *e);

/* Does what the file says of itself (core/artifact/model_file.h) fit `description`, feed_describe()'s? The
 * context may differ, and a tokenizer that nobody named. A file that is not ours says nothing and fits.
 * ERR_USAGE. */
enum err_code model_load_check(const struct tensors *file, const json_t *description, struct err *e);

/* The configuration of a model file of ours, for one record at a time. ERR_USAGE: it is no gpt's. */
enum err_code model_load_config(const struct tensors *file, struct model_config *out, struct err *e);

#endif
