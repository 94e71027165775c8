#include "base/clock.h"
#include "base/log.h"
#include "base/num.h"
#include "trainer/worker_parts.h"

#include <stdio.h>

enum { SAY_WAIT_MS = 10000 };

void worker_tell(struct worker *w, const char *event, json_t *data, const char *put_name,
                 const char *put_text)
{
    struct err e = ERR_INIT;

    if (w->comm->rank != 0) {
        json_decref(data);
        return;
    }
    enum err_code code = pulse_event(w->line, event, data, put_name, put_text, &e);
    if (code == ERR_DENIED)
        w->fenced = true;
    else if (code != OK && w->untold.code == OK)
        w->untold = e;
}

void worker_progress(struct worker *w, const char *phase, bool now)
{
    struct err fenced = ERR_INIT;
    if (w->comm->rank != 0)
        return;
    snprintf(w->pulse.phase, sizeof(w->pulse.phase), "%s", phase);
    w->pulse.time_ms = clock_wall_ms();
    if (pulse_progress(w->line, &w->pulse, now, &fenced) == ERR_DENIED)
        w->fenced = true;
}

void worker_waits(void *worker_wait, const struct store_wait *wait)
{
    struct worker_wait *w = worker_wait;
    char waited[NUM_TEXT_BYTES];
    int64_t now = clock_mono_ms();

    if (wait->why && wait->failures > 1 && now - w->said_ms < SAY_WAIT_MS)
        return;
    w->said_ms = now;
    format_duration(wait->waited_ms, waited);
    if (wait->why)
        log_warn("store.waiting", "rank=%d %s=%s failures=%d waited=\"%s\" why=\"%s\"", w->rank, wait->call,
                 wait->key, wait->failures, waited, wait->why);
    else
        log_info("store.back", "rank=%d %s=%s failures=%d waited=\"%s\"", w->rank, wait->call, wait->key,
                 wait->failures, waited);
}

enum err_code worker_fenced(struct worker *w, struct err *e)
{
    w->ended = TRAINER_FENCED;
    return err_set(e, ERR_DENIED, "another attempt of this job holds its lease");
}
