/*
 * model_file.h - what every model file says of itself: the `__metadata__` of its safetensors file.
 *
 * A description is a JSON object of
 *
 *     format           "sovrun.mlp.v1", "sovrun.gpt.v1"
 *     model            an object: kind, and what else makes the same model of the tensors
 *     encoding         mlp: an object: how a record becomes a row of numbers (trainer/encode.h)
 *     tokenizer        gpt: an object: name, vocabulary, end, and its files' SHA-256: how text became tokens
 *     dataset_content  dataset_content_digest() of what it was trained on
 *     begun_from       where training began with a model: the SHA-256 of that model's file
 *
 * and stands as `file` in a checkpoint's meta. In a file each object becomes its canonical text, since
 * safetensors has nothing but texts there. The trainer writes it, and so does whoever makes a model file out
 * of a checkpoint; the same input gives the same bytes, so that the file's SHA-256 can be the model's name.
 */
#ifndef CORE_ARTIFACT_MODEL_FILE_H
#define CORE_ARTIFACT_MODEL_FILE_H

#include "core/json/json.h"

/* A new object for tensors_write(). ERR_CORRUPT: no description. */
enum err_code model_file_metadata(const json_t *description, json_t **out, struct err *e);

#endif
