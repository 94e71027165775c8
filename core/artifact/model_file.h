/*
 * model_file.h - what every model file says of itself: the `__metadata__` of its safetensors file.
 *
 * format "sovrun.mlp.v1"; `encoding`, JSON text: how a record becomes a row of numbers (trainer/encode.h);
 * `model`, JSON text: kind and activation; `dataset_content`: dataset_content_digest() of what it was trained
 * on. The trainer writes it, and so does whoever makes a model file out of a checkpoint; the same input gives
 * the same bytes, so that the file's SHA-256 can be the model's name.
 */
#ifndef CORE_ARTIFACT_MODEL_FILE_H
#define CORE_ARTIFACT_MODEL_FILE_H

#include "core/json/json.h"

/* A new object for tensors_write(). */
enum err_code model_file_metadata(const json_t *encoding, const char *dataset_content, json_t **out,
                                  struct err *e);

#endif
