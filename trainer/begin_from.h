/*
 * begin_from.h - the parameters that a job begins with, or that it evaluates: model.from.
 *
 * A plain safetensors file, or an artifact of this cluster by its manifest: rank 0 reads it in the version
 * that the supervisor looked at, checks it (model_load.h), and all ranks get the parameters from it. Nothing
 * of the optimizer is taken over, whichever it was.
 */
#ifndef TRAINER_BEGIN_FROM_H
#define TRAINER_BEGIN_FROM_H

#include "core/cluster/attempt_doc.h"
#include "trainer/comm.h"
#include "trainer/model.h"

enum { BEGIN_PIECE_FLOATS = 4 << 20 }; /* of one broadcast */

struct begin_place {
    struct comm *comm;
    const struct attempt_doc *doc;
    struct store *store; /* rank 0: the bucket of model.from */
    const struct signer *signer;
};
struct begun {
    char version[STORE_VERSION_BYTES]; /* of the file or the manifest */
    char sha256[SHA256_HEX_BYTES];     /* of the model file: of one made of a checkpoint, model_read.h */
    uint64_t bytes;
    uint64_t positions; /* of its table, where it was cut; else 0 */
};
/* Collective; *out is the same on every rank. `description`: the model's, feed_describe(). `params`: host
 * memory, filled whole. ERR_USAGE: it is not there, not ours, or does not fit, and why. */
enum err_code begin_from(const struct begin_place *p, const struct model *m, const json_t *description,
                         float *params, struct begun *out, struct err *e);

#endif
