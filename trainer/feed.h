/*
 * feed.h - what a model is fed: rows of a table, or sequences of tokens; and all that depends on which.
 *
 *     rows    csv shards for an mlp: columns become numbers by an encoding that is fitted to the training
 * part tokens  token shards for a gpt: nothing is to be fitted
 *
 * A feed describes itself in what goes into the model file (core/artifact/model_file.h); the same stands in a
 * checkpoint's meta, and a feed that is restored from there is the one that wrote it.
 *
 * fit and evaluate are collective: every rank returns the same, whatever the number of ranks.
 */
#ifndef TRAINER_FEED_H
#define TRAINER_FEED_H

#include "core/crypto/crypto.h"
#include "trainer/comm.h"
#include "trainer/metrics.h"
#include "trainer/model.h"
#include "trainer/shards.h"

struct feed_place {
    struct comm *comm;
    const struct job_spec *spec;
    const struct dataset *dataset;
    struct shards *shards;
};

struct feed;
struct feed_ops {
    const char *model; /* the kind that takes it: "mlp" */
    enum err_code (*fit)(struct feed *f, struct err *e);
    enum err_code (*restore)(struct feed *f, const json_t *file, struct err *e);
    /* Sets what the data decides: width, classes. */
    void (*shape)(const struct feed *f, struct model_config *io_config);
    enum err_code (*describe)(const struct feed *f, const struct model *m, json_t **out, struct err *e);
    enum err_code (*evaluate)(struct feed *f, struct model *m, const float *params, double share,
                              struct metrics *out, struct err *e);
    void (*close)(struct feed *f);
};
struct feed { /* first member of each feed's struct */
    const struct feed_ops *ops;
    struct feed_place place;
    char begun_from[SHA256_HEX_BYTES]; /* of the model file that training began with; "": of none */
};

/* As spec->model.kind asks for. Everything in `place` is borrowed. */
struct feed *feed_new(const struct feed_place *place);
void feed_free(struct feed *f);
DEFINE_CLEANUP_PTR(struct feed, feed_free)

/* One of the two before anything else. ERR_USAGE: the data does not fit the spec; ERR_CANCELED: asked to
 * stop. restore: `file` is what feed_describe() gave; ERR_CORRUPT. */
enum err_code feed_fit(struct feed *f, struct err *e);
enum err_code feed_restore(struct feed *f, const json_t *file, struct err *e);

/* The whole configuration of the model, for `records_max` records at a time. */
struct model_config feed_model_config(const struct feed *f, size_t records_max);
/* The model file's metadata: an object of texts, new. */
enum err_code feed_describe(const struct feed *f, const struct model *m, json_t **out, struct err *e);
/* How good the model is on the last `share` of each shard's records: 1 for all. Each rank looks at the shards
 * i with i mod ranks = rank; the figures come together in shard order. out->records = 0: there are none. */
enum err_code feed_evaluate(struct feed *f, struct model *m, const float *params, double share,
                            struct metrics *out, struct err *e);

/* The token that ends a document, -1: nobody said. */
int64_t feed_end_token(const struct dataset *d);

/* A kind of feed is a file and a row in feed.c. */
struct feed *feed_rows_new(void);
struct feed *feed_tokens_new(void);

#endif
