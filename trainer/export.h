/*
 * export.h - the finished model as one safetensors file that is enough to predict with.
 *
 * Tensors by their usual names: of an mlp layers.0.weight (out, in), layers.0.bias, ...; of a gpt GPT-2's
 * (h.0.attn.c_attn.weight, ...). `__metadata__` is what core/artifact/model_file.h says; tools/predict.py
 * needs nothing else for an mlp. The file depends on the training alone, not on the attempt: so its
 * SHA-256 is the model's name.
 */
#ifndef TRAINER_EXPORT_H
#define TRAINER_EXPORT_H

#include "trainer/checkpoint.h"
#include "trainer/metrics.h"
#include "trainer/model.h"

/* [{"name","dims":[...],"first"}]: which floats of the vector are which tensor; for checkpoints' meta. */
json_t *export_tensor_table(const struct params *p);

struct export_result {
    char sha256[SHA256_HEX_BYTES]; /* of the safetensors file */
    char uri[STORE_KEY_BYTES + 80], version[STORE_VERSION_BYTES], manifest[STORE_KEY_BYTES];
    uint64_t bytes;
};
/* Rank 0: write, seal, put, and commit the manifest. `description`: of the model, model_file.h. */
enum err_code export_model(const struct checkpoint_place *p, const struct model *model, const float *params,
                           const json_t *description, int64_t step, const struct metrics *metrics,
                           struct export_result *out, struct err *e);

json_t *export_result_json(const struct export_result *r, const struct metrics *m, int64_t steps,
                           double loss);
json_t *export_event_json(const struct export_result *r); /* without reals: for the ledger */

#endif
