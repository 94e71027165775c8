/*
 * step.h - one training step over all ranks, and the state that it changes.
 *
 * Every rank holds all parameters, and the optimizer's two moments for its own slices alone (tree.h says
 * which). A step: each own leaf forward and backward, its gradient into the tree; the sum scattered over the
 * ranks; the global norm from the slices' norms; AdamW on the own slices; the new parameters spread to all.
 * The gradient is the mean over what was predicted: the records that the leaves really had, or their tokens.
 *
 * With `exact` the state after a step has the same bits on any number of ranks. It depends on the
 * configuration, the seed, the step's number and the leaves' records; nothing else is remembered, so a
 * restart from a checkpoint (parameters, moments, step number, data position) continues as if nothing had
 * happened.
 *
 * Divergence (a loss or a gradient that is not finite, or a loss far above that of a guess) is no failure of
 * the machine: the step returns OK with `diverged` and a sentence, the same on all ranks, and leaves the
 * parameters as they were.
 *
 * A failure on one rank (a label that is no class) is returned by all of them. After any failure the ranks
 * are still together, unless comm is broken: by ERR_RETRY from it, or by a device that failed behind the
 * update, which its rank alone knows of.
 */
#ifndef TRAINER_STEP_H
#define TRAINER_STEP_H

#include "trainer/comm.h"
#include "trainer/model.h"
#include "trainer/tree.h"

struct step_config {
    uint64_t seed;
    bool blank;    /* parameters begin as zeros, not as model_init() draws them: somebody fills them */
    size_t leaves; /* of all ranks: a power of two, a multiple of the ranks */
    bool exact;
    size_t bucket; /* several ranks; exact, or a comm that works on the device: floats that are summed at once
                      while the last leaf's backward pass goes on; 0: all at once, behind it. Of an exact sum
                      the bits are the same. */
    double weight_decay, beta1, beta2, epsilon;
    double clip;    /* largest global norm of the mean gradient; 0: off */
    double explode; /* a loss of more than so many times ln(classes) is divergence; 0: off */
};
struct step;

/* model and comm are borrowed and must outlive it; all memory is taken here. Parameters are model_init()
 * unless config->blank, moments zero. Collective. ERR_USAGE: ranks and leaves do not fit; ERR_LIMIT: memory.
 */
enum err_code step_open(const struct step_config *config, struct model *model, struct comm *comm,
                        struct step **out, struct err *e);
void step_close(struct step *s);
DEFINE_CLEANUP_PTR(struct step, step_close)

struct step_input {
    int64_t step; /* from 1 */
    double lr;
    const struct batch *leaves; /* this rank's leaves (leaves_of_rank()), in order; a leaf may be empty */
    /* Anything small that the ranks want to know of each other: of votes the largest counts ("stop was
     * asked"), of marks the smallest ("my upload has come so far"). */
    int64_t vote, mark;
    bool compare;      /* before the update: have all ranks the same parameters? */
    int64_t waited_us; /* for this step's data: told in busy_us */
};
struct step_result {
    double loss; /* mean over what was predicted; 0 where nothing was */
    double norm; /* of the mean gradient, before clipping */
    uint64_t records;
    uint64_t predicted; /* records, or tokens with a label */
    int64_t vote_max, mark_min;
    struct step_times {
        int64_t compute_us, reduce_us, update_us; /* on this rank; each with the waiting for others */
    } times;
    const int64_t *busy_us; /* of each rank: waited_us and compute_us; borrowed until the next step */
    bool diverged;
    char why[256]; /* "step 12: the loss of leaf 3 is nan; the first gradient that is no number is in
                      'wte.weight'" */
};
/* Collective. All ranks get the same result. ERR_CORRUPT: they compared, and parameters differ; nothing was
 * updated. */
enum err_code step_run(struct step *s, const struct step_input *in, struct step_result *out, struct err *e);

/* The parameters (model->params.padded floats), host memory, the same on all ranks between steps. */
float *step_params(struct step *s);

/* One slice as checkpoints see it. The moments are there for own slices, NULL for others. To restore: fill
 * the parameters and moments of the own slices, then step_spread(). */
struct step_slice {
    size_t slice, first, count;        /* floats first .. first + count - 1 of the vector */
    float *params, *moment1, *moment2; /* count floats each, host memory, borrowed until step_close() */
};
struct step_slice step_slice(struct step *s, size_t slice);
/* What an own slice holds now, copied to the host's memory, `count` floats each: fast where that is the
 * device's pinned memory, and nothing of a card's memory moves. ERR_DEVICE and the like: from the device. */
enum err_code step_copy_slice(struct step *s, size_t slice, float *params, float *moment1, float *moment2,
                              struct err *e);
struct device *step_device(struct step *s);
struct slice_range step_own_slices(const struct step *s);
/* Collective: the own slices' parameters to all ranks. */
enum err_code step_spread(struct step *s, struct err *e);

#endif
