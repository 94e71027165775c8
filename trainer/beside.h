/*
 * beside.h - one piece of work at a time on a thread beside the caller's.
 *
 *     beside_start(b, upload, &parts);       returns at once
 *     ... a step ...
 *     if (beside_done(b)) ...                what `upload` wrote may be read from here on
 *
 * What the work reads and writes is its own from beside_start() until beside_done() said yes or beside_wait()
 * returned; then it is the caller's again. There is no way to interrupt it: whoever wants that leaves it a
 * flag to look at.
 *
 * The thread gets no signals: these are for the thread that can act on them.
 *
 * Threads: all calls from one. Blocking: beside_wait() and beside_close(), until the work is done.
 */
#ifndef TRAINER_BESIDE_H
#define TRAINER_BESIDE_H

#include "base/cleanup.h"
#include "base/err.h"

#include <stdbool.h>

struct beside;
/* `polite`: whatever else wants the processor goes first (nice 10, for this thread alone). ERR_IO: no thread
 * could be started. */
enum err_code beside_open(bool polite, struct beside **out, struct err *e);
void beside_close(struct beside *b); /* waits for what is under way */
DEFINE_CLEANUP_PTR(struct beside, beside_close)

/* Nothing may be under way. `context` is borrowed until the work is done. */
typedef void beside_fn(void *context);
void beside_start(struct beside *b, beside_fn *work, void *context);
bool beside_done(struct beside *b); /* nothing is under way */
void beside_wait(struct beside *b); /* until that is so */

#endif
