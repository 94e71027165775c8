/*
 * handles.h - state handles for threads that come and go.
 *
 * A state handle belongs to one thread at a time. Requests are served by a thread each, so they borrow one
 * here and give it back; a broken one reconnects by itself. As many exist as were ever needed at once, at
 * most HANDLES_MAX.
 */
#ifndef SCHEDULER_HANDLES_H
#define SCHEDULER_HANDLES_H

#include "core/state/state.h"

enum { HANDLES_MAX = 160 };

typedef enum err_code handles_open_fn(void *context, struct state **out, struct err *e);

struct handles;
struct handles *handles_new(handles_open_fn *open, void *context);
void handles_free(struct handles *h); /* all must have come back */
DEFINE_CLEANUP_PTR(struct handles, handles_free)

/* ERR_LIMIT: all are lent. Errors of state_open() besides. */
enum err_code handles_take(struct handles *h, struct state **out, struct err *e);
void handles_give(struct handles *h, struct state *s); /* NULL is fine */

#endif
