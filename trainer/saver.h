/*
 * saver.h - checkpoints that go up while training goes on.
 *
 *     IDLE -- saver_begin() --> PARTS -- all ranks' parts are up --> MANIFEST -- rank 0 has put it --> IDLE
 *
 * A checkpoint has one part for each slice of the parameter vector (params.h): a safetensors file with
 * `params`, `moment1` and `moment2` of that slice. Each rank puts the parts of its own slices; rank 0 then
 * signs and puts the manifest: from there on the checkpoint exists.
 *
 * Training stands still only for saver_begin(), which copies the own slices. A thread (beside.h) then
 * serialises, seals and puts one part after the other, from the copy, so that there is never more than one
 * part in memory beside it; later rank 0's thread puts the manifest, and tidies up. How far a rank is it says
 * by its mark in each step's report (step.h), which costs no exchange: after the step all ranks know the
 * smallest mark, so all go on to the next phase together, in saver_hear(). One rank's failure becomes
 * everybody's there, too; the parts of a checkpoint that will never be are then removed.
 *
 * There is one copy: whoever wants to begin another checkpoint finishes the one under way first.
 *
 * All of it holds within checkpoint.deadline, counted from saver_begin(), or ends with ERR_RETRY: a rank
 * whose store is slow says which part it was at. A rank that does not answer at all is named by the others:
 * where it is to finish, or in the steps meanwhile, whose exchanges wait only so long (comm_until(); comm is
 * broken then).
 *
 * Threads: all calls from comm's. place->store is the saver's from saver_begin() and saver_tidy() on: nobody
 * else may use it before saver_close().
 */
#ifndef TRAINER_SAVER_H
#define TRAINER_SAVER_H

#include "trainer/checkpoint.h"

struct saver;
/* All is borrowed; `place` is copied. All memory is taken here: ERR_LIMIT. ERR_IO: no thread. Not collective.
 * `polite` as beside_open() has it. */
enum err_code saver_open(const struct checkpoint_place *place, struct comm *comm, struct step *step,
                         bool polite, struct saver **out, struct err *e);
/* What is under way and has no manifest yet is given up, and its parts removed (but with comm broken): the
 * put at hand is cut short. Not collective. */
void saver_close(struct saver *s);
DEFINE_CLEANUP_PTR(struct saver, saver_close)

bool saver_idle(const struct saver *s);
int64_t saver_step(const struct saver *s); /* of the checkpoint under way */

/* Only when idle. `meta` is taken over. slack_ms: how much longer than the deadline an exchange of a step may
 * be waited for, as ranks may have to wait for other things than this. */
void saver_begin(struct saver *s, int64_t at_step, json_t *meta, int64_t slack_ms);

/* A checkpoint that has come to exist; its key is known on every rank. */
struct saver_result {
    bool committed;
    int64_t step;
    char key[STORE_KEY_BYTES];
};

/* What to tell in the next step's report, and what to do with the smallest that all ranks told. Collective,
 * though most often there is nothing to exchange. out->committed: the checkpoint exists since now. */
int64_t saver_mark(struct saver *s);
enum err_code saver_hear(struct saver *s, int64_t mark_min, struct saver_result *out, struct err *e);

/* Until nothing is under way; parts that the thread has not begun are put by the caller. Collective. Not
 * committed: there was nothing under way. */
enum err_code saver_finish(struct saver *s, struct saver_result *out, struct err *e);

/* From now on what is under way has at most so much time left. */
void saver_hurry(struct saver *s, int64_t within_ms);

/* Rank 0, when idle: checkpoint_prune() and, with `sweep`, checkpoint_sweep(), in the thread. */
void saver_tidy(struct saver *s, const char *saved_key, int64_t keep, bool sweep);

#endif
