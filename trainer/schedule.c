#include "trainer/schedule.h"

#include "base/err.h"
#include "base/fixed.h"

double schedule_lr(const struct schedule *s, int64_t step)
{
    invariant(step >= 1 && step <= s->steps && s->warmup >= 0);
    if (step <= s->warmup)
        return s->peak * (double)step / (double)s->warmup;
    if (s->kind == SCHEDULE_KIND_CONSTANT)
        return s->peak;
    double x = (double)(step - 1 - s->warmup) / (double)(s->steps - s->warmup);
    return s->peak * (1 + fixed_cos_turn(x / 2)) / 2;
}
