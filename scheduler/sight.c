#include "scheduler/sight.h"

/* No record yet: it is on its way, or nobody is coming. */
static enum sight_verdict before_first_word(const struct sight *s)
{
    if (s->supervisor == SIGHT_DEAD)
        return SIGHT_NO_START;
    if (s->lease_held || s->placed_ago_ms < SIGHT_START_MS)
        return SIGHT_WAIT;
    return s->launched ? SIGHT_NO_START : SIGHT_FORGOTTEN;
}

enum sight_verdict sight_decide(const struct sight *s)
{
    if (s->has_record && s->phase == ATTEMPT_ENDED)
        return SIGHT_ENDED;
    /* It had its grace and more, and still holds its lease: it hangs. */
    if (s->state == JOB_STOPPING && s->stopping_ms >= s->stop_grace_ms + SIGHT_STOP_MARGIN_MS)
        return SIGHT_LOST;
    if (!s->has_record)
        return before_first_word(s);
    if (s->supervisor == SIGHT_DEAD)
        return SIGHT_LOST;
    if (!s->lease_held && s->lease_gone_ms >= SIGHT_LEASE_GRACE_MS)
        return SIGHT_LOST;
    if (s->phase == ATTEMPT_RUNNING && s->state == JOB_STARTING)
        return SIGHT_STARTED;
    return SIGHT_WAIT;
}
