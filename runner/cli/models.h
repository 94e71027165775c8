/*
 * models.h - a job's checkpoints and its model in the store, for the `model` commands.
 *
 * Where they lie is told by the job (checkpoint.to, asked of the scheduler) or by --prefix, so that they can
 * be read while no scheduler is up. Only manifests signed by this cluster count.
 */
#ifndef RUNNER_CLI_MODELS_H
#define RUNNER_CLI_MODELS_H

#include "core/artifact/artifact.h"
#include "runner/cli/cli.h"

enum { MODELS_MAX = 4096 };

struct models {
    struct cluster *cluster; /* owned */
    struct store *store;     /* owned */
    struct artifact_trust trust;
    char job[64], name[64];    /* name: the job's; "" where it is not known */
    char data[SPEC_URI_BYTES]; /* the job's data.train; "" where it is not known */
    char bucket[STORE_BUCKET_BYTES], prefix[STORE_KEY_BYTES];
};
/* `prefix_uri` NULL: ask the scheduler. */
enum err_code models_open(const struct cli *c, const char *job, const char *prefix_uri, struct models *out,
                          struct err *e);
void models_done(struct models *m);

/* Called for each manifest, newest first. `a` NULL: it does not verify, and `why` says why. */
typedef enum err_code models_each_fn(void *context, const char *key, const struct artifact *a,
                                     const char *why, struct err *e);
enum err_code models_each(const struct models *m, enum artifact_kind kind, models_each_fn *each,
                          void *context, struct err *e);

/* --step N, NULL where it was not given: -1. */
enum err_code models_step(const char *text, int64_t *out, struct err *e);
/* The newest checkpoint of that step; -1: the finished model. ERR_NOT_FOUND says what else there is. */
enum err_code models_find(const struct models *m, int64_t step, struct artifact *out, struct err *e);

/* The data key of an artifact. The caller frees. */
enum err_code models_unwrap(const struct models *m, const struct artifact *a, struct secret **out,
                            struct err *e);

/* Its file, opened: model_read(). */
enum err_code models_file(const struct models *m, const struct artifact *a, struct buf *out, struct err *e);

#endif
