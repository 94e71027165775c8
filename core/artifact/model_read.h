/*
 * model_read.h - an artifact as one model file, whichever it is: the file of a finished model, or one made of
 * a checkpoint's parameters, in the same form (model_file.h).
 *
 * The same artifact gives the same bytes wherever it is read, so their SHA-256 says which model it is.
 */
#ifndef CORE_ARTIFACT_MODEL_READ_H
#define CORE_ARTIFACT_MODEL_READ_H

#include "core/artifact/artifact.h"

/* Adds the file; the caller wipes it. `key`: the artifact's data key. ERR_CORRUPT: it is not as its manifest
 * says, or no model. */
enum err_code model_read(struct store *s, const struct secret *key, const struct artifact *a, struct buf *out,
                         struct err *e);

#endif
