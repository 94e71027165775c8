/*
 * times.h - where the time of a step goes, as the pulse tells it: means over the steps of a little while.
 *
 * All that a step's result does not say is passed in; what is left of the clock's time is `other`.
 */
#ifndef TRAINER_TIMES_H
#define TRAINER_TIMES_H

#include "base/cleanup.h"
#include "core/job/attempt.h"
#include "trainer/step.h"

struct times;
struct times *times_new(int ranks);
void times_free(struct times *t);
DEFINE_CLEANUP_PTR(struct times, times_free)

void times_start(struct times *t, int64_t now_us); /* the little while begins */
void times_add_step(struct times *t, int64_t data_us, const struct step_result *r);
void times_add_checkpoint(struct times *t, int64_t us);
/* At the end of a step: the means, where the while has lasted `window_us`; then the next begins. False, and
 * *out as it was: not yet. */
bool times_tell(struct times *t, int64_t now_us, int64_t window_us, struct pulse_times *out);

#endif
