/*
 * schedule.h - the learning rate of each step: a pure function.
 *
 *     step <= warmup     peak * step / warmup
 *     constant           peak
 *     cosine             peak * (1 + cos(pi x)) / 2,  x = (step - 1 - warmup) / (steps - warmup)
 *
 * Steps count from 1. The cosine starts at the peak and the last step is still above zero. cos is that of
 * base/fixed.h: the rate, hence the model, must not depend on the machine's libm.
 */
#ifndef TRAINER_SCHEDULE_H
#define TRAINER_SCHEDULE_H

#include <stdint.h>

enum schedule_kind { SCHEDULE_KIND_CONSTANT, SCHEDULE_KIND_COSINE };

struct schedule {
    enum schedule_kind kind;
    double peak;
    int64_t warmup; /* steps; 0: none */
    int64_t steps;  /* of the whole job */
};
double schedule_lr(const struct schedule *s, int64_t step);

#endif
