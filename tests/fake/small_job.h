/*
 * small_job.h - a job small enough for a unit test: one rank, a tiny model, a bucket in memory, keys in a
 * folder.
 */
#ifndef TESTS_FAKE_SMALL_JOB_H
#define TESTS_FAKE_SMALL_JOB_H

#include "tests/test.h"
#include "trainer/saver.h"

enum { SMALL_LEAVES = 4, SMALL_WIDTH = 3, SMALL_RECORDS = 8, SMALL_CLASSES = 2 };

struct small_job {
    struct comm *comm;
    struct device *device;
    struct model *model;
    struct step *step;
    struct store *store; /* stays over attempts */
    struct keys *keys;
    struct keys_config keys_config;
    struct attempt_doc doc;
    struct signer signer;
    struct checkpoint_place place;
    float features[SMALL_RECORDS * SMALL_WIDTH];
    int32_t labels[SMALL_RECORDS];
};
struct small_job *small_job_new(void);
void small_job_free(struct small_job *j);
DEFINE_CLEANUP_PTR(struct small_job, small_job_free)

/* A new attempt with a data key of its own, a larger token, and a model that has learnt nothing. */
void small_job_next_attempt(struct small_job *j);
void small_job_train(struct small_job *j, int64_t from, int64_t to); /* steps from .. to */
uint64_t small_job_digest(const struct small_job *j);                /* of parameters and moments */
/* A whole checkpoint at once: fills key with its manifest's. `meta` is borrowed. */
enum err_code small_job_save(struct small_job *j, int64_t step, json_t *meta, char key[STORE_KEY_BYTES],
                             struct err *e);
void small_job_forget_keys(struct small_job *j); /* of earlier attempts, as where their KEK was destroyed */

#endif
