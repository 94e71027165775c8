/*
 * state_fault.h - a state that fails when told to, around any other.
 *
 * Each call counts. From the call that is named on, `times` calls fail with ERR_RETRY; where `torn`, a commit
 * is applied first and only its answer is lost. That is what an outage looks like from the inside.
 */
#ifndef TESTS_FAKE_STATE_FAULT_H
#define TESTS_FAKE_STATE_FAULT_H

#include "core/state/state_ops.h"

struct state_fault {
    struct state base;
    struct state *inner; /* borrowed */
    int64_t calls, fail_from, times;
    bool torn;
    void (*before_commit)(void *context); /* NULL: none; called once, so that somebody else is faster */
    void *context;
};

void state_fault_init(struct state_fault *f, struct state *inner);
/* The `nth` call from now (1: the next) and `times - 1` after it fail. */
void state_fault_at(struct state_fault *f, int64_t nth, int64_t times, bool torn);

#endif
